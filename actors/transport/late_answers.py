"""Answers that nobody waits for: one says of all calls before it that they came. The caller's end is `posting.py`.

They go with what comes next, once the first call that waits for one is `LATE_S` old, so that nobody wakes up for them
alone; where nothing comes, a timer gives them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable

log: logging.Logger = logging.getLogger("actors.transport")

LATE_S = 0.25
RING_S = 0.5


class LateAnswers:
    """What is owed to whom, by name."""

    __slots__ = ("_loop", "_owed", "_timer")

    def __init__(self) -> None:
        # (To ask for the running loop is a system call in Python 3.11.)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._owed: dict[Hashable, tuple[float, Callable[[], None]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def owe(self, name: Hashable, give: Callable[[], None]) -> None:
        """Let an answer wait for others to go with; `give` gives it, and with it all that were owed before."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        now, owed = loop.time(), self._owed.get(name)
        if owed is None:
            self._owed[name] = (now, give)
        elif owed[0] + LATE_S > now:
            self._owed[name] = (owed[0], give)
        else:
            del self._owed[name]
            give()
            return
        if self._timer is None:
            self._timer = loop.call_later(RING_S, self._ring)

    def given(self, name: Hashable) -> None:
        """All that was owed is said by another answer."""
        self._owed.pop(name, None)

    def _ring(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        for name, (since, give) in list(self._owed.items()):
            if since + LATE_S <= loop.time():
                del self._owed[name]
                try:
                    give()
                except Exception:  # whose call was not answered makes it again; the others must have theirs
                    log.exception("what %s has posted could not be answered", name)
        if self._owed:
            self._timer = loop.call_later(RING_S, self._ring)
