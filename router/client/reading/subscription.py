"""The consuming end: what a user holds while reading a request.

    async for batch in router.subscribe("req-1", after=0):
        for message in batch: ...

Leaving the loop by `break`, an exception or a cancel gives the cursor up at once: the loop alone holds
the iterator, and the iterator's end is the end of the reading. A cursor that nobody advances would make
the producer wait for ever. The same subscription can be iterated over again and goes on where it stood.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Coroutine
from contextvars import Context
from types import TracebackType
from typing import Any, Self

from router.client.reading.batch import Batch
from router.client.reading.reader import Reader


class Subscription(AsyncIterator["Batch[Any]"]):
    """One reader of one request; iterate over it for batches. Made by `StreamRouter.subscribe`.

    Use it in `async for`, in `async with ... as subscription`, or ask for batches with `anext`. It reads
    from the first batch asked for until its end, until `aclose`, or until nobody holds it any more.
    """

    __slots__ = ("_is_closed", "_iterators", "_reader")

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._iterators = 0
        self._is_closed = False

    @property
    def request_id(self) -> str:
        """The request that is read."""
        return self._reader.request_id

    @property
    def last_seq_id(self) -> int:
        """The last message handed out: pass it as `after` to resume."""
        return self._reader.resumes_after

    def __aiter__(self) -> AsyncIterator[Batch[Any]]:  # noqa: PYI034  # what it returns is to end with the loop
        return _Batches(self)

    def __anext__(self) -> Coroutine[Any, Any, Batch[Any]]:
        """Return the next batch.

        Raises UnknownRequest, RequestLost, RouterUnavailable, RouterClosed, AlreadyReading (two tasks at
        once); StopAsyncIteration after the end.
        """
        return self.next_for(self)

    def next_for(self, holder: object) -> Coroutine[Any, Any, Batch[Any]]:
        """Return what gives the next batch, and keeps its holder (this, or an iterator over it) until it has."""
        # The reader's own coroutine: one that awaits it would take as much memory again while it waits.
        reader = self._current_reader()
        return _end() if reader is None else reader.next(holder)

    def _current_reader(self) -> Reader | None:
        """Return who reads on; another one where the last one has given its cursor up. None: it was closed."""
        reader = self._reader
        if self._is_closed:
            return None
        if reader.has_left and not reader.has_ended:
            reader = self._reader = reader.again()
        return reader

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop reading for good. The request goes on; to end it, use cancel."""
        self._is_closed = True
        self._reader.leave()

    def __del__(self) -> None:
        in_loop(self._reader.loop, self._reader.leave, self._reader.context)

    def iterator_begins(self) -> None:
        """A loop over this subscription begins."""
        self._iterators += 1

    def iterator_ends(self) -> None:
        """A loop has let go of its iterator, in whatever thread; the last one gives the cursor up."""
        if not in_loop(self._reader.loop, self._iterator_has_ended, self._reader.context):
            self._iterators -= 1

    def _iterator_has_ended(self) -> None:
        self._iterators -= 1
        if not self._iterators:
            self._reader.leave()


class _Batches(AsyncIterator["Batch[Any]"]):
    """What one `async for` holds."""

    __slots__ = ("_subscription",)

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        subscription.iterator_begins()

    def __anext__(self) -> Coroutine[Any, Any, Batch[Any]]:
        return self._subscription.next_for(self)

    def __del__(self) -> None:
        self._subscription.iterator_ends()


async def _end() -> Batch[Any]:
    raise StopAsyncIteration


def in_loop(loop: AbstractEventLoop | None, call: Callable[[], None], context: Context | None) -> bool:
    """Call in the event loop of a reading, from whatever thread collects garbage; False where there is none."""
    if loop is None:
        return False
    try:
        loop.call_soon_threadsafe(call, context=context)
    except RuntimeError:
        return False  # the loop is closed, and with it all that it read
    return True
