"""Items: what a publisher says. The bytes of one provider chunk, or a record of the agent loop.

A record item is `[kind, part, place]`. `part` is packed once, in the call of whoever publishes it, so
that both ends know its size without packing it again: records obey credit and every bound just as
chunks do. A body of more than `RECORD_PART_BYTES_MAX` is cut into several items, each with a number
(`seq`) of its own, so that a large record leaves the lane to others between its parts. The session
puts them together again (`RecordParts`).

A record that is begun and not gone on with is dropped: its publisher gave it up in the middle, or
died and another one has taken the request over. Items are numbered, so no part can be missing for any
other reason.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Any, NamedTuple

import msgpack

from actors.errors import InvalidRecord, MessageTooLarge, ProtocolViolation
from actors.protocol.frames import checked, unpack

Item = bytes | list[Any]
"""One provider chunk, or the parts of a `RecordItem`."""

RECORD_PART_BYTES_MAX = 64 * 1024
"""A part fits inside a Ray call, and takes as much of a lane's call as one source may in its turns."""


class Place(IntFlag):
    """Where a part stands in its record; a record of one part is both first and last."""

    FIRST = 1
    LAST = 2
    WHOLE = 3


class RecordItem(NamedTuple):
    """A record of the agent loop, or a part of one."""

    kind: str
    """step_start, message, step_end, tool_running, finish or fail."""
    part: bytes
    """The packed body, or what is next of it."""
    place: int
    """A `Place`."""


def item_bytes(item: Item) -> int:
    """Return what an item counts for in credit, in whatever is bounded by bytes, and on both ends alike."""
    return len(item) if isinstance(item, bytes) else len(item[1])


def waits_for_credit(item: Item) -> bool:
    """Whether an item is let go only with credit: chunks and messages are; a message once begun, steps and ends not."""
    if isinstance(item, bytes):
        return True
    kind, _, place = item
    return bool(kind == "message" and place & Place.FIRST)


def pack_body(kind: str, body: dict[str, Any]) -> bytes:
    """Return a record's body as bytes. Raises InvalidRecord for what cannot be packed."""
    try:
        packed: bytes = msgpack.packb(body)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidRecord(
            f"the body of a {kind} record is made of mappings, lists, text, numbers, booleans and None: {error}"
        ) from error
    return packed


def cut_record(kind: str, body_packed: bytes, part_bytes_max: int = RECORD_PART_BYTES_MAX) -> list[Item]:
    """Return a record as items, in order: one, or as many as its size wants."""
    if len(body_packed) <= part_bytes_max:
        return [[kind, body_packed, int(Place.WHOLE)]]
    items: list[Item] = []
    for at in range(0, len(body_packed), part_bytes_max):
        place = Place(0)
        if at == 0:
            place |= Place.FIRST
        if at + part_bytes_max >= len(body_packed):
            place |= Place.LAST
        items.append([kind, body_packed[at : at + part_bytes_max], int(place)])
    return items


def record_bytes_max(kind: str, message_bytes_max: int) -> int:
    """Return how large a record may be: the bound is meant for messages, and an end must be possible in any case."""
    return message_bytes_max if kind == "message" else max(message_bytes_max, RECORD_PART_BYTES_MAX)


class RecordParts:
    """Puts the parts of a record together."""

    __slots__ = ("_bytes_max", "_kind", "_parts", "held_bytes")

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._kind = ""
        self._parts: list[bytes] = []
        self.held_bytes: int = 0
        """The bytes of the record that is begun and not whole yet."""

    def take(self, parts: Any) -> tuple[str, dict[str, Any]] | None:
        """Take a record item; return (kind, body) once the record is whole.

        Raises ProtocolViolation (no record item, a part without those before it, a body that is no
        mapping), MessageTooLarge.
        """
        item = checked(RecordItem, parts)
        place = item.place
        if place & Place.FIRST:
            self.drop()
            self._kind = item.kind
        elif not self._parts or self._kind != item.kind:
            raise ProtocolViolation(f"a later part of a {item.kind[:40]!r} record whose beginning has not come")
        self.held_bytes += len(item.part)
        bytes_max = record_bytes_max(item.kind, self._bytes_max)
        if self.held_bytes > bytes_max:
            self.drop()
            raise MessageTooLarge(f"a {item.kind[:40]!r} record of more than {bytes_max} bytes; see message_bytes_max")
        self._parts.append(item.part)
        if not place & Place.LAST:
            return None
        packed = b"".join(self._parts)
        self.drop()
        body = unpack(packed)
        if body.__class__ is not dict:
            raise ProtocolViolation(f"the body of a {item.kind[:40]!r} record is a mapping, not {str(body)[:80]!r}")
        return item.kind, body

    def drop(self) -> None:
        """Forget a record that is begun and not whole."""
        self._parts = []
        self.held_bytes = 0
