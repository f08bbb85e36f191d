"""Answers of a model that an agent loop asks several times, as server-sent events of OpenAI."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from router.scripted_provider import Library, Recording, Script, serve
from router.scripted_provider.script import split_events

MODEL = "gpt-4o-loop"


def sse(events: Iterable[dict[str, Any]], *, named: bool = False) -> bytes:
    lines = [(f"event: {event['type']}\n" if named else "") + f"data: {json.dumps(event)}\n\n" for event in events]
    return "".join(lines).encode() + (b"" if named else b"data: [DONE]\n\n")


def chat(*deltas: dict[str, Any], finish: str = "stop", usage: tuple[int, int] = (0, 0)) -> bytes:
    """Return one response of OpenAI chat."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    events = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    events[0]["choices"][0]["delta"] = {"role": "assistant", **events[0]["choices"][0]["delta"]}
    events.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    counts = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    events.append({**head, "choices": [], "usage": counts})
    return sse(events)


def call(index: int, call_id: str, name: str, *arguments: str) -> list[dict[str, Any]]:
    """Return the deltas of one tool call, its arguments in pieces."""
    first = {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
    pieces = [{"index": index, "function": {"arguments": piece}} for piece in arguments]
    return [{"tool_calls": [piece]} for piece in (first, *pieces)]


# Thinks, speaks, calls two tools at once; then answers.
FIRST = chat(
    {"reasoning_content": "They ask "}, {"reasoning_content": "about Rome."},
    {"content": "I look "}, {"content": "it up."},
    *call(0, "call_1", "weather", '{"city"', ': "Rome"}'), *call(1, "call_2", "broken", "{}"),
    finish="tool_calls", usage=(10, 20),
)  # fmt: skip
SECOND = chat({"content": "Sunny "}, {"content": "in Rome."}, usage=(30, 4))


@asynccontextmanager
async def answers(*bodies: bytes, api: str = "openai-chat", **script: Any) -> AsyncIterator[str]:
    """Serve these answers, one after the other; gives the base URL."""
    recordings = [
        Recording(f"answer-{number}", api, "test", MODEL, body, tuple(split_events(body)))
        for number, body in enumerate(bodies)
    ]
    async with serve(Library(recordings), Script.load({"events_per_s": 0}, script)) as url:
        yield url


def call_of(message: dict[str, Any]) -> tuple[str, Any, str]:
    """Return name, arguments and id of a whole tool call."""
    tool_call = message["tool_call"]
    return tool_call["name"], json.loads(tool_call["arguments"]), tool_call["tool_call_id"]


def return_of(message: dict[str, Any]) -> tuple[str, str]:
    return message["tool_call_id"], message["status"]
