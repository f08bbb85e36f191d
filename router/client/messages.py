"""One message at a time: `StreamRouter.messages`, for people; `subscribe` has batches, for machines."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, Self

from actors.joining import Joiner, Part
from actors.messages import GapMessage, Message
from actors.result import model_of
from router.client.batch import Batch
from router.client.subscription import Subscription

Coalesce = Literal["message", "tokens"]
"""`message`: whole messages, each when it is known to be whole. `tokens`: each piece as it comes."""


class Messages(AsyncIterator[Message]):
    """The messages of one request, one at a time. Made by `StreamRouter.messages`.

    Use it in `async for`, in `async with ... as messages`, or ask for messages with `anext`. Leaving the
    loop gives the cursor up; iterated over again, it goes on behind the last message handed out.
    """

    __slots__ = ("_joiner", "_last_seq_id", "_ready", "_subscription", "_whole")

    def __init__(self, subscription: Subscription, coalesce: Coalesce) -> None:
        """`subscription`: one whose batches hold `Part`s."""
        self._subscription = subscription
        self._whole = coalesce == "message"
        self._joiner = Joiner()
        self._ready: deque[Message] = deque()
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
        self._ready.clear()
        self._joiner = Joiner()
        await self._subscription.aclose()

    async def next_of(self, batches: AsyncIterator[Batch[Any]]) -> Message:
        """Return the next message, out of these batches of the subscription. Raises as `__anext__` does."""
        while not self._ready:
            try:
                batch = await anext(batches)
            except StopAsyncIteration:
                self._add(self._joiner.take())
                if not self._ready:
                    raise
            else:
                self._take(batch)
        message = self._ready.popleft()
        self._last_seq_id = message.seq_id or self._last_seq_id
        return message

    def _take(self, batch: Batch[Any]) -> None:
        if batch.gap is not None:
            self._add(self._joiner.take())
            self._ready.append(_gap_message(self.request_id, *batch.gap))
        if not self._whole:
            self._add(batch.messages)
            return
        self._add(self._joiner.feed(batch.messages))
        self._add(self._joiner.take() if batch.end else self._joiner.take_if_whole())

    def _add(self, parts: list[Part]) -> None:
        self._ready.extend(model_of(part) for part in parts)


class _Loop(AsyncIterator[Message]):
    """What one `async for` holds; its end is the end of the reading."""

    __slots__ = ("_batches", "_messages")

    def __init__(self, messages: Messages, batches: AsyncIterator[Batch[Any]]) -> None:
        self._messages = messages
        self._batches = batches

    async def __anext__(self) -> Message:
        return await self._messages.next_of(self._batches)


def _gap_message(request_id: str, first: int, last: int) -> GapMessage:
    return GapMessage(
        id=f"gap-{request_id}",
        date=datetime.now(UTC),
        run_id=request_id,
        seq_id=last,
        first_seq_id=first,
        last_seq_id=last,
    )
