"""One reader of one request: asks where it is, joins the poller there, hands out what comes.

If the stream actor dies, or the request moves, the reader goes on from its cursor wherever the router
says. What has been consumed (the next batch was asked for after it) is acknowledged with the next poll,
or shortly after by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from sys import intern
from typing import TYPE_CHECKING, Any

from actors.errors import AlreadyReading, RequestLost, RouterClosed, StreamRouterError, from_wire
from actors.protocol.reads import PartState
from actors.protocol.states import ReaderState, RequestPhase, Role
from router.client.links.caller import fresh
from router.client.links.patience import was_stopped
from router.client.reading.batch import Batch, Shaper
from router.client.reading.inbox import Cursor, Segment
from router.client.reading.turns import BATCH_MESSAGES, done_within, let_others_go
from router.client.reading.whereabouts import gone, unknown

if TYPE_CHECKING:
    from router.client.links.link import Link
    from router.client.reading.poller import Poller, Pollers

ASK_AGAIN_S = 0.02
_ENDED = int(PartState.ENDED)  # looked at for all that comes; to ask the enum for a member takes as long as a call

Arrived = tuple[int, "list[int] | None", list[Any]]
"""What a poll brought: state, gap, segments."""


class Reader:
    """Where one subscription stands, from its first question until it has left. Use within one event loop."""

    __slots__ = (
        "_arrived", "_changed", "_created", "_cursor", "_epochs_read", "_error", "_is_unknown", "_known",
        "_link", "_loop", "_moving", "_on_change", "_patience", "_ping_s", "_place", "_poller", "_pollers",
        "_shaper", "_wait_s", "has_left", "is_asked", "is_observer", "number", "request_id",
    )  # fmt: skip

    def __init__(
        self,
        request_id: str,
        link: Link,
        pollers: Pollers,
        shaper: Shaper,
        *,
        after: int,
        wait_s: float,
        ping_s: float | None,
        is_observer: bool = False,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        """`on_change`: called whenever `take` may have something to say; None: whoever reads waits in `next`."""
        self.request_id: str = request_id
        self.is_observer: bool = is_observer
        self.number: int = pollers.next_number()
        self._link = link
        self._pollers = pollers
        self._shaper = shaper
        self._cursor = Cursor(after, request_id)
        self._wait_s = wait_s
        self._ping_s = ping_s
        self._arrived: list[Arrived] | None = None
        self._changed: asyncio.Future[None] | None = None
        self._on_change = on_change
        self._patience: float | None = None  # since when it waits for what the router does not know
        self._error: StreamRouterError | None = None
        self._poller: Poller | None = None
        # One text for all that read there: "s1 1", stream actor and epoch.
        self._place: str | None = None
        self._moving: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._known = False
        self._created = 0
        self._is_unknown = False  # the router has said so, which may change until somebody opens it
        self._epochs_read = 0
        self.has_left: bool = False
        self.is_asked: bool = False

    def again(self) -> Reader:
        """Return a reader that goes on where this one, which has left, stood."""
        return Reader(
            self.request_id,
            self._link,
            self._pollers,
            self._shaper,
            after=self.last_seq_id,
            wait_s=self._wait_s,
            ping_s=self._ping_s,
            is_observer=self.is_observer,
        )

    @property
    def last_seq_id(self) -> int:
        """The last message that was read."""
        return self._cursor.last_seq_id

    @property
    def resumes_after(self) -> int:
        """The last message that the user has had."""
        return max(self._cursor.last_seq_id, self._shaper.had_through)

    @property
    def has_ended(self) -> bool:
        """Whether the end of the request has been handed out."""
        return self._cursor.ended

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop in which it reads; None before it has begun and after it has left."""
        return None if self.has_left else self._loop

    @property
    def context(self) -> Context:
        """What it leaves in where nobody calls: another thread may collect whoever held it."""
        return self._pollers.context

    # --- for the subscription ---------------------------------------------------------------

    async def next(self, _holder: object) -> Batch[Any]:
        """Return the next batch. Raises as `Subscription.__anext__` does.

        `_holder` is held meanwhile: whoever collects it has stopped reading.
        """
        if self.is_asked:
            raise AlreadyReading(
                f"request {self.request_id!r}: another task waits for the next batch of this subscription; "
                "subscribe once for each task"
            )
        if self._cursor.ended:
            raise StopAsyncIteration
        self.is_asked = True
        try:
            if self._loop is None:
                self.begin()
            else:
                # Coming for more means that what was handed out has been consumed.
                self.acknowledge()
            if self._arrived:
                await let_others_go()
            while not self._arrived or (batch := self._next_batch()) is None:
                changed, ping_s = self._begin_to_wait()
                if ping_s is None:
                    await changed
                elif not await done_within(changed, ping_s):
                    return self._shaper.ping(self.request_id, self.resumes_after)
        except BaseException:
            self.leave()
            raise
        finally:
            self.is_asked = False
        return batch

    # --- for who reads many, and waits for all of them at once ------------------------------

    def begin(self, on_change: Callable[[], None] | None = None) -> None:
        """Begin to read; `on_change`: as above. Raises RouterClosed, RouterUnavailable, InvalidArgument (of a loop)."""
        self._loop = self._link.check_usable()
        self._on_change = on_change or self._on_change
        self._link.locate(self.request_id, self)

    def acknowledge(self) -> bool:
        """All that was handed out has been consumed. Return whether there is more to take already."""
        has_more, poller = bool(self._arrived), self._poller
        if poller is not None:
            poller.consumed(self.number, self._cursor.last_seq_id, has_more=has_more)
            if poller.is_crowded and not has_more:  # take less room until more comes
                self._shaper.rest()
                self._cursor.rest()
        return has_more

    def take(self) -> Batch[Any] | None:
        """Return the next batch; None where it has not come yet. Raises as `next`."""
        if self._cursor.ended:
            raise StopAsyncIteration
        try:
            batch = self._next_batch()
            if batch is None:
                self._be_patient()
            elif self._poller is not None:
                batch.is_lone = self._poller.is_lone
        except BaseException:
            self.leave()
            raise
        return batch

    def _be_patient(self) -> None:
        """Wait for something to happen, `wait_s` where the router knows no such request. Raises what ends the wait."""
        if self._error is not None:
            raise fresh(self._error)
        if self._known or not self._is_unknown:
            return
        if not self._wait_s:
            raise unknown(self.request_id, self._wait_s)
        if self._patience is None and self._loop is not None:
            self._patience = self._link.waits.begin(self, self._wait_s, self._loop)

    def _end_patience(self) -> None:
        if self._patience is not None:
            self._patience = None
            self._link.waits.end(self)

    def patience_ends(self) -> None:
        """See `Waiter`."""
        began, self._patience = self._patience, None
        if began is None or self._known or not self._is_unknown or self._loop is None:
            return
        if was_stopped(self._loop.time() - began, self._wait_s):
            self._wake()  # this process was stopped, and could hear nothing: wait again
        else:
            self._fail(unknown(self.request_id, self._wait_s))

    # --- what has come ----------------------------------------------------------------------

    def _next_batch(self) -> Batch[Any] | None:
        """Return what has come; None where nothing has. Raises StopAsyncIteration at the end."""
        arrived, cursor = self._arrived, self._cursor
        if arrived is not None and len(arrived) == 1 and arrived[0][0] != _ENDED and arrived[0][1] is None:
            # One part, no gap before it and no end in it: nearly all that comes.
            self._arrived = None
            segments = cursor.take(arrived[0][2], None)
            if segments and cursor.last_seq_id > self._shaper.had_through:
                return self._shaper.shape(segments, cursor.last_seq_id)
            return self._batch_of(segments, None)
        return self._batch_of(*self._take_arrived()) if arrived or cursor.ended else None

    def _batch_of(self, segments: list[Segment], missing: tuple[int, int] | None) -> Batch[Any] | None:
        """Return a batch of these behind a gap; where the user has had all of it, what follows."""
        batch: Batch[Any] | None = None
        if missing is not None:
            missing = self._shaper.gap(*missing)
        if segments:
            batch = self._shaper.shape(segments, self._cursor.last_seq_id)
        if self._cursor.last_seq_id <= self._shaper.had_through:
            segments = []
        if not segments and missing is None and not self._cursor.ended:
            if self._poller is not None:
                # All of it was known already; whoever sent it again must hear that, or it counts as unread.
                self._poller.consumed(self.number, self._cursor.last_seq_id)
            return self._next_batch()
        if batch is None:
            batch = self._shaper.shape([], self._cursor.last_seq_id)
        batch.gap = missing
        if self._cursor.ended:
            batch.end = True
            batch.stop_reason = self._cursor.stop_reason
            self.leave()
            if not segments and missing is None:
                self._raise_end()
        return batch

    def _take_arrived(self) -> tuple[list[Segment], tuple[int, int] | None]:
        arrived, self._arrived = self._arrived or (), None
        segments: list[Segment] = []
        missing: tuple[int, int] | None = None
        for at, (state, gap, crossed) in enumerate(arrived):
            if segments and self._cursor.last_seq_id >= segments[0][0] + BATCH_MESSAGES - 1:
                self._arrived = [*arrived[at:]]  # other readers have their turn
                break
            if gap is not None and gap[1] > self._cursor.last_seq_id:
                if segments or missing:
                    self._arrived = [*arrived[at:]]  # a batch's gap lies before it
                    break
                missing = (max(gap[0], self._cursor.last_seq_id + 1), gap[1])
            segments += self._cursor.take(crossed, gap)
            if state == _ENDED:
                self._cursor.ended = True
        return segments, missing

    def _raise_end(self) -> None:
        if self._epochs_read > 1 and self._cursor.stop_reason is None:
            raise RequestLost(
                f"request {self.request_id!r} was ended anew after several crashes at once, at or before "
                f"message {self.last_seq_id}, the last one read here; read it from the beginning to see its end"
            )
        raise StopAsyncIteration

    def _begin_to_wait(self) -> tuple[asyncio.Future[None], float | None]:
        """Return what is done when something has happened, and after how long a ping is to come; None: never."""
        loop = self._loop
        if not self._known or self._error is not None:
            # Until the router has said whether there is such a request, its call's own deadline ends the wait.
            self._be_patient()
        if loop is None:
            raise RouterClosed(f"request {self.request_id!r} is not being read")
        # (To ask for the running loop is a system call in Python 3.11, and this is paid for every batch.)
        changed = self._changed = loop.create_future()
        return changed, self._ping_s if self._known else None

    def leave(self) -> None:
        """Stop reading, and give the cursor up."""
        if self.has_left:
            return
        self.has_left = True
        self._on_change = None
        self._end_patience()
        self._link.lose_interest((Role.READER, self.request_id), self)
        if self._moving is not None:
            self._moving.cancel()
            self._moving = None
        if self._poller is not None:
            self._poller.drop(self)
            self._poller = None
        self._wake()

    # --- for the poller ---------------------------------------------------------------------

    def arrive(self, state: int, gap: list[int] | None, segments: list[Any]) -> None:
        """Take what a poll brought."""
        if self._arrived is None:
            self._arrived = [(state, gap, segments)]
        else:
            self._arrived.append((state, gap, segments))
        changed = self._changed
        if self._on_change is not None:  # (`_wake`, without a call)
            self._on_change()
        elif changed is not None and not changed.done():
            changed.set_result(None)

    def moved(self, poller: Poller) -> None:
        """The session is not where that poller reads; ask again, unless the router has said so already."""
        if self._poller is poller and not self.has_left:
            self._poller = None
            self._place = None
            self._ask_where()

    def refused(self, poller: Poller, told: list[Any]) -> None:
        """That poller's actor cannot do what was asked for; `told` is (code, text) of its error."""
        if self._poller is poller and not self.has_left:
            self._poller = None
            code, text = told
            self._fail(from_wire(code, text))

    def _ask_where(self) -> None:
        if self._link.error is not None:
            self._fail(self._link.error)
        else:
            self._link.locate(self.request_id, self)

    def _wake(self) -> None:
        if self._on_change is not None:
            self._on_change()
        elif self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    def _fail(self, error: StreamRouterError) -> None:
        self._error = error
        self._wake()

    # --- as the link's listener -------------------------------------------------------------

    def on_state(self, state: ReaderState) -> None:
        """See `StateListener`."""
        _, _, phase, actor_id, epoch, created = state
        if self.has_left:
            return
        if phase == RequestPhase.RECOVERING:
            self._is_unknown = False
            self._end_patience()
            return
        if phase == RequestPhase.UNKNOWN or self._is_of_another(created):
            self._is_not_there()
            return
        self._created = created
        if not self._known:
            self._known = True
            self._end_patience()
            self._wake()
        if self.has_left or actor_id is None or self._place == (place := f"{actor_id} {epoch}"):
            return
        self._place = intern(place)
        if self._moving is not None:
            self._moving.cancel()
            self._moving = None
        handle = self._link.handles.known(actor_id)
        if handle is not None:
            self._join(actor_id, epoch, handle)
        else:
            self._moving = asyncio.get_running_loop().create_task(self._move(actor_id, epoch))

    def _is_not_there(self) -> None:
        if self._known:
            self._fail(gone(self.request_id, self._cursor.last_seq_id))
        elif not self._is_unknown:
            self._is_unknown = True
            self._wake()

    def _is_of_another(self, created: int) -> bool:
        """Whether this number is that of another request than the one which messages have come of.

        Numbers rise with the clock. A router whose clock was set back gives what it takes in again a lower one.
        """
        return 0 < self._created < created and (self._cursor.has_begun or bool(self._arrived))

    async def _move(self, actor_id: str, epoch: int) -> None:
        try:
            handle = await self._link.handles.of(actor_id)
        except StreamRouterError as error:
            self._fail(error)
            return
        if handle is None:
            self._place = None  # it died between two words of the router; its next state names another actor
            await asyncio.sleep(ASK_AGAIN_S)
            self._ask_where()
            return
        self._join(actor_id, epoch, handle)
        self._moving = None  # ten thousand finished tasks are many megabytes

    def _join(self, actor_id: str, epoch: int, handle: Any) -> None:
        poller = self._pollers.of(self._link, actor_id, handle)
        if self._poller is not None and self._poller is not poller:
            self._poller.drop(self)
        self._poller = poller
        # What has arrived from the old place stays: the same messages have the same numbers in the new.
        self._epochs_read += 1
        is_moving = self._epochs_read > 1 and self._cursor.stop_reason is None
        poller.add(self, epoch, is_moving=is_moving)

    def on_unreachable(self, error: StreamRouterError) -> None:
        """See `StateListener`: without its router, what the stream actor still gives is read; then this is the end."""
        if self._poller is None or isinstance(error, RouterClosed):
            self._fail(error)

    def on_fault(self, error: StreamRouterError) -> None:
        """See `StateListener`."""
        self._fail(error)

    def on_router_restart(self) -> None:
        """See `StateListener`."""
        self._is_unknown = False
        self._end_patience()
        self._link.ask_where(self.request_id)
