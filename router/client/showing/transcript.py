"""Messages as a person reads them: what `stream-router tail` writes, and `StreamRouter.show` shows. Pure.

Of one request each piece is written as it comes; of several, whole messages, each under its request's ID. What a
model says may hold anything: control characters, with which it could take over a terminal, are shown as such.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from actors.messages import Message
from actors.openai_format import text_of
from actors.stop_reasons import is_failure

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_LABELS = {
    "assistant_message": "assistant",
    "reasoning_message": "reasoning",
    "hidden_reasoning_message": "reasoning",
    "tool_call_message": "tool call",
    "tool_return_message": "tool return",
    "function_call": "tool call",
    "user_message": "user",
    "system_message": "system",
    "error_message": "error",
    "stop_reason": "end",
    "usage_statistics": "usage",
    "gap": "gap",
}
_LABEL_CELLS = 12


def shown(text: str) -> str:
    """Return a text that a terminal can be given."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def _call_text(message: Any) -> str:
    call = message.tool_call
    return f"{call.name} {call.arguments or ''}" if call.name else call.arguments or ""


def _end_text(message: Any) -> str:
    detail = message.detail or message.provider_reason if is_failure(message.stop_reason) else None
    return f"{message.stop_reason}: {detail}" if detail else str(message.stop_reason)


_TEXTS: dict[str, Callable[[Any], str]] = {
    "assistant_message": lambda message: text_of(message.content),
    "reasoning_message": lambda message: message.reasoning,
    "hidden_reasoning_message": lambda message: f"({message.state})",
    "tool_call_message": _call_text,
    "tool_return_message": lambda message: (
        message.tool_return if message.status == "success" else f"{message.status}: {message.tool_return}"
    ),
    "function_call": lambda message: message.function_call,
    "user_message": lambda message: text_of(message.content),
    "system_message": lambda message: message.content,
    "error_message": lambda message: f"{message.error_type}: {message.message}",
    "stop_reason": _end_text,
    "usage_statistics": lambda message: (
        f"{message.prompt_tokens:,} tokens in, {message.completion_tokens:,} out, {message.step_count} steps"
    ),
    "gap": lambda message: f"messages {message.first_seq_id} to {message.last_seq_id} are no longer kept",
}


def label_of(message: Message) -> str:
    """Return who or what speaks."""
    return _LABELS[message.message_type]


def words_of(message: Message) -> str:
    """Return what a message says."""
    return shown(_TEXTS[message.message_type](message))


def key_of(message: Message) -> tuple[Any, ...]:
    """Return what the pieces of one message have in common."""
    call_id = message.tool_call.tool_call_id if message.message_type == "tool_call_message" else None
    return message.message_type, message.id, message.otid, message.choice_index, call_id


class Tail:
    """Writes messages. `prefixes`: each line begins with its request's ID."""

    def __init__(self, write: Callable[[str], Any], *, prefixes: bool) -> None:
        self._write = write
        self._prefixes = prefixes
        self._open: tuple[Any, ...] | None = None

    def take(self, request_id: str, message: Message) -> None:
        """Write a message, or a piece that goes on with the one before it."""
        key = (request_id, *key_of(message))
        begins = key != self._open
        if begins:
            self.close()
            self._open = key
        text = words_of(message)
        label = f"{label_of(message):{_LABEL_CELLS}}" if begins else ""
        if self._prefixes:
            label = f"{shown(request_id)}  {label}"
            text = text.replace("\n", f"\n{shown(request_id)}  {'':{_LABEL_CELLS}}")
        self._write(label + text)
        if self._prefixes:
            self.close()

    def close(self) -> None:
        """End the line that is being written, if there is one."""
        if self._open is not None:
            self._open = None
            self._write("\n")
