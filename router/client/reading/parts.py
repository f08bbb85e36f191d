"""Batches of plain parts, for what puts messages together itself. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actors.joining import Part
from router.client.reading.batch import Batch, Shaper
from router.client.reading.inbox import Segment, joined, split


class PartShaper(Shaper):
    """Makes batches of `Part`s: neighbouring pieces joined as far as they come together, or each by itself."""

    __slots__ = ("_joins",)

    def __init__(self, *, joins: bool) -> None:
        super().__init__("dict", coalesce=joins)
        self._joins = joins

    def shape(self, segments: Sequence[Segment], last_seq_id: int) -> Batch[Any]:
        """Return a batch of these segments."""
        if self._joins:
            return Batch([Part(*one) for one in joined(segments)], last_seq_id)
        return Batch(
            [
                Part(seq_id, fields, *split(piece))
                for first, fields, pieces in segments
                for seq_id, piece in enumerate(pieces, first)
            ],
            last_seq_id,
        )
