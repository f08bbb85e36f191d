"""Segments: messages in the form in which they are stored, read and moved.

A segment is a row of neighbouring pieces of one message under their common fields. It crosses as a
list, in one of two forms:

    loose    [first, fields, pieces]
    compact  [first, fields, text, lengths, extras]

`first` is the seq_id of the first piece, `fields` what all pieces share. A piece is its text, None (it
has none), or `(text, extra fields)`. In the compact form all texts stand joined; `lengths` says in
characters where each ends (`NO_TEXT`: it has none), `extras` has the extra fields by index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actors.errors import ProtocolViolation
from actors.protocol.frames import pack

NO_TEXT = 0xFFFF_FFFF
"""In `lengths`: a piece without text (a tool call's name, a whole message)."""

LOOSE_PARTS, COMPACT_PARTS = 3, 5

Fields = dict[str, Any]
Piece = str | None | tuple[str | None, Fields]
"""A piece: its text, or nothing, or text with extra fields."""


def read_segment(segment: Sequence[Any]) -> tuple[int, Fields | None, list[Piece]]:
    """Take a segment apart: seq_id of the first piece, fields, pieces.

    The fields are None where a read has left them out (see `reads.Part`). Raises ProtocolViolation
    where the shape is wrong.
    """
    if len(segment) == LOOSE_PARTS:
        first, fields, pieces = segment
        return first, fields, pieces
    if len(segment) != COMPACT_PARTS:
        raise ProtocolViolation(f"a segment has {LOOSE_PARTS} or {COMPACT_PARTS} parts, this one {len(segment)}")
    first, fields, text, lengths, extras = segment
    pieces = []
    at = 0
    for index, length in enumerate(lengths):
        piece: Piece = None
        if length != NO_TEXT:
            piece = text[at : at + length]
            at += length
        extra = extras.get(index) if extras else None
        pieces.append(piece if extra is None else (piece, extra))
    return first, fields, pieces


def whole_segment(seq_id: int, fields: Fields) -> list[Any]:
    """Return the compact segment of one message without text."""
    return [seq_id, fields, "", [NO_TEXT], {}]


def pack_log(dropped_through: int, last_seq: int, released: int, segments: Sequence[Sequence[Any]]) -> bytes:
    """Return a log as bytes: its positions, then its segments, all compact."""
    return pack([dropped_through, last_seq, released, segments])
