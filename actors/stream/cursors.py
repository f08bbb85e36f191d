"""How far each reader of a request has come, and how far all of them have.

Theory. Every acknowledgement asks for the least of all cursors. With few readers that is looked up.
With many, the readers are counted by where they stand, and the places where somebody stands are kept
in a heap; a place that everybody has left goes when it comes up. So an acknowledgement costs the
logarithm of the number of readers, and what is kept stays in proportion to them.

Pure: no Ray, no clock.
"""

from __future__ import annotations

import heapq

FEW = 16
"""Up to so many readers the least cursor is looked up."""

LEFT_PLACES_MAX = 64
"""So many places that everybody has left may stay in the heap beside as many as there are readers."""


class Cursors:
    """The cursors of a request's readers; a reader is any object. Each cursor only rises."""

    __slots__ = ("_at", "_counts", "_places")

    def __init__(self) -> None:
        self._at: dict[object, int] = {}
        # How many stand at each place, and a heap of these places; None while there are few readers.
        self._counts: dict[int, int] | None = None
        self._places: list[int] = []

    def __len__(self) -> int:
        return len(self._at)

    def get(self, reader: object) -> int:
        """Return where a reader stands; 0 for one that is not known."""
        return self._at.get(reader, 0)

    def move(self, reader: object, cursor: int) -> None:
        """Note that a reader has come to `cursor`; what is behind where it stands already changes nothing."""
        before = self._at.get(reader)
        if before is not None and cursor <= before:
            return
        self._at[reader] = cursor
        if self._counts is not None:
            self._arrive(self._counts, cursor)
            if before is not None:
                self._counts[before] -= 1
        elif len(self._at) > FEW:
            self._counts = {}
            self._places = []
            for place in self._at.values():
                self._arrive(self._counts, place)

    def remove(self, reader: object) -> None:
        """Forget a reader."""
        before = self._at.pop(reader, None)
        if before is None or self._counts is None:
            return
        if len(self._at) <= FEW // 2:
            self._counts = None
            self._places = []
        else:
            self._counts[before] -= 1

    def least(self) -> int:
        """Return how far every reader has come; 0 where there is none."""
        counts = self._counts
        if counts is None:
            return min(self._at.values(), default=0)
        places = self._places
        while not counts[places[0]]:
            del counts[heapq.heappop(places)]
        return places[0]

    def _arrive(self, counts: dict[int, int], place: int) -> None:
        count = counts.get(place)
        if count is not None:
            counts[place] = count + 1
            return
        if len(counts) > 2 * len(self._at) + LEFT_PLACES_MAX:
            # One that stands still holds the places in the heap that the others have left since.
            for left in [left for left, standing in counts.items() if not standing]:
                del counts[left]
            self._places[:] = counts
            heapq.heapify(self._places)
        counts[place] = 1
        heapq.heappush(self._places, place)
