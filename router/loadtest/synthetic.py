"""Generated OpenAI chat streams of chosen lengths. Pure.

The text is numbered words, so that a lost or doubled piece shows.
"""

from __future__ import annotations

import json
import random

from router.loadtest.workload import Synthetic
from router.scripted_provider.library import Recording
from router.scripted_provider.script import split_events

MODEL = "synthetic"


def make_recordings(prefix: str, wanted: Synthetic, seed: int) -> list[Recording]:
    """Return `wanted.variants` recordings named `<prefix>-<number>`."""
    return [
        _make(f"{prefix}-{number}", wanted, random.Random(f"{seed}/{prefix}/{number}"))
        for number in range(wanted.variants)
    ]


def _make(name: str, wanted: Synthetic, rng: random.Random) -> Recording:
    count = max(1, round(wanted.chunks.sample(rng)))
    of_reasoning = round(count * wanted.reasoning_share)
    deltas: list[dict[str, str]] = [{"role": "assistant", "content": ""}]
    for number in range(count):
        size = max(1, round(wanted.chunk_chars.sample(rng)))
        text = f"{number:x}-{name} ".ljust(size, "~")[: max(size - 1, 1)] + (" " if size > 1 else "")
        deltas.append({"reasoning_content" if number < of_reasoning else "content": text})
    events = [_event(name, [{"index": 0, "delta": delta, "finish_reason": None}]) for delta in deltas]
    events.append(_event(name, [{"index": 0, "delta": {}, "finish_reason": "stop"}]))
    usage = {"prompt_tokens": 10, "completion_tokens": count, "total_tokens": 10 + count}
    events.append(_event(name, [], usage))
    body = b"".join(events) + b"data: [DONE]\n\n"
    return Recording(name, "openai-chat", MODEL, name, body, tuple(split_events(body)))


def _event(name: str, choices: list[dict[str, object]], usage: dict[str, int] | None = None) -> bytes:
    chunk = {
        "id": f"chatcmpl-{name}",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": name,
        "choices": choices,
    }
    if usage is not None:
        chunk["usage"] = usage
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"
