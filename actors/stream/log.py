"""A request's messages in order: the log.

Theory. The log is a row of pieces numbered from 1 (`seq_id`). Neighbouring pieces of one message
stand together in a segment, under their common head. Four positions move along the row, each only
forward:

    dropped_through <= released <= visible_through <= last_seq
        |                 |              |               '- what was appended
        |                 |              '- what readers may see: all but a terminal that no second
        |                 |                 process has stored yet (see `session.py`)
        |                 '- what every attached reader has consumed; beyond it lies `unread_bytes`,
        |                    which is what the producer's credit is measured by
        '- what retention or `drop_oldest` threw away; a reader from before it gets an explicit gap

A segment is bounded (`SEGMENT_COST_BYTES_MAX`): a long message stands in several. So no step (a read,
a compaction, a drop) costs more than what it moves, however long a message is.

Reading destroys nothing. What lies behind `released` is compacted: the pieces of a segment become
one text and their lengths, from which any slice can be had again, so that a cursor in the middle
of a message stays valid and a late reader gets the same pieces as an early one.

Pure: no Ray, no clock, no pydantic.
"""

from __future__ import annotations

import operator
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgpack

from actors.errors import ProtocolViolation
from actors.messages import Head, MessagePiece
from actors.protocol.segments import NO_TEXT, Fields, Piece, pack_log

# What a piece costs in memory beside its characters: a str object, its place in a list.
PIECE_OVERHEAD_BYTES = 64
# What is read at once where the reader does not say.
READ_BYTES_MAX = 64 * 1024
# A message that costs more goes on in a further segment.
SEGMENT_COST_BYTES_MAX = 64 * 1024
Extra = dict[int, Fields]
# What a loose segment has in the place of what it gets when it is compacted; shared, and never written to.
_NO_LENGTHS: array[int] = array("I")
_NO_EXTRAS: Extra = {}
_first_of = operator.attrgetter("first")


def _cost(text: str | None) -> int:
    if text is None:
        return PIECE_OVERHEAD_BYTES
    return (len(text) if text.isascii() else 3 * len(text)) + PIECE_OVERHEAD_BYTES


def _cost_of_row(pieces: Sequence[Piece]) -> int:
    try:
        text = "".join(pieces)  # type: ignore[arg-type]  # where not, the error says so
    except TypeError:
        text = None
    if text is not None and text.isascii():
        return len(text) + PIECE_OVERHEAD_BYTES * len(pieces)
    return sum(_cost(_text_of(piece)) for piece in pieces)


def _text_of(piece: Piece) -> str | None:
    return piece[0] if isinstance(piece, tuple) else piece


class Segment:
    """Neighbouring pieces of one message. Loose (a list of pieces) or compacted (one text)."""

    __slots__ = ("costs_bytes", "extras", "first", "head", "lengths", "pieces", "text")

    def __init__(self, head: Head, first: int) -> None:
        self.head: Head = head
        self.first: int = first
        self.pieces: list[Piece] | None = []
        self.costs_bytes: int = 0
        self.text: str = ""
        self.lengths: array[int] = _NO_LENGTHS
        self.extras: Extra = _NO_EXTRAS

    def __len__(self) -> int:
        return len(self.lengths) if self.pieces is None else len(self.pieces)

    @property
    def last(self) -> int:
        """The seq_id of the last piece."""
        return self.first + len(self) - 1

    def compact(self) -> int:
        """Join the pieces; return how many bytes that freed."""
        if self.pieces is None:
            return 0
        try:
            self.text = "".join(self.pieces)  # type: ignore[arg-type]  # where not, the error says so
            self.lengths = array("I", map(len, self.pieces))  # type: ignore[arg-type]
        except TypeError:
            self._compact_one_by_one(self.pieces)
        self.pieces = None
        before = self.costs_bytes
        self.costs_bytes = _cost(self.text) + 4 * len(self.lengths) + PIECE_OVERHEAD_BYTES * len(self.extras)
        return before - self.costs_bytes

    def _compact_one_by_one(self, pieces: list[Piece]) -> None:
        texts: list[str] = []
        self.lengths, self.extras = array("I"), {}
        for index, piece in enumerate(pieces):
            text = piece
            if isinstance(piece, tuple):
                text = piece[0]
                self.extras[index] = piece[1]
            if text is None:
                self.lengths.append(NO_TEXT)
            else:
                texts.append(text)  # type: ignore[arg-type]  # a tuple was taken apart above
                self.lengths.append(len(text))
        self.text = "".join(texts)

    def cost_of(self, index: int) -> int:
        """Return what one piece counts for in an answer."""
        if self.pieces is not None:
            return _cost(_text_of(self.pieces[index]))
        length = self.lengths[index]
        return PIECE_OVERHEAD_BYTES + (0 if length == NO_TEXT else length)

    def cut_front(self, count_max: int, bytes_min: int) -> int:
        """Drop pieces from the front, `count_max` at most, until `bytes_min` are freed; return the bytes."""
        freed = 0
        count = 0
        if self.pieces is not None:
            while count < count_max and freed < bytes_min:
                freed += _cost(_text_of(self.pieces[count]))
                count += 1
            del self.pieces[:count]
        else:
            characters = 0
            while count < count_max and freed < bytes_min:
                length = self.lengths[count]
                characters += 0 if length == NO_TEXT else length
                freed += 4 + (0 if length == NO_TEXT else length)
                count += 1
            self.text = self.text[characters:]
            del self.lengths[:count]
            self.extras = {i - count: extra for i, extra in self.extras.items() if i >= count}
        self.first += count
        self.costs_bytes -= freed
        return freed

    def extra_of_first(self) -> dict[str, Any]:
        """Return the extra fields of the first piece."""
        if self.pieces is None:
            return self.extras.get(0, {})
        first = self.pieces[0]
        return first[1] if isinstance(first, tuple) else {}

    def packable(self, start: int, stop: int, known: Head | None = None) -> list[Any]:
        """Return pieces `start` to `stop` (indexes) in the form that `protocol.segments` defines.

        The fields of the message whose head is `known` are left out.
        """
        fields = None if self.head is known else self.head.fields
        if self.pieces is not None:
            return [self.first + start, fields, self.pieces[start:stop]]
        lengths = self.lengths
        begin = sum(length for length in lengths[:start] if length != NO_TEXT)
        end = begin + sum(length for length in lengths[start:stop] if length != NO_TEXT)
        extras = {i - start: extra for i, extra in self.extras.items() if start <= i < stop}
        return [self.first + start, fields, self.text[begin:end], lengths[start:stop].tolist(), extras]


class Reading(NamedTuple):
    """What a read found: segments (see `protocol.segments`), how far they reach, and what is missing before.

    `head` is that of the message that was read last; None: nothing was.
    """

    segments: list[list[Any]]
    last_seq: int
    cost_bytes: int
    head: Head | None
    gap: tuple[int, int] | None = None


# See `messages.new_piece`.
_new_reading: Callable[[tuple[Any, ...]], Reading] = partial(tuple.__new__, Reading)


class Log:
    """The messages of one request. All sizes in bytes, all positions are seq_ids (0: nothing yet)."""

    __slots__ = (
        "_segments",
        "bytes_held",
        "dropped_through",
        "last_seq",
        "released",
        "unread_bytes",
    )

    def __init__(self) -> None:
        self._segments: list[Segment] = []
        self.last_seq: int = 0
        self.released: int = 0
        self.dropped_through: int = 0
        self.bytes_held: int = 0
        self.unread_bytes: int = 0

    def append(self, pieces: Sequence[MessagePiece]) -> int:
        """Append pieces in order; return the seq_id of the last one."""
        segments = self._segments
        segment = segments[-1] if segments else None
        added = 0
        for head, text, extra in pieces:
            if (
                segment is None
                or segment.head is not head
                or segment.pieces is None
                or segment.costs_bytes > SEGMENT_COST_BYTES_MAX
            ):
                segment = Segment(head, self.last_seq + 1)
                segments.append(segment)
                added += head.packed_bytes
                segment.costs_bytes = head.packed_bytes
            row: list[Piece] = segment.pieces  # type: ignore[assignment]  # loose: checked above
            row.append(text if extra is None else (text, extra))
            cost = (
                PIECE_OVERHEAD_BYTES
                if text is None
                else (len(text) if text.isascii() else 3 * len(text)) + PIECE_OVERHEAD_BYTES
            )
            segment.costs_bytes += cost
            added += cost
            self.last_seq += 1
        self.bytes_held += added
        self.unread_bytes += added
        return self.last_seq

    def _at(self, seq_id: int) -> int:
        """Return the index of the segment that a message stands in, or would."""
        return max(bisect_right(self._segments, seq_id, key=_first_of) - 1, 0)

    def newest(self, kind: str, segments_max: int) -> Fields | None:
        """Return the fields of the newest message of a kind, if it is in one of the last segments."""
        newest = (segment.head for segment in reversed(self._segments[-segments_max:]))
        return next((head.fields for head in newest if head.kind == kind), None)

    def read(
        self, after: int, *, through: int, bytes_max: int, pieces_max: int = 1 << 30, known: Head | None = None
    ) -> Reading:
        """Return what comes after `after`, at most about `bytes_max`, never beyond `through`.

        At least one piece comes if there is one. Where the log no longer holds what comes next,
        `gap` says (first, last) of what is missing and the segments begin behind it. `known` is the head of the
        message that was read last: what goes on with a message comes without its fields.
        """
        newest = self._segments[-1] if self._segments else None
        count = through - after
        if (
            newest is not None
            and newest.pieces is not None
            and newest.first <= after + 1
            and through == self.last_seq
            and 0 < count <= pieces_max
            and (least := count * PIECE_OVERHEAD_BYTES) <= bytes_max
        ):
            # The rest of the newest segment, as where a reader follows: nothing to look for, and mostly texts alone.
            head = newest.head
            row = newest.pieces[-count:]
            try:
                text = "".join(row)  # type: ignore[arg-type]  # where not, the error says so
            except TypeError:
                return self._read_on(after, through, bytes_max, pieces_max, known)
            if newest.first <= after:
                used = least + head.packed_bytes + (len(text) if text.isascii() else 3 * len(text))
            else:
                used = newest.costs_bytes
            if used <= bytes_max:
                fields = None if head is known else head.fields
                return _new_reading(([[after + 1, fields, row]], through, used, head, None))
        return self._read_on(after, through, bytes_max, pieces_max, known)

    def _read_on(self, after: int, through: int, bytes_max: int, pieces_max: int, known: Head | None) -> Reading:
        """Read as `read` does, wherever that is and however much."""
        segments = self._segments
        gap = None
        if after < self.dropped_through:
            gap = (after + 1, self.dropped_through)
            after = self.dropped_through
        found: list[list[Any]] = []
        last = after
        room = bytes_max
        left = pieces_max
        at = self._at(after + 1)
        while at < len(segments) and last < through and room > 0 and left > 0:
            segment = segments[at]
            start = last + 1 - segment.first
            stop = min(len(segment), through + 1 - segment.first, start + left)
            stop, used = self._fit(segment, start, stop, room)
            if stop > start:
                found.append(segment.packable(start, stop, known))
                known = segment.head
                left -= stop - start
                last = segment.first + stop - 1
                room -= used
            at += 1
        return Reading(found, last, bytes_max - room, known, gap)

    def since(self, after: int) -> Iterator[Segment]:
        """Yield the segments that reach beyond a position."""
        at = self._at(after + 1)
        return (segment for segment in self._segments[at:] if segment.last > after)

    @staticmethod
    def _fit(segment: Segment, start: int, stop: int, room: int) -> tuple[int, int]:
        # What is read whole has its cost written on it; a plain row of texts is as long as it is joined.
        if start == 0 and stop == len(segment) and segment.costs_bytes <= room:
            return stop, segment.costs_bytes
        # No piece costs less than this: what cannot fit is not looked at.
        stop = min(stop, start + room // PIECE_OVERHEAD_BYTES + 1)
        used = segment.head.packed_bytes
        if segment.pieces is not None:
            try:
                text = "".join(segment.pieces[start:stop])  # type: ignore[arg-type]  # where not, the error says so
            except TypeError:
                text = None
            if text is not None:
                whole = used + _cost(text) + PIECE_OVERHEAD_BYTES * (stop - start - 1)
                if whole <= room:
                    return stop, whole
        for index in range(start, stop):
            used += segment.cost_of(index)
            if used > room:
                return max(index, start + 1), used
        return stop, used

    def release(self, through: int) -> None:
        """Note that every attached reader has consumed all up to `through`."""
        last = self.last_seq
        if through > last:
            through = last
        if through <= self.released:
            return
        if through == last:
            self.unread_bytes = 0
        else:
            self.unread_bytes -= min(self._bytes_between(self.released, through), self.unread_bytes)
        self.released = through
        if len(self._segments) > 1:  # the last one stays as it is
            self._compact(through)

    def _bytes_between(self, after: int, through: int) -> int:
        total = 0
        at = self._at(after + 1)
        segments = self._segments
        while at < len(segments) and segments[at].first <= through:
            segment = segments[at]
            at += 1
            start = max(after + 1 - segment.first, 0)
            stop = min(len(segment), through + 1 - segment.first)
            if start == 0 and stop == len(segment):
                total += segment.costs_bytes
            elif segment.pieces is not None:
                total += _cost_of_row(segment.pieces[start:stop])
        return total

    def _compact(self, through: int) -> None:
        segments = self._segments
        # The last segment may still grow, so it stays loose until something follows it. What is compacted stands in
        # front of all that is not.
        at = (len(segments) - 1 if segments[-1].first <= through + 1 else self._at(through + 1)) - 1
        while at >= 0 and segments[at].pieces is not None:
            self.bytes_held -= segments[at].compact()
            at -= 1

    def compact_all(self) -> None:
        """Compact everything, the last segment too: the log has ended."""
        for segment in self._segments:
            self.bytes_held -= segment.compact()

    def drop(self, bytes_max: int, *, through: int) -> int:
        """Drop the oldest messages until at most `bytes_max` are held; none beyond `through`.

        One that stands in several segments, and the newest, may be dropped in part. Returns the bytes
        dropped; what is dropped counts as released.
        """
        dropped = 0
        gone = 0
        last = self.dropped_through
        segments = self._segments
        for at, segment in enumerate(segments):
            surplus = self.bytes_held - dropped - bytes_max
            if surplus <= 0 or segment.first > through:
                break
            is_newest = at == len(segments) - 1
            goes_on = not is_newest and segments[at + 1].head is segment.head
            if segment.last <= through and not is_newest and not (goes_on and segment.costs_bytes > surplus):
                dropped += segment.costs_bytes
                gone += 1
                last = segment.last
                continue
            freed = segment.cut_front(min(through + 1 - segment.first, len(segment) - 1), surplus)
            dropped += freed
            last = segment.first - 1 if freed else last
            break
        if dropped:
            self.bytes_held -= dropped
            del self._segments[:gone]
            self.dropped_through = last
            if last > self.released:
                self.released = last
                self.unread_bytes = self._bytes_between(last, self.last_seq)
        return dropped

    # --- as one block of bytes --------------------------------------------------------------

    def pack(self) -> bytes:
        """Return the whole log, compacted, as bytes that `unpack` restores."""
        self.compact_all()
        segments = [segment.packable(0, len(segment)) for segment in self._segments]
        return pack_log(self.dropped_through, self.last_seq, self.released, segments)

    @classmethod
    def unpack(cls, data: bytes) -> Log:
        """Restore what `pack` gave. Raises ProtocolViolation for anything else."""
        try:
            *positions, segments = msgpack.unpackb(data, strict_map_key=False)
            dropped_through, last_seq, released = map(operator.index, positions)
            log = cls()
            log.dropped_through = dropped_through
            log.released = released
            for first, fields, text, lengths, extras in segments:
                head = Head(fields.pop("message_type"), fields)
                segment = Segment(head, first)
                segment.pieces = None
                segment.text = text
                segment.lengths = array("I", lengths)
                segment.extras = extras
                segment.costs_bytes = _cost(text) + 4 * len(lengths) + head.packed_bytes
                log._segments.append(segment)
                log.bytes_held += segment.costs_bytes
            log.last_seq = last_seq
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, msgpack.UnpackException) as error:
            raise ProtocolViolation(f"a packed log of {len(data)} bytes cannot be read: {error}") from error
        return log
