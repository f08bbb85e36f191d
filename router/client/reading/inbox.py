"""The reading end of one request: cursor, duplicates, gaps, pieces put together again. Pure.

What comes from a stream actor is believed only as far as it continues the cursor: pieces at or
before it are duplicates (after a crash, a new session gives the same pieces the same numbers),
pieces beyond the next one would be a hole, and a hole that the log does not explain is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from sys import intern
from typing import Any

from actors.errors import ProtocolViolation
from actors.protocol.frames import pack, unpack
from actors.protocol.segments import LOOSE_PARTS, Fields, Piece, read_segment

TERMINAL_KIND = "stop_reason"
# The names of most messages' fields; neither they nor the last one's value are packed with the others.
_USUAL_NAMES = ("message_type", "id", "date", "name", "otid", "sender_id", "run_id")

Segment = tuple[int, Fields, list[Piece]]
"""A segment that was taken apart: seq_id of its first piece, fields, pieces."""


class Cursor:
    """Where one reader of one request stands: `last_seq_id` is the last message it was given."""

    __slots__ = ("_fields", "_run_id", "ended", "last_seq_id", "stop_reason")

    def __init__(self, after: int, run_id: str = "") -> None:
        """`run_id`: what its messages bear, if that is known."""
        self._run_id = run_id
        self.last_seq_id: int = after
        self.ended: bool = False
        self.stop_reason: str | None = None
        # Of the message that the last piece taken belongs to: an answer that goes on with it leaves them out. Packed
        # while this rests.
        self._fields: Fields | bytes | None = None

    @property
    def has_begun(self) -> bool:
        """Whether it was given any message yet."""
        return self._fields is not None

    def take(self, segments: Sequence[Sequence[Any]], gap: Sequence[int] | None) -> list[Segment]:
        """Return what is new, in order, and move on. Raises ProtocolViolation for an unexplained hole."""
        if gap is not None and gap[1] > self.last_seq_id:
            self.last_seq_id = gap[1]
        if gap is None and len(segments) == 1 and len(segments[0]) == LOOSE_PARTS:
            first, known, pieces = segments[0]
            fields = self._fields
            if known is None and first == self.last_seq_id + 1 and pieces and fields.__class__ is dict:
                # More of the message that came last, as nearly all that comes.
                self.last_seq_id += len(pieces)
                return [(first, fields, pieces)]
        found: list[Segment] = []
        shift = 0
        for segment in segments:
            first, fields, pieces = read_segment(segment)
            fields = self._known_fields(first) if fields is None else self._shared(fields)
            is_terminal = fields.get("message_type") == TERMINAL_KIND
            if is_terminal and first <= self.last_seq_id and self.stop_reason is None:
                # After several deaths at once a request may end where its survivors believed it stood, before
                # what this reader has had; the terminal must still be the last it sees.
                shift = self.last_seq_id + 1 - first
            first += shift
            skip = self.last_seq_id + 1 - first
            if skip < 0:
                raise ProtocolViolation(
                    f"messages {self.last_seq_id + 1} to {first - 1} are missing and the log does not say why"
                )
            if skip >= len(pieces):
                continue
            self._fields = fields
            found.append((first + skip, fields, pieces[skip:] if skip else pieces))
            self.last_seq_id = first + len(pieces) - 1
            if is_terminal:
                self.stop_reason = fields.get("stop_reason")
        return found

    def _shared(self, fields: Fields) -> Fields:
        """Let the fields of a message share the texts that others have, too: a reader keeps them until the next."""
        for name in ("message_type", "date"):
            if fields.get(name).__class__ is str:
                fields[name] = intern(fields[name])
        if fields.get("run_id") == self._run_id:
            fields["run_id"] = self._run_id
        return fields

    def _known_fields(self, first: int) -> Fields:
        fields = self._fields
        if fields is None:
            raise ProtocolViolation(f"message {first} is said to go on with one that never came")
        return self._shared(self._unpacked(fields)) if isinstance(fields, bytes) else fields

    def rest(self) -> None:
        """Take half the room until more comes."""
        fields = self._fields
        if isinstance(fields, dict):
            is_usual = tuple(fields) == _USUAL_NAMES and fields["run_id"] == self._run_id
            self._fields = pack([*fields.values()][:-1] if is_usual else fields)

    def _unpacked(self, packed: bytes) -> Fields:
        """Return what `rest` has packed."""
        fields: Fields | list[Any] = unpack(packed)
        return dict(zip(_USUAL_NAMES, [*fields, self._run_id], strict=True)) if isinstance(fields, list) else fields


def split(piece: Piece) -> tuple[str | None, Fields | None]:
    """Return a piece's text and extra fields."""
    return (piece[0], piece[1]) if isinstance(piece, (tuple, list)) else (piece, None)


def joined(segments: Sequence[Segment]) -> Iterator[tuple[int, Fields, str | None, Fields | None]]:
    """Join each segment, and neighbouring ones of one message: (seq_id of its last piece, fields, text, extra)."""
    fields: Fields | None = None
    texts: list[str] = []
    extra: Fields = {}
    last = 0
    for first, its_fields, pieces in segments:
        if fields is not None and its_fields != fields:
            yield last, fields, "".join(texts) if texts else None, extra or None
            texts, extra = [], {}
        fields = its_fields
        for piece in pieces:
            text, more = split(piece)
            if text is not None:
                texts.append(text)
            if more:
                extra = {**extra, **more}
        last = first + len(pieces) - 1
    if fields is not None:
        yield last, fields, "".join(texts) if texts else None, extra or None
