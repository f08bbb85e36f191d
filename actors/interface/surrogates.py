r"""Puts surrogate pairs together that a provider has cut in two.

A provider that cuts its text by UTF-16 units can send `"\ud83d"` in one chunk and `"\ude00"` in the
next. Each is a string that no UTF-8 can hold. The first half is held back until the next piece of the
same text; a half that stays alone becomes U+FFFD. Streams without such halves never come here.
"""

from __future__ import annotations

from actors.deltas import Delta, Reasoning, Refusal, Text, ToolCallPiece
from actors.interface.json_reader import join_surrogates, replace_surrogates

_HALVES_MAX = 1024
_Key = tuple[type, int, int | None]


class SurrogateMender:
    """Mends the texts of one request's deltas, in place."""

    __slots__ = ("_halves",)

    def __init__(self) -> None:
        self._halves: dict[_Key, str] = {}

    def mend(self, deltas: list[Delta]) -> list[Delta]:
        """Return the same deltas with no half of a surrogate pair in any text."""
        for delta in deltas:
            if isinstance(delta, Text | Reasoning | Refusal):
                delta.text = self._text((delta.__class__, delta.choice, None), delta.text)
            elif isinstance(delta, ToolCallPiece) and delta.arguments is not None:
                delta.arguments = self._text((ToolCallPiece, delta.choice, delta.index), delta.arguments)
            for field in delta.__slots__:
                value = getattr(delta, field)
                if isinstance(value, str) and not value.isascii():
                    setattr(delta, field, replace_surrogates(value))
        return deltas

    def rest(self) -> list[Delta]:
        """Return (once) the halves whose other half never came."""
        deltas: list[Delta] = []
        for kind, choice, index in self._halves:
            if kind is ToolCallPiece:
                deltas.append(ToolCallPiece(index, arguments="\ufffd", choice=choice))
            else:
                deltas.append(kind("\ufffd", choice))
        self._halves = {}
        return deltas

    def _text(self, key: _Key, text: str) -> str:
        high = self._halves.pop(key, "")
        if high:
            text, high = join_surrogates(high, text)
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, high = text[:-1], text[-1]
        if high and len(self._halves) < _HALVES_MAX:
            self._halves[key] = high
        elif high:
            text += "\ufffd"
        return text
