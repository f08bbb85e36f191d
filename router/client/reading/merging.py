"""Reading many requests in one loop: fair between them, one poll an actor, no task for any of them.

Theory. Each request has a `Reader`, which says when it may have something; then its source stands in one queue
(`_ready`), once. Whoever asks for the next message takes the source in front, is handed what it has, `TURN` messages
at most, and only then the source stands at the back again. So one that says much cannot keep out one that says little.
What was handed out is acknowledged when more is asked for, as everywhere.

Of many requests not all are begun at once: as many as may have something to say before it is taken are bounded
(`AHEAD`), and with them the bytes that wait here. The cursor is all the memory that counts: reading stops by letting
all readers go, and begins again from there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import repeat
from typing import NamedTuple

from actors.errors import AlreadyReading, RouterClosed, RouterUnavailable, StreamRouterError
from actors.messages import ErrorMessage, Message
from router.client.finding.following import OnFound
from router.client.finding.listing import ListCursor
from router.client.links.caller import as_named, fresh
from router.client.reading.assembly import Assembly, Coalesce
from router.client.reading.merge_cursor import MergeCursor
from router.client.reading.reader import Reader

TURN = 64
AHEAD = 1024


class Merged(NamedTuple):
    """A message with its request: `async for request_id, message in router.merge(...)`."""

    request_id: str
    message: Message


# As for pieces: this is made for every message.
_new_merged: Callable[[tuple[str, Message]], Merged] = partial(tuple.__new__, Merged)

OnChange = Callable[[], None]
MakeReader = Callable[[str, int, OnChange], Reader]
"""Makes the reader of a request after a cursor."""
Find = Callable[[ListCursor, OnFound], Awaitable[None]]
"""Tells of the requests behind a place in their listing, as they appear."""


class _Source:
    """One request that is read."""

    __slots__ = ("_on_change", "assembly", "error", "is_ended", "is_queued", "reader", "request_id")

    def __init__(self, request_id: str, coalesce: Coalesce, on_change: Callable[[_Source], None]) -> None:
        self.request_id = request_id
        self.assembly = Assembly(request_id, coalesce)
        self.error: StreamRouterError | None = None
        self.is_ended = False
        self.is_queued = False
        self.reader: Reader | None = None
        self._on_change = on_change

    def changed(self) -> None:
        """Its reader may have something to say."""
        self._on_change(self)

    def gather(self) -> None:
        """Have something ready, if there is anything. Raises RouterClosed, RouterUnavailable."""
        reader, assembly = self.reader, self.assembly
        while not assembly.ready and not self.is_ended and reader is not None:
            try:
                batch = reader.take()
            except StopAsyncIteration:
                self._end()
            except (RouterClosed, RouterUnavailable):
                raise
            except StreamRouterError as error:
                self.error = error
                self._end()
                assembly.ready.append(_error_message(self.request_id, error))
            else:
                if batch is None:
                    return
                assembly.take(batch)
                self.is_ended = batch.end
                if not assembly.ready:
                    reader.acknowledge()

    def _end(self) -> None:
        self.is_ended = True
        self.assembly.end()

    def leave(self) -> None:
        """Read no more."""
        if self.reader is not None:
            self.reader.leave()


class Merging:
    """One merge: what it reads, and what is to be handed out next. Use within one event loop."""

    def __init__(
        self,
        cursor: MergeCursor,
        make_reader: MakeReader,
        find: Find | None,
        *,
        coalesce: Coalesce,
    ) -> None:
        """`find`: finds the requests; None: they are those in the cursor."""
        self.pending: Iterator[Merged] = iter(())
        """What may be handed out now, in one turn: whoever takes one says so in `last`."""
        self.last: Merged | None = None
        self.failed: dict[str, StreamRouterError] = {}
        self._cursor = cursor
        self._make_reader = make_reader
        self._find = find
        self._coalesce: Coalesce = coalesce
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_asked = False
        self._messages: list[Message] = []
        self._reset()

    def _reset(self) -> None:
        self._sources: dict[str, _Source] = {}
        self._waiting: deque[str] = deque()
        self._starting: set[_Source] = set()
        self._ready: deque[_Source] = deque()
        self._turn: _Source | None = None
        self._messages.clear()  # and so nothing is pending, for whoever holds that
        self._changed: asyncio.Future[None] | None = None
        self._finding: asyncio.Task[None] | None = None
        self._fault: StreamRouterError | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop in which it reads; None while it does not."""
        return self._loop

    # --- handing out ------------------------------------------------------------------------

    async def next(self) -> Merged:
        """Return the next message. Raises as `Merge.__anext__` does."""
        if self._is_asked:
            raise AlreadyReading("another task waits for the next message of this merge; merge once for each task")
        merged = next(self.pending, None)
        if merged is None:
            self._is_asked = True
            try:
                await self._wait_for_a_turn()
            except BaseException:
                self.leave()
                raise
            finally:
                self._is_asked = False
            merged = next(self.pending)
        self.last = merged
        return merged

    @property
    def cursor(self) -> MergeCursor:
        """Where it stands, behind the last message that was handed out."""
        self._note_last()
        return self._cursor

    def _note_last(self) -> None:
        last, self.last = self.last, None
        if last is not None and last.message.seq_id is not None:
            self._cursor.read[last.request_id] = last.message.seq_id

    async def _wait_for_a_turn(self) -> None:
        loop = self._loop
        if loop is None:
            loop = self._begin()
        self._end_turn()
        while True:
            self._begin_readers()
            if self._begin_turn():
                return
            if self._fault is not None:
                raise fresh(self._fault)
            if self._waiting and self._has_room:
                continue
            if not self._sources and not self._waiting and self._finding is None:
                raise StopAsyncIteration
            self._changed = loop.create_future()
            await self._changed

    def _begin_turn(self) -> bool:
        """Let the first that has something have its turn; False where none has."""
        while self._ready:
            source = self._ready.popleft()
            source.is_queued = False
            source.gather()
            ready = source.assembly.ready
            if not ready:
                self._end_if_over(source)
                continue
            if len(ready) <= TURN:
                self._messages = [*ready]
                ready.clear()
            else:
                self._messages = [ready.popleft() for _ in range(TURN)]
            # (No `strict`: the iterator that repeats has no end.)
            self.pending = map(_new_merged, zip(repeat(source.request_id), self._messages))
            self._turn = source
            return True
        return False

    def _end_turn(self) -> None:
        """All of the last turn was handed out, and more is asked for."""
        self._note_last()
        source, self._turn = self._turn, None
        if source is None:
            return
        if source.assembly.ready:
            self._queue(source)
            return
        if not self._end_if_over(source) and source.reader is not None and source.reader.acknowledge():
            self._queue(source)

    def _end_if_over(self, source: _Source) -> bool:
        if not source.is_ended:
            return False
        source.leave()
        del self._sources[source.request_id]
        self.cursor.end(source.request_id)
        if source.error is not None:
            self.failed[source.request_id] = source.error
        return True

    # --- reading ----------------------------------------------------------------------------

    def _begin(self) -> asyncio.AbstractEventLoop:
        self._reset()
        loop = self._loop = asyncio.get_running_loop()
        self._waiting.extend(self.cursor.read)
        if self._find is not None and self.cursor.listed is not None:
            self._finding = loop.create_task(self._keep_finding(self._find, self.cursor.listed))
            self._finding.add_done_callback(self._finding_ended)
        return loop

    @property
    def _has_room(self) -> bool:
        return len(self._starting) + len(self._ready) < AHEAD

    def _begin_readers(self) -> None:
        while self._waiting and self._has_room:
            request_id = self._waiting.popleft()
            source = _Source(request_id, self._coalesce, self._has_changed)
            self._sources[request_id] = source
            self._starting.add(source)
            source.reader = self._make_reader(request_id, self.cursor.read[request_id], source.changed)
            source.reader.begin()

    def _has_changed(self, source: _Source) -> None:
        self._starting.discard(source)
        self._queue(source)
        self._wake()

    def _queue(self, source: _Source) -> None:
        if not source.is_queued:
            source.is_queued = True
            self._ready.append(source)

    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    async def _keep_finding(self, find: Find, listed: ListCursor) -> None:
        """Find requests, as long as there may be more."""
        try:
            await find(listed, self._found)
        except Exception as error:  # noqa: BLE001  # whoever reads gets it
            self._fault = as_named(error, "the requests to merge could not be listed")
        self._finding = None
        self._wake()

    def _finding_ended(self, finding: asyncio.Task[None]) -> None:
        if finding is self._finding and finding.cancelled():  # by somebody else, as all tasks are when a loop ends
            self._finding = None
            self._fault = RouterClosed("the background tasks of this merge were cancelled; its event loop ends")
            self._wake()

    def _found(self, request_ids: list[str], listed: ListCursor, is_sure: bool) -> None:  # noqa: FBT001  # a callback
        self._waiting.extend(self.cursor.find(request_ids, listed, is_sure=is_sure))
        self._wake()

    def leave(self) -> None:
        """Stop reading, and give all cursors up; what was not handed out is read again."""
        if self._loop is None:
            return
        self._loop = None
        _ = self.cursor  # behind what was handed out
        if self._finding is not None:
            self._finding.cancel()
        for source in self._sources.values():
            source.leave()
        changed = self._changed
        self._reset()
        if changed is not None and not changed.done():
            changed.set_exception(RouterClosed("this merge was left while another task waited for its next message"))


def _error_message(request_id: str, error: StreamRouterError) -> ErrorMessage:
    return ErrorMessage(
        id=f"error-{request_id}", date=datetime.now(UTC), run_id=request_id, error_type=error.code, message=str(error)
    )
