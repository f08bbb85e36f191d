"""How far each reader of a request has come, and how far all of them have.

Theory. The least of all cursors is asked for oftener than a cursor moves, so it is found out where one does. Most
requests have one reader, which is kept without a table. With few readers the least is looked up. With many, the
readers are counted by where they stand, and the places where somebody stands are kept in a heap; a place that
everybody has left goes when it comes up. So an acknowledgement costs the logarithm of the number of readers, and
what is kept stays in proportion to them.

Pure: no Ray, no clock.
"""

from __future__ import annotations

import heapq

FEW = 16
"""Up to so many readers the least cursor is looked up."""

LEFT_PLACES_MAX = 64
"""So many places that everybody has left may stay in the heap beside as many as there are readers."""


class Cursors:
    """The cursors of a request's readers; a reader is any object but None. Each cursor only rises."""

    __slots__ = ("_at", "_counts", "_only", "_places", "least")

    def __init__(self) -> None:
        self.least: int = 0
        """How far every reader has come; 0 where there is none."""
        # The only reader, as long as there was never another one. It stands at the least.
        self._only: object = None
        # Where each stands, since there was another one.
        self._at: dict[object, int] | None = None
        # How many stand at each place, and a heap of these places; None while there are few readers.
        self._counts: dict[int, int] | None = None
        self._places: list[int] | None = None

    def __len__(self) -> int:
        if self._at is not None:
            return len(self._at)
        return 0 if self._only is None else 1

    def get(self, reader: object) -> int:
        """Return where a reader stands; 0 for one that is not known."""
        if self._at is not None:
            return self._at.get(reader, 0)
        return self.least if self._only == reader else 0

    def move(self, reader: object, cursor: int) -> None:
        """Note that a reader has come to `cursor`; what is behind where it stands already changes nothing."""
        if self._only == reader:  # nobody, where there are several
            if cursor > self.least:
                self.least = cursor
            return
        at = self._at
        if at is None:
            if self._only is None:
                self._only, self.least = reader, cursor
                return
            at = self._at = {self._only: self.least}
            self._only = None
        self._move(at, reader, cursor)
        self.least = self._least(at)

    def _move(self, at: dict[object, int], reader: object, cursor: int) -> None:
        before = at.get(reader)
        if before is not None and cursor <= before:
            return
        at[reader] = cursor
        if self._counts is not None:
            self._arrive(self._counts, len(at), cursor)
            if before is not None:
                self._counts[before] -= 1
        elif len(at) > FEW:
            self._counts = {}
            self._places = []
            for place in at.values():
                self._arrive(self._counts, len(at), place)

    def remove(self, reader: object) -> None:
        """Forget a reader."""
        at = self._at
        if at is None:
            if self._only == reader:
                self._only, self.least = None, 0
            return
        before = at.pop(reader, None)
        if before is None:
            return
        if len(at) <= FEW // 2:
            self._counts = self._places = None
        elif self._counts is not None:
            self._counts[before] -= 1
        self.least = self._least(at)

    def _least(self, at: dict[object, int]) -> int:
        counts, places = self._counts, self._places
        if counts is None or places is None:
            return min(at.values(), default=0)
        while not counts[places[0]]:
            del counts[heapq.heappop(places)]
        return places[0]

    def _arrive(self, counts: dict[int, int], readers: int, place: int) -> None:
        count = counts.get(place)
        if count is not None:
            counts[place] = count + 1
            return
        if self._places is None or len(counts) > 2 * readers + LEFT_PLACES_MAX:
            # One that stands still holds the places in the heap that the others have left since.
            for left in [left for left, standing in counts.items() if not standing]:
                del counts[left]
            self._places = [*counts]
            heapq.heapify(self._places)
        counts[place] = 1
        heapq.heappush(self._places, place)
