"""Deadlines: when to look at what again. A heap, so that a thousand silent streams cost nothing until one is due.

A deadline that moved is not searched for: its owner sets another one, and what comes up before its
time is set anew or dropped by whoever is asked. Pure: time is an argument.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Generic, TypeVar

NEVER = float("inf")

T = TypeVar("T")


class Deadlines(Generic[T]):
    """What is to be looked at, each at a time in seconds; of two at the same time, the one that was set first."""

    __slots__ = ("_heap", "_set")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._set = 0

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, at: float, what: T) -> None:
        """Look at `what` at `at`."""
        self._set += 1
        heapq.heappush(self._heap, (at, self._set, what))

    def due_at(self) -> float:
        """When something is due next; NEVER if nothing is."""
        return self._heap[0][0] if self._heap else NEVER

    def take_due(self, now: float) -> Iterator[tuple[float, T]]:
        """Give (time, what) of all that is due by `now`, in order, also what is set meanwhile."""
        while self._heap and self._heap[0][0] <= now:
            at, _, what = heapq.heappop(self._heap)
            yield at, what
