"""Noticing that this process was stopped: by SIGSTOP, or with the machine that it runs on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

LOOK_S = 1.0


def watch_clock(pause_s: float, paused: Callable[[float], None], is_over: Callable[[], bool]) -> None:
    """Call `paused` with its length after each pause of at least `pause_s`, until it `is_over`."""

    def look(wanted_at: float) -> None:
        if is_over():
            return
        gap_s = time.monotonic() - wanted_at
        if gap_s > pause_s:
            paused(gap_s)
        watch_clock(pause_s, paused, is_over)

    # A callback, not a task: it must run before the timers that came due meanwhile.
    asyncio.get_running_loop().call_later(LOOK_S, look, time.monotonic() + LOOK_S)
