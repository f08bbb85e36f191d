"""Reading on in the archive where the router knows a request no more: for `result` and `messages`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from actors.errors import ProtocolViolation, UnknownRequest
from actors.protocol.frames import unpack
from actors.protocol.segments import read_segment
from router.client.reading.batch import Batch, Shaper
from router.client.reading.inbox import Segment
from router.client.reading.reader import Reader
from router.client.reading.subscription import Subscription

Fetch = Callable[[], Awaitable[bytes | None]]
"""Returns a request's log out of the archive; None where it is not there."""


class OrArchived(Subscription):
    """A subscription that gives what the archive has, in one batch, where the request is unknown."""

    __slots__ = ("_archived_through", "_fetch", "_shaper")

    def __init__(self, reader: Reader, shaper: Shaper, fetch: Fetch) -> None:
        super().__init__(reader)
        self._shaper = shaper
        self._fetch = fetch
        self._archived_through: int | None = None

    @property
    def last_seq_id(self) -> int:
        """See `Subscription.last_seq_id`."""
        return super().last_seq_id if self._archived_through is None else self._archived_through

    def __aiter__(self) -> AsyncIterator[Batch[Any]]:
        return _Loop(self, super().__aiter__())

    async def __anext__(self) -> Batch[Any]:
        """Return the next batch. Raises as `Subscription.__anext__` does."""
        return await self.next_of(super().__anext__)

    async def next_of(self, live: Callable[[], Awaitable[Batch[Any]]]) -> Batch[Any]:
        """Return the next batch of the live request, or what the archive has of it."""
        if self._archived_through is not None:
            raise StopAsyncIteration
        try:
            return await live()
        except UnknownRequest:
            packed = await self._fetch()
            if packed is None:
                raise
        batch = batch_of(packed, self.last_seq_id, self._shaper)
        self._archived_through = batch.last_seq_id
        return batch


class _Loop(AsyncIterator["Batch[Any]"]):
    """What one `async for` holds."""

    __slots__ = ("_batches", "_subscription")

    def __init__(self, subscription: OrArchived, batches: AsyncIterator[Batch[Any]]) -> None:
        self._subscription = subscription
        self._batches = batches

    async def __anext__(self) -> Batch[Any]:
        return await self._subscription.next_of(self._batches.__anext__)


def batch_of(packed: bytes, after: int, shaper: Shaper) -> Batch[Any]:
    """Return all of a packed log behind a cursor as one batch, the last. Raises ProtocolViolation."""
    try:
        dropped_through, last_seq, _, segments = unpack(packed)
    except (TypeError, ValueError):
        raise ProtocolViolation("what the archive gave is no log") from None
    gap = (after + 1, dropped_through) if after < dropped_through else None
    behind = [rest for segment in segments if (rest := _behind(after, segment)) is not None]
    batch = shaper.shape(behind, last_seq)
    batch.gap, batch.end = gap, True
    batch.stop_reason = next((fields.get("stop_reason") for _, fields, _ in behind if "stop_reason" in fields), None)
    return batch


def _behind(after: int, segment: Any) -> Segment | None:
    first, fields, pieces = read_segment(segment)
    if fields is None:
        raise ProtocolViolation("a segment of a log has its fields")
    had = max(after + 1 - first, 0)
    return (first + had, fields, pieces[had:]) if had < len(pieces) else None
