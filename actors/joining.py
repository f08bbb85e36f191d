"""Whole messages out of the parts in which a reader gets them. Pure.

Theory. What a reader is handed at a time ends anywhere: in the middle of a word, of a tool's arguments. Parts
that stand next to each other and share their fields are one message, however they were cut. A message is
over when something else follows it. Of some it is known sooner: one that has no text that could grow, one
that was published whole, a tool call whose arguments are complete. These need not wait for what follows,
which is the difference between seeing a tool called and seeing it when it has returned.

The `seq_id` of a joined message is that of its last piece, so reading goes on after it without a loss.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from actors.messages import TEXT_FIELDS, TOOL_CALL, Fields

_ALWAYS_WHOLE = frozenset({"user_message", "system_message", "tool_return_message", "function_call"})


class Part(NamedTuple):
    """A message or a piece of it: the `seq_id` of its last piece, its fields, text and extra fields."""

    seq_id: int
    fields: Fields
    text: str | None
    extra: Fields | None


class Joiner:
    """Joins the parts of one request, in order, into whole messages."""

    __slots__ = ("_extra", "_fields", "_seq_id", "_texts")

    def __init__(self) -> None:
        self._fields: Fields | None = None
        self._texts: list[str] = []
        self._extra: Fields = {}
        self._seq_id = 0

    def feed(self, parts: Iterable[tuple[int, Fields, str | None, Fields | None]]) -> list[Part]:
        """Take parts; return the messages that are over because something else follows them."""
        out: list[Part] = []
        for seq_id, fields, text, extra in parts:
            if self._fields is not fields and self._fields != fields:
                out += self.take()
                self._fields = fields
            self._seq_id = seq_id
            if text is not None:
                self._texts.append(text)
            if extra:
                self._extra = {**self._extra, **extra}
        return out

    def take(self) -> list[Part]:
        """Return the message under way, if there is one: nothing follows it."""
        if self._fields is None:
            return []
        text = "".join(self._texts) if self._texts else None
        part = Part(self._seq_id, self._fields, text, self._extra or None)
        self._fields = None
        self._texts = []
        self._extra = {}
        return [part]

    def take_if_whole(self) -> list[Part]:
        """Return the message under way, if it is known to be whole though nothing has followed it yet."""
        return self.take() if self._is_whole() else []

    def _is_whole(self) -> bool:
        fields = self._fields
        if fields is None:
            return False
        kind = fields["message_type"]
        if kind == TOOL_CALL:
            return self._has_complete_arguments()
        field = TEXT_FIELDS.get(kind)
        return field is None or field in fields or kind in _ALWAYS_WHOLE

    def _has_complete_arguments(self) -> bool:
        # To look costs as much as the arguments are long, so the last character is asked first.
        last = next((text for text in reversed(self._texts) if text.strip()), "")
        if not last.rstrip().endswith("}"):
            return False
        is_complete, _ = parsed("".join(self._texts))
        return is_complete


def parsed(text: str) -> tuple[bool, Any]:
    """Return whether a text is JSON, and its value; None where it is not."""
    try:
        return True, json.loads(text)
    except (ValueError, RecursionError):
        return False, None
