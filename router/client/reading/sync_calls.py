"""The calls of a `SyncStreamRouter` for people: one answer, one message at a time, without `await`."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, overload

from actors.errors import RouterClosed
from actors.messages import Message
from actors.result import Result
from router.client.reading.assembly import Coalesce
from router.client.reading.calls import ReadingCalls
from router.client.reading.results import Progress, Results

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Run = Callable[[Coroutine[Any, Any, Any]], Any]


class Readable(Protocol[T_co]):
    """What `Messages`, `Subscription` and `Merge` have in common."""

    def __aiter__(self) -> AsyncIterator[T_co]: ...

    async def __anext__(self) -> T_co: ...

    async def aclose(self) -> None:
        """Stop reading for good."""


class Reading(Readable[T_co], Protocol[T_co]):
    """What `Messages` and `Subscription` have in common."""

    @property
    def last_seq_id(self) -> int:
        """The last message handed out."""


class SyncReadingCalls(ABC):
    """What `SyncStreamRouter` says to people who read."""

    _router: ReadingCalls

    @abstractmethod
    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the router's event loop, and wait for it."""

    @overload  # a text is one ID, not several of a character each
    def result(  # type: ignore[overload-overlap]
        self,
        request_ids: str,
        *,
        raise_failed: bool = True,
        wait_s: float = ...,
        progress: bool | Progress | None = None,
    ) -> Result: ...
    @overload
    def result(
        self,
        request_ids: Iterable[str],
        *,
        raise_failed: bool = True,
        wait_s: float = ...,
        progress: bool | Progress | None = None,
    ) -> SyncResults: ...
    def result(
        self,
        request_ids: str | Iterable[str],
        *,
        raise_failed: bool = True,
        wait_s: float = 0.0,
        progress: bool | Progress | None = None,
    ) -> Result | SyncResults:
        """See `StreamRouter.result`. Of several IDs: iterate over it for each as it ends, or ask for `all()`."""
        asked: Any = self._router.result(request_ids, raise_failed=raise_failed, wait_s=wait_s, progress=progress)
        if isinstance(asked, Results):
            return SyncResults(asked, self._run)
        result: Result = self._run(asked)
        return result

    def messages(
        self,
        request_id: str,
        *,
        after: int = 0,
        coalesce: Coalesce = "message",
        wait_s: float = 0.0,
        observer: bool = False,
    ) -> SyncMessages:
        """See `StreamRouter.messages`."""
        messages = self._router.messages(request_id, after=after, coalesce=coalesce, wait_s=wait_s, observer=observer)
        return SyncMessages(messages, self._run)

    def show(self, request_ids: str | Iterable[str], *, wait_s: float = 0.0) -> None:
        """See `StreamRouter.show`."""
        self._run(self._router.show(request_ids, wait_s=wait_s))


class SyncResults(Iterator[Result]):
    """`Results` as a plain iterator: each result as its request ends. Leaving a `for` loop over it reads no further."""

    def __init__(self, results: Results, run: Run) -> None:
        self._results = results
        self._run = run

    def __iter__(self) -> Iterator[Result]:  # noqa: PYI034  # what it returns is to end with the loop
        return _Loop(aiter(self._results), self._run)

    def __next__(self) -> Result:
        return next_of(self._results, self._run)

    @property
    def done(self) -> int:
        """How many have ended."""
        return self._results.done

    @property
    def total(self) -> int:
        """How many there are."""
        return self._results.total

    def all(self) -> list[Result]:
        """Wait for all; return them in the order in which they were asked for."""
        results: list[Result] = self._run(self._results.all())
        return results


class SyncReadable(Iterator[T]):
    """What is read, without `await`. Leaving a `for` loop over it gives the cursor up at once."""

    def __init__(self, reading: Readable[T], run: Run) -> None:
        self._reading = reading
        self._run = run

    def __iter__(self) -> Iterator[T]:  # noqa: PYI034  # what it returns is to end with the loop
        return _Loop(aiter(self._reading), self._run)

    def __next__(self) -> T:
        return next_of(self._reading, self._run)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop reading for good; after the router was closed it does nothing."""
        with contextlib.suppress(RouterClosed):
            self._run(self._reading.aclose())


class SyncIterator(SyncReadable[T]):
    """A `Messages` or a `Subscription` without `await`."""

    _reading: Reading[T]

    def __init__(self, reading: Reading[T], run: Run) -> None:
        super().__init__(reading, run)

    @property
    def last_seq_id(self) -> int:
        """The last message handed out: pass it as `after` to resume."""
        return self._reading.last_seq_id


class SyncMessages(SyncIterator[Message]):
    """`Messages` as a plain iterator."""


class _Loop(Iterator[T]):
    """What one `for` holds."""

    __slots__ = ("_items", "_run")

    def __init__(self, items: AsyncIterator[T], run: Run) -> None:
        self._items = items
        self._run = run

    def __next__(self) -> T:
        return next_of(self._items, self._run)


_END = object()


def next_of(items: AsyncIterator[T], run: Run) -> T:
    """Return the next of what an event loop in another thread gives. Raises StopIteration at its end."""
    item: Any = run(_next_or_end(items))
    if item is _END:
        raise StopIteration
    found: T = item
    return found


async def _next_or_end(items: AsyncIterator[Any]) -> Any:
    # StopAsyncIteration cannot cross from one event loop's future to another thread.
    try:
        return await anext(items)
    except StopAsyncIteration:
        return _END
