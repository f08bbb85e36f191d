"""What the shells of both actors have in common: a clock, one timer, waits by name.

An actor's core is pure: it says when it wants to be looked at (`due_at`) and who has news. Its shell
turns that into an event loop's timer and futures. Not pure: asyncio, but no Ray.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import inspect
import os
from collections.abc import Awaitable, Callable, Hashable
from types import FunctionType, MethodType
from typing import Any

from actors.protocol.deadlines import NEVER

# What glibc's `mallopt` calls them, and what is set: blocks so large are mapped each by itself, and so much is kept.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
MAPPED_BYTES_MIN = 4 * 1024 * 1024
KEPT_BYTES_MAX = 32 * 1024 * 1024
TRIM_VARIABLE = "MALLOC_TRIM_THRESHOLD_"

BEAT_S = 1.0
"""A clock is looked at least so often while its process runs."""

LATE_S = 1e-6
"""An alarm rings that much late rather than early: what is not due yet would be waited for again, and again at once."""

PAUSE_S_MIN = 3.0
"""Not looked at for longer, the process did not run: it was stopped, or one step of it took that long."""


def calm_garbage_collection() -> None:
    """Let the garbage collector of a process of ours run seldom.

    Reference counting frees what the hot path makes; there are no cycles in it. At Python's own
    thresholds every large frame sets off searches through the state of all open streams, which at
    ten thousand streams cost more than the frame.
    """
    gc.set_threshold(50_000, 20, 100)


def keep_freed_memory() -> None:
    """Let a process of ours keep some megabytes that it frees, for the next frame.

    glibc gives the end of its heap back to the system when a large frame is freed, and gets it again with the next,
    page by page, each with a fault: where those are dear, a frame of a megabyte takes milliseconds in place of tens of
    microseconds. Whoever has set `MALLOC_TRIM_THRESHOLD_` is left alone, and so is an allocator that has no `mallopt`.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and TRIM_VARIABLE not in os.environ:
        mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES_MIN)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES_MAX)


def call_directly(actor: object) -> None:
    """Let an actor call its own methods, and a socket call them, without what Ray has put round each of them.

    Ray wraps all methods of an actor's class for its tracing, also those that it never calls itself; such a wrapper
    costs as much as five calls. It is for calls through Ray, and those still go through it: Ray takes a method from the
    class, and what is set here stands in the instance.
    """
    for name, method in inspect.getmembers(type(actor), inspect.isfunction):
        plain = method
        while _is_of_ray(plain) and hasattr(plain, "__wrapped__"):
            plain = plain.__wrapped__
        if plain is not method and not name.startswith("__"):
            setattr(actor, name, MethodType(plain, actor))


def _is_of_ray(function: FunctionType) -> bool:
    """Whether a function's code stands in Ray; its `__module__` is that of what it wraps."""
    return str(function.__globals__.get("__name__")).partition(".")[0] == "ray"


async def wait_at_most(awaitable: Awaitable[Any], wait_s: float) -> None:
    """Wait for something at most so long; running out is no error."""
    try:
        await asyncio.wait_for(awaitable, wait_s)
    except TimeoutError:
        return


class Clock:
    """Seconds during which this process ran.

    A process that was stopped, or sat in a paused machine, wakes up with everybody else's words still in
    its queues; by any other clock it would believe that all had been silent meanwhile. This one stands
    still for as long as it was not looked at, so that no deadline runs out for that reason.
    """

    __slots__ = ("_looked_at", "_monotonic", "paused_s")

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._looked_at = monotonic()
        self.paused_s: float = 0.0
        """How long it has stood still in all."""

    def now(self) -> float:
        """Return the time. To be called at least every `BEAT_S`, see `keep`."""
        at = self._monotonic()
        gap_s = at - self._looked_at
        self._looked_at = at
        if gap_s > PAUSE_S_MIN:
            self.paused_s += gap_s
        return at - self.paused_s

    def keep(self) -> None:
        """Look at the clock every `BEAT_S` from now on, as long as the event loop runs."""
        self.now()
        asyncio.get_running_loop().call_later(BEAT_S, self.keep)


class Alarm:
    """One timer of the event loop, for whatever is due next."""

    __slots__ = ("_at", "_now", "_ring", "_timer")

    def __init__(self, now: Callable[[], float], ring: Callable[[], None]) -> None:
        self._now = now
        self._ring = ring
        self._at = NEVER
        self._timer: asyncio.TimerHandle | None = None

    def set(self, due_at: float) -> None:
        """Ring at `due_at` at the latest."""
        if due_at >= self._at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._at = due_at
        wait_s = max(0.0, due_at - self._now()) + LATE_S
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._over)

    def _over(self) -> None:
        self._timer = None
        self._at = NEVER
        self._ring()


class Waits:
    """Who waits for news, by name. Of two waits of one name the older ends at once: it was given up and made again."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[Hashable, asyncio.Future[None]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self, name: Hashable, wait_s: float) -> None:
        """Return when `name` has news, or `wait_s` are over."""
        self.wake(name)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[name] = future
        try:
            await wait_at_most(future, wait_s)
        finally:
            if self._waiting.get(name) is future:
                del self._waiting[name]

    def wake(self, name: Hashable) -> None:
        """`name` has news."""
        future = self._waiting.get(name)
        if future is not None:
            _end(future)

    def wake_within(self, name: Hashable, delay_s: float) -> None:
        """`name` has news that can wait so long for others to ride with; a wait that begins meanwhile goes on."""
        future = self._waiting.get(name)
        if future is not None and not future.done():
            asyncio.get_running_loop().call_later(delay_s, _end, future)


class Crowds:
    """Who waits for news, by name; any number under one name, each with a future of its own."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[Hashable, list[asyncio.Future[None]]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, name: Hashable) -> asyncio.Future[None]:
        """Return what is done when `name` has news from now on; to be followed by `leave`."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, []).append(future)
        return future

    def leave(self, name: Hashable, future: asyncio.Future[None]) -> None:
        """Wait no longer."""
        waiting = self._waiting[name]
        waiting.remove(future)
        if not waiting:
            del self._waiting[name]

    def wake(self, name: Hashable) -> None:
        """`name` has news."""
        for future in self._waiting.get(name, ()):
            _end(future)


def _end(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
