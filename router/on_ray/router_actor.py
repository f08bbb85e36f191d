"""The router actor: the Ray shell round a `Registry`.

Frames of publishers come in, are sorted by request ID into one lane per stream actor, and leave
with one call in flight for each. Everything else (who holds what, epochs, ends) the registry
decides; this file starts and stops actors, makes calls with deadlines, and wakes watchers.

A stream actor that answers neither calls nor beats for `ACTOR_DEADLINE_S` is killed and counts as
dead: a process that hangs must not be silence.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
import uuid
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

import ray
from ray.exceptions import ActorDiedError, RayError

from actors import logging_setup as logs
from actors.errors import ProtocolViolation, RouterUnavailable, StreamRouterError
from actors.protocol.backoff import Backoff
from actors.protocol.calls import (
    WATCH_WAIT_S_MAX,
    ClaimAnswer,
    ClaimCall,
    LocateCall,
    OpenAnswer,
    OpenCall,
    Registration,
    WatchCall,
)
from actors.protocol.envelopes import Envelope
from actors.protocol.frames import checked, cut_into_frames, pack, read, unpack_list
from actors.protocol.lane import CALL_BYTES_MAX, Fifo, Lane
from actors.stream.host import NOT_MY_ROUTER
from actors.stream.stream_actor import calm_garbage_collection
from router.config import RouterConfig
from router.core.effects import ENDED, Effects
from router.core.registry import Registry
from router.on_ray import actors as ray_actors
from router.status import overview
from router.status.observer import Observer

log = logging.getLogger("router.router_actor")

_Call = TypeVar("_Call", bound=tuple[Any, ...])

CALL_DEADLINE_S = 4.0
ACTOR_DEADLINE_S = 9.0
CANCEL_WAIT_S = 6.0
START_DEADLINE_S = 120.0
# An answer of a starting actor may take long, but may also have been lost.
START_TRY_S = 10.0
BACKOFF_S = 0.02
BACKOFF_S_MAX = 0.5
HOUSEKEEPING_S = 3.0
DESCRIBE_DEADLINE_S = 2.0
# States that can wait (credit for a publisher who still has some) ride with others for so long.
LAZY_WAKE_S = 0.005
RECOVERY_DEADLINE_S = 3.0
CLEAR_DEADLINE_S = 15.0


class _Actor:
    """A stream actor as its router's shell sees it: handle, lane, when it was last heard."""

    __slots__ = (
        "_lane",
        "_next",
        "_next_bytes",
        "busy",
        "frame_no",
        "handle",
        "heard_at",
        "is_started",
        "queues",
        "settled",
        "waits_since",
    )

    def __init__(self, handle: Any, now: float) -> None:
        self.handle = handle
        self.frame_no = 0
        self.heard_at = now
        self.is_started = False
        # Set when it has started, or has failed to.
        self.settled = asyncio.Event()
        # What fits into the next frame whole waits in the order in which it came; only beyond that is
        # there anything to share out, by the lane, and what waits there is younger.
        self._next: list[Envelope] = []
        self._next_bytes = 0
        self._lane: Lane[str, Envelope] = Lane()
        self.queues: dict[str, Fifo[Envelope]] = {}
        self.busy = False
        self.waits_since: float | None = None

    @property
    def waits(self) -> bool:
        """Whether anything waits to leave."""
        return bool(self._next) or self._lane.waits

    def put(self, request_id: str, envelope: Envelope, size_bytes: int) -> None:
        if self.waits_since is None:
            self.waits_since = time.monotonic()
        if not self._lane.waits and (self._next_bytes + size_bytes <= CALL_BYTES_MAX or not self._next):
            self._next.append(envelope)
            self._next_bytes += size_bytes
            return
        queue = self.queues.get(request_id)
        if queue is None:
            queue = self.queues[request_id] = Fifo()
        queue.put(envelope, size_bytes)
        self._lane.offer(request_id, queue)

    def take(self) -> list[Envelope]:
        """Return the envelopes of the next call; none where nothing waits."""
        if self._next:
            envelopes, self._next, self._next_bytes = self._next, [], 0
        else:
            taken = self._lane.take()
            self._lane.done()
            for request_id, _ in taken:
                if not self.queues[request_id].has_items():
                    del self.queues[request_id]
            envelopes = [envelope for _, found in taken for envelope in found]
        return envelopes

    def waited_since(self) -> float:
        """Return when the first of the envelopes just taken came; what is left counts from now."""
        now = time.monotonic()
        since, self.waits_since = self.waits_since, now if self.waits else None
        return now if since is None else since


class RouterActor:
    """Fans chunks in by request ID to the stream actors that hold the requests; owns those actors.

    `open`, `feed`, `watch`, `locate` and `report` speak `actors.protocol` frames and may each be called
    twice with the same content; they are the product's own protocol, used through `StreamRouter`.
    """

    def __init__(self, config_json: str, shard: int, *, owns_process: bool = False) -> None:
        """`owns_process`: this process is ours alone, so its log and its metrics are for us to set up."""
        calm_garbage_collection()
        self._config = RouterConfig.model_validate_json(config_json)
        self._shard = shard
        self._incarnation = uuid.uuid4().hex
        self._registry = Registry(self._config, self._incarnation, time.monotonic())
        self._actors: dict[str, _Actor] = {}
        self._watchers: dict[str, asyncio.Future[None]] = {}
        self._begun: asyncio.Task[None] | None = None
        self._ends_awaited: dict[str, list[asyncio.Future[None]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._observer = Observer(self._config, shard)
        self._exports_metrics = owns_process and self._config.metrics.enabled
        if owns_process:
            logs.set_up(self._config.logs.level, self._config.logs.format)

    # --- from clients -----------------------------------------------------------------------

    async def hello(self) -> dict[str, Any]:
        """Return who this is: configuration (JSON), shard, pid, node."""
        await self._ready()
        return {
            "config": self._config.model_dump_json(),
            "shard": self._shard,
            "incarnation": self._incarnation,
            "pid": os.getpid(),
            "node_id": ray.get_runtime_context().get_node_id(),
        }

    async def warm(self) -> None:
        """Return when the actors that should stand ready do so (or have failed to start)."""
        await self._ready()
        await asyncio.gather(*(actor.settled.wait() for actor in self._actors.values()))

    async def open(self, frame: bytes) -> bytes:
        """Open requests: an `OpenCall` to an `OpenAnswer`."""
        await self._ready()
        client_id, seen, registrations = self._read(OpenCall, frame)
        now = time.monotonic()
        errors = []
        for parts in registrations:
            error: StreamRouterError | None
            try:
                error = self._registry.open(client_id, now=now, **checked(Registration, parts)._asdict())
            except ProtocolViolation as violation:
                self._registry.refuse(violation)
                error = violation
            errors.append(None if error is None else error.to_wire())
        self._after_event()
        return pack(OpenAnswer(errors, list(self._registry.news(client_id, seen, now))))

    async def feed(self, client_id: str, seen: list[Any], *frames: bytes) -> bytes:
        """Take frames of a publisher's `ItemsEnvelope`s; return its `News`."""
        if self._begun is None or not self._begun.done():
            await self._ready()
        now = time.monotonic()
        for frame in frames:
            self._registry.forward(client_id, self._read_list(frame), now)
        self._after_event()
        return pack(self._registry.news(client_id, seen, now))

    def _read(self, shape: type[_Call], frame: bytes) -> _Call:
        """Read a caller's frame, and count it where that cannot be done. Raises ProtocolViolation."""
        try:
            return read(shape, frame)
        except ProtocolViolation as error:
            self._registry.refuse(error)
            raise

    def _read_list(self, frame: bytes) -> list[Any]:
        try:
            return unpack_list(frame)
        except ProtocolViolation as error:
            self._registry.refuse(error)
            raise

    async def watch(self, frame: bytes) -> bytes:
        """Wait for news: a `WatchCall` to `News`."""
        await self._ready()
        client_id, seen, wait_s = self._read(WatchCall, frame)
        registry = self._registry
        client = registry.clients.heard(client_id, time.monotonic())
        if not registry.clients.has_unseen(client_id, seen):
            older = self._watchers.get(client_id)
            if older is not None and not older.done():
                older.set_result(None)
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._watchers[client_id] = future
            client.watching += 1
            try:
                await asyncio.wait_for(future, min(float(wait_s), WATCH_WAIT_S_MAX))
            except TimeoutError:
                pass
            finally:
                client.watching -= 1
                if self._watchers.get(client_id) is future:
                    del self._watchers[client_id]
        return pack(registry.news(client_id, seen, time.monotonic()))

    async def locate(self, frame: bytes) -> bytes:
        """Say where requests are: a `LocateCall` to `News` of these."""
        await self._ready()
        client_id, call_no, request_ids, losses = self._read(LocateCall, frame)
        return pack(self._registry.locate(client_id, call_no, request_ids, losses, time.monotonic()))

    async def claim(self, frame: bytes) -> bytes:
        """Claim an agent: a `ClaimCall` to a `ClaimAnswer`."""
        await self._ready()
        client_id, request_id, agent_id, when_busy, is_held = self._read(ClaimCall, frame)
        now = time.monotonic()
        error, state = self._registry.claim(client_id, request_id, agent_id, when_busy, now, is_held=is_held)
        self._after_event()
        return pack(ClaimAnswer(None if error is None else list(error.to_wire()), list(state)))

    async def release(self, request_id: str) -> None:
        """Let go of the agent of a request."""
        await self._ready()
        self._registry.release(request_id)
        self._after_event()

    async def stream_actor(self, actor_id: str) -> Any:
        """Return the handle of a stream actor; None where it is gone."""
        await self._ready()
        actor = self._actors.get(actor_id)
        return None if actor is None else actor.handle

    async def suspect(self, actor_id: str) -> None:
        """Look after a stream actor that a reader could not reach."""
        actor = self._actors.get(actor_id)
        if actor is not None:
            await self._probe(actor_id, actor)

    async def cancel(
        self,
        request_id: str,
        after_step: bool = False,  # noqa: FBT001, FBT002  # a Ray method
        detail: str | None = None,
    ) -> tuple[tuple[str, str] | None, bool]:
        """Cancel a request: (error or None, whether it was still open).

        The answer waits for the end, shortly: should this router die now, a cancel that only it knows of
        would be lost, and whoever asked for it would believe it done.
        """
        await self._ready()
        try:
            was_open = self._registry.cancel(request_id, time.monotonic(), after_step=after_step, detail=detail)
        except StreamRouterError as error:
            return error.to_wire(), False
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if was_open and not after_step:
            self._ends_awaited.setdefault(request_id, []).append(ended)
        self._after_event()
        if was_open and not after_step:
            await asyncio.wait([ended], timeout=CANCEL_WAIT_S)
            self._end_is_awaited_no_more(request_id, ended)
        return None, was_open

    def _end_is_awaited_no_more(self, request_id: str, ended: asyncio.Future[None]) -> None:
        awaited = self._ends_awaited.get(request_id)
        if awaited is not None:
            awaited.remove(ended)
            if not awaited:
                del self._ends_awaited[request_id]

    async def disown(self, client_id: str, request_id: str) -> None:
        """A process does not know the request that it is the publisher of."""
        await self._ready()
        self._registry.disown(client_id, request_id, time.monotonic())
        self._after_event()

    async def drain(self) -> int:
        """Take no new requests from now on; return how many are still open."""
        await self._ready()
        self._registry.admission.draining = True
        return sum(1 for entry in self._registry.entries.values() if entry.is_live)

    async def resume(self) -> None:
        """Take new requests again."""
        self._registry.admission.draining = False

    async def describe(self) -> dict[str, Any]:
        """Return actors, requests and counters as plain data."""
        await self._ready()
        registry = self._registry
        node_id = ray.get_runtime_context().get_node_id()
        started = {actor_id: actor for actor_id, actor in self._actors.items() if actor.is_started}
        unknown = dict(zip(started, await asyncio.gather(*map(_unknown_events, started.values())), strict=True))
        return {
            "router": {
                "actor_id": self._config.router_name(self._shard),
                "pid": os.getpid(),
                "node_id": node_id,
                "state": "draining" if registry.admission.draining else "ready",
                "open_requests": sum(1 for entry in registry.entries.values() if entry.is_live),
                "counts": dict(registry.counts),
                "ended_by": dict(registry.ended_by),
                "refused_by": dict(registry.refused_by),
                "ignored_by": dict(registry.ignored_by),
                "clients": len(registry.clients),
            },
            "stream_actors": [
                {
                    "actor_id": self._config.stream_actor_name(self._shard, slot.actor_id),
                    "pid": slot.pid,
                    "node_id": slot.node_id,
                    "state": slot.state.value,
                    "open_requests": slot.load,
                    "served": slot.served,
                    "unknown_events": unknown.get(slot.actor_id, {}),
                }
                for slot in registry.pool.slots.values()
            ],
            "requests": [
                {
                    "request_id": entry.request_id,
                    "state": entry.phase.value,
                    "actor_id": entry.actor_id and self._config.stream_actor_name(self._shard, entry.actor_id),
                    "epoch": entry.epoch,
                    "stop_reason": entry.stop_reason,
                    "last_seq_id": entry.last_seq_id,
                    "agent_id": entry.agent_id,
                }
                for entry in registry.entries.values()
            ],
        }

    async def overview(self, streams_max: int = 0) -> dict[str, Any]:
        """Return counters, actors with their measures, and `streams_max` of the most lagging streams, as plain data."""
        await self._ready()
        looks = await self._measure_actors(streams_max)
        node_id = ray.get_runtime_context().get_node_id()
        return overview.of_shard(self._registry, self._config, self._shard, time.monotonic(), looks, node_id)

    async def stop(self) -> None:
        """Stop all stream actors; what was not read is gone."""
        self._stopping = True
        for actor_id in list(self._actors):
            self._kill(actor_id)
        self._observer.close()

    # --- from stream actors -----------------------------------------------------------------

    async def report(self, actor_id: str, frame: bytes) -> None:
        """Take reports of a stream actor; an empty list is its beat."""
        await self._ready()
        actor = self._actors.get(actor_id)
        now = time.monotonic()
        if actor is not None:
            actor.heard_at = now
        self._registry.reports(actor_id, unpack_list(frame), now)
        self._after_event()

    # --- beginning, and beginning again -----------------------------------------------------

    async def _ready(self) -> None:
        if self._begun is None:
            self._begun = asyncio.create_task(self._begin())
        if not self._begun.done():
            await asyncio.shield(self._begun)

    async def _begin(self) -> None:
        if ray.get_runtime_context().was_current_actor_reconstructed:
            await self._recover()
            self._registry.wait_for_publishers(time.monotonic())
            self._after_event()
        else:
            await self._clear_away()
        # The pool fills itself: `stop_idle` also asks for the actors that should stand ready.
        self._registry.stop_idle(time.monotonic())
        self._after_event()
        self._spawn(self._keep_house())
        if self._exports_metrics:
            self._spawn(self._export_metrics())

    async def _clear_away(self) -> None:
        """End what a router of this name that was killed has left behind; else the names would be taken."""
        deadline = time.monotonic() + CLEAR_DEADLINE_S
        while found := await asyncio.to_thread(ray_actors.find_stream_actors, self._config, self._shard):
            for handle in found.values():
                ray.kill(handle)
            if time.monotonic() > deadline:
                raise RouterUnavailable(
                    f"stream actors of an earlier router {self._config.name!r} are still there {CLEAR_DEADLINE_S:g} s "
                    f"after they were killed: {', '.join(found)}; see `ray list actors`, then start it again"
                )
            await asyncio.sleep(BACKOFF_S)

    async def _recover(self) -> None:
        """Learn from the stream actors of the incarnation before what they hold."""
        self._observer.router_restarted()
        found = await asyncio.to_thread(ray_actors.find_stream_actors, self._config, self._shard)
        log.warning("router %s/%d has restarted; %d stream actors to adopt", self._config.name, self._shard, len(found))
        await asyncio.gather(*(self._adopt(actor_id, handle) for actor_id, handle in found.items()))

    async def _adopt(self, actor_id: str, handle: Any) -> None:
        try:
            who = await self._begin_with(handle, RECOVERY_DEADLINE_S, RECOVERY_DEADLINE_S)
            inventory = await _insist(handle.inventory.remote, RECOVERY_DEADLINE_S, RECOVERY_DEADLINE_S)
        except (RayError, TimeoutError, RouterUnavailable) as error:
            log.warning("stream actor %s cannot be adopted: %s", actor_id, type(error).__name__)
            ray.kill(handle)
            return
        now = time.monotonic()
        actor = self._actors[actor_id] = _Actor(handle, now)
        actor.is_started = True
        actor.settled.set()
        self._observer.actor_adopted(actor_id)
        self._registry.adopt(actor_id, unpack_list(inventory), now)
        self._registry.actor_started(actor_id, who["pid"], who["node_id"], now)

    # --- effects of the registry ------------------------------------------------------------

    def _after_event(self) -> None:
        registry = self._registry
        if registry.has_effects:
            self._perform(registry.take_effects())
        due_at = registry.due_at()
        if due_at < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = due_at
            delay_s = max(0.0, due_at - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._tick)

    def _perform(self, effects: Effects) -> None:
        self._observer.take(effects.notes)
        if self._ends_awaited:
            self._tell_ends(effects)
        for actor_id in effects.start:
            self._start(actor_id)
        touched: dict[str, None] = {}  # in order, so that a run can be repeated
        for actor_id, request_id, envelope, size_bytes in effects.send:
            actor = self._actors.get(actor_id)
            if actor is not None:
                actor.put(request_id, envelope, size_bytes)
                touched[actor_id] = None
        for actor_id in touched:
            self._pump(actor_id)
        self._wake_watchers(effects)
        for actor_id in effects.stop:
            self._kill(actor_id)

    def _tell_ends(self, effects: Effects) -> None:
        for note in effects.notes:
            for ended in self._ends_awaited.get(note.request_id, ()) if note.kind == ENDED else ():
                _wake(ended)

    def _wake_watchers(self, effects: Effects) -> None:
        for client_id, urgent in effects.wake.items():
            future = self._watchers.get(client_id)
            if future is None or future.done():
                continue
            if urgent:
                future.set_result(None)
            else:
                asyncio.get_running_loop().call_later(LAZY_WAKE_S, _wake, future)

    def _tick(self) -> None:
        self._timer = None
        self._timer_at = float("inf")
        self._registry.tick(time.monotonic())
        self._after_event()

    # --- stream actors ----------------------------------------------------------------------

    def _start(self, actor_id: str) -> None:
        if self._stopping or actor_id in self._actors:
            return
        me = ray.get_runtime_context().current_actor
        handle = ray_actors.make_stream_actor(self._config, self._shard, actor_id, me)
        self._actors[actor_id] = _Actor(handle, time.monotonic())
        self._spawn(self._await_start(actor_id, self._actors[actor_id]))

    async def _begin_with(self, handle: Any, deadline_s: float, try_s: float) -> dict[str, Any]:
        """Say to a stream actor that this incarnation is its router; return who it is.

        Raises RayError, TimeoutError, RouterUnavailable (it has come to know another incarnation as the later one).
        """
        who: dict[str, Any] | None = await _insist(partial(handle.start.remote, self._incarnation), deadline_s, try_s)
        if who is None:
            raise RouterUnavailable("the stream actor takes another incarnation of this router for the later one")
        return who

    async def _await_start(self, actor_id: str, actor: _Actor) -> None:
        try:
            who = await self._begin_with(actor.handle, START_DEADLINE_S, START_TRY_S)
        except (RayError, TimeoutError, RouterUnavailable) as error:
            log.error("stream actor %s did not start: %s", actor_id, str(error).splitlines()[0][:200])  # noqa: TRY400
            self._gone(actor_id, actor)
            actor.settled.set()
            return
        now = time.monotonic()
        actor.heard_at = now
        actor.is_started = True
        actor.settled.set()
        self._registry.actor_started(actor_id, who["pid"], who["node_id"], now)
        self._after_event()
        self._pump(actor_id)

    def _pump(self, actor_id: str) -> None:
        actor = self._actors[actor_id]
        if actor.is_started and not actor.busy and actor.waits:
            # Busy from now on, until nothing waits any more: two calls out at once could overtake each other.
            actor.busy = True
            self._spawn(self._feed(actor_id, actor))

    async def _feed(self, actor_id: str, actor: _Actor) -> None:
        try:
            while self._actors.get(actor_id) is actor and (envelopes := actor.take()):
                since = actor.waited_since()
                answer = await self._deliver(actor_id, actor, cut_into_frames(envelopes))
                if answer is None:
                    self._gone(actor_id, actor)
                    return
                actor.heard_at = time.monotonic()
                self._observer.delivered(actor.heard_at - since)
                reports = unpack_list(answer)
                if reports:
                    self._registry.reports(actor_id, reports, actor.heard_at)
                    self._after_event()
        finally:
            actor.busy = False

    async def _deliver(self, actor_id: str, actor: _Actor, frames: list[bytes]) -> bytes | None:
        """Call until there is an answer; None when the actor is dead or must be given up."""
        deadline = time.monotonic() + ACTOR_DEADLINE_S
        backoff = Backoff(BACKOFF_S, BACKOFF_S_MAX)
        actor.frame_no += 1
        call = partial(actor.handle.feed.remote, self._incarnation, actor.frame_no, *frames)
        while True:
            try:
                # The last try has what is left: whole tries would wait for a hanging actor well beyond its deadline.
                left_s = max(0.0, deadline - time.monotonic())
                answer: bytes = await asyncio.wait_for(call(), min(CALL_DEADLINE_S, left_s))
                if answer == NOT_MY_ROUTER:
                    # A call of an incarnation that never came to speak here has come after ours.
                    await self._begin_with(actor.handle, CALL_DEADLINE_S, CALL_DEADLINE_S)
                    continue
            except (ActorDiedError, RouterUnavailable):
                return None
            except (RayError, TimeoutError) as error:
                # Outcome unknown; the same frame again does no harm.
                if isinstance(getattr(error, "cause", None), StreamRouterError):
                    log.error("stream actor %s refused a frame: %s", actor_id, error)  # noqa: TRY400
                    return pack([])
                log.info("stream actor %s: a call failed (%s); trying again", actor_id, type(error).__name__)
                if time.monotonic() > deadline:
                    log.warning("stream actor %s has not answered for %g s; giving it up", actor_id, ACTOR_DEADLINE_S)
                    return None
            else:
                return answer
            await asyncio.sleep(backoff.next_s(random.random()))

    def _gone(self, actor_id: str, actor: _Actor) -> None:
        if self._actors.get(actor_id) is not actor:
            return
        log.warning("stream actor %s is gone; its requests are placed anew", actor_id)
        self._observer.actor_lost()
        self._kill(actor_id)
        self._registry.actor_died(actor_id, time.monotonic())
        self._after_event()

    def _kill(self, actor_id: str) -> None:
        actor = self._actors.pop(actor_id, None)
        if actor is not None:
            ray.kill(actor.handle)

    async def _probe(self, actor_id: str, actor: _Actor) -> None:
        if not actor.is_started:
            return
        try:
            await self._begin_with(actor.handle, CALL_DEADLINE_S, CALL_DEADLINE_S)
            actor.heard_at = time.monotonic()
        except (ActorDiedError, RouterUnavailable):
            self._gone(actor_id, actor)
        except (RayError, TimeoutError):
            if time.monotonic() - actor.heard_at > ACTOR_DEADLINE_S:
                self._gone(actor_id, actor)

    async def _measure_actors(self, laggards: int = 0) -> dict[str, dict[str, Any]]:
        """Return what each stream actor says of its work; those that do not answer are left out."""
        started = {actor_id: actor for actor_id, actor in self._actors.items() if actor.is_started}
        calls = (asyncio.wait_for(actor.handle.measure.remote(laggards), CALL_DEADLINE_S) for actor in started.values())
        looks = await asyncio.gather(*calls, return_exceptions=True)
        return {actor_id: look for actor_id, look in zip(started, looks, strict=True) if isinstance(look, dict)}

    async def _export_metrics(self) -> None:
        while not self._stopping:
            await asyncio.sleep(self._config.metrics.interval_s)
            self._observer.export(self._registry, await self._measure_actors())

    async def _keep_house(self) -> None:
        while not self._stopping:
            await asyncio.sleep(HOUSEKEEPING_S)
            now = time.monotonic()
            for actor_id, actor in list(self._actors.items()):
                if actor.is_started and now - actor.heard_at > 2 * HOUSEKEEPING_S:
                    self._spawn(self._probe(actor_id, actor))
            self._registry.stop_idle(now)
            self._after_event()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _insist(method: Callable[[], Any], deadline_s: float, try_s: float) -> Any:
    """Call what may be called twice until it answers; raise its last error at the deadline, or when the actor died."""
    deadline = time.monotonic() + deadline_s
    backoff = Backoff(BACKOFF_S, BACKOFF_S_MAX)
    while True:
        try:
            return await asyncio.wait_for(method(), try_s)
        except ActorDiedError:
            raise
        except (RayError, TimeoutError):
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(backoff.next_s(random.random()))


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def _unknown_events(actor: _Actor) -> dict[str, int]:
    try:
        counts: dict[str, int] = await asyncio.wait_for(actor.handle.unknown_events.remote(), DESCRIBE_DEADLINE_S)
    except (RayError, TimeoutError):
        return {}  # a description does not wait for an actor that hangs
    return counts
