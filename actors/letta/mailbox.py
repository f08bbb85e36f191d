"""A queue between threads and event loops. Nothing polls.

A reader registers an event of its own loop before it looks at the queue, so no item can be missed between
the look and the wait. A writer appends, then sets the events of all readers through their loops.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """A queue that any thread may put into, and that any number of event loops may wait on.

    A waiter is an event of a loop. `put` and `close` wake all waiters; each takes an item or waits again.
    """

    def __init__(self) -> None:
        self.items: deque[T] = deque()
        self.is_closed: bool = False
        self._lock = threading.Lock()
        self._waiters: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def put(self, item: T) -> None:
        """Append an item and wake the readers."""
        self.items.append(item)
        self._wake()

    def open(self) -> None:
        """Make a closed mailbox wait for items again."""
        self.is_closed = False

    def close(self) -> None:
        """End every reader once the items are taken."""
        self.is_closed = True
        self._wake()

    def _wake(self) -> None:
        with self._lock:
            waiters = tuple(self._waiters)
        for loop, event in waiters:
            try:
                loop.call_soon_threadsafe(event.set)
            except RuntimeError:
                # The reader's loop is closed: nothing waits there any more.
                with self._lock:
                    self._waiters.discard((loop, event))

    async def next(self, timeout_s: float | None = None) -> T | None:
        """Take the next item; None: closed and empty. Raises TimeoutError when none comes in time."""
        waiter = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._waiters.add(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    waiter[1].clear()
                    try:
                        return self.items.popleft()
                    except IndexError:
                        if self.is_closed:
                            return None
                    await waiter[1].wait()
        finally:
            with self._lock:
                self._waiters.discard(waiter)
