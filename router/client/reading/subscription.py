"""The consuming end: what a user holds while reading a request.

    async for batch in router.subscribe("req-1", after=0):
        for message in batch: ...

The same subscription can be iterated over again and goes on where it stood; `leaving.py` says when it gives it up.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Coroutine
from contextvars import Context
from typing import Any

from actors.errors import AlreadyReading
from router.client.reading.batch import Batch
from router.client.reading.leaving import Leaving
from router.client.reading.listening import Ended, Hear, Listening
from router.client.reading.reader import Reader


class Subscription(Leaving, AsyncIterator["Batch[Any]"]):
    """One reader of one request; iterate over it for batches. Made by `StreamRouter.subscribe`.

    Use it in `async for`, in `async with ... as subscription`, or ask for batches with `anext`. It reads
    from the first batch asked for until its end, until `aclose`, or until nobody holds it any more.
    """

    __slots__ = ("_reader",)

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self._reader = reader

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

    def listen(self, hear: Hear, ended: Ended) -> None:
        """Read without a task: for servers that read thousands of requests.

        `hear` is called in the event loop with each batch as it comes, and has consumed it when it returns; no pings
        come. `ended` is called once: with None behind the end, or with the error that ends the reading, which
        is what `__anext__` raises, or names what `hear` has raised. It reads until then, until `close`, or until
        nobody holds it any more. Raises RouterUnavailable, RouterClosed, AlreadyReading (it is closed, or has begun).
        """
        reader = self._current_reader()
        if reader is None or reader.loop is not None:
            raise AlreadyReading(
                f"request {self.request_id!r}: this subscription is closed, or has begun to read; subscribe once for "
                "each that listens"
            )
        Listening(reader, hear, ended).begin()

    def close(self) -> None:
        """Stop reading for good, as `aclose` does."""
        self._is_closed = True
        self._leave()

    def next_for(self, holder: object) -> Coroutine[Any, Any, Batch[Any]]:
        """Return what gives the next batch, and keeps its holder (this, or an iterator over it) until it has."""
        # The reader's own coroutine: one that awaits it would take as much memory again while it waits.
        reader: Reader | None = self._reader
        if self._is_closed or self._reader.has_left:
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

    def _where(self) -> tuple[AbstractEventLoop | None, Context | None]:
        return self._reader.loop, self._reader.context

    def _leave(self) -> None:
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
