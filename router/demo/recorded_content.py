"""What a recording says, read straight from its SSE: the expected answer that readers are checked against.

It shares no code with the router: no SSE decoder, adapter or interface. It is slow, sees the whole body
at once, and knows of each API only what a client shows: the text (refusals are text), the reasoning, and
the calls of the client's own tools. Choice 0 only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Call:
    """One call of a tool: its name, and its arguments as text."""

    name: str = ""
    arguments: str = ""


@dataclass
class Content:
    """The whole content of one request. `calls` in the order in which they began."""

    text: str = ""
    reasoning: str = ""
    calls: list[Call] = field(default_factory=list)


def recorded(body: bytes, api: str) -> Content:
    """Return what a recorded body says."""
    readers = {
        "openai-chat": _openai_chat,
        "openai-responses": _openai_responses,
        "anthropic-messages": _anthropic,
        "gemini": _gemini,
    }
    return readers[api](_events(body))


def received(messages: Iterable[Mapping[str, Any]]) -> Content:
    """Return what a reader's messages (as plain dicts, dialect `chat`) say, pieces joined."""
    content = Content()
    calls: dict[str, Call] = {}
    for message in messages:
        kind = message["message_type"]
        if kind == "assistant_message":
            content.text += message["content"]
        elif kind == "reasoning_message":
            content.reasoning += message["reasoning"]
        elif kind == "tool_call_message" and not message.get("provider_executed"):
            piece = message["tool_call"]
            # One message is one call: its id is the otid, since a provider may leave its own out.
            call = calls.get(str(message.get("otid") or piece.get("tool_call_id")))
            if call is None:
                call = calls[str(message.get("otid") or piece.get("tool_call_id"))] = Call()
                content.calls.append(call)
            call.name += piece.get("name") or ""
            call.arguments += piece.get("arguments") or ""
    return content


def differences(right: Content, got: Content) -> list[str]:
    """Return the differences of two contents in words; empty where they agree."""
    found = []
    if got.text != right.text:
        found.append(f"text {_where(right.text, got.text)}")
    if got.reasoning != right.reasoning:
        found.append(f"reasoning {_where(right.reasoning, got.reasoning)}")
    if len(got.calls) != len(right.calls):
        found.append(f"{len(got.calls)} tool calls, expected {len(right.calls)}")
    for number, (call, wanted) in enumerate(zip(got.calls, right.calls, strict=False), 1):
        if call.name != wanted.name:
            found.append(f"tool call {number} is named {call.name!r}, expected {wanted.name!r}")
        if not _same_arguments(call.arguments, wanted.arguments):
            found.append(f"arguments of tool call {number} {_where(wanted.arguments, call.arguments)}")
    return found


def order_errors(seq_ids: Iterable[int], terminals: int) -> list[str]:
    """Return what is wrong with the order of a request's messages: each once, no gaps, one terminal."""
    found = []
    numbers = list(seq_ids)
    if numbers != list(range(1, len(numbers) + 1)):
        breaks = sum(after != before + 1 for before, after in zip([0, *numbers], numbers, strict=False))
        found.append(f"seq_ids are not 1 to {len(numbers)} in order ({breaks} breaks)")
    if terminals != 1:
        found.append(f"{terminals} terminals, expected exactly one")
    return found


def _where(right: str, got: str) -> str:
    at = next((i for i, (a, b) in enumerate(zip(right, got, strict=False)) if a != b), min(len(right), len(got)))
    return f"differs at character {at}: got {got[at : at + 24]!r}, expected {right[at : at + 24]!r}"


def _same_arguments(a: str, b: str) -> bool:
    if a == b:
        return True
    try:
        return bool(json.loads(a or "{}") == json.loads(b or "{}"))
    except ValueError:
        return False


def _events(body: bytes) -> list[dict[str, Any]]:
    text = body.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    found = []
    for block in text.split("\n\n"):
        data = "\n".join(line[5:].lstrip(" ") for line in block.split("\n") if line.startswith("data:"))
        if data and data.strip() != "[DONE]":
            found.append(json.loads(data))
    return found


def _openai_chat(events: list[dict[str, Any]]) -> Content:
    content = Content()
    by_place: dict[str, Call] = {}
    for event in events:
        for choice in event.get("choices") or []:
            if choice.get("index", 0) == 0:
                _add_delta(content, by_place, choice.get("delta") or {})
    return content


def _add_delta(content: Content, by_place: dict[str, Call], delta: dict[str, Any]) -> None:
    said = delta.get("content")
    if isinstance(said, list):
        _add_mistral_parts(content, said)
    else:
        content.text += said or ""
    content.text += delta.get("refusal") or ""
    content.reasoning += delta.get("reasoning_content") or delta.get("reasoning") or ""
    for piece in delta.get("tool_calls") or []:
        _add_piece(content, by_place, piece)


def _add_mistral_parts(content: Content, parts: list[dict[str, Any]]) -> None:
    for part in parts:
        if part.get("type") == "text":
            content.text += part["text"]
        elif part.get("type") == "thinking":
            content.reasoning += "".join(piece.get("text", "") for piece in part["thinking"])


def _add_piece(content: Content, by_place: dict[str, Call], piece: dict[str, Any]) -> None:
    function = piece.get("function") or {}
    by_id, by_index = f"id {piece.get('id')}", f"index {piece.get('index')}"
    # An id not seen before is a new call, also where its index was another's (Cerebras sends all as 0).
    call = by_place.get(by_id if piece.get("id") else by_index)
    if call is None:
        call = Call()
        content.calls.append(call)
    if piece.get("id"):
        by_place[by_id] = call
    by_place[by_index] = call
    if not call.name:
        call.name = function.get("name") or ""  # some repeat the whole name with every piece
    call.arguments += function.get("arguments") or ""


def _openai_responses(events: list[dict[str, Any]]) -> Content:
    content = Content()
    calls: dict[int, Call] = {}
    for event in events:
        kind = event.get("type")
        if kind in {"response.output_text.delta", "response.refusal.delta"}:
            content.text += event["delta"]
        elif kind in {"response.reasoning_summary_text.delta", "response.reasoning_text.delta"}:
            content.reasoning += event["delta"]
        elif kind == "response.output_item.added" and event["item"]["type"] == "function_call":
            call = calls[event["output_index"]] = Call(event["item"]["name"])
            content.calls.append(call)
        elif kind == "response.function_call_arguments.delta":
            calls[event["output_index"]].arguments += event["delta"]
    return content


def _anthropic(events: list[dict[str, Any]]) -> Content:
    content = Content()
    calls: dict[int, Call] = {}
    for event in events:
        if event["type"] == "content_block_start":
            _begin_block(content, calls, event["index"], event["content_block"])
        elif event["type"] == "content_block_delta":
            _add_to_block(content, calls.get(event["index"]), event["delta"])
    return content


def _begin_block(content: Content, calls: dict[int, Call], index: int, block: dict[str, Any]) -> None:
    if block["type"] == "text":
        content.text += block.get("text") or ""
    elif block["type"] == "thinking":
        content.reasoning += block.get("thinking") or ""
    elif block["type"] == "tool_use":
        calls[index] = Call(block["name"])
        content.calls.append(calls[index])


def _add_to_block(content: Content, call: Call | None, delta: dict[str, Any]) -> None:
    if delta["type"] == "text_delta":
        content.text += delta["text"]
    elif delta["type"] == "thinking_delta":
        content.reasoning += delta["thinking"]
    elif delta["type"] == "input_json_delta" and call is not None:
        call.arguments += delta["partial_json"]


def _gemini(events: list[dict[str, Any]]) -> Content:
    content = Content()
    for event in events:
        for candidate in event.get("candidates") or []:
            if candidate.get("index", 0) == 0:
                for part in (candidate.get("content") or {}).get("parts") or []:
                    _add_part(content, part)
    return content


def _add_part(content: Content, part: dict[str, Any]) -> None:
    text = part.get("text") or ""
    if part.get("thought"):
        content.reasoning += text
    else:
        content.text += text
    asked = part.get("functionCall") or {}
    if asked.get("name"):
        content.calls.append(Call(asked["name"], json.dumps(asked.get("args") or {})))
    for piece in asked.get("partialArgs") or []:
        _add_partial(content.calls[-1], piece)


def _add_partial(call: Call, piece: dict[str, Any]) -> None:
    """Add a piece of arguments that come value by value: `{"jsonPath": "$.key", "stringValue": "..."}`."""
    arguments = json.loads(call.arguments)
    *path, key = piece["jsonPath"].removeprefix("$.").split(".")
    place = arguments
    for name in path:
        place = place.setdefault(name, {})
    if "stringValue" in piece:
        place[key] = place.get(key, "") + piece["stringValue"]
    else:
        place[key] = piece.get("numberValue", piece.get("boolValue"))
    call.arguments = json.dumps(arguments)
