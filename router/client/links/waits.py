"""Until when readers wait for a request that their router does not know yet.

Readers often come before their publishers, and all that come in one process share one timer of its event loop: one for
each would take more memory than all else that such a reader has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Protocol

from actors.protocol.deadlines import NEVER, Schedule


class Waiter(Hashable, Protocol):
    """Who waits."""

    def patience_ends(self) -> None:
        """So long it wanted to wait."""
        ...


class Waits:
    """All who wait. Use within one event loop."""

    __slots__ = ("_timer", "_until")

    def __init__(self) -> None:
        self._until: Schedule[Waiter] = Schedule()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, waiter: Waiter, wait_s: float, loop: asyncio.AbstractEventLoop) -> float:
        """Let somebody wait for so long; return the time at which that began."""
        now = loop.time()
        self._until.set(waiter, now + wait_s)
        self._set_timer(loop)
        return now

    def end(self, waiter: Waiter) -> None:
        """Somebody waits no more."""
        self._until.cancel(waiter)
        if self._timer is not None and not self._until:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        at = self._until.due_at()
        if self._timer is not None and self._timer.when() > at:
            self._timer.cancel()
            self._timer = None
        if self._timer is None and at != NEVER:
            self._timer = loop.call_at(at, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        for waiter in self._until.take_due(loop.time()):
            waiter.patience_ends()
        self._set_timer(loop)
