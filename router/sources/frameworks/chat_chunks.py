"""The pieces of a response as chunks of OpenAI chat, with the extensions that carry reasoning and its signatures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from router.sources.frameworks.instructions import SendChunk, SendMessage


def text(piece: str) -> SendChunk:
    """Return a piece of content."""
    return _delta({"content": piece})


def reasoning(piece: str) -> SendChunk:
    """Return a piece of the model's native reasoning."""
    return _delta({"reasoning_content": piece})


def signature(value: str) -> SendChunk:
    """Return the signature of the reasoning just told."""
    return _delta({"reasoning_content_signature": value})


def redacted(data: str) -> SendChunk:
    """Return reasoning that the provider hides."""
    return _delta({"redacted_reasoning_content": data})


def refusal(piece: str) -> SendChunk:
    """Return a piece of a refusal."""
    return _delta({"refusal": piece})


def call(index: int, *, call_id: str | None = None, name: str | None = None, arguments: str | None = None) -> SendChunk:
    """Return a piece of a tool call; `index` tells the calls of a response apart."""
    function: dict[str, Any] = {}
    if name:
        function["name"] = name
    if arguments is not None:
        function["arguments"] = arguments
    piece: dict[str, Any] = {"index": index, "function": function}
    if call_id:
        piece["id"] = call_id
    return _delta({"tool_calls": [piece]})


def finish(reason: str) -> SendChunk:
    """Return the provider's finish word."""
    return SendChunk({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})


def model(name: str) -> SendChunk:
    """Return the model's name."""
    return SendChunk({"model": name, "choices": []})


def done() -> SendChunk:
    """Return the end of a response: what comes next is another step."""
    return SendChunk(b"[DONE]")


def usage(
    *,
    prompt: int | None,
    completion: int | None,
    total: int | None = None,
    cached: int | None = None,
    reasoning: int | None = None,
) -> SendChunk:
    """Return the token counts of a response; the prompt includes cached, the completion includes reasoning."""
    counts: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": completion}
    if total is not None:
        counts["total_tokens"] = total
    if cached is not None:
        counts["prompt_tokens_details"] = {"cached_tokens": cached}
    if reasoning is not None:
        counts["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    return SendChunk({"choices": [], "usage": counts})


def tool_call(call_id: str, name: str, arguments: str, *, by_provider: bool = False) -> SendMessage:
    """Return a whole tool call."""
    body: dict[str, Any] = {
        "message_type": "tool_call_message",
        "tool_call": {"name": name, "arguments": arguments, "tool_call_id": call_id},
    }
    if by_provider:
        body["provider_executed"] = True
    return SendMessage(body)


def tool_return(call_id: str, content: Any, *, failed: bool = False, by_provider: bool = False) -> SendMessage:
    """Return what a tool gave back; content that is no text becomes JSON text."""
    body: dict[str, Any] = {
        "message_type": "tool_return_message",
        "tool_return": as_json_text(content),
        "status": "error" if failed else "success",
        "tool_call_id": call_id,
    }
    if by_provider:
        body["provider_executed"] = True
    return SendMessage(body)


def as_json_text(value: Any) -> str:
    """Return text as it is, all else as JSON text, or as Python writes it where it is no JSON."""
    if isinstance(value, str):
        return value
    dump = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, type):
        value = dump(mode="json")
    try:
        return json.dumps(value, ensure_ascii=False, default=_plain)
    except (TypeError, ValueError, RecursionError):
        return str(value)


def _plain(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, type):
        return dump(mode="json")
    fields = getattr(value, "__dataclass_fields__", None)
    if isinstance(fields, Mapping) and not isinstance(value, type):
        return {name: getattr(value, name) for name in fields}
    return str(value)


def _delta(delta: dict[str, Any]) -> SendChunk:
    return SendChunk({"choices": [{"index": 0, "delta": delta}]})
