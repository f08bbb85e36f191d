"""One process's connection to one router actor: pumps for what goes there, a watch for what comes back.

Everything the router wants this process to know (credit, new epochs, cancels, ends, where requests
are) comes as states in the answers of calls that are made anyway, and in one long poll, the watch.
A router that has restarted, or has not heard of this process for long, has forgotten it: the first answer
says so by another incarnation ID, and everything is registered again.

Thousands of requests share these loops, so a fault stays with its own: what one source, one
registration or one listener raises ends that request by name (`StateListener.on_fault`), and where a
router refuses a whole call, its parts are sent again one by one (`pumps.py`). Closing ends every wait with
RouterClosed.

A shell; what is decided is decided in `answers.py`, `outgoing.py` and `inbox.py`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import OrderedDict
from collections.abc import Callable, Collection, Coroutine, Iterable
from typing import Any

from actors.errors import (
    DuplicateRequest,
    InternalError,
    InvalidArgument,
    ProtocolViolation,
    RouterClosed,
    RouterUnavailable,
    StreamRouterError,
)
from actors.protocol.backoff import Backoff
from actors.protocol.calls import WATCH_WAIT_S_MAX, Registration, WatchCall
from actors.protocol.frames import pack, read
from actors.protocol.states import ClaimPhase, Key, News, PublisherState, RequestPhase, Role, State, state_of
from actors.transport.line import Line
from actors.transport.meeting import Reach
from router.client.links.answers import Answers, Standing
from router.client.links.caller import BACKOFF_S, BACKOFF_S_MAX, RouterCaller, as_named, fresh, until_recovered
from router.client.links.listeners import Listeners, StateListener
from router.client.links.opens import Opens
from router.client.links.pumps import Feed, Handles, Locates
from router.client.links.waits import Waits

log: logging.Logger = logging.getLogger("router.link")

# A watch whose answer does not come so long after it should have is lost; the router must hear of us before
# it takes us for gone.
WATCH_SLACK_S = 1.5
# Of so many requests whose claims were let go of, the last ones, it is known how that was said: for each, of as many
# publishers, since one that was refused may have come again.
LET_GO_MAX = 1_000
LET_GO_EACH_MAX = 8

CLOSED = "this StreamRouter was closed; open another one with StreamRouter.connect or StreamRouter.start"

_OPEN_PHASES = frozenset({RequestPhase.OPEN, RequestPhase.GAP, RequestPhase.WAITING})


class Link:
    """A process's connection to one router actor. Use within one event loop."""

    def __init__(
        self, client_id: str, handle: Any, name: str, reach: Reach | None = None, gather_s: float = 0.0
    ) -> None:
        """`reach`: how far this process goes without Ray; None: nowhere. `gather_s`: see `Feed`."""
        self.client_id = client_id
        self.reach = reach
        self.line: Line = Line(handle, reach)
        self.caller: RouterCaller = RouterCaller(self.line, name, self._tell_unreachable)
        self.answers: Answers = Answers()
        self._opens = Opens(self)
        self._feed = Feed(self, gather_s)
        self._locates = Locates(self)
        self.handles: Handles = Handles(self)
        self.has_items: Callable[..., None] = self._feed.has_items
        self._listeners = Listeners()
        self.waits: Waits = Waits()
        # What was said to let go of the agent of a request: a claim that comes after it must hear it once more.
        self._let_go: OrderedDict[str, tuple[bytes, ...]] = OrderedDict()
        self._watching: asyncio.Task[None] | None = None
        # In the order in which they came, so that those who wait hear of an end in that order.
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._awaited: dict[asyncio.Future[Any], None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def error(self) -> StreamRouterError | None:
        """Why no further call can have an answer; None while they can."""
        return self.caller.error

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that this link is used in; None before its first use."""
        return self._loop

    def check_usable(self) -> asyncio.AbstractEventLoop:
        """Return the running loop. Raises RouterClosed, RouterUnavailable, InvalidArgument (another event loop)."""
        if self.caller.error is not None:
            raise fresh(self.caller.error)
        running = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = running
        elif self._loop is not running:
            if self._loop.is_closed():
                raise self.caller.end(
                    RouterClosed(f"the event loop in which this StreamRouter was opened has ended: {CLOSED}")
                )
            raise InvalidArgument(
                "a StreamRouter is used within the event loop that opened it, and this is another one; "
                "connect a second StreamRouter here"
            )
        return running

    # --- publishers -------------------------------------------------------------------------

    def enter(self, request_id: str, listener: StateListener) -> None:
        """Publish a request from here. Raises DuplicateRequest where another publisher of this process does."""
        self.check_usable()
        key = (Role.PUBLISHER, request_id)
        others = self._listeners.of(key)
        if others and listener not in others:
            raise DuplicateRequest(
                f"request {request_id!r} is open with another publisher of this StreamRouter; publish under a new ID"
            )
        self._listeners.add(key, listener)

    def ask_to_open(
        self, request_id: str, register: Callable[[], Registration], taken_in: Callable[[int], None]
    ) -> asyncio.Future[None]:
        """Ask the router to open a request that was entered; `taken_in` hears the number with which it was created.

        `register` makes the registration when its call is made. The future may have Recovering, and what `open` raises.
        """
        opened = self._opens.put(request_id, register, taken_in)
        self._watch()
        return opened

    async def open(
        self, request_id: str, register: Callable[[], Registration], taken_in: Callable[[int], None]
    ) -> None:
        """Open a request that was entered, as soon as the router can say; see `ask_to_open`.

        Raises what the router answers, RouterUnavailable, RouterClosed.
        """
        await until_recovered(lambda: self.ask_to_open(request_id, register, taken_in))

    def open_again(
        self,
        listener: StateListener,
        request_id: str,
        register: Callable[[], Registration],
        taken_in: Callable[[int], None],
    ) -> None:
        """Open a request again that the router has forgotten; a refusal comes as a state. See `ask_to_open`."""
        self.spawn(self._open_again(listener, request_id, register, taken_in))

    async def _open_again(
        self,
        listener: StateListener,
        request_id: str,
        register: Callable[[], Registration],
        taken_in: Callable[[int], None],
    ) -> None:
        key = (Role.PUBLISHER, request_id)

        async def once() -> None:
            # It may have heard of its end meanwhile, and a request that nobody publishes must not begin anew.
            if listener in self._listeners.of(key):
                await self.ask_to_open(request_id, register, taken_in)

        try:
            await until_recovered(once)
        except (RouterUnavailable, RouterClosed):
            return  # told already
        except StreamRouterError as error:
            refused = (Role.PUBLISHER, request_id, 0, RequestPhase.REFUSED, 1, 0, None, None, error.to_wire())
            listener.on_state(PublisherState(*refused))

    def let_go(self, request_id: str, frame: bytes) -> None:
        """Let go of the agent of a request, for good: `frame` is a `ReleaseCall`."""
        before = self._let_go.pop(request_id, ())
        self._let_go[request_id] = (*before, frame)[-LET_GO_EACH_MAX:]
        if len(self._let_go) > LET_GO_MAX:
            self._let_go.popitem(last=False)
        self.say("release", frame)

    # --- readers ----------------------------------------------------------------------------

    def locate(self, request_id: str, listener: StateListener) -> None:
        """Ask where a request is; the listener hears of it now and at every change."""
        self.listen((Role.READER, request_id), listener)
        self.ask_where(request_id)

    def ask_where(self, request_id: str) -> None:
        """Ask where a request is; the answer comes as a state."""
        self._locates.ask(request_id)

    async def suspect(self, actor_id: str) -> None:
        """Let the router look after a stream actor that does not answer."""
        try:
            await self.caller.call("suspect", actor_id)
        except StreamRouterError as error:
            log.info("router %s was not told that %s does not answer: %s", self.caller.name, actor_id, error)

    # --- listeners --------------------------------------------------------------------------

    def listen(self, key: Key, listener: StateListener) -> None:
        """Hear of the states of a key from now on. Raises RouterClosed, RouterUnavailable."""
        self.check_usable()
        self._listeners.add(key, listener)
        self._watch()

    def lose_interest(self, key: Key, listener: StateListener) -> None:
        """Tell this listener nothing more."""
        if self._listeners.remove(key, listener) and key[0] == Role.READER:
            self._locates.lose(key[1], self._loop)

    def hears(self, key: Key) -> bool:
        """Whether anybody here listens to a key."""
        return key in self._listeners

    def fault(self, key: Key, error: Exception, what: str, listeners: Iterable[StateListener] | None = None) -> None:
        """End what one request is here, by name."""
        log.warning("request %r: %s: %s: %s", key[1], what, type(error).__name__, str(error)[:300], exc_info=error)
        named = as_named(error, f"request {key[1]!r}: {what}")
        for listener in self._listeners.of(key) if listeners is None else listeners:
            try:
                listener.on_fault(named)
            except Exception:
                log.exception("request %r: its fault could not be told", key[1])

    # --- what comes back --------------------------------------------------------------------

    def _watch(self) -> None:
        if (self._watching is None or self._watching.done()) and self.caller.error is None:
            self._watching = self.spawn(self._keep_watching())

    async def _keep_watching(self) -> None:
        backoff = Backoff(BACKOFF_S, BACKOFF_S_MAX)
        while self._listeners and self.caller.error is None:
            wait_s = WATCH_WAIT_S_MAX * random.uniform(0.7, 1.0)  # jitter, not a secret
            frame = pack(WatchCall(self.client_id, self.answers.seen, wait_s))
            try:
                made, answer = await self.caller.call("watch", frame, limit_s=wait_s + WATCH_SLACK_S)
                news = read(News, answer)
            except StreamRouterError as error:
                if self.caller.error is None:
                    log.warning("router %s refused a watch: %s; trying again", self.caller.name, error)
                    await asyncio.sleep(backoff.next_s(random.random()))
                continue
            backoff.reset()
            self.take_news(news, made)

    def take_news(self, news: News, made: int, *, is_all: bool = True, opened: Collection[str] = ()) -> None:
        """Take an answer to the call with the number `made`; `is_all`: it holds all that is new up to its version.

        `opened`: the requests that this call has opened. Whoever gave the answer knows these, also if it is another
        router than before: opened once more, one that has ended meanwhile would be refused. If it was an earlier
        router, the one that is there now does not know them.
        """
        incarnation, version, states = news
        if self._is_current(incarnation, made, opened):
            if is_all:
                self.answers.advance(version)
            self._take_states(states, version)

    def _is_current(self, incarnation: str, made: int, opened: Collection[str]) -> bool:
        """Whether an answer is of the router as it is now; a new incarnation is told again what it should know."""
        standing = self.answers.standing(incarnation, made)
        if standing in (Standing.RESTARTED, Standing.FORGOTTEN):
            self._listeners.begin_anew()
            count = len(self._listeners)
            if standing == Standing.RESTARTED:
                log.warning("router %s has restarted; registering %d requests again", self.caller.name, count)
            else:
                log.info("router %s had not heard of this process for long; registering %d", self.caller.name, count)
            self.handles.clear()
            self._register_again(lambda key: key[0] != Role.PUBLISHER or key[1] not in opened)
        elif standing == Standing.FIRST:
            self._register_again(lambda key: key[0] == Role.AGENT)
        elif standing == Standing.OVERTAKEN and opened:
            self._register_again(lambda key: key[0] == Role.PUBLISHER and key[1] in opened)
        return standing != Standing.OVERTAKEN

    def _take_states(self, states: list[Any], version: int) -> None:
        is_waited_for = False
        for parts in states:
            try:
                state = state_of(parts)
            except ProtocolViolation as error:
                log.warning("router %s said what cannot be read: %s", self.caller.name, error)
                continue
            key = (state.role, state.request_id)
            is_waited_for = is_waited_for or _is_told_here_first(state)
            heard = self._listeners.get(key)
            if heard is None:
                self._give_back(state)
                continue
            if not heard.is_newest(version):
                continue  # overtaken by a newer one
            for listener in heard.listeners:
                try:
                    listener.on_state(state)
                except Exception as error:  # noqa: BLE001  # the listeners after it must hear theirs
                    self.fault(key, error, "what the router says of it could not be taken", [listener])
        if is_waited_for:  # by others, until the router knows that it was heard here; the watch may end with it
            self.say("watch", pack(WatchCall(self.client_id, self.answers.seen, 0.0)))

    def _give_back(self, state: State) -> None:
        """Nobody here has what the router says: a call came late that was given up, or undone before it came."""
        if state.role == Role.PUBLISHER and state.phase in _OPEN_PHASES:
            self.say("disown", self.client_id, state.request_id)
        elif state.role == Role.AGENT and state.phase != ClaimPhase.UNKNOWN:
            for frame in self._let_go.get(state.request_id, ()):
                self.say("release", frame)

    def _register_again(self, is_unknown: Callable[[Key], bool]) -> None:
        """Let all that listen to keys that the router does not know tell it again what it should know of them."""
        for key, listener in self._listeners.all():
            if not is_unknown(key):
                continue
            try:
                listener.on_router_restart()
            except Exception as error:  # noqa: BLE001  # the listeners after it must hear theirs
                self.fault(key, error, "it could not be registered again", [listener])

    # --- others -----------------------------------------------------------------------------

    def say(self, method: str, *arguments: Any) -> None:
        """Call a method of the router without waiting for it."""
        if self.caller.error is None:
            self.spawn(self._say(method, *arguments))

    async def _say(self, method: str, *arguments: Any) -> None:
        try:
            await self.caller.call(method, *arguments)
        except StreamRouterError as error:
            log.info("router %s was not told (%s): %s", self.caller.name, method, error)

    async def ask(self, method: str, *arguments: Any) -> Any:
        """Call any other method of the router. Raises what the router answers, RouterUnavailable, RouterClosed."""
        self.check_usable()
        future: asyncio.Future[Any] = self.promise()
        asking = self.spawn(self._answer(future, method, *arguments))
        try:
            return await future
        finally:
            self._tasks.pop(asking, None)
            asking.cancel()

    async def _answer(self, future: asyncio.Future[Any], method: str, *arguments: Any) -> None:
        try:
            _, answer = await self.caller.call(method, *arguments)
        except Exception as error:  # noqa: BLE001  # whoever asked gets it
            if not future.done():
                future.set_exception(as_named(error, method))
        else:
            if not future.done():
                future.set_result(answer)

    # --- life -------------------------------------------------------------------------------

    def promise(self) -> asyncio.Future[Any]:
        """Return a future that somebody waits for; closing ends it."""
        future: asyncio.Future[Any] = self.check_usable().create_future()
        self._awaited[future] = None
        future.add_done_callback(lambda done: self._awaited.pop(done, None))
        return future

    def _tell_unreachable(self, error: StreamRouterError) -> None:
        for future in list(self._awaited):
            if not future.done():
                future.set_exception(fresh(error))
                future.exception()  # whoever waits is told; nobody need wait
        for key, listener in self._listeners.all():
            try:
                listener.on_unreachable(error)
            except Exception:
                log.exception("request %r: it could not be told that its router is gone", key[1])

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something in the background, until this link is closed."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks[task] = None
        task.add_done_callback(self._background_ended)
        return task

    def _background_ended(self, task: asyncio.Task[None]) -> None:
        if task not in self._tasks:
            return
        self._tasks.pop(task, None)
        if self.caller.error is not None:
            return
        if task.cancelled():
            # Somebody else has cancelled it, as `asyncio.run` does with all tasks when it ends.
            self.caller.end(
                RouterClosed("the background tasks of this StreamRouter were cancelled; its event loop ends")
            )
        elif (error := task.exception()) is not None:
            log.error("router %s: a background task failed", self.caller.name, exc_info=error)
            self.caller.end(InternalError(f"a background task of this StreamRouter failed: {error!r:.300}"))

    def end(self, error: StreamRouterError) -> None:
        """Make no further call, and tell all who wait why."""
        self.caller.end(error)
        self.line.close()
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """Stop watching; whoever waits hears RouterClosed."""
        tasks = list(self._tasks)
        self.end(RouterClosed(CLOSED))
        await asyncio.gather(*tasks, return_exceptions=True)
        self._feed.clear()
        self._listeners.clear()
        self.handles.clear()


def _is_told_here_first(state: State) -> bool:
    """Whether a state tells of an end that the router shows to others once it has been heard of here."""
    return isinstance(state, PublisherState) and state.phase == RequestPhase.SEALED and state.epoch == 0
