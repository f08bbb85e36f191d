"""JSON that comes without `data:` ahead of it: a whole answer, an error, JSON lines, an array of chunks.

Servers send it where a stream was asked for: an error by a proxy, an answer by a server that does not stream, JSON
lines (Ollama), the array that Gemini sends without `alt=sse`. It is taken line by line:

- A line that is a whole document is one. So is a line of several, which `payloads.py` takes apart.
- Else lines are kept until one that begins with a closing bracket, unindented as printers put it, completes them.
- Of an array that is printed over several lines, each element is a document as soon as it closes.

What never completes is given back by `rest`, for whoever reads it to say so.
"""

from __future__ import annotations

import json
import re

from pydantic_core import from_json

_TRIES_MAX = 64
_BORDER = re.compile(rb"\}\s*\{")


class BareJson:
    """Collects the lines of JSON documents. `size` is the number of bytes that are kept."""

    __slots__ = ("_in_array", "_lines", "_tries", "size")

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._in_array = False
        self._tries = 0
        self.size: int = 0

    @property
    def is_open(self) -> bool:
        """True: a document has begun and is not complete."""
        return bool(self._lines) or self._in_array

    def feed(self, line: bytes) -> list[bytes]:
        """Return the documents that are complete with this line."""
        if not self._lines and not self._in_array and (is_json(line) or _is_row(line)):
            return [line.strip()]
        if not self._lines and not self._in_array and line.lstrip().startswith(b"["):
            self._in_array = True
            line = line.lstrip()[1:]
        if self._in_array and not self._lines:
            line = line.lstrip(b", \t")
            if line.startswith(b"]"):
                self._in_array = False
                return []
        if not line.strip():
            return []
        self._lines.append(line)
        self.size += len(line) + 1
        return self._complete(line)

    def rest(self) -> bytes:
        """Return (once) what is not complete."""
        rest = b"\n".join(self._lines)
        if not rest and self._in_array:
            rest = b"["
        self._clear()
        self._in_array = False
        return rest

    def _complete(self, line: bytes) -> list[bytes]:
        closing = line.rstrip().rstrip(b",]") if self._in_array else line.rstrip()
        is_whole_line = len(self._lines) == 1 and closing.endswith(b"}")
        if not (line.startswith((b"}", b"]")) or is_whole_line) or self._tries == _TRIES_MAX:
            return []
        text = b"\n".join(self._lines).strip()
        for end in (b"", b",", b"]") if self._in_array else (b"",):
            document = text.removesuffix(end).rstrip()
            if is_json(document):
                self._in_array = self._in_array and end != b"]"
                self._clear()
                return [document]
        self._tries += 1
        return []

    def _clear(self) -> None:
        self._lines = []
        self._tries = self.size = 0


def _is_row(line: bytes) -> bool:
    """Tell whether a line is several documents in a row."""
    if _BORDER.search(line) is None:
        return False
    try:
        text = line.decode().lstrip()
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return False
    return text[end:].lstrip().startswith("{") and text.rstrip().endswith("}")


def may_begin(line: bytes) -> bool:
    """Tell whether a line may begin a document: an object, or an array of objects."""
    start = line.lstrip()
    return start.startswith(b"{") or (start.startswith(b"[") and start[1:].lstrip()[:1] in (b"", b"{", b"]"))


def is_json(text: bytes) -> bool:
    """Tell whether a text is one JSON object or array."""
    if not text.lstrip().startswith((b"{", b"[")):
        return False
    try:
        from_json(text)
    except ValueError:
        return False
    return True
