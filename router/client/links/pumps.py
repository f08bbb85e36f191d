"""What many requests ask of one router, gathered into few calls: items, places, handles; `opens.py` has what is opened.

One call of a kind is out at a time, and what comes meanwhile rides in the next. A fault stays with its
own: where the router refuses a whole call, or it cannot be packed, its parts are sent again one by one,
and the one that cannot be sent is told to its listener (`Connection.fault`). All calls may be made twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine
from typing import Any, NamedTuple, Protocol

from actors.errors import StreamRouterError
from actors.protocol.calls import LocateCall
from actors.protocol.envelopes import ItemsEnvelope
from actors.protocol.frames import cut_into_frames, pack, read
from actors.protocol.lane import ROUTER_CALL_BYTES_MAX, Lane, Source, Spacing
from actors.protocol.states import Key, News, Role
from actors.transport.line import Line
from actors.transport.posting import Posting
from router.client.links.answers import Answers
from router.client.links.caller import RouterCaller

log: logging.Logger = logging.getLogger("router.link")

LOSSES_DELAY_S = 1.0
LOCATES_MAX = 1024

Taken = tuple[str, list[ItemsEnvelope]]
"""Items of one request that leave together."""


class Connection(Protocol):
    """What the pumps need of their link."""

    client_id: str
    line: Line
    caller: RouterCaller
    answers: Answers

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something in the background."""
        ...

    def promise(self) -> asyncio.Future[Any]:
        """Return a future that somebody waits for; closing ends it."""
        ...

    def take_news(self, news: News, made: int, *, is_all: bool, opened: Collection[str] = ()) -> None:
        """Take what the router says in the answer to the call with the number `made`, which `opened` these."""
        ...

    def fault(self, key: Key, error: Exception, what: str) -> None:
        """End what one request is here, by name."""
        ...

    def hears(self, key: Key) -> bool:
        """Whether anybody here listens to a key."""
        ...


class _Posted(NamedTuple):
    """Items that were posted, and the number of the call."""

    taken: list[Taken]
    made: int


class _Outcome(NamedTuple):
    """Whether items were posted, and what is done when others may follow; None: now."""

    is_posted: bool
    answered: asyncio.Future[None] | None


_POSTED = _Outcome(is_posted=True, answered=None)
_NOT_POSTED = _Outcome(is_posted=False, answered=None)


class Feed:
    """Items on their way to the router: the lane and its one call, or, through a socket, its posts."""

    def __init__(self, link: Connection, gather_s: float) -> None:
        """`gather_s`: so long after a call, what has come since waits for what else comes."""
        self._link = link
        self._lane: Lane[str, ItemsEnvelope] = Lane(ROUTER_CALL_BYTES_MAX)
        self._spacing = Spacing(gather_s)
        self._timer: asyncio.TimerHandle | None = None
        # (To ask for the running loop is a system call in Python 3.11, and this is paid for every chunk.)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._posting: Posting[_Posted] = Posting(self._heard, self._send_again)

    @property
    def waits(self) -> bool:
        """Whether anything waits to leave."""
        return self._lane.waits or self._posting.has_failed

    def clear(self) -> None:
        """Nothing leaves any more: let go of the publishers that wait."""
        self._stop_timer()
        self._lane = Lane(ROUTER_CALL_BYTES_MAX)
        self._posting.close()

    def has_items(self, request_id: str, source: Source[ItemsEnvelope], *, at_once: bool = True) -> None:
        """Note that a publisher has items to send; `at_once`: they are to wait for no others."""
        if self._link.caller.error is not None:
            return  # no call will be made again
        lane, spacing = self._lane, self._spacing
        lane.offer(request_id, source)
        if not spacing.hurries:
            spacing.came(at_once=at_once)
        if not lane.busy and (self._timer is None or spacing.hurries):
            self._begin_when_due()

    def _begin_when_due(self) -> None:
        if self._timer is not None:
            self._stop_timer()
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        wait_s = self._spacing.wait_s(loop.time())
        if wait_s:
            self._timer = loop.call_later(wait_s, self._ring)
            return
        # Busy from now on, so that one pump runs; what comes until it starts rides along.
        self._lane.busy = True
        loop.call_soon(self._leave, loop)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        if not self._lane.busy and self._link.caller.error is None:
            # Not at once: whoever woke up in the same turn is yet to send, and would wait for as long again. When that
            # was tried, the median latency of 400 streams of 5 chunks a second was a fifth longer.
            self._begin_when_due()

    def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let what waits leave: what nobody need wait for here and now, all else in a task."""
        lane = self._lane
        lane.busy = False
        if self._link.caller.error is not None:
            return
        taken = self._take(loop)
        is_posted, answered = self._post(taken) if taken and not self._posting.has_failed else _NOT_POSTED
        if is_posted and answered is None:
            lane.busy = False
            self._send_again()
            if lane.waits and not lane.busy:
                self._begin_when_due()
        elif taken or self._posting.has_failed:
            lane.busy = True
            self._link.spawn(self._pump(loop, [] if is_posted else taken, answered))

    def _take(self, loop: asyncio.AbstractEventLoop) -> list[Taken]:
        taken = self._lane.take()
        self._spacing.sent(loop.time())
        if self._lane.failed:
            for request_id, error in self._lane.take_failed():
                self._link.fault((Role.PUBLISHER, request_id), error, "its items could not be read")
        return taken

    async def _pump(
        self, loop: asyncio.AbstractEventLoop, taken: list[Taken], answered: asyncio.Future[None] | None
    ) -> None:
        """Send these, when `answered` is done, and what has come meanwhile."""
        lane, link, spacing, posting = self._lane, self._link, self._spacing, self._posting
        while taken or answered is not None or posting.has_failed:
            try:
                if answered is not None:
                    await answered
                    answered = None
                for posted in posting.take_failed():
                    await self._send(posted.taken)
                if taken:
                    await self._send_or_post(taken)
            finally:
                lane.done()
            if link.caller.error is not None:
                return  # every listener has been told
            if posting.has_failed:
                lane.busy, taken = True, []
                continue
            if lane.waits and spacing.wait_s(loop.time()):
                self._begin_when_due()
                return
            taken = self._take(loop)

    # --- through a socket, without waiting for each ------------------------------------------

    def _post(self, taken: list[Taken]) -> _Outcome:
        """Post items, where that can be done."""
        link, posting = self._link, self._posting
        connection = link.line.connection
        if connection is None:
            return _NOT_POSTED
        try:
            frames = cut_into_frames([envelope for _, found in taken for envelope in found])
        except Exception:  # noqa: BLE001  # whose fault it is comes out where they are sent one by one
            return _NOT_POSTED
        size_bytes = sum(map(len, frames))
        at_once = not posting.has_room(size_bytes)
        posted = _Posted(taken, link.caller.count())
        arguments = (link.client_id, link.answers.seen, frames)
        answered = posting.post(connection, posted, size_bytes, arguments, at_once=at_once)
        return _POSTED if answered is None else _Outcome(is_posted=True, answered=answered)

    async def _send_or_post(self, taken: list[Taken]) -> None:
        is_posted, answered = self._post(taken)
        if not is_posted:
            await self._send(taken)
        elif answered is not None:
            await answered

    def _heard(self, posted: _Posted, answer: bytes | None) -> None:
        if answer is None or self._link.caller.error is not None:
            return  # another answer says so
        try:
            news = read(News, answer)
        except StreamRouterError as error:
            log.warning("router %s answered what cannot be read: %s", self._link.caller.name, error)
        else:
            self._link.take_news(news, posted.made, is_all=True)

    def _send_again(self) -> None:
        """Make calls again whose outcome is unknown, before any others."""
        if self._posting.has_failed and not self._lane.busy and self._link.caller.error is None:
            self._stop_timer()
            self._lane.busy = True
            self._link.spawn(self._pump(asyncio.get_running_loop(), [], None))

    # --- by calls that are answered -----------------------------------------------------------

    async def _send(self, taken: list[Taken]) -> None:
        link = self._link
        envelopes = [envelope for _, found in taken for envelope in found]
        try:
            frames = cut_into_frames(envelopes)
            made, answer = await link.caller.call("feed", link.client_id, link.answers.seen, *frames)
            news = read(News, answer)
        except Exception as error:  # noqa: BLE001  # find out which request it is about
            if link.caller.error is not None:
                return
            if len(taken) == 1:
                link.fault((Role.PUBLISHER, taken[0][0]), error, "its items were refused")
            else:
                for one in taken:
                    await self._send([one])
            return
        link.take_news(news, made, is_all=True)


class Locates:
    """Questions where requests are, and words that nobody here reads them any more."""

    def __init__(self, link: Connection) -> None:
        self._link = link
        self._asked: list[str] = []
        self._losses: list[str] = []
        self._calls_made = 0
        self._busy = False

    def ask(self, request_id: str) -> None:
        """Ask where a request is; the answer comes as a state."""
        self._asked.append(request_id)
        self._soon()

    def lose(self, request_id: str, loop: asyncio.AbstractEventLoop | None) -> None:
        """Nobody here reads a request any more. That rides with the next question, or is said by itself."""
        self._losses.append(request_id)
        if len(self._losses) == 1 and loop is not None and self._link.caller.error is None:
            loop.call_later(LOSSES_DELAY_S, self._soon)

    def _soon(self) -> None:
        if (self._asked or self._losses) and not self._busy and self._link.caller.error is None:
            self._busy = True
            self._link.spawn(self._pump())

    async def _pump(self) -> None:
        link = self._link
        try:
            while (self._asked or self._losses) and link.caller.error is None:
                asked, self._asked = self._asked[:LOCATES_MAX], self._asked[LOCATES_MAX:]
                losses = [request_id for request_id in self._losses if not link.hears((Role.READER, request_id))]
                self._losses = []
                await self._locate(asked, losses)
        finally:
            self._busy = False

    async def _locate(self, asked: list[str], losses: list[str]) -> None:
        link = self._link
        self._calls_made += 1
        try:
            frame = pack(LocateCall(link.client_id, self._calls_made, asked, losses))
            made, answer = await link.caller.call("locate", frame)
            news = read(News, answer)
        except Exception as error:  # noqa: BLE001  # one question must not leave the others without an answer
            if link.caller.error is None:
                await self._locate_failed(asked, losses, error)
            return
        link.take_news(news, made, is_all=False)

    async def _locate_failed(self, asked: list[str], losses: list[str], error: Exception) -> None:
        if len(asked) + len(losses) > 1:
            for request_id in asked:
                await self._locate([request_id], [])
            for request_id in losses:
                await self._locate([], [request_id])
        elif asked:
            self._link.fault((Role.READER, asked[0]), error, "its place could not be asked for")


class Handles:
    """The Ray handles of stream actors, by the router's names for them: those that pollers keep."""

    def __init__(self, link: Connection) -> None:
        self._link = link
        self._known: dict[str, Any] = {}
        self._asking: dict[str, asyncio.Future[Any]] = {}

    def known(self, actor_id: str) -> Any:
        """Return the handle of a stream actor if it is known here; None otherwise."""
        return self._known.get(actor_id)

    async def of(self, actor_id: str) -> Any:
        """Return the handle of a stream actor; None where it is gone. Raises RouterUnavailable, RouterClosed.

        Thousands of subscriptions that begin at once ask once.
        """
        handle = self._known.get(actor_id)
        if handle is not None:
            return handle
        asking = self._asking.get(actor_id)
        if asking is None:
            asking = self._asking[actor_id] = self._link.promise()
            self._link.spawn(self._ask(actor_id, asking))
        return await asyncio.shield(asking)

    async def _ask(self, actor_id: str, asking: asyncio.Future[Any]) -> None:
        try:
            _, handle = await self._link.caller.call("stream_actor", actor_id)
        except StreamRouterError as error:
            if not asking.done():
                asking.set_exception(error)
                asking.exception()  # whoever asked may have gone away meanwhile
        else:
            if not asking.done():
                asking.set_result(handle)
        finally:
            self._asking.pop(actor_id, None)

    def keep(self, actor_id: str, handle: Any) -> None:
        """Remember a handle, until `forget`."""
        self._known[actor_id] = handle

    def forget(self, actor_id: str) -> None:
        """The actor is gone, or nothing here needs it."""
        self._known.pop(actor_id, None)

    def clear(self) -> None:
        """Forget all: a restarted router gives the names anew."""
        self._known.clear()
