"""The messages of an AI SDK client, as what agents are called with: OpenAI's chat form. Pure."""

from __future__ import annotations

import json
from typing import Any

from actors.errors import InvalidArgument

_ROLES = frozenset({"user", "assistant", "system"})


def turns_of(messages: Any) -> list[dict[str, Any]]:
    """Return UI messages as turns of a chat. Raises InvalidArgument."""
    if not isinstance(messages, list) or not messages:
        raise InvalidArgument("messages: expected a list of at least one UI message")
    turns: list[dict[str, Any]] = []
    for number, message in enumerate(messages):
        place = f"messages.{number}"
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            raise InvalidArgument(f"{place}: expected a UI message with the role user, assistant or system")
        parts = message.get("parts")
        if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
            raise InvalidArgument(f"{place}.parts: expected a list of parts")
        turns += _assistant(parts) if message["role"] == "assistant" else [_spoken(message["role"], parts)]
    return turns


def _spoken(role: str, parts: list[dict[str, Any]]) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    for part in parts:
        if part.get("type") == "text":
            content.append({"type": "text", "text": str(part.get("text", ""))})
        elif part.get("type") == "file":
            content.append({"type": "image_url", "image_url": {"url": str(part.get("url", ""))}})
    if all(part["type"] == "text" for part in content):
        return {"role": role, "content": "".join(part["text"] for part in content)}
    return {"role": role, "content": content}


def _assistant(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the turns of an assistant's message: each step's words and calls, and what the tools returned."""
    turns: list[dict[str, Any]] = []
    text, calls, returns = "", [], []
    for part in [*parts, {"type": "step-start"}]:
        kind = str(part.get("type"))
        if kind == "text":
            text += str(part.get("text", ""))
        elif kind == "dynamic-tool" or kind.startswith("tool-"):
            name = part.get("toolName") if kind == "dynamic-tool" else kind.removeprefix("tool-")
            function = {"name": name, "arguments": json.dumps(part.get("input") or {})}
            calls.append({"id": part.get("toolCallId"), "type": "function", "function": function})
            if (returned := _returned(part)) is not None:
                returns.append(returned)
        elif kind == "step-start" and (text or calls):
            turn: dict[str, Any] = {"role": "assistant", "content": text or None}
            turns += [{**turn, "tool_calls": calls} if calls else turn, *returns]
            text, calls, returns = "", [], []
    return turns


def _returned(part: dict[str, Any]) -> dict[str, Any] | None:
    state = part.get("state")
    if state == "output-available":
        output = part.get("output")
        content = output if isinstance(output, str) else json.dumps(output)
    elif state == "output-error":
        content = str(part.get("errorText", ""))
    else:
        return None
    return {"role": "tool", "tool_call_id": part.get("toolCallId"), "content": content}
