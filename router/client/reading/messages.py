"""One message at a time: `StreamRouter.messages`, for people; `subscribe` has batches, for machines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

from actors.messages import Message
from router.client.reading.assembly import Assembly, Coalesce
from router.client.reading.batch import Batch
from router.client.reading.subscription import Subscription


class Messages(AsyncIterator[Message]):
    """The messages of one request, one at a time. Made by `StreamRouter.messages`.

    Use it in `async for`, in `async with ... as messages`, or ask for messages with `anext`. Leaving the
    loop gives the cursor up; iterated over again, it goes on behind the last message handed out.
    """

    __slots__ = ("_assembly", "_coalesce", "_last_seq_id", "_subscription")

    def __init__(self, subscription: Subscription, coalesce: Coalesce) -> None:
        """`subscription`: one whose batches are made by `shaper_for`."""
        self._subscription = subscription
        self._coalesce: Coalesce = coalesce
        self._assembly = Assembly(subscription.request_id, coalesce)
        self._last_seq_id = subscription.last_seq_id

    @property
    def request_id(self) -> str:
        """The request that is read."""
        return self._subscription.request_id

    @property
    def last_seq_id(self) -> int:
        """The last message handed out: pass it as `after` to resume."""
        return self._last_seq_id

    def __aiter__(self) -> AsyncIterator[Message]:  # noqa: PYI034  # what it returns is to end with the loop
        return _Loop(self, aiter(self._subscription))

    async def __anext__(self) -> Message:
        """Return the next message.

        Raises UnknownRequest, RequestLost, RouterUnavailable, RouterClosed, AlreadyReading (two tasks at
        once); StopAsyncIteration after the end.
        """
        return await self.next_of(self._subscription)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop reading for good. The request goes on; to end it, use cancel."""
        self._assembly = Assembly(self.request_id, self._coalesce)
        await self._subscription.aclose()

    async def next_of(self, batches: AsyncIterator[Batch[Any]]) -> Message:
        """Return the next message, out of these batches of the subscription. Raises as `__anext__` does."""
        while not self._assembly.ready:
            try:
                batch = await anext(batches)
            except StopAsyncIteration:
                self._assembly.end()
                if not self._assembly.ready:
                    raise
            else:
                self._assembly.take(batch)
        message = self._assembly.ready.popleft()
        self._last_seq_id = message.seq_id or self._last_seq_id
        return message


class _Loop(AsyncIterator[Message]):
    """What one `async for` holds; its end is the end of the reading."""

    __slots__ = ("_batches", "_messages")

    def __init__(self, messages: Messages, batches: AsyncIterator[Batch[Any]]) -> None:
        self._messages = messages
        self._batches = batches

    async def __anext__(self) -> Message:
        return await self._messages.next_of(self._batches)
