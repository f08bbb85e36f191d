r"""Halves of surrogate pairs: joined where both halves come, else replaced by U+FFFD.

A provider that cuts its text by UTF-16 units can send `"\ud83d"` in one chunk and `"\ude00"` in the
next. Each is a string that UTF-8 cannot encode. The first half is held until the next piece of the same
text. A half that stays alone becomes U+FFFD. `SurrogateMender` does this for a request's deltas; the
translator makes one only after it has seen such a half.
"""

from __future__ import annotations

import re

from actors.deltas import Delta, Reasoning, Refusal, Text, ToolCallPiece

_SURROGATE = re.compile("[\ud800-\udfff]")
_HALVES_MAX = 1024
_Key = tuple[type, int, int | None]


def replace_surrogates(text: str) -> str:
    """Put U+FFFD in place of each half of a surrogate pair: UTF-8 cannot encode a half."""
    return _SURROGATE.sub("\ufffd", text)


def join_surrogates(high: str, text: str) -> tuple[str, str]:
    """Put the held first half of a pair in front of `text`; return the text, and the half that is still held."""
    if not text:
        return "", high
    if "\udc00" <= text[0] <= "\udfff":
        pair = (high + text[0]).encode("utf-16", "surrogatepass").decode("utf-16")
        return pair + text[1:], ""
    return "\ufffd" + text, ""


class SurrogateMender:
    """Mends the texts of one request's deltas, in place."""

    __slots__ = ("_halves",)

    def __init__(self) -> None:
        self._halves: dict[_Key, str] = {}

    def mend(self, deltas: list[Delta]) -> list[Delta]:
        """Return the same deltas, without halves of surrogate pairs in their texts."""
        for delta in deltas:
            if isinstance(delta, Text | Reasoning | Refusal):
                delta.text = self._text((delta.__class__, delta.choice, None), delta.text)
            elif isinstance(delta, ToolCallPiece) and delta.arguments is not None:
                delta.arguments = self._text((ToolCallPiece, delta.choice, delta.index), delta.arguments)
            for field in delta.__struct_fields__:
                value = getattr(delta, field)
                if isinstance(value, str) and not value.isascii():
                    setattr(delta, field, replace_surrogates(value))
        return deltas

    def rest(self) -> list[Delta]:
        """Return (once) U+FFFD for each half whose other half never came."""
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
