"""How long to wait before the next try: twice as long each time, up to a bound, with jitter.

Pure: the caller brings the random number, waits, and knows its own deadline.
"""

from __future__ import annotations


class Backoff:
    """The waits between tries: `first_s`, twice that, and so on up to `max_s`."""

    __slots__ = ("_first_s", "_max_s", "_next_s")

    def __init__(self, first_s: float, max_s: float) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._next_s = first_s

    def next_s(self, chance: float) -> float:
        """Return how long to wait now: between half of the next wait and all of it, by `chance` (0 to 1).

        Those who failed together must not come back together.
        """
        wait_s = self._next_s * (0.5 + chance / 2)
        self._next_s = min(self._next_s * 2, self._max_s)
        return wait_s

    def reset(self) -> None:
        """A try succeeded: begin again with the shortest wait."""
        self._next_s = self._first_s
