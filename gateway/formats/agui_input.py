"""What a client of AG-UI sends, as what agents are called with: OpenAI's chat form. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.errors import InvalidArgument
from gateway.formats.content import content_of

_SPOKEN = frozenset({"user", "assistant", "system", "developer"})
_LEFT_OUT = frozenset({"reasoning", "activity"})  # told by an agent, not to it


def input_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an agent is called with. Raises InvalidArgument."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        raise InvalidArgument(f"messages: expected a list, got {type(messages).__name__}")
    turns = [turn for number, message in enumerate(messages) for turn in _turn(message, f"messages.{number}")]
    if not turns:
        raise InvalidArgument("messages: expected at least one that is said to the agent")
    asked: dict[str, Any] = {"messages": turns}
    tools = body.get("tools")
    if tools:
        asked["tools"] = [_tool(tool, f"tools.{number}") for number, tool in enumerate(tools)]
    return asked


def more_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what else an agent of ours may want to know."""
    words = {"state": "state", "context": "context", "forwardedProps": "forwarded_props"}
    return {ours: body[theirs] for theirs, ours in words.items() if body.get(theirs)}


def _turn(message: Any, place: str) -> list[dict[str, Any]]:
    role = message.get("role") if isinstance(message, dict) else None
    if role in _LEFT_OUT:
        return []
    if role != "tool" and role not in _SPOKEN:
        raise InvalidArgument(f"{place}: expected a message with a role, got {str(message)[:60]!r}")
    content = content_of(message.get("content"), place, _part)
    if role == "tool":
        return [{"role": "tool", "tool_call_id": message.get("toolCallId"), "content": content}]
    turn = {"role": role, "content": content}
    if message.get("toolCalls"):
        turn["tool_calls"] = message["toolCalls"]
    return [turn]


def _part(part: Any, place: str) -> dict[str, Any]:
    if isinstance(part, dict) and part.get("type") == "text":
        return {"type": "text", "text": str(part.get("text", ""))}
    source = part.get("source") if isinstance(part, dict) else None
    if isinstance(source, dict) and part.get("type") == "image" and source.get("type") == "url":
        return {"type": "image_url", "image_url": {"url": str(source.get("value", ""))}}
    raise InvalidArgument(f"{place}.content: expected text, or an image by its address, got {str(part)[:60]!r}")


def _tool(tool: Any, place: str) -> dict[str, Any]:
    if not isinstance(tool, dict) or not isinstance(tool.get("name"), str):
        raise InvalidArgument(f"{place}: a tool has a name")
    function = {key: tool[key] for key in ("name", "description", "parameters") if tool.get(key) is not None}
    return {"type": "function", "function": function}
