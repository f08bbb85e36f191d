"""What a client of LangGraph sends, as what agents are called with: OpenAI's chat form. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from actors.errors import InvalidArgument
from gateway.formats.content import content_of
from gateway.formats.langgraph import MODES

STREAM_MODE = "langgraph_stream_mode"
"""The key of a run's metadata that says which modes whoever started it reads; who joins it later gets the same."""

DEFAULT_MODES = ("values",)
_ROLES = {
    "human": "user",
    "user": "user",
    "ai": "assistant",
    "assistant": "assistant",
    "AIMessageChunk": "assistant",
    "system": "system",
    "developer": "developer",
    "tool": "tool",
}
# What needs a graph that stops, goes back or is kept. What is not here and not read makes no difference.
_NOT_SERVED: dict[str, str] = {
    "command": "a run here has nothing to be resumed with: start another one with the whole conversation as its input",
    "checkpoint": "nothing is kept here between runs, so there are no checkpoints",
    "checkpoint_id": "nothing is kept here between runs, so there are no checkpoints",
    "interrupt_before": "agents here have no nodes to stop at",
    "interrupt_after": "agents here have no nodes to stop at",
    "webhook": "nobody is called here when a run ends: read its stream, or join it",
    "after_seconds": "runs begin at once here",
    "feedback_keys": "no feedback is taken here",
}


def modes_of(given: Any) -> tuple[str, ...]:
    """Return the stream modes that were asked for. Raises InvalidArgument."""
    asked = [given] if isinstance(given, str) else list(given or ())
    modes = tuple(dict.fromkeys(mode for mode in asked if mode)) or DEFAULT_MODES
    unknown = [mode for mode in modes if mode not in MODES]
    if unknown:
        raise InvalidArgument(
            f"stream_mode: {', '.join(map(str, unknown))[:80]} is not served here; there are {', '.join(MODES)}"
        )
    return modes


def check_run(body: Mapping[str, Any]) -> None:
    """Raise InvalidArgument where a run is asked for that there cannot be here."""
    for key, why in _NOT_SERVED.items():
        if body.get(key):
            raise InvalidArgument(f"{key}: {why}")
    if body.get("on_disconnect") == "cancel":
        raise InvalidArgument("on_disconnect: a reader that leaves cancels nothing here; cancel the run")
    strategy = body.get("multitask_strategy")
    if strategy not in {None, "reject"}:
        raise InvalidArgument(
            f"multitask_strategy: expected reject, or none for runs side by side, got {strategy!r:.40}"
        )


def input_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an agent is called with: the state that the client sends, its messages as a chat's turns.

    Raises InvalidArgument.
    """
    state = body.get("input")
    if not isinstance(state, dict):
        raise InvalidArgument(f"input: expected an object with messages, got {type(state).__name__}")
    messages = state.get("messages")
    if isinstance(messages, (str, dict)):
        messages = [messages]
    if not isinstance(messages, list) or not messages:
        raise InvalidArgument("input.messages: expected a list of at least one message")
    turns = [_turn(message, f"input.messages.{number}") for number, message in enumerate(messages)]
    return {**state, "messages": turns}


def more_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what else an agent of ours may want to know."""
    return {key: body[key] for key in ("config", "context") if body.get(key)}


def _turn(message: Any, place: str) -> dict[str, Any]:
    if isinstance(message, str):
        return {"role": "user", "content": message}
    if isinstance(message, list) and len(message) == 2:  # noqa: PLR2004  # a pair, the role and the content
        message = {"role": message[0], "content": message[1]}
    said = message.get("role") or message.get("type") if isinstance(message, dict) else None
    role = _ROLES.get(said) if isinstance(said, str) else None
    if role is None:
        raise InvalidArgument(f"{place}: expected a message with a role or a type, got {str(message)[:60]!r}")
    content = content_of(message.get("content"), place, _part)
    if role == "tool":
        return {"role": role, "tool_call_id": message.get("tool_call_id"), "content": content}
    turn = {"role": role, "content": content}
    if role == "assistant" and message.get("tool_calls"):
        turn["tool_calls"] = [_call(call, place) for call in message["tool_calls"]]
    return turn


def _call(call: Any, place: str) -> dict[str, Any]:
    if isinstance(call, dict) and isinstance(call.get("function"), dict):
        return call  # it has OpenAI's form already
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        raise InvalidArgument(f"{place}.tool_calls: each has a name")
    function = {"name": call["name"], "arguments": json.dumps(call.get("args") or {})}
    return {"id": call.get("id"), "type": "function", "function": function}


def _part(part: Any, place: str) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text":
        return {"type": "text", "text": str(part.get("text", ""))}
    if kind == "image_url":
        address = part.get("image_url")
        return {"type": "image_url", "image_url": {"url": address} if isinstance(address, str) else address}
    if kind == "image" and isinstance(part.get("url"), str):
        return {"type": "image_url", "image_url": {"url": part["url"]}}
    raise InvalidArgument(f"{place}.content: expected text, or an image by its address, got {str(part)[:60]!r}")
