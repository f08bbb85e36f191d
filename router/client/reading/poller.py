"""The one long poll that all subscriptions of a process on the same stream actor share.

What is to be said to the actor (`operations.py`) goes with the poll, or in a call of its own while the
poll is out. An actor that dies, or that has forgotten this process, sends its readers back to the
router, which says where their requests are now. A fault stays with its own: where the actor refuses a
call, its operations are sent one by one, and only the reader whose operation is refused hears of it.

Through a socket the poll is answered many times (`following.py`), and what is to be said rides in the calls that
renew it; through Ray there is one answer to a poll.

A poller that has had nothing to read for `IDLE_S` is dropped, and with it the handle of its actor: else
a process would keep one for each actor that ever was.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from ray.exceptions import ActorDiedError, RayError

from actors.errors import ProtocolViolation, StreamRouterError
from actors.protocol.backoff import Backoff
from actors.protocol.deadlines import NEVER
from actors.protocol.frames import pack, unpack_list
from actors.protocol.reads import (
    ANSWERS_AHEAD_MAX,
    FORGOTTEN,
    NOTHING,
    POLL_WAIT_S_MAX,
    FollowCall,
    Operation,
    PartState,
    PollCall,
    TellCall,
)
from actors.transport.connection import Connection
from actors.transport.line import Line
from router.client.links.caller import raised_there
from router.client.reading.asking import Asking
from router.client.reading.following import POLL_SLACK_S, Following
from router.client.reading.operations import Operations, Said
from router.client.reading.polled import Polled

if TYPE_CHECKING:
    from router.client.links.link import Link

log: logging.Logger = logging.getLogger("router.subscriber")

ACK_DELAY_S = 0.02
BACKOFF_S = 0.04
BACKOFF_S_MAX = 0.5
IDLE_S = 15.0
PART_FIELDS = 5
CROWD = 1000
# Looked at for every part that comes; to ask the enum for a member takes as long as a call.
_UNKNOWN, _REFUSED, _HURRIED = int(PartState.UNKNOWN), int(PartState.REFUSED), int(PartState.HURRIED)


class Pollers:
    """The pollers of one `StreamRouter`, one per stream actor that it reads from."""

    def __init__(self, client_id: str, gather_s: float = 0.0) -> None:
        # That of whoever opened this end: one of its own would make each subscription larger.
        self.context: Context = copy_context()
        self._client_id = client_id
        self.gather_s: float = gather_s  # for polls that begin from now on; see `SubscriberConfig`
        self._pollers: dict[str, Poller] = {}
        self._numbers = 0
        self._pollers_made = 0
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False

    def next_number(self) -> int:
        """Return a number for a reader, unique in this process."""
        self._numbers += 1
        return self._numbers

    def of(self, link: Link, actor_id: str, handle: Any) -> Poller:
        """Return the poller of a stream actor."""
        key = handle._actor_id.hex()  # noqa: SLF001  # Ray has no public way to tell two handles apart
        found = self._pollers.get(key)
        if found is None:
            self._pollers_made += 1  # a reader_id is used once, whatever was forgotten meanwhile
            reader_id = f"{self._client_id}/{self._pollers_made}"
            found = self._pollers[key] = Poller(reader_id, handle, link, self, key)
        found.actor_id = actor_id  # a restarted router may name the same actor otherwise
        link.handles.keep(actor_id, handle)
        return found

    def lines(self) -> list[tuple[str, Line]]:
        """Return the lines to the stream actors that are read from, by what their routers call them."""
        return [(poller.name, poller.line) for poller in self._pollers.values()]

    def forget(self, key: str) -> None:
        """A poller reads no more."""
        self._pollers.pop(key, None)

    def sweep_later(self) -> None:
        """Drop, in a while, the pollers that have nothing to read."""
        if self._sweeping is None and not self._closed:
            self._sweeping = asyncio.get_running_loop().call_later(IDLE_S, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = None
        now = asyncio.get_running_loop().time()
        for poller in list(self._pollers.values()):
            if poller.idle_since is not None and now - poller.idle_since >= IDLE_S:
                poller.forget()
        if any(poller.idle_since is not None for poller in self._pollers.values()):
            self.sweep_later()

    def end(self) -> list[asyncio.Task[None]]:
        """Stop all polls; return the tasks that are still to end."""
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        tasks = [task for poller in self._pollers.values() for task in poller.end()]
        self._pollers.clear()
        return tasks


class Poller:
    """The one long poll of this process on one stream actor."""

    def __init__(self, reader_id: str, handle: Any, link: Link, pollers: Pollers, key: str) -> None:
        self._reader_id = reader_id
        self.line: Line = Line(handle, link.reach)
        self._link = link
        self.actor_id = ""
        self._pollers = pollers
        self._key = key
        self._asking = Asking()
        self._following: Following | None = None
        # Those whose publisher waits, or soon will, until they acknowledge.
        self._hurried: set[int] = set()
        self._subscriptions: dict[int, Polled] = {}
        self._operations = Operations()
        self._task: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._ack_timer: asyncio.TimerHandle | None = None
        self._polling = False
        self._failures = 0
        self._backoff = Backoff(BACKOFF_S, BACKOFF_S_MAX)
        self.idle_since: float | None = None
        self.is_lone: bool = False  # what came last came for one reader alone
        self.is_crowded: bool = False  # so many read here that memory counts more than microseconds a batch

    @property
    def name(self) -> str:
        """What its actor is called, with the router that placed it there."""
        return f"{self._link.caller.name}/{self.actor_id}"

    # --- from readers -----------------------------------------------------------------------

    def add(self, reader: Polled, epoch: int, *, is_moving: bool) -> None:
        """Begin to read for a reader; `is_moving`: it has read elsewhere, and seen no end."""
        self.idle_since = None
        self._subscriptions[reader.number] = reader
        self._operations.subscribe(
            reader.number,
            reader.request_id,
            reader.last_seq_id,
            epoch,
            is_moving=is_moving,
            is_observer=reader.is_observer,
        )
        self._say_soon()
        if self._task is None or self._task.done():
            self._task = self._link.spawn(self._poll())

    def consumed(self, number: int, cursor: int, *, has_more: bool = False) -> None:
        """Note that the user of this reader has consumed all up to a cursor; `has_more`: more has come already."""
        if number not in self._subscriptions:
            return
        self._operations.cursors[number] = cursor
        if self._following is not None:
            hurries = not has_more and number in self._hurried
            if hurries or self._asking.due_at == NEVER:  # else it rides with what is to be said
                self._following.wants(at_once=hurries)
        elif self._polling and self._ack_timer is None:  # the next poll, with which it would ride, may be far off
            self._ack_timer = asyncio.get_running_loop().call_later(ACK_DELAY_S, self._tell_soon)

    def drop(self, reader: Polled) -> None:
        """Stop reading for a reader."""
        if self._subscriptions.pop(reader.number, None) is not None:
            self._hurried.discard(reader.number)
            self._operations.drop(reader.number)
            self._say_soon()

    # --- calls ------------------------------------------------------------------------------

    def _say_soon(self) -> None:
        if self._following is not None:
            self._following.wants(at_once=True)
        elif self._polling:
            self._tell_soon()

    def _tell_soon(self) -> None:
        self._ack_timer = None
        if self._telling is None or self._telling.done():
            self._telling = self._link.spawn(self._tell())

    def _take_operations(self) -> Said:
        if self._ack_timer is not None:
            self._ack_timer.cancel()
            self._ack_timer = None
        return self._operations.take()

    async def _tell(self) -> None:
        """Send operations while a poll is out; what comes meanwhile rides in the next call."""
        await asyncio.sleep(0)
        while self._polling and self._operations:
            if not await self._tell_these(self._take_operations()):
                # The poll meets the same failure and deals with it.
                await asyncio.sleep(BACKOFF_S_MAX)
        if self._following is not None and self._operations:  # which has begun meanwhile
            self._following.wants(at_once=True)

    async def _tell_these(self, said: Said) -> bool:
        """Say something to the actor; False where it is not known whether that has come (it is said again)."""
        try:
            frame = pack(TellCall(self._reader_id, self._operations.settled, said))
            await asyncio.wait_for(self.line.tell.remote(frame), POLL_SLACK_S)
        except (RayError, TimeoutError, StreamRouterError) as error:
            refusal = raised_there(error, f"stream actor {self.actor_id} failed in tell")
            if refusal is None:
                self._operations.put_back(said)
                return False
            await self._say_one_by_one(said, refusal)
            return True
        self._operations.settle(said)
        return True

    async def _say_one_by_one(self, said: Said, refusal: StreamRouterError) -> None:
        """Find out which operation the actor refuses; only its reader is to hear of it."""
        if len(said) > 1:
            for at, operation in enumerate(said):
                if not await self._tell_these([operation]):
                    self._operations.put_back(said[at + 1 :])
                    return
            return
        self._operations.settle(said)
        for operation in said:
            if operation[1] in (Operation.SUBSCRIBE, Operation.OBSERVE):
                self._fault(operation[2], refusal)

    def _fault(self, number: int, error: StreamRouterError) -> None:
        reader = self._subscriptions.pop(number, None)
        if reader is not None:
            reader.on_fault(error)

    async def _poll(self) -> None:
        while self._subscriptions:
            connection = self.line.connection
            goes_on = await (self._poll_once() if connection is None else self._follow(connection))
            if not goes_on:
                return
        await self._say_goodbye()

    async def _poll_once(self) -> bool:
        """Poll through Ray, for one answer; whether to poll on."""
        said = self._take_operations()
        wait_s = _wait_s()
        frame = pack(PollCall(self._reader_id, self._asking.next_no, self._operations.settled, said, wait_s))
        self._polling = True
        try:
            answer = await asyncio.wait_for(self.line.poll.remote(frame), wait_s + POLL_SLACK_S)
        except (RayError, TimeoutError, StreamRouterError) as error:
            self._polling = False
            return await self._failed(error, said)
        finally:
            self._polling = False
        if answer == FORGOTTEN:
            self._begin_anew()
            return False
        self._operations.settle(said)
        if not self.take(answer):
            await self._wait_after_failure()
        elif answer != NOTHING:
            self._asking.had_no += 1
            # Let the readers take theirs, so that their acknowledgements ride with the next poll.
            await asyncio.sleep(0)
        return True

    async def _follow(self, connection: Connection) -> bool:
        """Poll through a socket, for as long as that lasts; whether to poll on."""
        self._following = following = Following(connection, self._asking, self)
        following.begin()
        try:
            goes_on = await following.ended
        except (RayError, TimeoutError, StreamRouterError) as error:
            self._following = None
            return await self._failed(error, following.unheard())
        finally:
            self._following = None
            following.close()
        if not goes_on:
            self._begin_anew()
        return goes_on

    # --- for what follows through a socket ----------------------------------------------------

    def compose(self, *, renews: bool) -> tuple[bytes, Said, float]:
        """See `following.Owner`."""
        said = self._take_operations()
        wait_s = _wait_s()
        wanted = (self._asking.asked(), self._operations.settled, said, wait_s, ANSWERS_AHEAD_MAX, renews)
        return pack(FollowCall(self._reader_id, *wanted, self._pollers.gather_s)), said, wait_s

    def settle(self, said: Said) -> None:
        """See `following.Owner`."""
        self._operations.settle(said)

    def take(self, answer: bytes) -> bool:
        """Hand over what an answer brought; False where it cannot be read."""
        try:
            parts = unpack_list(answer)
        except ProtocolViolation as error:
            log.warning("stream actor %s: an answer cannot be read: %s; asking again", self.actor_id, error)
            return False
        self._failures = 0
        self._backoff.reset()
        self.is_lone = len(parts) == 1
        self.is_crowded = len(self._subscriptions) > CROWD
        for part in parts:
            self._hand_over(part)
        return True

    # --- what comes -------------------------------------------------------------------------

    async def _failed(self, error: Exception, said: Said) -> bool:
        """Deal with a poll that failed; whether to poll on."""
        refusal = raised_there(error, f"stream actor {self.actor_id} failed in poll")
        if refusal is None and isinstance(error, ActorDiedError):
            await self._lost()
            return False
        if refusal is not None and said:
            await self._say_one_by_one(said, refusal)
            return True
        if refusal is not None:
            self._refused(refusal)
            return False
        self._operations.put_back(said)
        await self._wait_after_failure()
        return True

    async def _wait_after_failure(self) -> None:
        # Outcome unknown: the same poll again gives the same answer. A second failure is told to the router, who
        # may place the requests elsewhere.
        self._failures += 1
        if self._failures > 1:
            await self._link.suspect(self.actor_id)
        await asyncio.sleep(self._backoff.next_s(random.random()))

    def _hand_over(self, part: Any) -> None:
        if part.__class__ is not list or len(part) != PART_FIELDS:
            log.warning("stream actor %s: a part of %r that cannot be read", self.actor_id, str(part)[:80])
            return
        number, state, gap, _epoch, segments = part
        reader = self._subscriptions.get(number)
        if reader is None:
            return
        self._hurried.discard(number)
        if state == _UNKNOWN:
            del self._subscriptions[number]
            reader.moved(self)
        elif state == _REFUSED:
            del self._subscriptions[number]
            reader.refused(self, segments)
        else:
            if state == _HURRIED:
                self._hurried.add(number)
            reader.arrive(state, gap, segments)

    async def _say_goodbye(self) -> None:
        """Say what is left to say to an actor from which nothing is read any more."""
        if self._operations.has_waiting:
            said = self._take_operations()
            try:
                frame = pack(TellCall(self._reader_id, self._operations.settled, said))
                await asyncio.wait_for(self.line.tell.remote(frame), POLL_SLACK_S)
            except (RayError, TimeoutError, StreamRouterError) as error:
                if isinstance(error, ActorDiedError):
                    self.forget()
                    self._move_all()
                    return
                # The actor forgets silent readers by itself; should this one speak again, it says this first.
                self._operations.put_back(said)
            else:
                self._operations.settle(said)
        if self._subscriptions:
            self._task = self._link.spawn(self._poll())
        else:
            self.idle_since = asyncio.get_running_loop().time()
            self._pollers.sweep_later()

    # --- the end of it ----------------------------------------------------------------------

    def forget(self) -> None:
        """Read nothing more from this actor through this poller, and keep no handle of it."""
        self._pollers.forget(self._key)
        self._link.handles.forget(self.actor_id)
        self.line.close()

    def _move_all(self) -> None:
        readers, self._subscriptions = list(self._subscriptions.values()), {}
        for reader in readers:
            reader.moved(self)

    def _begin_anew(self) -> None:
        """The actor has forgotten this process, which was silent for too long: ask again where all is."""
        log.info("stream actor %s had given this reader up; %d begin anew", self.actor_id, len(self._subscriptions))
        self._pollers.forget(self._key)
        self.line.close()
        self._move_all()

    async def _lost(self) -> None:
        """The actor is dead: let the router look after it, then ask again where all is."""
        log.info("stream actor %s is gone; %d subscriptions move", self.actor_id, len(self._subscriptions))
        self.forget()
        readers, self._subscriptions = list(self._subscriptions.values()), {}
        await self._link.suspect(self.actor_id)
        for reader in readers:
            reader.moved(self)

    def _refused(self, error: StreamRouterError) -> None:
        self._pollers.forget(self._key)
        self.line.close()
        for number in list(self._subscriptions):
            self._fault(number, error)

    def end(self) -> list[asyncio.Task[None]]:
        """Stop polling; return the tasks that are still to end."""
        if self._ack_timer is not None:
            self._ack_timer.cancel()
        self._subscriptions = {}
        self.line.close()
        tasks = [task for task in (self._task, self._telling) if task is not None]
        for task in tasks:
            task.cancel()
        return tasks


def _wait_s() -> float:
    return POLL_WAIT_S_MAX * random.uniform(0.5, 0.9)  # jitter, not a secret
