"""What all formats share: a frame, and how a request's messages become frames.

Theory. A form is fed the messages of one request in order, each as the plain dict of a message, from the first one on.
It gives frames: a number, which is a reader's cursor, and bytes. What it gives depends on nothing else (no clock, no
earlier reader, no other way in which the messages came together), so a reader that comes back with a cursor is served
by feeding a new form from the beginning and leaving out what it has. Numbers never go down; bytes may be empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import msgspec

Fields = Mapping[str, Any]

DONE = b"data: [DONE]\n\n"
TERMINAL = frozenset({"stop_reason", "usage_statistics"})

encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode
"""Compact JSON in UTF-8, keys in their own order."""


def encoded(value: Any) -> msgspec.Raw:
    """Return a value that is encoded once, to stand in others."""
    return msgspec.Raw(encode(value))


class Frame(NamedTuple):
    """Bytes, and the cursor of a reader who has had them."""

    number: int
    data: bytes


class Form(Protocol):
    """Makes the frames of one request."""

    content_type: str
    opening: bytes
    """What every answer begins with, also a resumed one; never empty, since it takes the head of the answer along."""

    def feed(self, message: Fields) -> list[Frame]:
        """Return the frames of one message, given as the plain dict that its model dumps to."""
        ...

    def gap(self, first: int, last: int) -> list[Frame]:
        """Return what says that retention has dropped the messages `first` to `last`."""
        ...

    def end(self) -> list[Frame]:
        """Return what follows the last message."""
        ...

    def ping(self) -> bytes:
        """Return what is sent while nothing else is."""
        ...

    def broken(self, code: str, text: str) -> bytes:
        """Return what a reader is told whose stream ends here without its terminal; nothing: its connection is cut."""
        ...


def data_of(value: Any) -> bytes:
    """Return a value as an event of server-sent events: its data and nothing else."""
    return b"data: " + encode(value) + b"\n\n"


def comment(text: str) -> bytes:
    """Return a line that every reader of server-sent events leaves out."""
    return b": " + " ".join(text.split()).encode() + b"\n\n"
