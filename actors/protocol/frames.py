"""The frames that cross processes: msgpack only, bounded, never pickle.

A frame is one argument or one result of a Ray call. Its parts are tuples with fixed places, named
here once; nothing else in the product packs or unpacks them. `unpack` refuses what is too large,
too deep, cut short or of another shape by raising ProtocolViolation, so that a caller who lies can
harm nobody.

Envelopes go from router to stream actor, reports come back:

    envelope  (DATA,    request_id, epoch, first_seq, blob)        blob: a packed list of items
              (OPEN,    request_id, epoch, settings, publisher_id, date, age_s, released, start_seq,
                        replay_through)
              (END,     request_id, epoch, stop_reason, detail, after_seq)
              (CANCEL_AFTER_STEP, request_id, epoch)
              (STORED,  request_id, epoch)                         the router holds the sealed log
              (RESTORE, request_id, epoch, stop_reason, log, ttl_s) a sealed log for a new actor
              (FORGET,  request_id, epoch)
    item      bytes: one provider chunk;  [kind, body]: a record (`records.py`)
    report    see `Report`
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import msgpack

from actors.errors import ProtocolViolation

FRAME_BYTES_MAX = 512 * 1024 * 1024
"""No frame may be larger; a whole sealed log must fit."""

# Ray carries arguments of up to 100 KB inside the call, many of them if need be; a larger one goes
# through its object store, which costs more than a whole call of several small arguments.
ARGUMENT_BYTES_MAX = 96 * 1024
# What an envelope adds to a frame beside its blob; those without one are settings and small words.
ENVELOPE_BYTES = 128
ENVELOPE_WITHOUT_BLOB_BYTES = 1536
BLOB_AT = 4

DATA, OPEN, END, CANCEL_AFTER_STEP, STORED, RESTORE, FORGET = range(7)

Item = bytes | list[Any]
Envelope = tuple[Any, ...]


class Phase:
    """Where a session stands, as a report says it (small numbers: they cross in every report)."""

    OPEN = 0
    SEALED = 1
    UNKNOWN = 2
    GAP = 3


class Report(NamedTuple):
    """What a stream actor says of one session. Level, not edge: a later one replaces an earlier one.

    `next_seq`: the item wanted next. `last_seq_id`: the newest message. `released`: consumed by
    every attached reader. `credit_bytes`: how many bytes of items the publisher may have sent in
    all, `received_bytes` how many have come. `stop_reason` and `log` only when sealed; `log` until the
    router has said STORED.
    """

    request_id: str
    epoch: int
    phase: int
    next_seq: int = 1
    last_seq_id: int = 0
    released: int = 0
    credit_bytes: int = 0
    stop_reason: str | None = None
    log: bytes | None = None
    received_bytes: int = 0

    @classmethod
    def checked(cls, parts: Any) -> Report:
        """Return the report that came as these parts. Raises ProtocolViolation for what is not one."""
        return cls(*_checked("a report", parts, _REPORT))


class Registration(NamedTuple):
    """What a publisher says to open a request, or to take it up again with a router that may not know it.

    `epoch`, `sent_seq`, `start_seq` and `cancel` are its own knowledge then; an `epoch` of 0 means it is new.
    """

    request_id: str
    settings_packed: bytes
    date: str
    agent_id: str | None
    take_over: bool
    epoch: int
    sent_seq: int
    start_seq: int
    cancel: str | None

    @classmethod
    def checked(cls, parts: Any) -> Registration:
        """Return the registration that came as these parts. Raises ProtocolViolation for what is not one."""
        return cls(*_checked("a registration", parts, _REGISTRATION))


_REPORT = (str, int, int, int, int, int, int, str | None, bytes | None, int)
_REGISTRATION = (str, bytes, str, str | None, bool, int, int, int, str | None)


def _checked(what: str, parts: Any, kinds: Sequence[Any]) -> Sequence[Any]:
    if parts.__class__ not in (list, tuple, Report) or len(parts) != len(kinds):
        raise ProtocolViolation(f"{what} has {len(kinds)} parts; this is {str(parts)[:80]!r}")
    for part, kind in zip(parts, kinds, strict=True):
        if not isinstance(part, kind):
            raise ProtocolViolation(f"{what} with {str(part)[:40]!r} where {kind} belongs: {str(parts)[:80]!r}")
    return cast("Sequence[Any]", parts)


def pack(value: Any) -> bytes:
    """Pack a value of plain types."""
    packed: bytes = msgpack.packb(value)
    return packed


def frames(envelopes: Sequence[Envelope]) -> list[bytes]:
    """Return envelopes, in order, as frames that each fit inside a Ray call, unless one alone is larger.

    An envelope's fifth part is its blob, if it has one.
    """
    found: list[bytes] = []
    begin = size = 0
    for at, envelope in enumerate(envelopes):
        blob = envelope[BLOB_AT] if len(envelope) > BLOB_AT else None
        more = ENVELOPE_BYTES + len(blob) if blob.__class__ is bytes else ENVELOPE_WITHOUT_BLOB_BYTES
        if size + more > ARGUMENT_BYTES_MAX and at > begin:
            found.append(pack(envelopes[begin:at]))
            begin, size = at, 0
        size += more
    found.append(pack(envelopes[begin:]))
    return found


def unpack(frame: bytes) -> Any:
    """Unpack a frame. Raises ProtocolViolation for what is not one."""
    if not isinstance(frame, bytes):
        raise ProtocolViolation(f"a frame is bytes, this one {type(frame).__name__}")
    if len(frame) > FRAME_BYTES_MAX:
        raise ProtocolViolation(f"a frame of {len(frame)} bytes; the most allowed is {FRAME_BYTES_MAX}")
    try:
        return msgpack.unpackb(frame, strict_map_key=False, use_list=True)
    except (ValueError, TypeError, ArithmeticError, msgpack.UnpackException, RecursionError) as error:
        raise ProtocolViolation(f"a frame of {len(frame)} bytes cannot be read: {error}") from error


def unpack_list(frame: bytes, parts: int | None = None) -> list[Any]:
    """Unpack a frame that is a list (of `parts` parts, if given)."""
    value = unpack(frame)
    if value.__class__ is not list or (parts is not None and len(value) != parts):
        wanted = "a list" if parts is None else f"a list of {parts} parts"
        raise ProtocolViolation(f"expected {wanted}, got {type(value).__name__} {str(value)[:60]!r}")
    return value
