"""Server-sent events, decoded as the bytes come.

The rules are those of the WHATWG HTML standard, section "Server-sent events": lines end in CRLF, LF or
CR; a blank line ends an event; the values of its `data` lines are joined by LF; a line that starts
with a colon is a comment, which providers use as a keepalive; a byte-order mark ahead of all is
dropped; an event without data is none.

Differences, each because servers do so and nothing of what they say may be lost:

- An event that the end of the stream cuts off before its blank line is delivered by `close`, where the
  standard drops it: recordings often end so, and a provider's last event may too; what was cut in the
  middle of its JSON is then a malformed chunk, with its bytes, and no silent loss.
- An event whose data is empty counts as a comment: a chunk has something in it, a keepalive has not. So does
  one that is named `ping` (or the like), unless its data is JSON with a type of its own.
- Events with a single newline between them (GLM, Kimi) are several: a whole JSON object cannot go on in
  another line, so a `data:` line after it begins an event.
- JSON without `data:` (`bare_json.py`) is an event a document. A field named `error` (llama.cpp) is an event of
  that name.
- Where the body is text that is none of this (a page, a line of a proxy), `close` gives its first bytes as an
  event, so that a reader hears of it; `is_text` tells that it was so.
- An event's name is handed on where it says what the data does not: an `error` whose body is flat, or a type that
  the data leaves out. Its `data` then has the `event:` line ahead of it (`named`, read again by `split_name`), so
  that a chunk stays one piece of bytes, and all that the provider sent.

How it is done: every line ending is made an LF first, over the whole piece; a CR at the end of a piece
ends its line at once, and an LF that opens the next piece then belongs to it. Lines are split by the
C library; what remains is one step a line. A line in many pieces is kept as a list of them and joined
once, so a long line costs no more than its length. Nothing is decoded: UTF-8 never has these bytes
inside a character, so a cut in a character does no harm.
"""

from __future__ import annotations

from typing import NamedTuple

from actors.errors import ChunkTooLarge
from actors.providers.bare_json import BareJson, is_json, may_begin

_BOM = b"\xef\xbb\xbf"
_SHOWN_BYTES = 80
_TEXT_BYTES_MAX = 300
EVENT_BYTES_MAX = 4 * 1024 * 1024

_NAME = b"event: "
_DONE = b"[DONE]"
# What some put ahead of each event: space, a byte-order mark, a record separator (RFC 7464).
_AHEAD = b" \t\x1e" + _BOM
_FIELDS = frozenset({b"data", b"event", b"id", b"retry"})
_PINGS = frozenset({"ping", "keepalive", "keep-alive", "keep_alive", "heartbeat"})
ERROR_NAMES = frozenset({"error", "exception", "err", "fatal"})
# Names by which APIs tell their events apart, for servers that leave the same word out of the data.
_TYPES = frozenset(
    {
        "message_start",
        "message_delta",
        "message_stop",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
    }
)


class SseEvent(NamedTuple):
    """One event. `event` is None where the stream did not name it; `id` is the last one it gave, if any.

    `data` is what is published as a chunk: the event's data, with its name ahead where only that tells what it is.
    """

    event: str | None
    data: bytes
    id: str | None = None


def named(name: str, data: bytes) -> bytes:
    """Return an event's data, with its name ahead of it where the data does not say what the name says."""
    if name in ERROR_NAMES:
        return data if b'"error"' in data else _NAME + name.encode() + b"\n" + data
    if (name in _TYPES or name.startswith("response.")) and f'"{name}"'.encode() not in data:
        return _NAME + name.encode() + b"\n" + data
    return data


def split_name(payload: bytes) -> tuple[str | None, bytes]:
    """Return the name that stands ahead of a chunk's data (None: none does), and the data."""
    if not payload.startswith(_NAME):
        return None, payload
    line, _, data = payload.partition(b"\n")
    return line[len(_NAME) :].decode("utf-8", "replace"), data


class SseDecoder:
    """Decodes one stream. `comments` counts the comment lines so far; they are keepalives and no events.

    `event_bytes_max` bounds each line and the data of each event, and so the memory held here.
    """

    __slots__ = (
        "_after_cr",
        "_bare",
        "_data",
        "_data_bytes",
        "_error",
        "_event",
        "_event_bytes_max",
        "_has_events",
        "_head",
        "_id",
        "_is_done",
        "_name_is_next",
        "_tail",
        "_tail_bytes",
        "_text",
        "comments",
        "is_text",
    )

    def __init__(self, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self.comments: int = 0
        self._event_bytes_max = event_bytes_max
        self._head: bytes | None = b""  # what may yet be the byte-order mark; None once that is settled
        self._after_cr = False
        self._tail: list[bytes] = []  # the pieces of the line that is not ended yet
        self._tail_bytes = 0
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._event: str | None = None
        self._name_is_next = False  # the name came behind data, and may be that of the next event
        self._id: str | None = None
        self._bare = BareJson()
        self._text = b""  # lines since the last event that are no SSE
        self._has_events = self._is_done = False
        self.is_text: bool = False
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
        """Return the event that the end of the stream cut off before its blank line, and what was no event at all."""
        if self._error is not None:
            raise self._error
        events: list[SseEvent] = []
        line = self._joined(b"")
        if line:
            self._line(line, events)
        self._dispatch(events)
        if self._bare.is_open:
            rest = self._bare.rest()
            if self._has_events:
                self._emit(None, rest, events)
            else:
                self._text = rest[:_TEXT_BYTES_MAX]  # it only looked like JSON
        text, self._text = self._text.strip(), b""
        if text and not self._is_done:
            self.is_text = not self._has_events
            self._emit(None, text, events)
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
        if line.startswith(b"data:"):
            if self._data or self._bare.is_open:
                self._begin(events)
            self._add(line[6:] if line.startswith(b"data: ") else line[5:])
        elif not line:
            self._dispatch(events)
        elif line.startswith(b":"):
            self.comments += 1
        elif self._bare.is_open or (not self._data and may_begin(line)):
            self._json_line(line, events)
        else:
            self._field(line, events)

    def _field(self, line: bytes, events: list[SseEvent]) -> None:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._add(value)
        elif field == b"event":
            if self._data and self._event is not None:
                self._begin(events)
            self._name_is_next = bool(self._data)
            self._event = value.decode("utf-8", "replace") or None
        elif field == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace") or None
        elif field == b"error" and value:
            self._dispatch(events)
            self._event = "error"
            self._add(value)
        elif line.strip() == _DONE:
            self._emit(None, _DONE, events)
        elif field not in _FIELDS:
            self._no_field(line, events)

    def _no_field(self, line: bytes, events: list[SseEvent]) -> None:
        """Take a line that begins with no field's name: after all one that is only dressed up, or text."""
        bare = line.lstrip(_AHEAD)
        if bare[:5].lower() == b"data:" and (may_begin(bare[5:]) or bare[5:].strip() == _DONE):
            self._line(b"data:" + bare[5:], events)
        elif bare != line and may_begin(bare):
            self._line(bare, events)
        elif len(self._text) < _TEXT_BYTES_MAX:
            self._text += line[:_TEXT_BYTES_MAX] + b"\n"

    def _json_line(self, line: bytes, events: list[SseEvent]) -> None:
        if line.startswith(b"event:"):
            self._emit(None, self._bare.rest(), events)
            self._field(line, events)
            return
        for document in self._bare.feed(line):
            name, self._event = self._event, None
            self._emit(name, document, events)
        if self._bare.size > self._event_bytes_max:
            raise self._too_large(self._bare.rest())

    def _begin(self, events: list[SseEvent]) -> None:
        """Dispatch what is complete ahead of a line that can only begin another event."""
        if self._bare.is_open:
            self._emit(None, self._bare.rest(), events)
        elif len(self._data) == 1 and (self._data[0] == _DONE or is_json(self._data[0])):
            name = self._event if self._name_is_next else None
            if self._name_is_next:
                self._event = None
            self._dispatch(events)
            self._event = name

    def _add(self, value: bytes) -> None:
        self._data.append(value)
        self._data_bytes += len(value) + 1
        if self._data_bytes - 1 > self._event_bytes_max:
            raise self._too_large(self._data[0])

    def _dispatch(self, events: list[SseEvent]) -> None:
        if self._data:
            self._emit(self._event, self._data[0] if len(self._data) == 1 else b"\n".join(self._data), events)
            self._data.clear()
            self._data_bytes = 0
        self._event = None
        self._name_is_next = False

    def _emit(self, name: str | None, data: bytes, events: list[SseEvent]) -> None:
        if not data or (name in _PINGS and b'"type"' not in data):
            self.comments += 1
            return
        self._has_events = True
        self._is_done = data == _DONE
        self._text = b""
        events.append(SseEvent(name, data if name is None else named(name, data), self._id))

    def _too_large(self, start: bytes) -> ChunkTooLarge:
        self._tail.clear()
        self._data.clear()
        self._bare.rest()
        return ChunkTooLarge(
            f"an event of the stream is over {self._event_bytes_max} bytes; it starts with {start[:_SHOWN_BYTES]!r}; "
            "raise chunk_bytes_max if the provider means it"
        )
