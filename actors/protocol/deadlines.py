"""Deadlines: when to look at what again. A heap, so that a thousand silent streams cost nothing until one is due.

A deadline that moved is not searched for: its owner sets another one, and what comes up before its
time is set anew or dropped by whoever is asked. Pure: time is an argument.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

NEVER = float("inf")

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

# So many times that were set anew or given up may stand in a heap beside as many as there are keys.
STALE_MAX = 64


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


class Schedule(Generic[K]):
    """At most one time a key. What is set anew or cancelled leaves nothing behind for long."""

    __slots__ = ("_at", "_count", "_due", "_heap")

    def __init__(self) -> None:
        self._at: dict[K, float] = {}
        # The times at which something is due, each once, and what is due then: one key, or several in the order in
        # which they were set (a row for each key would take three times as much). Also keys that were set anew or
        # cancelled since; they are passed over when their time comes.
        self._heap: list[float] = []
        self._due: dict[float, K | _Several[K]] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._at)

    def set(self, key: K, at: float) -> None:
        """Look at `key` at `at`, and not when it was to be looked at before; NEVER: not at all."""
        if at == NEVER:
            self.cancel(key)
        elif self._at.get(key) != at:
            self._at[key] = at
            self._push(key, at)
            self._tidy()

    def set_by(self, key: K, at: float) -> None:
        """Look at `key` at `at` at the latest."""
        if at < self._at.get(key, NEVER):
            self.set(key, at)

    def cancel(self, key: K) -> None:
        """Look at `key` no more."""
        self._at.pop(key, None)
        self._tidy()

    def due_at(self) -> float:
        """When to `take_due` next, at the latest; NEVER if nothing is to be looked at."""
        return self._heap[0] if self._heap else NEVER

    def take_due(self, now: float) -> Iterator[K]:
        """Give what is due by `now`, in order, also what is set for then meanwhile."""
        while self._heap and self._heap[0] <= now:
            at = heapq.heappop(self._heap)
            due = self._due.pop(at)
            keys = due if isinstance(due, _Several) else (due,)
            self._count -= len(keys)
            left = iter(keys)
            try:
                for key in left:
                    if self._at.get(key) == at:
                        del self._at[key]
                        yield key
            finally:  # whoever takes them may break off
                for key in left:
                    self._push(key, at)

    def _push(self, key: K, at: float) -> None:
        self._count += 1
        due = self._due.get(at)
        if due is None:
            self._due[at] = key
            heapq.heappush(self._heap, at)
        elif isinstance(due, _Several):
            due.append(key)
        else:
            self._due[at] = _Several((due, key))

    def _tidy(self) -> None:
        if self._count > 2 * len(self._at) + STALE_MAX:
            self._heap, self._due, self._count = [], {}, 0
            for key, at in self._at.items():
                self._push(key, at)


class _Several(list[K]):
    """Keys that are due at one time."""

    __slots__ = ()
