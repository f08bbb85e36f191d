"""What requests came to: `StreamRouter.result`, of one request or of many as they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Sequence
from typing import Any

from actors.result import Result, ResultBuilder, Timings
from router.client.reading.bar import Bar
from router.client.reading.subscription import Subscription

Progress = Callable[[int, int], Any]
"""Called with (ended so far, all) whenever a request has ended."""
ReadOne = Callable[[str], Coroutine[Any, Any, Result]]


async def result_of(subscription: Subscription, *, raise_failed: bool) -> Result:
    """Read a request to its end, by a subscription whose batches hold `Part`s, and return what it came to.

    Raises RequestFailed and its like for a failed end, where `raise_failed`; what `Subscription.__anext__` names.
    """
    clock = asyncio.get_running_loop().time
    began = clock()
    first_message_s: float | None = None
    builder = ResultBuilder(subscription.request_id)
    async for batch in subscription:
        if batch.gap is not None:
            builder.gap(*batch.gap)
        if batch.messages and first_message_s is None:
            first_message_s = clock() - began
        builder.feed(batch.messages)
    result = builder.result(Timings(first_message_s, clock() - began))
    if raise_failed and (failure := result.failure()) is not None:
        raise failure
    return result


class Results(AsyncIterator[Result]):
    """The results of several requests. Made by `StreamRouter.result`.

    `async for result in results` gives each as its request ends; `await results` gives all, in the order in
    which they were asked for. Both raise the first error of any of them, and then read no further; so does leaving
    the loop. Reading begins with either.
    """

    def __init__(self, request_ids: Sequence[str], read: ReadOne, progress: bool | Progress | None) -> None:  # noqa: FBT001
        """`progress`: True draws a bar."""
        self._request_ids = list(request_ids)
        self._read = read
        self._bar = Bar() if progress is True else None
        self._progress: Progress | None = self._bar or (progress if callable(progress) else None)
        self._tasks: list[asyncio.Task[Result]] | None = None
        self._ended: asyncio.Queue[asyncio.Task[Result]] = asyncio.Queue()
        self._handed_out = 0
        self.done: int = 0

    @property
    def total(self) -> int:
        """How many requests there are."""
        return len(self._request_ids)

    def __await__(self) -> Generator[Any, None, list[Result]]:
        return self.all().__await__()

    async def all(self) -> list[Result]:
        """Wait for all; return them in the order in which they were asked for. Raises the first error of any."""
        tasks = self._begin()
        try:
            return await asyncio.gather(*tasks)
        finally:
            self._stop()

    def __aiter__(self) -> AsyncIterator[Result]:  # noqa: PYI034  # what it returns is to end with the loop
        return self._as_they_end()

    async def _as_they_end(self) -> AsyncIterator[Result]:
        try:
            while True:
                try:
                    yield await anext(self)
                except StopAsyncIteration:
                    return
        finally:
            self._stop()

    async def __anext__(self) -> Result:
        """Return the result of the request that ends next. Raises what its reading does."""
        self._begin()
        if self._handed_out == self.total:
            raise StopAsyncIteration
        self._handed_out += 1
        try:
            return (await self._ended.get()).result()
        except BaseException:
            self._stop()
            raise

    def _begin(self) -> list[asyncio.Task[Result]]:
        if self._tasks is None:
            if self._bar is not None:
                self._bar.begin(self.total)
            self._tasks = [asyncio.ensure_future(self._read(request_id)) for request_id in self._request_ids]
            for task in self._tasks:
                task.add_done_callback(self._note)
        return self._tasks

    def _note(self, task: asyncio.Task[Result]) -> None:
        if task.cancelled():
            return
        task.exception()  # whoever asks for it gets it; nobody need
        self.done += 1
        self._ended.put_nowait(task)
        if self._progress is not None:
            self._progress(self.done, self.total)
        if self._bar is not None and self.done == self.total:
            self._bar.end()

    def _stop(self) -> None:
        self._handed_out = self.total
        for task in self._tasks or ():
            task.cancel()
        if self._bar is not None:
            self._bar.end()
