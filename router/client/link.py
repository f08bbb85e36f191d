"""One process's connection to one router actor: lanes for what goes there, a watch for what comes back.

Everything the router wants this process to know (credit, new epochs, cancels, ends, where requests
are) comes as states in the answers of calls that are made anyway, and in one long poll, the watch.
A router that dies is found by a failing call; calls are made again with jittered backoff until
`ROUTER_DEADLINE_S`. Its next incarnation has forgotten us: the first answer says so by another
incarnation ID, and everything is registered again.

Asyncio and Ray, no decisions: those are in `outgoing.py` and `inbox.py`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine
from typing import Any, Protocol

from ray.exceptions import ActorDiedError, RayError

from actors.errors import RouterUnavailable, StreamRouterError, from_wire
from actors.protocol.backoff import Backoff
from actors.protocol.calls import WATCH_WAIT_S_MAX, LocateCall, OpenAnswer, OpenCall, Registration, WatchCall
from actors.protocol.envelopes import ItemsEnvelope
from actors.protocol.frames import checked, cut_into_frames, pack, read
from actors.protocol.lane import ROUTER_CALL_BYTES_MAX, Lane, Source
from actors.protocol.states import Key, News, PublisherState, RequestPhase, Role, state_of

log = logging.getLogger("router.link")

ROUTER_DEADLINE_S = 60.0
CALL_DEADLINE_S = 10.0
BACKOFF_S = 0.05
BACKOFF_S_MAX = 1.0
# A watch whose answer does not come so long after it should have is lost; the router must hear of us before
# it takes us for gone.
WATCH_SLACK_S = 1.5
LOSSES_DELAY_S = 1.0


_OPEN_PHASES = frozenset({RequestPhase.OPEN, RequestPhase.GAP, RequestPhase.WAITING})


class StateListener(Protocol):
    """Who wants to hear the states of one request."""

    def on_state(self, state: Any) -> None:
        """Take what the router says: a state of the listener's own role."""
        ...

    def on_unreachable(self, error: RouterUnavailable) -> None:
        """The router is gone for good."""
        ...

    def on_router_restart(self) -> None:
        """The router has forgotten everything: say again what it should know."""
        ...


class Link:
    """A process's connection to one router actor. Use within one event loop."""

    def __init__(self, client_id: str, handle: Any, name: str) -> None:
        self.client_id = client_id
        self._handle = handle
        self._name = name
        self._incarnation: str | None = None
        self._confirmed_by = 0
        self._calls_made = 0
        self._seen = 0
        self._as_of: dict[Key, int] = {}
        self._feed: Lane[str, ItemsEnvelope] = Lane(ROUTER_CALL_BYTES_MAX)
        self._listeners: dict[Key, dict[StateListener, None]] = {}
        self._opens: list[tuple[Registration, asyncio.Future[None]]] = []
        self._opening = False
        self._locates: list[str] = []
        self._losses: list[str] = []
        self._locates_made = 0
        self._locating = False
        self._watching: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._actors: dict[str, Any] = {}
        self._asking: dict[str, asyncio.Future[Any]] = {}
        self._error: RouterUnavailable | None = None
        self._closed = False

    # --- publishers -------------------------------------------------------------------------

    async def open(self, listener: StateListener, registration: Registration) -> None:
        """Open a request at the router. Raises what the router answers, or RouterUnavailable."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        key = (Role.PUBLISHER, registration.request_id)
        is_new = listener not in self._listeners.setdefault(key, {})
        self._listeners[key][listener] = None
        self._opens.append((registration, future))
        self._watch()
        if not self._opening:
            self._opening = True
            self.spawn(self._pump_opens())
        try:
            await future
        except BaseException:
            if is_new:
                self.lose_interest(key, listener)
            raise

    async def _pump_opens(self) -> None:
        try:
            while self._opens:
                batch, self._opens = self._opens[:512], self._opens[512:]
                frame = pack(OpenCall(self.client_id, self._has_seen, [registration for registration, _ in batch]))
                try:
                    made, answer = await self._numbered_call("open", frame)
                    errors, news = read(OpenAnswer, answer)
                except StreamRouterError as error:
                    for _, future in batch:
                        if not future.done():
                            future.set_exception(error)
                    continue
                for (_, future), refusal in zip(batch, errors, strict=True):
                    if future.done():
                        continue
                    if refusal is None:
                        future.set_result(None)
                    else:
                        future.set_exception(from_wire(refusal[0], refusal[1]))
                self._take_news(checked(News, news), made)
        finally:
            self._opening = False

    def has_items(self, request_id: str, source: Source[ItemsEnvelope]) -> None:
        """Note that a publisher has items to send; they leave at once if the lane is idle."""
        feed = self._feed
        feed.offer(request_id, source)
        if not feed.busy:
            # Busy from now on, so that one pump runs; what comes until it starts rides along.
            feed.busy = True
            self.spawn(self._pump_feed())

    async def _pump_feed(self) -> None:
        feed = self._feed
        feed.done()
        while taken := feed.take():
            envelopes = [envelope for _, found in taken for envelope in found]
            try:
                made, answer = await self._numbered_call(
                    "feed", self.client_id, self._has_seen, *cut_into_frames(envelopes)
                )
            except StreamRouterError:
                return  # every listener has been told
            finally:
                feed.done()
            self._take_news(read(News, answer), made)

    # --- readers ----------------------------------------------------------------------------

    def locate(self, request_id: str, listener: StateListener) -> None:
        """Ask where a request is; the listener hears of it now and at every change."""
        self._listeners.setdefault((Role.READER, request_id), {})[listener] = None
        self.ask_where(request_id)
        self._watch()

    def lose_interest(self, key: Key, listener: StateListener) -> None:
        """Tell this listener nothing more."""
        listeners = self._listeners.get(key)
        if listeners is None:
            return
        listeners.pop(listener, None)
        if not listeners:
            del self._listeners[key]
            self._as_of.pop(key, None)
            if key[0] == Role.READER:
                self._losses.append(key[1])
                if len(self._losses) == 1 and not self._closed:
                    # They ride with the next question, but that may be far off.
                    asyncio.get_running_loop().call_later(LOSSES_DELAY_S, self._ask_soon)

    def ask_where(self, request_id: str) -> None:
        """Ask where a request is; the answer comes as a state."""
        self._locates.append(request_id)
        self._ask_soon()

    def _ask_soon(self) -> None:
        if (self._locates or self._losses) and not self._locating and not self._closed:
            self._locating = True
            self.spawn(self._pump_locates())

    async def _pump_locates(self) -> None:
        try:
            while self._locates or self._losses:
                asked, self._locates = self._locates[:1024], self._locates[1024:]
                losses = [request_id for request_id in self._losses if (Role.READER, request_id) not in self._listeners]
                self._losses = []
                self._locates_made += 1
                frame = pack(LocateCall(self.client_id, self._locates_made, asked, losses))
                made, answer = await self._numbered_call("locate", frame)
                incarnation, version, states = read(News, answer)
                if self._is_current(incarnation, made):
                    self._take_states(states, version)
        except StreamRouterError:
            return  # every listener has been told
        finally:
            self._locating = False

    def known_actor(self, actor_id: str) -> Any:
        """Return the handle of a stream actor if it is known here; None otherwise."""
        return self._actors.get(actor_id)

    async def actor(self, actor_id: str) -> Any:
        """Return the handle of a stream actor; None where it is gone. Raises RouterUnavailable.

        Thousands of subscriptions that begin at once ask once.
        """
        handle = self._actors.get(actor_id)
        if handle is not None:
            return handle
        asking = self._asking.get(actor_id)
        if asking is None:
            asking = self._asking[actor_id] = asyncio.get_running_loop().create_future()
            self.spawn(self._ask_for_actor(actor_id, asking))
        return await asyncio.shield(asking)

    async def _ask_for_actor(self, actor_id: str, asking: asyncio.Future[Any]) -> None:
        try:
            handle = await self._call("stream_actor", actor_id)
        except StreamRouterError as error:
            asking.set_exception(error)
            asking.exception()  # whoever asked may have gone away meanwhile
        else:
            if handle is not None:
                self._actors[actor_id] = handle
            asking.set_result(handle)
        finally:
            del self._asking[actor_id]

    async def suspect(self, actor_id: str) -> None:
        """Let the router look after a stream actor that does not answer."""
        try:
            await self._call("suspect", actor_id)
        except StreamRouterError:
            return  # every listener has been told

    def forget_actor(self, actor_id: str) -> None:
        """The actor is gone."""
        self._actors.pop(actor_id, None)

    # --- what comes back --------------------------------------------------------------------

    def _watch(self) -> None:
        if self._watching is None or self._watching.done():
            self._watching = asyncio.get_running_loop().create_task(self._keep_watching())

    async def _keep_watching(self) -> None:
        while self._listeners and not self._closed:
            wait_s = WATCH_WAIT_S_MAX * random.uniform(0.7, 1.0)  # jitter, not a secret
            frame = pack(WatchCall(self.client_id, self._has_seen, wait_s))
            try:
                made, answer = await self._numbered_call("watch", frame, wait_s + WATCH_SLACK_S)
            except StreamRouterError:
                return  # every listener has been told
            self._take_news(read(News, answer), made)

    def _take_news(self, news: News, made: int) -> None:
        incarnation, version, states = news
        if self._is_current(incarnation, made):
            # Answers may overtake each other; the version must not go back.
            self._seen = max(self._seen, version)
            self._take_states(states, version)

    @property
    def _has_seen(self) -> list[Any]:
        return [self._incarnation, self._seen]

    def _is_current(self, incarnation: str, made: int) -> bool:
        """Whether an answer is of the router as it is now; a new incarnation is told again what it should know.

        `made` is the number of the call that it answers: which of two incarnations is the later one
        only the order of the calls tells.
        """
        if incarnation == self._incarnation:
            self._confirmed_by = max(self._confirmed_by, made)
            return True
        if made < self._confirmed_by:
            return False  # of an earlier one, overtaken
        was, self._incarnation = self._incarnation, incarnation
        self._confirmed_by = made
        self._seen = 0
        self._as_of.clear()
        if was is not None:
            log.warning("router %s has restarted; registering %d requests again", self._name, len(self._listeners))
            self._register_again()
        return True

    def _take_states(self, states: list[Any], version: int) -> None:
        for state in map(state_of, states):
            key = (state.role, state.request_id)
            listeners = self._listeners.get(key)
            if listeners is None:
                if state.role == Role.PUBLISHER and state.phase in _OPEN_PHASES:
                    # Opened by a call that was given up and came late: nobody will ever publish to it.
                    self.say("disown", self.client_id, state.request_id)
                continue
            if self._as_of.get(key, 0) > version:
                continue  # overtaken by a newer one
            self._as_of[key] = version
            for listener in list(listeners):
                listener.on_state(state)

    def _register_again(self) -> None:
        self._actors.clear()
        for listener in [listener for listeners in self._listeners.values() for listener in listeners]:
            listener.on_router_restart()

    def open_again(self, listener: StateListener, registration: Registration) -> None:
        """Open a request again that the router has forgotten; a refusal comes as a state."""
        self.spawn(self._open_again(listener, registration))

    async def _open_again(self, listener: StateListener, registration: Registration) -> None:
        try:
            await self.open(listener, registration)
        except RouterUnavailable:
            return  # told already
        except StreamRouterError as error:
            request_id = registration.request_id
            refused = (Role.PUBLISHER, request_id, 0, RequestPhase.REFUSED, 1, 0, None, None, error.to_wire())
            listener.on_state(PublisherState(*refused))

    # --- others -----------------------------------------------------------------------------

    def listen(self, key: Key, listener: StateListener) -> None:
        """Hear of the states of a key from now on."""
        self._listeners.setdefault(key, {})[listener] = None
        self._watch()

    def say(self, method: str, *arguments: Any) -> None:
        """Call a method of the router without waiting for it."""
        self.spawn(self._say(method, *arguments))

    async def _say(self, method: str, *arguments: Any) -> None:
        try:
            await self._call(method, *arguments)
        except StreamRouterError as error:
            log.info("router %s was not told (%s): %s", self._name, method, error)

    # --- calls ------------------------------------------------------------------------------

    async def ask(self, method: str, *arguments: Any) -> Any:
        """Call any other method of the router. Raises what the router answers, or RouterUnavailable."""
        return await self._call(method, *arguments)

    async def _call(self, method: str, *arguments: Any) -> Any:
        return (await self._numbered_call(method, *arguments))[1]

    async def _numbered_call(self, method: str, *arguments: Any) -> tuple[int, Any]:
        """Make a call until it has an answer: all of the router's methods may be called twice."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ROUTER_DEADLINE_S
        backoff = Backoff(BACKOFF_S, BACKOFF_S_MAX)
        limit_s = CALL_DEADLINE_S
        if method == "watch":
            arguments, limit_s = arguments[:1], arguments[1]
        while True:
            if self._error is not None:
                raise self._error
            try:
                self._calls_made = made = self._calls_made + 1
                return made, await asyncio.wait_for(getattr(self._handle, method).remote(*arguments), limit_s)
            except ActorDiedError as error:
                raise self._unreachable(f"it has died: {str(error).splitlines()[0][:200]}") from None
            except StreamRouterError:
                raise
            except (RayError, TimeoutError) as error:
                cause = getattr(error, "cause", None)
                if isinstance(cause, StreamRouterError):
                    raise cause from None
                if loop.time() > deadline:
                    text = f"no answer for {ROUTER_DEADLINE_S:g} s ({type(error).__name__})"
                    raise self._unreachable(text) from None
                log.info("router %s: %s failed (%s); trying again", self._name, method, type(error).__name__)
            await asyncio.sleep(backoff.next_s(random.random()))

    def _unreachable(self, why: str) -> RouterUnavailable:
        error = RouterUnavailable(
            f"router {self._name!r} cannot be reached: {why}; see that the process that started it, or its cluster, "
            "still runs, then connect again"
        )
        if self._error is None:
            self._error = error
            for listener in [listener for listeners in self._listeners.values() for listener in listeners]:
                listener.on_unreachable(error)
        return self._error

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run something in the background, until this link is closed."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Stop watching; what is under way is given up."""
        self._closed = True
        tasks = [*self._tasks, *([self._watching] if self._watching is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
