"""The stream actors of one router as its shell sees them: started, fed one call at a time, watched, given up.

Envelopes for an actor wait in its lane and leave with one call in flight. What may block on Ray's control
store (making an actor, which registers its name, and killing one) is done in a thread: a control store that
does not answer must hold up no stream under way.

A stream actor is killed and counts as dead when a call to it, tried again and again, has had no answer for
`ACTOR_DEADLINE_S`, or when it has been silent that long and does not answer when asked either: a process that
hangs must not be silence. Time in which this process was itself stopped counts against none.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayError

from actors.errors import ProtocolViolation, RouterUnavailable, StreamRouterError, first_line
from actors.protocol.backoff import Backoff
from actors.protocol.frames import pack, unpack_list
from actors.shell import wait_at_most
from actors.stream.router_frames import NOT_MY_ROUTER
from actors.transport.line import Line
from actors.transport.meeting import Reach
from actors.transport.posting import Posting
from router.config import RouterConfig
from router.core.registry import Registry
from router.on_ray import actors as ray_actors
from router.on_ray.fleet_actor import Delivery, FleetActor, Posted
from router.status.observer import Observer

log: logging.Logger = logging.getLogger("router.router_actor")

CALL_DEADLINE_S = 4.0
ACTOR_DEADLINE_S = 9.0
START_DEADLINE_S = 120.0
# An answer of a starting actor may take long, but may also have been lost.
START_TRY_S = 3.0
BACKOFF_S = 0.02
BACKOFF_S_MAX = 0.5
# A timer that comes so much too late says that this process was stopped.
PAUSE_S = 2.0
# The first of all gets so much time for itself: where all start at once, all come late, and so does the first request.
HEAD_START_S = 2.0
# What is on its way without being waited for may be such a share of what may wait for an actor.
POSTED_SHARE = 8
# An actor that Ray could not make is given up after so long, so that the next one is not asked for at once.
MAKE_RETRY_S = 2.0


class Fleet:
    """Starts, feeds, watches and kills the stream actors of one router actor.

    `after_event` performs what the registry wants done, and is called after each event that comes from here.
    """

    def __init__(
        self,
        config: RouterConfig,
        shard: int,
        incarnation: str,
        registry: Registry,
        observer: Observer,
        after_event: Callable[[], None],
        reach: Reach | None,
        pass_key: bytes | None = None,
    ) -> None:
        """`reach`: how far this router goes without Ray; None: nowhere."""
        self._reach = reach
        self._config = config
        self._shard = shard
        self._incarnation = incarnation
        # What is said to a stream actor to begin with.
        self._beginning = (incarnation,) if pass_key is None else (incarnation, pass_key)
        self._registry = registry
        self._observer = observer
        self._after_event = after_event
        self.actors: dict[str, FleetActor] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run something in the background."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- beginning --------------------------------------------------------------------------

    def start(self, actor_id: str) -> None:
        """Start a stream actor."""
        if actor_id in self.actors:
            return
        me = ray.get_runtime_context().current_actor
        ahead = (
            None if any(actor.is_started for actor in self.actors.values()) else next(iter(self.actors.values()), None)
        )
        actor = self.actors[actor_id] = FleetActor(time.monotonic())
        self.spawn(self._start(actor_id, actor, me, ahead))

    async def _start(self, actor_id: str, actor: FleetActor, me: Any, ahead: FleetActor | None) -> None:
        if ahead is not None:
            await wait_at_most(ahead.settled.wait(), HEAD_START_S)
            if self.actors.get(actor_id) is not actor:
                actor.settled.set()
                return
        try:
            handle = await asyncio.to_thread(ray_actors.make_stream_actor, self._config, self._shard, actor_id, me)
            if self.actors.get(actor_id) is not actor:
                await _kill(handle)
                return
            actor.reach_by(handle, *self._lines(actor_id, actor, handle))
            who = await self.begin_with(handle, START_DEADLINE_S, START_TRY_S)
        except (RayError, TimeoutError, RouterUnavailable, ValueError) as error:
            log.error("stream actor %s did not start: %s", actor_id, first_line(error))  # noqa: TRY400
            if actor.handle is None:
                await asyncio.sleep(MAKE_RETRY_S)
            self.gone(actor_id, actor)
            actor.settled.set()
            return
        self._has_started(actor, time.monotonic())
        self._registry.actor_started(actor_id, who["pid"], who["node_id"], time.monotonic())
        self._after_event()
        self.pump(actor_id)

    def _lines(self, actor_id: str, actor: FleetActor, handle: Any) -> tuple[Line, Posting[Delivery]]:
        """Return a line to an actor, which is asked whether it lives where a connection to it breaks; and its posts."""

        def broken() -> None:
            if self.actors.get(actor_id) is actor:
                self.spawn(self.probe(actor_id, actor))

        def failed() -> None:
            if self.actors.get(actor_id) is actor:
                self.pump(actor_id)

        # What is not heard of yet takes room from what waits: a small share of it.
        bytes_max = self._config.limits.queued_bytes_max // self._config.stream_actors.max_actors // POSTED_SHARE
        return Line(handle, self._reach, broken), Posting(partial(self._heard, actor_id, actor), failed, bytes_max)

    @staticmethod
    def _has_started(actor: FleetActor, now: float) -> None:
        actor.heard_at = now
        actor.is_started = True
        actor.settled.set()

    async def begin_with(self, handle: Any, deadline_s: float, try_s: float) -> dict[str, Any]:
        """Say to a stream actor that this incarnation is its router; return who it is.

        Raises RayError, TimeoutError, RouterUnavailable (it has come to know another incarnation as the later one).
        """
        who: dict[str, Any] | None = await _insist(partial(handle.start.remote, *self._beginning), deadline_s, try_s)
        if who is None:
            raise RouterUnavailable("the stream actor takes another incarnation of this router for the later one")
        return who

    async def adopt(self, actor_id: str, handle: Any) -> None:
        """Take in a stream actor of the incarnation before, with what it holds; one that does not answer is killed.

        It is given as long as any other actor: one that is merely slow must not lose what it holds.
        """
        asked_at = 0.0

        def ask() -> Any:
            nonlocal asked_at
            asked_at = time.monotonic()
            return handle.inventory.remote()

        try:
            who = await self.begin_with(handle, ACTOR_DEADLINE_S, CALL_DEADLINE_S)
            inventory = await _insist(ask, ACTOR_DEADLINE_S, CALL_DEADLINE_S)
        except (RayError, TimeoutError, RouterUnavailable) as error:
            log.warning("stream actor %s cannot be adopted: %s", actor_id, type(error).__name__)
            await _kill(handle)
            return
        now = time.monotonic()
        actor = self.actors[actor_id] = FleetActor(now)
        actor.reach_by(handle, *self._lines(actor_id, actor, handle))
        self._has_started(actor, now)
        self._observer.actor_adopted(actor_id)
        try:
            self._registry.adopt(actor_id, unpack_list(inventory), now, asked_at)
        except (ProtocolViolation, TypeError, ValueError):
            # Else all that is not known would be waited for, and for ever.
            log.exception("stream actor %s says what it holds in words that cannot be read", actor_id)
            self.gone(actor_id, actor)
            return
        self._registry.actor_started(actor_id, who["pid"], who["node_id"], now)

    # --- feeding ----------------------------------------------------------------------------

    def pump(self, actor_id: str) -> None:
        """Let what waits for an actor leave, unless an answer is waited for."""
        actor = self.actors[actor_id]
        if not actor.is_started or actor.busy:
            return
        has_failed = actor.has_failed
        if not has_failed and not actor.waits:
            return
        if has_failed or not actor.waits_for_no_answer or not self._post(actor, at_once=False):
            # Busy from now on, until nothing waits any more: what is sent beside it could overtake it.
            actor.busy = True
            self.spawn(self._feed(actor_id, actor))

    def _post(self, actor: FleetActor, *, at_once: bool) -> Posted | None:
        """Post what waits; None where no socket leads there, or nothing waits."""
        connection, posting = actor.line.connection, actor.posting
        delivery = None if connection is None or posting is None else actor.next_delivery()
        if posting is None or delivery is None:
            return None
        arguments = (self._incarnation, delivery.frame_no, delivery.frames)
        return Posted(delivery, posting.post(connection, delivery, delivery.size_bytes, arguments, at_once=at_once))

    async def _feed(self, actor_id: str, actor: FleetActor) -> None:
        try:
            while self.actors.get(actor_id) is actor:
                if actor.has_failed and actor.posting is not None:
                    deliveries = actor.posting.take_failed()
                elif posted := self._post(actor, at_once=not actor.waits_for_no_answer):
                    if posted.answered is None:
                        continue
                    await posted.answered
                    if not actor.has_failed:
                        self._observer.delivered(actor.was_answered(posted.delivery))
                    continue
                else:
                    delivery = actor.next_delivery()
                    if delivery is None:
                        return
                    deliveries = [delivery]
                for delivery in deliveries:
                    if not await self._delivered(actor_id, actor, delivery):
                        self.gone(actor_id, actor)
                        return
        finally:
            actor.busy = False

    async def _delivered(self, actor_id: str, actor: FleetActor, delivery: Delivery) -> bool:
        """Call until there is an answer; False when the actor is dead or must be given up."""
        answer = await self._deliver(actor_id, actor, delivery)
        if answer is None:
            return False
        self._observer.delivered(actor.was_answered(delivery))
        self._heard(actor_id, actor, delivery, answer)
        return True

    def _heard(self, actor_id: str, actor: FleetActor, delivery: Delivery, answer: bytes | None) -> None:
        """Note that an actor has had what was sent; `answer`: None where another one says so."""
        if self.actors.get(actor_id) is not actor:
            return
        actor.heard_at = time.monotonic()
        self._registry.delivered(actor_id, delivery.envelopes)
        reports = unpack_list(answer) if answer is not None else []
        if reports:
            self._registry.reports(actor_id, reports, actor.heard_at)
        if reports or self._registry.has_effects:
            self._after_event()

    async def _deliver(self, actor_id: str, actor: FleetActor, delivery: Delivery) -> bytes | None:
        """Call until there is an answer; None when the actor is dead or must be given up."""
        # An answer to what left before this one was no silence, however long it took.
        silent_since = max(delivery.left_at, actor.heard_at)
        deadline = max(silent_since + ACTOR_DEADLINE_S, time.monotonic() + CALL_DEADLINE_S)
        was_heard = False
        backoff = Backoff(BACKOFF_S, BACKOFF_S_MAX)
        call = partial(actor.line.feed.remote, self._incarnation, delivery.frame_no, *delivery.frames)
        while True:
            began = time.monotonic()
            try:
                # The last try has what is left: whole tries would wait for a hanging actor well beyond its deadline.
                left_s = max(0.0, deadline - time.monotonic())
                answer: bytes = await asyncio.wait_for(call(), min(CALL_DEADLINE_S, left_s))
                if answer == NOT_MY_ROUTER:
                    # A call of an incarnation that never came to speak here has come after ours.
                    await self.begin_with(actor.handle, CALL_DEADLINE_S, CALL_DEADLINE_S)
                    continue
            except (ActorDiedError, RouterUnavailable):
                return None
            except (RayError, TimeoutError) as error:
                # Outcome unknown; the same frame again does no harm.
                if isinstance(getattr(error, "cause", None), StreamRouterError):
                    log.error("stream actor %s refused a frame: %s", actor_id, error)  # noqa: TRY400
                    return pack([])
                # Time in which this process was stopped says nothing about the actor.
                spent_s = time.monotonic() - began
                if spent_s > CALL_DEADLINE_S + PAUSE_S:
                    deadline += spent_s
                log.info("stream actor %s: a call failed (%s); trying again", actor_id, type(error).__name__)
                now = time.monotonic()
                if now > deadline and not was_heard and now - actor.heard_at < CALL_DEADLINE_S:
                    # It has just said something else, after a pause: it is asked once more, for as long as any call.
                    was_heard, deadline = True, now + CALL_DEADLINE_S
                elif now > deadline:
                    log.warning("stream actor %s has not answered for %g s; giving it up", actor_id, ACTOR_DEADLINE_S)
                    return None
            else:
                return answer
            await asyncio.sleep(backoff.next_s(random.random()))

    # --- watching, and ending ---------------------------------------------------------------

    async def probe(self, actor_id: str, actor: FleetActor) -> None:
        """Ask an actor that has been silent, and give it up where it does not answer."""
        if not actor.is_started:
            return
        try:
            await self.begin_with(actor.handle, CALL_DEADLINE_S, CALL_DEADLINE_S)
            actor.heard_at = time.monotonic()
        except (ActorDiedError, RouterUnavailable):
            self.gone(actor_id, actor)
        except (RayError, TimeoutError):
            if time.monotonic() - actor.heard_at > ACTOR_DEADLINE_S:
                self.gone(actor_id, actor)

    def paused(self, gap_s: float) -> None:
        """This process was stopped for so long: that was no silence of the actors."""
        for actor in self.actors.values():
            actor.heard_at += gap_s

    def probe_silent(self, now: float, silence_s: float) -> None:
        """Ask all actors that have been silent for so long."""
        for actor_id, actor in list(self.actors.items()):
            if actor.is_started and now - actor.heard_at > silence_s:
                self.spawn(self.probe(actor_id, actor))

    def gone(self, actor_id: str, actor: FleetActor) -> None:
        """A stream actor is dead, or given up."""
        if self.actors.get(actor_id) is not actor:
            return
        log.warning("stream actor %s is gone; its requests are placed anew", actor_id)
        self._observer.actor_lost()
        self.kill(actor_id)
        self._registry.actor_died(actor_id, time.monotonic())
        self._after_event()

    def kill(self, actor_id: str) -> None:
        """End a stream actor."""
        actor = self.actors.pop(actor_id, None)
        if actor is not None and actor.line is not None:
            actor.close()
            self.spawn(_kill(actor.handle))

    async def measure(self, laggards: int = 0) -> dict[str, dict[str, Any]]:
        """Return what each stream actor says of its work; those that do not answer are left out."""
        started = {actor_id: actor for actor_id, actor in self.actors.items() if actor.is_started}
        calls = (asyncio.wait_for(actor.handle.measure.remote(laggards), CALL_DEADLINE_S) for actor in started.values())
        looks = await asyncio.gather(*calls, return_exceptions=True)
        return {actor_id: look for actor_id, look in zip(started, looks, strict=True) if isinstance(look, dict)}

    def transports(self) -> dict[str, tuple[str, str]]:
        """Return what carries the calls to each stream actor, and why that is Ray, where it is."""
        return {actor_id: (actor.line.means, actor.line.why) for actor_id, actor in self.actors.items() if actor.line}

    async def unknown_events(self, wait_s: float) -> dict[str, dict[str, int]]:
        """Return what providers sent that no adapter knows, by actor; a description waits for none that hangs."""
        started = {actor_id: actor for actor_id, actor in self.actors.items() if actor.is_started}
        calls = (asyncio.wait_for(actor.handle.unknown_events.remote(), wait_s) for actor in started.values())
        counts = await asyncio.gather(*calls, return_exceptions=True)
        return {actor_id: found for actor_id, found in zip(started, counts, strict=True) if isinstance(found, dict)}


async def _kill(handle: Any) -> None:
    try:
        await asyncio.to_thread(ray.kill, handle)
    except (RayError, ValueError) as error:
        log.info("a stream actor could not be killed: %s", first_line(error))


async def _insist(method: Callable[[], Any], deadline_s: float, try_s: float) -> Any:
    """Call what may be called twice until it answers; raise its last error at the deadline, or when the actor died.

    Time in which this process was stopped says nothing about the actor.
    """
    deadline = time.monotonic() + deadline_s
    backoff = Backoff(BACKOFF_S, BACKOFF_S_MAX)
    while True:
        began = time.monotonic()
        try:
            return await asyncio.wait_for(method(), try_s)
        except ActorDiedError:
            raise
        except (RayError, TimeoutError):
            now = time.monotonic()
            if now - began > try_s + PAUSE_S:
                deadline += now - began
            if now > deadline:
                raise
        await asyncio.sleep(backoff.next_s(random.random()))
