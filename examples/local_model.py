"""A stand-in for a model, so that `agent_loop.py` runs without a key: an OpenAI-compatible endpoint on this machine.

It plans by rule instead of by thought: it calls one tool for each sum and for each question about a
file that it finds in the user's text, then, when the tools have answered, says what they said.
Everything else is as with a model behind HTTP: server-sent events, tool calls in fragments.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

PACE_S = 0.01
FRAGMENT_CHARACTERS = 7
_SUM = re.compile(r"[(\d][\d\s.+*/()-]*[+*/-][\d\s.+*/()-]*\d\)?")
_FILE = re.compile(r"[\w./-]+\.\w+|[A-Z]{4,}")


@asynccontextmanager
async def serve() -> AsyncIterator[str]:
    """Serve on a free port while inside; gives the base URL."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", _answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def _answer(request: web.Request) -> web.StreamResponse:
    body = await request.json()
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for delta, finish_reason in _deltas(body["messages"]):
        chunk = {
            "id": "chatcmpl-local",
            "object": "chat.completion.chunk",
            "model": body.get("model", "local"),
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
        }
        await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        await asyncio.sleep(PACE_S)
    await response.write(b"data: [DONE]\n\n")
    return response


def _deltas(messages: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], str | None]]:
    returns = [message["content"] for message in messages if message["role"] == "tool"]
    question = next(message["content"] for message in messages if message["role"] == "user")
    calls = _plan(question)
    # Sums first, all at once; files in the step after, as a model would that looks at results before it goes on.
    step = calls[len(returns) :] if returns else [call for call in calls if call[0] == "calculate"]
    if step:
        yield from _call_deltas(step, first=len(returns))
        return
    answer = " ".join(
        f"{next(iter(arguments.values()))}: {told}." for (_, arguments), told in zip(calls, returns, strict=False)
    )
    for fragment in _fragments(answer or "You asked for nothing that my tools can do."):
        yield {"content": fragment}, None
    yield {}, "stop"


def _call_deltas(step: list[tuple[str, dict[str, str]]], first: int) -> Iterator[tuple[dict[str, Any], str | None]]:
    yield {"role": "assistant", "reasoning_content": f"I need {len(step)} tool calls before I can answer."}, None
    for index, (name, arguments) in enumerate(step):
        call = {"index": index, "id": f"call_{first + index}", "type": "function"}
        yield {"tool_calls": [{**call, "function": {"name": name, "arguments": ""}}]}, None
        for fragment in _fragments(json.dumps(arguments)):
            yield {"tool_calls": [{"index": index, "function": {"arguments": fragment}}]}, None
    yield {}, "tool_calls"


def _plan(question: str) -> list[tuple[str, dict[str, str]]]:
    sums = [("calculate", {"expression": found.strip()}) for found in _SUM.findall(question)]
    files = [("count_lines", {"path": found}) for found in _FILE.findall(_SUM.sub(" ", question))]
    return [*sums, *files] if sums else files


def _fragments(text: str) -> list[str]:
    return [text[at : at + FRAGMENT_CHARACTERS] for at in range(0, len(text), FRAGMENT_CHARACTERS)]
