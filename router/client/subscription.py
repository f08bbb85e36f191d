"""The consuming end: subscriptions, and the one long poll that those on the same actor share.

    async for batch in router.subscribe("req-1", after=0):
        for message in batch: ...

A subscription asks the router where its request is, joins the poller of that stream actor, and is
handed what the poll brings. If the actor dies, or the request moves, it goes on from its cursor
wherever the router says. What the user has consumed (asked for the next batch after) is
acknowledged with the next poll, or within `ACK_DELAY_S` by itself.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Self

from ray.exceptions import ActorDiedError, RayError

from actors.errors import RequestLost, RouterUnavailable, StreamRouterError, UnknownRequest
from actors.protocol.backoff import Backoff
from actors.protocol.frames import pack, unpack_list
from actors.protocol.reads import (
    FORGOTTEN,
    POLL_WAIT_S_MAX,
    Consumed,
    Drop,
    Operation,
    PartState,
    PollCall,
    Subscribe,
    TellCall,
)
from actors.protocol.states import ReaderState, RequestPhase, Role
from router.client.batch import Batch, Format, Shaper
from router.client.inbox import Cursor, Run

if TYPE_CHECKING:
    from router.client.link import Link

log = logging.getLogger("router.subscriber")

ACK_DELAY_S = 0.02
POLL_SLACK_S = 4.0
BACKOFF_S = 0.02
BACKOFF_S_MAX = 0.5


class Subscription(AsyncIterator["Batch[Any]"]):
    """One reader of one request; iterate over it for batches. Made by `StreamRouter.subscribe`."""

    __slots__ = (
        "_arrived",
        "_changed",
        "_cursor",
        "_epochs_read",
        "_error",
        "_known",
        "_link",
        "_loop",
        "_moving",
        "_ping_s",
        "_place",
        "_poller",
        "_pollers",
        "_shaper",
        "_started",
        "_wait_s",
        "number",
        "request_id",
    )

    def __init__(
        self,
        request_id: str,
        link: Link,
        pollers: Pollers,
        *,
        after: int,
        coalesce: bool,
        format: Format,  # noqa: A002  # the user's word
        wait_s: float,
        ping_s: float | None,
    ) -> None:
        self.request_id = request_id
        self.number = pollers.next_number()
        self._link = link
        self._pollers = pollers
        self._shaper = Shaper(format, coalesce=coalesce)
        self._cursor = Cursor(after)
        self._wait_s = wait_s
        self._ping_s = ping_s
        # A list, since it is mostly empty: an empty deque has room for 64 and takes it.
        self._arrived: list[tuple[int, list[int] | None, list[Any]]] = []
        self._changed: asyncio.Future[None] | None = None
        self._error: StreamRouterError | None = None
        self._poller: Poller | None = None
        self._place: tuple[str, int] | None = None
        self._moving: asyncio.Task[None] | None = None
        self._started = False
        self._loop: asyncio.AbstractEventLoop
        self._known = False
        self._epochs_read = 0

    @property
    def last_seq_id(self) -> int:
        """The last message handed out: pass it as `after` to resume."""
        return self._cursor.last_seq_id

    # --- for the user -----------------------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch[Any]:
        """Return the next batch.

        Raises UnknownRequest, RouterUnavailable, RequestLost; StopAsyncIteration after the end.
        """
        if self._cursor.ended:
            raise StopAsyncIteration
        if not self._started:
            self._started = True
            self._loop = asyncio.get_running_loop()
            self._link.locate(self.request_id, self)
        elif self._poller is not None:
            # Coming for more means that what was handed out has been consumed.
            self._poller.consumed(self)
        try:
            while (batch := self._next_batch()) is None:
                if not await self._wait():
                    return self._shaper.ping(self.request_id, self._cursor.last_seq_id)
        except BaseException:
            await self.aclose()
            raise
        return batch

    def _next_batch(self) -> Batch[Any] | None:
        runs: list[Run] = []
        missing: tuple[int, int] | None = None
        has_arrived = bool(self._arrived)
        while self._arrived:
            state, gap, segments = self._arrived[0]
            if gap is not None and gap[1] > self._cursor.last_seq_id:
                if runs or missing:
                    break  # a batch's gap lies before it
                missing = (max(gap[0], self._cursor.last_seq_id + 1), gap[1])
            self._arrived.pop(0)
            runs.extend(self._cursor.take(segments, gap))
            if state == PartState.ENDED:
                self._cursor.ended = True
        if not runs and missing is None and not self._cursor.ended:
            if has_arrived and self._poller is not None:
                # All of it was known already; whoever sent it again must hear that, or it counts as unread.
                self._poller.consumed(self)
            return None
        batch = self._shaper.shape(runs, self._cursor.last_seq_id)
        batch.gap = missing
        if self._cursor.ended:
            batch.end = True
            batch.stop_reason = self._cursor.stop_reason
            self._leave()
            if not runs and missing is None:
                if self._epochs_read > 1 and self._cursor.stop_reason is None:
                    raise RequestLost(
                        f"request {self.request_id!r} was ended anew after several crashes at once, at or before "
                        f"message {self.last_seq_id}, the last one read here; read it from the beginning to see its end"
                    )
                raise StopAsyncIteration
        return batch

    async def _wait(self) -> bool:
        """Wait for something to happen; False when it is time for a ping instead."""
        if self._error is not None:
            raise self._error
        # (To ask for the running loop is a system call in Python 3.11, and this is paid for every batch.)
        self._changed = self._loop.create_future()
        wait_s = self._ping_s if self._known else self._wait_s
        if wait_s is None:
            await self._changed
            return True
        try:
            async with asyncio.timeout(wait_s):
                await self._changed
        except TimeoutError:
            if self._known:
                return False
            raise UnknownRequest(
                f"no request {self.request_id!r} within wait_s = {self._wait_s:g} s: never opened here, or its "
                "time-to-live is over; check the ID, or give subscribe a longer wait_s"
            ) from None
        return True

    async def aclose(self) -> None:
        """Stop reading. The request goes on; to end it, use cancel."""
        self._cursor.ended = True
        self._leave()

    def _leave(self) -> None:
        self._link.lose_interest((Role.READER, self.request_id), self)
        if self._moving is not None:
            self._moving.cancel()
        if self._poller is not None:
            self._poller.drop(self)
            self._poller = None

    # --- for the poller ---------------------------------------------------------------------

    def arrive(self, state: int, gap: list[int] | None, segments: list[Any]) -> None:
        """Take what a poll brought."""
        self._arrived.append((state, gap, segments))
        self._wake()

    def moved(self, poller: Poller) -> None:
        """The session is not where that poller reads; ask again, unless the router has said so already."""
        if self._poller is poller and not self._cursor.ended:
            self._poller = None
            self._place = None
            self._link.locate(self.request_id, self)

    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    # --- as the link's listener -------------------------------------------------------------

    def on_state(self, state: ReaderState) -> None:
        """See `StateListener`."""
        _, _, phase, actor_id, epoch = state
        if self._cursor.ended or phase == RequestPhase.RECOVERING:
            return
        if phase == RequestPhase.UNKNOWN:
            if self._known:
                self._error = UnknownRequest(
                    f"request {self.request_id!r} is gone: its time-to-live is over, or no survivor knows it; "
                    f"the last message read was {self._cursor.last_seq_id}"
                )
                self._wake()
            return
        if not self._known:
            self._known = True
            self._wake()
        if actor_id is None or self._place == (actor_id, epoch):
            return
        self._place = (actor_id, epoch)
        if self._moving is not None:
            self._moving.cancel()
            self._moving = None
        handle = self._link.known_actor(actor_id)
        if handle is not None:
            self._join(actor_id, epoch, handle)
        else:
            self._moving = asyncio.get_running_loop().create_task(self._move(actor_id, epoch))

    async def _move(self, actor_id: str, epoch: int) -> None:
        try:
            handle = await self._link.actor(actor_id)
        except StreamRouterError as error:
            self._error = error
            self._wake()
            return
        if handle is None:
            # It died between two words of the router; its next state names another actor.
            self._place = None
            await asyncio.sleep(BACKOFF_S)
            self._link.locate(self.request_id, self)
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
        poller.add(self, self._cursor.last_seq_id, epoch, is_moving=is_moving)

    def on_unreachable(self, error: RouterUnavailable) -> None:
        """See `StateListener`: what the stream actor still gives is read; without it, this is the end."""
        if self._poller is None:
            self._error = error
            self._wake()

    def on_router_restart(self) -> None:
        """See `StateListener`."""
        self._link.ask_where(self.request_id)


class Pollers:
    """The pollers of one `StreamRouter`, one per stream actor that it reads from."""

    def __init__(self, client_id: str) -> None:
        self._client_id = client_id
        self._pollers: dict[str, Poller] = {}
        self._numbers = 0
        self._pollers_made = 0

    def next_number(self) -> int:
        """Return a number for a subscription, unique in this process."""
        self._numbers += 1
        return self._numbers

    def of(self, link: Link, actor_id: str, handle: Any) -> Poller:
        """Return the poller of a stream actor."""
        key = handle._actor_id.hex()  # noqa: SLF001  # Ray has no public way to tell two handles apart
        found = self._pollers.get(key)
        if found is None:
            self._pollers_made += 1  # a reader_id is used once, whatever was forgotten meanwhile
            reader_id = f"{self._client_id}/{self._pollers_made}"
            found = self._pollers[key] = Poller(reader_id, handle, link, actor_id, lambda: self._pollers.pop(key, None))
        return found

    async def close(self) -> None:
        """Stop all polls."""
        for poller in list(self._pollers.values()):
            await poller.close()
        self._pollers.clear()


class Poller:
    """The one long poll of this process on one stream actor."""

    def __init__(self, reader_id: str, handle: Any, link: Link, actor_id: str, forget: Callable[[], Any]) -> None:
        self._reader_id = reader_id
        self._handle = handle
        self._link = link
        self._actor_id = actor_id
        self._forget = forget
        self._poll_no = 0
        self._subscriptions: dict[int, Subscription] = {}
        self._operations: list[tuple[Any, ...]] = []
        self._operation_no = 0
        # Numbers of operations that the actor may not have had yet; it ignores what comes late from before them.
        self._unsettled: dict[int, None] = {}
        self._acks: dict[int, int] = {}
        self._task: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._ack_timer: asyncio.TimerHandle | None = None
        self._polling = False

    # --- from subscriptions -----------------------------------------------------------------

    def add(self, subscription: Subscription, after: int, epoch: int, *, is_moving: bool) -> None:
        """Begin to read for a subscription; `is_moving`: it has read elsewhere, and seen no end."""
        self._subscriptions[subscription.number] = subscription
        operation_no = self._next_operation()
        number, request_id = subscription.number, subscription.request_id
        self._operate(Subscribe(operation_no, Operation.SUBSCRIBE, number, request_id, after, epoch, is_moving))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._poll())

    def consumed(self, subscription: Subscription) -> None:
        """Note that the user has consumed all that was handed out."""
        if subscription.number not in self._subscriptions:
            return
        self._acks[subscription.number] = subscription.last_seq_id
        if self._polling and self._ack_timer is None:
            # It would ride with the next poll, but that may be far off.
            self._ack_timer = asyncio.get_running_loop().call_later(ACK_DELAY_S, self._tell_soon)

    def drop(self, subscription: Subscription) -> None:
        """Stop reading for a subscription."""
        if self._subscriptions.pop(subscription.number, None) is not None:
            self._acks.pop(subscription.number, None)
            self._operate(Drop(self._next_operation(), Operation.DROP, subscription.number))

    def _next_operation(self) -> int:
        self._operation_no += 1
        self._unsettled[self._operation_no] = None
        return self._operation_no

    def _operate(self, operation: Subscribe | Drop) -> None:
        self._operations.append(operation)
        if self._polling:
            self._tell_soon()

    # --- calls ------------------------------------------------------------------------------

    def _take_operations(self) -> list[tuple[Any, ...]]:
        operations = self._operations
        operations.extend(Consumed(0, Operation.CONSUMED, number, cursor) for number, cursor in self._acks.items())
        self._operations = []
        self._acks = {}
        if self._ack_timer is not None:
            self._ack_timer.cancel()
            self._ack_timer = None
        return operations

    @property
    def _settled(self) -> int:
        """The first operation that the actor may not have had."""
        return next(iter(self._unsettled), self._operation_no + 1)

    def _settle(self, operations: list[tuple[Any, ...]]) -> None:
        for operation in operations:
            self._unsettled.pop(operation[0], None)

    def _put_back(self, operations: list[tuple[Any, ...]]) -> None:
        """Keep operations whose outcome is unknown, to send them again."""
        self._operations = operations + self._operations

    def _tell_soon(self) -> None:
        self._ack_timer = None
        if self._telling is None or self._telling.done():
            self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        """Send operations while a poll is out; what comes meanwhile rides in the next call."""
        await asyncio.sleep(0)
        while self._polling and (operations := self._take_operations()):
            try:
                frame = pack(TellCall(self._reader_id, self._settled, operations))
                await asyncio.wait_for(self._handle.tell.remote(frame), POLL_SLACK_S)
            except (RayError, TimeoutError):
                # The poll meets the same failure and deals with it; the operations are not lost.
                self._put_back(operations)
                await asyncio.sleep(BACKOFF_S_MAX)
            else:
                self._settle(operations)

    async def _poll(self) -> None:
        failures = 0
        backoff = Backoff(2 * BACKOFF_S, BACKOFF_S_MAX)
        while self._subscriptions:
            operations = self._take_operations()
            wait_s = POLL_WAIT_S_MAX * random.uniform(0.5, 0.9)  # jitter, not a secret
            frame = pack(PollCall(self._reader_id, self._poll_no + 1, self._settled, operations, wait_s))
            self._polling = True
            try:
                answer = await asyncio.wait_for(self._handle.poll.remote(frame), wait_s + POLL_SLACK_S)
            except ActorDiedError:
                await self._lost()
                return
            except (RayError, TimeoutError) as error:
                self._put_back(operations)
                cause = getattr(error, "cause", None)
                if isinstance(cause, StreamRouterError):
                    self._refused(cause)
                    return
                # Outcome unknown: the same poll again gives the same answer. A second failure is
                # told to the router, who may place the requests elsewhere.
                failures += 1
                if failures > 1:
                    await self._link.suspect(self._actor_id)
                await asyncio.sleep(backoff.next_s(random.random()))
                continue
            finally:
                self._polling = False
            failures = 0
            backoff.reset()
            if answer == FORGOTTEN:
                self._begin_anew()
                return
            self._settle(operations)
            parts = unpack_list(answer)
            if parts:
                self._poll_no += 1
                self._hand_over(parts)
                # Let the subscriptions take theirs, so that their acknowledgements ride with the next poll.
                await asyncio.sleep(0)
        if self._operations:
            await self._say_goodbye()

    async def _say_goodbye(self) -> None:
        operations = self._take_operations()
        try:
            frame = pack(TellCall(self._reader_id, self._settled, operations))
            await asyncio.wait_for(self._handle.tell.remote(frame), POLL_SLACK_S)
        except ActorDiedError:
            self._forget()
            return
        except (RayError, TimeoutError):
            # The actor forgets silent readers by itself; should this one speak again, it says this first.
            self._put_back(operations)
        else:
            self._settle(operations)
        if self._subscriptions:
            self._task = asyncio.get_running_loop().create_task(self._poll())

    def _hand_over(self, parts: list[Any]) -> None:
        for number, state, gap, _epoch, segments in parts:
            subscription = self._subscriptions.get(number)
            if subscription is None:
                continue
            if state == PartState.UNKNOWN:
                del self._subscriptions[number]
                subscription.moved(self)
            else:
                subscription.arrive(state, gap, segments)

    def _begin_anew(self) -> None:
        """The actor has forgotten this reader, which was silent for too long: ask again where all is."""
        log.info("stream actor %s had given this reader up; %d begin anew", self._actor_id, len(self._subscriptions))
        self._forget()
        subscriptions, self._subscriptions = list(self._subscriptions.values()), {}
        for subscription in subscriptions:
            subscription.moved(self)

    async def _lost(self) -> None:
        """The actor is dead: let the router look after it, then ask again where all is."""
        log.info("stream actor %s is gone; %d subscriptions move", self._actor_id, len(self._subscriptions))
        self._forget()
        self._link.forget_actor(self._actor_id)
        subscriptions, self._subscriptions = list(self._subscriptions.values()), {}
        await self._link.suspect(self._actor_id)
        for subscription in subscriptions:
            subscription.moved(self)

    def _refused(self, error: StreamRouterError) -> None:
        self._forget()
        for subscription in self._subscriptions.values():
            subscription._error = error  # noqa: SLF001  # one noun, two classes
            subscription._wake()  # noqa: SLF001
        self._subscriptions = {}

    async def close(self) -> None:
        """Stop polling."""
        if self._ack_timer is not None:
            self._ack_timer.cancel()
        tasks = [task for task in (self._task, self._telling) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
