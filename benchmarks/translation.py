"""What a chunk costs from its bytes to packed messages: per provider, against json.loads, and as a message grows.

Run it with `python -m benchmarks.translation`. Three promises are held against what it prints:

- a chunk of a 2,000-token `send_message` costs at most 1.3 times one of a 200-token one;
- a chunk of ~350 bytes, bytes in to packed messages out, costs less than its `json.loads`;
- so does the median chunk of what was recorded of each provider. Gemini's recordings are four chunks long, so that
  what is measured of them are beginnings, calls and ends; of a long stream it holds (`gemini_text`).

What a message costs its reader, in each format, is a row too. Times are medians over chunks, of the fastest of
several runs of each stream.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgpack

from actors.providers.sse import SseDecoder
from actors.settings import StreamSettings
from actors.stream.log import Log
from actors.translator import Translator
from router.client.reading.batch import Format, Shaper
from router.client.reading.inbox import Cursor, Segment

RECORDED = Path(__file__).parent.parent / "tests" / "traces" / "recorded"
LETTA = StreamSettings.load({"dialect": "letta"})
CHAT = StreamSettings.load({"dialect": "chat"})
_WORDS = ["The", "train", "leaves", "at", "eight", "from", "platform", "three;", "bring", "tea", "and", "maps."]
_NS_PER_US = 1000


def chat_chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    """Return a chunk of about 350 bytes, as OpenAI sends it."""
    return json.dumps(
        {
            "id": "chatcmpl-BkTnU4fJyX8Z2mUoYpVqL3wRsDaEc",
            "object": "chat.completion.chunk",
            "created": 1750000000,
            "model": "gpt-4.1-mini-2025-04-14",
            "service_tier": "default",
            "system_fingerprint": "fp_6f2eabb9a5",
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
            "usage": None,
            "obfuscation": "kX2bq81HsUd",
        },
        separators=(",", ":"),
    ).encode()


def gemini_chunk(text: str) -> bytes:
    """Return a chunk of about 350 bytes, as Gemini sends it."""
    return json.dumps(
        {
            "candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}],
            "usageMetadata": {
                "promptTokenCount": 14,
                "candidatesTokenCount": 130,
                "totalTokenCount": 1168,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 14}],
                "thoughtsTokenCount": 1024,
            },
            "modelVersion": "gemini-2.5-flash",
            "responseId": "Zk5RaLiUJsqJkdUPm5W1sAc",
        },
        separators=(",", ":"),
    ).encode()


def call_chunk(arguments: str, **first: Any) -> bytes:
    """Return a chunk with a piece of a tool call."""
    call = {"index": 0, **first.get("call", {}), "function": {**first.get("function", {}), "arguments": arguments}}
    return chat_chunk({"tool_calls": [call]})


def send_message(tokens: int) -> list[bytes]:
    """Return the chunks of a `send_message` of so many tokens, inner thoughts first."""
    pieces = ['{"', "inner", "_th", "ought", "s", '":"', *_words(20), '","', "message", '":"', *_words(tokens), '"}']
    head = call_chunk("", call={"id": "call_1", "type": "function"}, function={"name": "send_message"})
    return [head, *map(call_chunk, pieces), chat_chunk({}, "tool_calls")]


def _words(count: int) -> list[str]:
    return [f"{_WORDS[place % len(_WORDS)]} " for place in range(count)]


def recorded(name: str) -> list[bytes]:
    """Return the chunks of a recorded stream."""
    decoder = SseDecoder()
    return [event.data for event in decoder.feed((RECORDED / name).read_bytes()) + decoder.close()]


def costs_us(chunks: Sequence[bytes], settings: StreamSettings, runs: int = 7) -> list[float]:
    """Return what each chunk costs: decoded, translated, and its pieces packed each by itself."""

    def run() -> list[int]:
        translator, pack = Translator(settings, run_id="benchmark"), msgpack.Packer().pack
        clock, times = time.perf_counter_ns, []
        for chunk in chunks:
            began = clock()
            pieces = translator.chunk(chunk)
            for _, text, extra in pieces:
                # The head was packed when it was made; neighbours share it.
                pack(text if extra is None else (text, extra))
            times.append(clock() - began)
        translator.end()
        return times

    return _fastest(run, runs)


def loads_us(chunks: Sequence[bytes], runs: int = 7) -> list[float]:
    """Return what `json.loads` of each chunk costs."""

    def run() -> list[int]:
        clock, times = time.perf_counter_ns, []
        for chunk in chunks:
            began = clock()
            json.loads(chunk)
            times.append(clock() - began)
        return times

    return _fastest(run, runs)


def _fastest(run: Callable[[], list[int]], runs: int) -> list[float]:
    return [min(times) / _NS_PER_US for times in zip(*(run() for _ in range(runs)), strict=True)]


def reading_us(messages: int = 400) -> dict[str, float]:
    """Return what a message costs its reader in each format: from a segment to what it is handed."""
    translator, log = Translator(CHAT, run_id="benchmark"), Log()
    for word in _words(messages):
        log.append(translator.chunk(chat_chunk({"content": word})))
    segments = Cursor(0).take(log.read(0, through=log.last_seq, bytes_max=1 << 30).segments, None)
    formats: tuple[Format, ...] = ("model", "struct", "dict", "packed", "openai")
    return {name: _shaping_us(name, segments, log.last_seq) for name in formats}


def _shaping_us(name: Format, segments: list[Segment], last_seq_id: int, runs: int = 15) -> float:
    clock, fastest = time.perf_counter_ns, float("inf")
    for _ in range(runs):
        shaper, began = Shaper(name, coalesce=False), clock()
        shaper.shape(segments, last_seq_id)
        fastest = min(fastest, clock() - began)
    return fastest / last_seq_id / _NS_PER_US


def growth() -> dict[str, float]:
    """Return the mean cost of a chunk of a short and of a long message, and their ratio."""
    short, long = (statistics.fmean(costs_us(send_message(tokens), LETTA)) for tokens in (200, 2000))
    return {"us_per_chunk_200_tokens": short, "us_per_chunk_2000_tokens": long, "ratio": long / short}


def whole_chunk() -> dict[str, float]:
    """Return the median cost of a chunk of the commonest kinds, and `json.loads` of the same."""
    call = [call_chunk("", call={"id": "c", "type": "function"}, function={"name": "f"}), *map(call_chunk, _words(400))]
    text = [chat_chunk({"content": word}) for word in _words(400)]
    message = send_message(400)
    figures = {"json_loads": statistics.median(loads_us(message))}
    figures["send_message"] = statistics.median(costs_us(message, LETTA))
    figures["tool_call"] = statistics.median(costs_us(call, CHAT))
    figures["text"] = statistics.median(costs_us(text, CHAT))
    gemini = [gemini_chunk(word) for word in _words(400)]
    figures["gemini_text"] = statistics.median(costs_us(gemini, CHAT))
    figures["gemini_json_loads"] = statistics.median(loads_us(gemini))
    figures["worst_ratio"] = (
        max(figures[kind] for kind in ("send_message", "tool_call", "text")) / figures["json_loads"]
    )
    return figures


def per_provider() -> dict[str, dict[str, float]]:
    """Return median costs over all recorded chunks of each API."""
    index = json.loads((RECORDED / "index.json").read_text(encoding="utf-8"))
    files: dict[str, list[str]] = {}
    for entry in index:
        files.setdefault(entry["api"], []).append(entry["file"])
    return {api: _costs_of([recorded(name) for name in files[api]]) for api in sorted(files)}


def _costs_of(streams: Sequence[Sequence[bytes]]) -> dict[str, float]:
    """Return median costs over all chunks of some streams."""
    costs = [cost for stream in streams for cost in costs_us(stream, CHAT, runs=3)]
    loads = [cost for stream in streams for cost in loads_us([p for p in stream if _is_json(p)], runs=3)]
    return {
        "chunks": float(len(costs)),
        "bytes": statistics.median(len(chunk) for stream in streams for chunk in stream),
        "json_loads_us": statistics.median(loads),
        "chunk_us": statistics.median(costs),
        "ratio": statistics.median(costs) / statistics.median(loads),
    }


def _is_json(chunk: bytes) -> bool:
    try:
        json.loads(chunk)
    except ValueError:
        return False
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Print all figures (µs), as a table or as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    figures = {
        "python": sys.version.split()[0],
        "msgpack": ".".join(map(str, msgpack.version)),
        "chunk_bytes": len(send_message(1)[8]),
        "growth": growth(),
        "whole_chunk_us": whole_chunk(),
        "per_provider": per_provider(),
        "reading_us": reading_us(),
    }
    if options.json:
        sys.stdout.write(json.dumps(figures, indent=1) + "\n")
        return 0
    for title, rows in figures.items():
        sys.stdout.write(f"{title}: {rows}\n" if not isinstance(rows, dict) else f"{title}\n")
        for name, value in rows.items() if isinstance(rows, dict) else ():
            shown = value if not isinstance(value, dict) else {key: round(number, 2) for key, number in value.items()}
            sys.stdout.write(f"  {name:28} {round(shown, 2) if isinstance(shown, float) else shown}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
