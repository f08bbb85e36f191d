"""What a client of the Responses API asks, as what agents are called with: OpenAI's chat form. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.errors import InvalidArgument

# What needs a memory that nobody has here.
_NOT_KEPT = ("previous_response_id", "conversation", "prompt")
_ROLES = frozenset({"user", "assistant", "system", "developer"})


def input_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an agent is called with. Raises InvalidArgument."""
    for key in _NOT_KEPT:
        if body.get(key) is not None:
            raise InvalidArgument(f"{key}: nothing is kept here between runs; send the whole conversation as input")
    turns: list[dict[str, Any]] = []
    if body.get("instructions"):
        turns.append({"role": "system", "content": body["instructions"]})
    given = body.get("input")
    if isinstance(given, str):
        turns.append({"role": "user", "content": given})
    elif isinstance(given, list) and given:
        for number, item in enumerate(given):
            turns += _turn(item, f"input.{number}")
    else:
        raise InvalidArgument(f"input: expected text, or a list of at least one item, got {type(given).__name__}")
    asked: dict[str, Any] = {"messages": _with_calls_together(turns)}
    if body.get("tools"):
        asked["tools"] = [_tool(tool, f"tools.{number}") for number, tool in enumerate(body["tools"])]
    for key, ours in (("max_output_tokens", "max_tokens"), ("temperature", "temperature")):
        if body.get(key) is not None:
            asked[ours] = body[key]
    return asked


def _turn(item: Any, place: str) -> list[dict[str, Any]]:
    if not isinstance(item, dict):
        raise InvalidArgument(f"{place}: expected an object, got {type(item).__name__}")
    match item.get("type", "message"):
        case "message" if item.get("role") in _ROLES:
            return [{"role": item["role"], "content": _content(item.get("content"), place)}]
        case "function_call":
            function = {"name": item.get("name"), "arguments": item.get("arguments") or "{}"}
            call = {"id": item.get("call_id"), "type": "function", "function": function}
            return [{"role": "assistant", "content": None, "tool_calls": [call]}]
        case "function_call_output":
            content = _content(item.get("output"), place)
            return [{"role": "tool", "tool_call_id": item.get("call_id"), "content": content}]
        case "reasoning":
            return []  # what a model thought is its provider's to have back, in its own API
    said = item.get("type") or item.get("role")
    raise InvalidArgument(
        f"{place}: expected a message, function_call, function_call_output or reasoning, got {str(said)[:40]!r}"
    )


def _content(content: Any, place: str) -> Any:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise InvalidArgument(f"{place}: expected text, or a list of parts, got {type(content).__name__}")
    parts = [_part(part, place) for part in content]
    if all(part["type"] == "text" for part in parts):
        return "".join(part["text"] for part in parts)
    return parts


def _part(part: Any, place: str) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in {"input_text", "output_text", "text"} and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    if kind == "refusal" and isinstance(part.get("refusal"), str):
        return {"type": "text", "text": part["refusal"]}
    if kind == "input_image" and isinstance(part.get("image_url"), str):
        return {"type": "image_url", "image_url": {"url": part["image_url"]}}
    raise InvalidArgument(f"{place}: expected parts of text or an image's address, got {str(kind)[:40]!r}")


def _with_calls_together(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join calls that follow each other, and the assistant's words before them, into one turn, as chat has them."""
    joined: list[dict[str, Any]] = []
    for turn in turns:
        before = joined[-1] if joined else None
        if "tool_calls" in turn and before is not None and before["role"] == "assistant":
            before["tool_calls"] = [*before.get("tool_calls", ()), *turn["tool_calls"]]
        else:
            joined.append(turn)
    return joined


def _tool(tool: Any, place: str) -> dict[str, Any]:
    if not isinstance(tool, dict) or tool.get("type") != "function" or not isinstance(tool.get("name"), str):
        raise InvalidArgument(f"{place}: expected a function with a name; tools of the provider's own run nowhere here")
    function = {key: tool[key] for key in ("name", "description", "parameters", "strict") if tool.get(key) is not None}
    return {"type": "function", "function": function}
