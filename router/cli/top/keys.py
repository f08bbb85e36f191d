"""What a terminal sends, as keys. Pure.

Arrows and their like come as escape sequences, `ESC [ A` say, and the escape key as a lone ESC; so what begins a
sequence is held until more comes, or until `flush` says that no more does.
"""

from __future__ import annotations

import codecs
import re

_SEQUENCE = re.compile(r"\x1b(?:\[[0-9;?]*[@-~]|O[@-~])")
_BEGINNING = re.compile(r"\x1b(?:\[[0-9;?]*|O)?$")
_NAMES = {
    "\x1b[A": "up", "\x1b[B": "down", "\x1b[C": "right", "\x1b[D": "left",
    "\x1bOA": "up", "\x1bOB": "down", "\x1bOC": "right", "\x1bOD": "left",
    "\x1b[5~": "page up", "\x1b[6~": "page down",
    "\x1b[H": "home", "\x1b[F": "end", "\x1bOH": "home", "\x1bOF": "end", "\x1b[1~": "home", "\x1b[4~": "end",
    "\r": "enter", "\n": "enter", "\x1b": "escape", "\x7f": "backspace", "\x08": "backspace",
}  # fmt: skip


class Keys:
    """Reads keys out of bytes: a printable character is itself, others have a name; what has none is left out."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    @property
    def holds_some(self) -> bool:
        """Whether a key has begun that may be the escape key, or more than that."""
        return bool(self._held)

    def feed(self, data: bytes) -> list[str]:
        """Return the keys that are complete with these bytes."""
        text = self._held + self._decoder.decode(data)
        beginning = _BEGINNING.search(text)
        self._held = text[beginning.start() :] if beginning else ""
        return _keys_in(text.removesuffix(self._held))

    def flush(self) -> list[str]:
        """Return what was held: no more of it comes."""
        text, self._held = self._held, ""
        return ["escape", *_keys_in(text[1:])] if text else []


def _keys_in(text: str) -> list[str]:
    keys: list[str] = []
    at = 0
    while at < len(text):
        sequence = _SEQUENCE.match(text, at)
        word = sequence[0] if sequence else text[at]
        at += len(word)
        key = _NAMES.get(word, word if word.isprintable() else "")
        if key:
            keys.append(key)
    return keys
