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

    __slots__ = ("_many", "_only", "least")

    def __init__(self) -> None:
        self.least: int = 0
        """How far every reader has come; 0 where there is none."""
        # The only reader, as long as there was never another one. It stands at the least.
        self._only: object = None
        # All of them, since there was another one.
        self._many: _Many | None = None

    def __len__(self) -> int:
        if self._many is not None:
            return len(self._many.at)
        return 0 if self._only is None else 1

    def get(self, reader: object) -> int:
        """Return where a reader stands; 0 for one that is not known."""
        if self._many is not None:
            return self._many.at.get(reader, 0)
        return self.least if self._only == reader else 0

    def move(self, reader: object, cursor: int) -> None:
        """Note that a reader has come to `cursor`; what is behind where it stands already changes nothing."""
        if self._only == reader:  # nobody, where there are several
            if cursor > self.least:
                self.least = cursor
            return
        many = self._many
        if many is None:
            if self._only is None:
                self._only, self.least = reader, cursor
                return
            many = self._many = _Many()
            many.move(self._only, self.least)
            self._only = None
        many.move(reader, cursor)
        self.least = many.least()

    def remove(self, reader: object) -> None:
        """Forget a reader."""
        if self._many is not None:
            self._many.remove(reader)
            self.least = self._many.least()
        elif self._only == reader:
            self._only, self.least = None, 0


class _Many:
    """The cursors of several readers."""

    __slots__ = ("at", "counts", "places")

    def __init__(self) -> None:
        self.at: dict[object, int] = {}
        """Where each stands."""
        # How many stand at each place, and a heap of these places; None while there are few readers.
        self.counts: dict[int, int] | None = None
        self.places: list[int] | None = None

    def move(self, reader: object, cursor: int) -> None:
        at = self.at
        before = at.get(reader)
        if before is not None and cursor <= before:
            return
        at[reader] = cursor
        if self.counts is not None:
            self._arrive(self.counts, cursor)
            if before is not None:
                self.counts[before] -= 1
        elif len(at) > FEW:
            self.counts, self.places = {}, []
            for place in at.values():
                self._arrive(self.counts, place)

    def remove(self, reader: object) -> None:
        before = self.at.pop(reader, None)
        if before is None or self.counts is None:
            return
        if len(self.at) <= FEW // 2:
            self.counts = self.places = None
        else:
            self.counts[before] -= 1

    def least(self) -> int:
        counts, places = self.counts, self.places
        if counts is None or places is None:
            return min(self.at.values(), default=0)
        while not counts[places[0]]:
            del counts[heapq.heappop(places)]
        return places[0]

    def _arrive(self, counts: dict[int, int], place: int) -> None:
        count = counts.get(place)
        if count is not None:
            counts[place] = count + 1
            return
        if self.places is None or len(counts) > 2 * len(self.at) + LEFT_PLACES_MAX:
            # One that stands still holds the places in the heap that the others have left since.
            for left in [left for left, standing in counts.items() if not standing]:
                del counts[left]
            self.places = [*counts]
            heapq.heapify(self.places)
        counts[place] = 1
        heapq.heappush(self.places, place)
