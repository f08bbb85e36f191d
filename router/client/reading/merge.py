"""Many requests in one loop: what a user holds of `StreamRouter.merge`."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Mapping
from contextvars import Context, copy_context
from types import MappingProxyType

from actors.errors import StreamRouterError
from router.client.reading.leaving import Leaving
from router.client.reading.merging import Merged, Merging


class Merge(Leaving, AsyncIterator[Merged]):
    """The messages of many requests, each with its request. Made by `StreamRouter.merge`.

    Use it in `async for`, in `async with ... as merge`, or ask for messages with `anext`. Leaving the loop gives all
    cursors up; iterated over again, it goes on behind the last message handed out.
    """

    __slots__ = ("_context", "_merging")

    def __init__(self, merging: Merging) -> None:
        super().__init__()
        self._merging = merging
        self._context: Context | None = None

    @property
    def cursor(self) -> str:
        """Where it stands, as text to store: pass it as `after` to go on. As long as the requests are many."""
        return self._merging.cursor.text()

    @property
    def failed(self) -> Mapping[str, StreamRouterError]:
        """The requests that could not be read to their end, each with its error."""
        return MappingProxyType(self._merging.failed)

    def __aiter__(self) -> AsyncIterator[Merged]:  # noqa: PYI034  # what it returns is to end with the loop
        return self._messages(_Held(self))

    async def _messages(self, _held: _Held) -> AsyncIterator[Merged]:
        # A generator, for most of what a merge costs beside its readers is the way of each message through here.
        merging = self._merging
        while True:
            try:
                merged = await anext(self)
            except StopAsyncIteration:
                return
            yield merged
            for merged in merging.pending:
                merging.last = merged
                yield merged

    async def __anext__(self) -> Merged:
        """Return the next message.

        Raises RouterUnavailable, RouterClosed, NotPermitted, AlreadyReading (two tasks at once); StopAsyncIteration
        after the end of all. What else befalls one request is an `error_message` and the last of that request.
        """
        if self._is_closed:
            raise StopAsyncIteration
        if self._context is None:
            self._context = copy_context()
        return await self._merging.next()

    def _where(self) -> tuple[AbstractEventLoop | None, Context | None]:
        return self._merging.loop, self._context

    def _leave(self) -> None:
        self._merging.leave()


class _Held:
    """What one `async for` holds; its end is the end of the reading."""

    __slots__ = ("_merge",)

    def __init__(self, merge: Merge) -> None:
        self._merge = merge
        merge.iterator_begins()

    def __del__(self) -> None:
        self._merge.iterator_ends()
