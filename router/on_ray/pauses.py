"""Noticing that this process was stopped: by SIGSTOP, or with the machine that it runs on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

LOOK_S = 1.0


class PauseWatch:
    """Calls `paused` with its length after each pause of at least `pause_s`.

    Whatever a timer does by the time that it reads must ask `look` first: of the timers that came due while the
    process was stopped, its own may be the first one to run.
    """

    __slots__ = ("_looked_at", "_pause_s", "_paused")

    def __init__(self, pause_s: float, paused: Callable[[float], None]) -> None:
        self._pause_s = pause_s
        self._paused = paused
        self._looked_at = time.monotonic()

    def look(self) -> None:
        """Look at the clock."""
        now = time.monotonic()
        gap_s = now - self._looked_at - LOOK_S
        self._looked_at = now
        if gap_s > self._pause_s:
            self._paused(gap_s)

    def begin(self, is_over: Callable[[], bool]) -> None:
        """Look at the clock every `LOOK_S` from now on, until it `is_over`."""
        self._looked_at = time.monotonic()
        self._keep(is_over)

    def _keep(self, is_over: Callable[[], bool]) -> None:
        if is_over():
            return
        self.look()
        # A callback, not a task: it must run before the tasks that wake up together with it.
        asyncio.get_running_loop().call_later(LOOK_S, self._keep, is_over)
