"""Server-sent events, decoded as the bytes come.

The rules are those of the WHATWG HTML standard, section "Server-sent events": lines end in CRLF, LF or
CR; a blank line ends an event; the values of its `data` lines are joined by LF; a line that starts
with a colon is a comment, which providers use as a keepalive; a byte-order mark ahead of all is
dropped; an event without data is none.

Two differences. An event that the end of the stream cuts off before its blank line is delivered by
`close`, where the standard drops it: recordings often end so, and a provider's last event may too; what
was cut in the middle of its JSON is then a malformed chunk, with its bytes, and no silent loss. And an
event whose data is empty counts as a comment: a chunk has something in it, a keepalive has not.

How it is done: every line ending is made an LF first, over the whole piece; a CR at the end of a piece
ends its line at once, and an LF that opens the next piece then belongs to it. Lines are split by the
C library; what remains is one step a line. A line in many pieces is kept as a list of them and joined
once, so a long line costs no more than its length. Nothing is decoded: UTF-8 never has these bytes
inside a character, so a cut in a character does no harm.
"""

from __future__ import annotations

from typing import NamedTuple

from actors.errors import ChunkTooLarge

_BOM = b"\xef\xbb\xbf"
_SHOWN_BYTES = 80
EVENT_BYTES_MAX = 4 * 1024 * 1024


class SseEvent(NamedTuple):
    """One event. `event` is None where the stream did not name it; `id` is the last one it gave, if any."""

    event: str | None
    data: bytes
    id: str | None = None


class SseDecoder:
    """Decodes one stream. `comments` counts the comment lines so far; they are keepalives and no events.

    `event_bytes_max` bounds each line and the data of each event, and so the memory held here.
    """

    __slots__ = (
        "_after_cr",
        "_data",
        "_data_bytes",
        "_error",
        "_event",
        "_event_bytes_max",
        "_head",
        "_id",
        "_tail",
        "_tail_bytes",
        "comments",
    )

    def __init__(self, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self.comments = 0
        self._event_bytes_max = event_bytes_max
        self._head: bytes | None = b""  # what may yet be the byte-order mark; None once that is settled
        self._after_cr = False
        self._tail: list[bytes] = []  # the pieces of the line that is not ended yet
        self._tail_bytes = 0
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._event: str | None = None
        self._id: str | None = None
        self._error: ChunkTooLarge | None = None

    def feed(self, data: bytes) -> list[SseEvent]:
        """Return the events that are complete with this piece.

        Raises ChunkTooLarge for an event over the limit; the stream cannot be read on after it. Events
        of the same piece that were complete before it are returned first, and the call after raises.
        """
        if self._error is not None:
            raise self._error
        if self._head is not None:
            data = self._head + data
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._head = data
                return []
            self._head = None
            data = data.removeprefix(_BOM)
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        events: list[SseEvent] = []
        try:
            self._lines(data, events)
        except ChunkTooLarge as error:
            self._error = error
            if not events:
                raise
        return events

    def close(self) -> list[SseEvent]:
        """Return the event that the end of the stream cut off before its blank line, if there is one."""
        if self._error is not None:
            raise self._error
        events: list[SseEvent] = []
        line = self._joined(b"")
        if line:
            self._line(line, events)
        self._dispatch(events)
        return events

    def _lines(self, data: bytes, events: list[SseEvent]) -> None:
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._line(self._joined(line) if self._tail else line, events)
        if rest:
            self._tail.append(rest)
            self._tail_bytes += len(rest)
            if self._tail_bytes > self._event_bytes_max:
                raise self._too_large(self._joined(b""))

    def _joined(self, end: bytes) -> bytes:
        self._tail.append(end)
        line = b"".join(self._tail)
        self._tail.clear()
        self._tail_bytes = 0
        return line

    def _line(self, line: bytes, events: list[SseEvent]) -> None:
        if len(line) > self._event_bytes_max:
            raise self._too_large(line)
        if not line:
            self._dispatch(events)
        elif line.startswith(b"data:"):
            self._add(line[6:] if line.startswith(b"data: ") else line[5:])
        elif line.startswith(b":"):
            self.comments += 1
        else:
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                self._add(value)
            elif field == b"event":
                self._event = value.decode("utf-8", "replace") or None
            elif field == b"id" and b"\0" not in value:
                self._id = value.decode("utf-8", "replace") or None

    def _add(self, value: bytes) -> None:
        self._data.append(value)
        self._data_bytes += len(value) + 1
        if self._data_bytes - 1 > self._event_bytes_max:
            raise self._too_large(self._data[0])

    def _dispatch(self, events: list[SseEvent]) -> None:
        if self._data:
            data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
            if data:
                events.append(SseEvent(self._event, data, self._id))
            else:
                self.comments += 1
            self._data.clear()
            self._data_bytes = 0
        self._event = None

    def _too_large(self, start: bytes) -> ChunkTooLarge:
        self._tail.clear()
        self._data.clear()
        return ChunkTooLarge(
            f"an event of the stream is over {self._event_bytes_max} bytes; it starts with {start[:_SHOWN_BYTES]!r}; "
            "raise chunk_bytes_max if the provider means it"
        )
