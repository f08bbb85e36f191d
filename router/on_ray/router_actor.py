"""The router actor: the Ray shell round a `Registry`.

Frames of publishers come in (`feeding_calls.py`) and are sorted by request ID into the lanes of the stream actors
(`fleet.py`). Who holds what, epochs and ends the registry decides; this file answers clients, performs what the
registry names, and wakes watchers.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import uuid
from typing import Any, TypeVar

import ray

from actors import logging_setup as logs
from actors.errors import ProtocolViolation, Recovering, StreamRouterError
from actors.protocol.calls import (
    WATCH_WAIT_S_MAX,
    ClaimCall,
    FenceCall,
    LocateCall,
    OpenAnswer,
    OpenCall,
    ReleaseCall,
    WatchCall,
    check_caller,
    check_id,
)
from actors.protocol.envelopes import Envelope
from actors.protocol.frames import pack, read, unpack_list
from actors.shell import Alarm, Crowds, Waits, call_directly, calm_garbage_collection, keep_freed_memory
from actors.transport.door import Door
from actors.transport.late_answers import LateAnswers
from actors.transport.line import CARRIED, FOLLOWED, stands_here
from router.config import RouterConfig
from router.core.doors import Doors
from router.core.effects import Effects
from router.core.lifecycle import ROUTER_ITSELF
from router.core.registry import Registry
from router.on_ray import actors as ray_actors
from router.on_ray import beginning
from router.on_ray.archiving import Archiving
from router.on_ray.ending_calls import END_WAIT_S, EndingCalls
from router.on_ray.ends import Ends
from router.on_ray.feeding_calls import FeedingCalls
from router.on_ray.fleet import PAUSE_S, Fleet
from router.on_ray.keys import key_of
from router.on_ray.looking_calls import LookingCalls
from router.on_ray.pauses import PauseWatch
from router.on_ray.shelf import Shelf, ShelfCalls
from router.status.observer import Observer

log: logging.Logger = logging.getLogger("router.router_actor")

_Call = TypeVar("_Call", bound=tuple[Any, ...])

HOUSEKEEPING_S = 3.0
# States that can wait (credit for a publisher who still has some) ride with others for so long.
LAZY_WAKE_S = 0.005


class RouterActor(FeedingCalls, EndingCalls, LookingCalls, ShelfCalls):
    """Fans chunks in by request ID to the stream actors that hold the requests; owns those actors.

    `open`, `feed`, `watch`, `locate` and `report` speak `actors.protocol` frames and may each be called
    twice with the same content; they are the product's own protocol, used through `StreamRouter`.
    """

    def __init__(self, config_json: str, shard: int, *, owns_process: bool = False) -> None:
        """`owns_process`: this process is ours alone, so its log and its metrics are for us to set up."""
        calm_garbage_collection()
        keep_freed_memory()
        call_directly(self)
        self._config = RouterConfig.model_validate_json(config_json)
        self._shard = shard
        self._incarnation = uuid.uuid4().hex
        self._node_id = ray.get_runtime_context().get_node_id()
        reach = stands_here(self._config.reach)
        self._registry = Registry(self._config, self._incarnation, time.monotonic(), self._node_id)
        self._set_clock()
        self._alarm = Alarm(time.monotonic, self._tick)
        self._pause_watch = PauseWatch(PAUSE_S, self._paused)
        self._watchers = Waits()
        self._lookers = Crowds()
        self._late = LateAnswers()
        self._ends = Ends()
        self._door = Door(self, CARRIED, reach, FOLLOWED)
        self._begun: asyncio.Task[None] | None = None
        self._stopping = False
        self._shelf_made: Shelf | None = None
        self._observer = Observer(self._config, shard)
        self._doors = Doors(self._registry, key_of(self._config.tenants))
        # Without tenants that door is the registry's own method, and it is the way of every chunk.
        self._forward = self._doors.forward if self._config.tenants.enabled else self._registry.forward
        self._archiving = Archiving(self._config, shard, self._incarnation, self._registry)
        self._fleet = Fleet(
            self._config,
            shard,
            self._incarnation,
            self._registry,
            self._observer,
            self._after_event,
            reach,
            self._doors.pass_key,
        )
        self._exports_metrics = owns_process and self._config.metrics.enabled
        if owns_process:
            logs.set_up(self._config.logs.level, self._config.logs.format)

    async def meet(self, node_id: str, is_apart: bool = False) -> list[Any] | str:  # noqa: FBT001, FBT002  # a Ray method
        """Return where a process of that node finds a socket of this one, or why not; see `Door.meet`."""
        return self._door.meet(node_id, is_apart=is_apart)

    # --- from clients -----------------------------------------------------------------------

    async def hello(self) -> dict[str, Any]:
        """Return who this is: configuration (JSON), shard, pid, node."""
        await self._ready()
        return {
            "config": self._config.model_dump_json(),
            "shard": self._shard,
            "incarnation": self._incarnation,
            "pid": os.getpid(),
            "node_id": self._node_id,
        }

    async def enter(self, process: str, token: str) -> tuple[tuple[str, str] | None, str]:
        """Show a token: (error or None, the client ID of this process); see `actors.tenants`."""
        try:
            return None, self._doors.enter(process, token, time.time())
        except StreamRouterError as error:
            return error.to_wire(), ""

    async def narrow(self, process: str, subject: str, caller: str = "") -> tuple[tuple[str, str] | None, str]:
        """Be one of a subject's from now on, who sees all: as `enter`."""
        try:
            return None, self._doors.narrow(caller, process, subject)
        except StreamRouterError as error:
            return error.to_wire(), ""

    async def warm(self) -> None:
        """Return when the actors that should stand ready do so (or have failed to start)."""
        await self._ready()
        await asyncio.gather(*(actor.settled.wait() for actor in self._fleet.actors.values()))

    async def open(self, frame: bytes) -> bytes:
        """Open requests: an `OpenCall` to an `OpenAnswer`."""
        await self._ready()
        call = self._read(OpenCall, frame)
        now = time.monotonic()
        errors = self._doors.open(call, now)
        self._after_event()
        numbers = self._doors.numbers(call, errors)
        return pack(OpenAnswer(errors, numbers, list(self._doors.news(call.client_id, call.seen, now))))

    def _read(self, shape: type[_Call], frame: bytes) -> _Call:
        """Read a caller's frame, and count it where that cannot be done. Raises ProtocolViolation."""
        try:
            call = read(shape, frame)
            if isinstance(call, (OpenCall, WatchCall)):
                check_caller(call.client_id, call.seen)
        except ProtocolViolation as error:
            self._registry.refuse(error)
            raise
        return call

    async def watch(self, frame: bytes) -> bytes:
        """Wait for news: a `WatchCall` to `News`."""
        await self._ready()
        client_id, seen, wait_s = self._read(WatchCall, frame)
        self._doors.names(client_id)  # nobody else is heard
        registry = self._registry
        now = time.monotonic()
        client = registry.clients.heard(client_id, now)
        registry.saw(client_id, seen, now)
        if registry.has_effects:
            self._after_event()
        if not registry.clients.has_unseen(client_id, seen):
            client.watching += 1
            try:
                await self._watchers.wait(client_id, min(float(wait_s), WATCH_WAIT_S_MAX))
            finally:
                client.watching -= 1
        return pack(self._doors.news(client_id, seen, time.monotonic()))

    async def locate(self, frame: bytes) -> bytes:
        """Say where requests are: a `LocateCall` to `News` of these."""
        await self._ready()
        return pack(self._doors.locate(self._read(LocateCall, frame), time.monotonic()))

    async def claim(self, frame: bytes) -> bytes:
        """Claim an agent: a `ClaimCall` to a `ClaimAnswer`."""
        await self._ready()
        answer = self._doors.claim(self._read(ClaimCall, frame), time.monotonic())
        self._after_event()
        return pack(answer)

    async def release(self, frame: bytes) -> None:
        """Let go of the agent of a request: a `ReleaseCall`."""
        await self._ready()
        self._doors.release(self._read(ReleaseCall, frame))
        self._after_event()

    async def fence(self, frame: bytes, caller: str = "") -> int:
        """Fence out earlier requests of an agent, and wait shortly for their ends: a `FenceCall`.

        Returns the highest fencing number known of the agent. Raises Recovering while one has not ended.
        """
        await self._ready()
        highest, ending = self._doors.fence(caller, self._read(FenceCall, frame), time.monotonic())
        ends = self._ends.expect(ending)
        self._after_event()
        under_way = await self._ends.wait(ends, END_WAIT_S)
        if under_way:  # what it sent may still be taken, and then two requests of the agent would be
            raise Recovering(
                f"{len(under_way)} requests that the agent leaves behind are being ended; ask again in a moment"
            )
        return highest

    async def stream_actor(self, actor_id: str) -> Any:
        """Return the handle of a stream actor; None where it is gone."""
        await self._ready()
        if actor_id == ROUTER_ITSELF:
            return ray.get_runtime_context().current_actor
        actor = self._fleet.actors.get(actor_id)
        return None if actor is None else actor.handle

    @property
    def _shelf(self) -> Shelf:
        if self._shelf_made is None:
            self._shelf_made = Shelf(self._incarnation, self.report, self._doors.pass_key)
        return self._shelf_made

    async def _put_on_shelf(self, envelopes: list[Envelope]) -> None:
        reports = await self._shelf.take(envelopes)
        if reports:
            self._registry.reports(ROUTER_ITSELF, reports, time.monotonic())
            self._after_event()

    async def archived(self, request_id: str, caller: str = "") -> bytes | None:
        """Return the log of an ended request out of the archive; None where it is not there."""
        return await self._archiving.find(self._doors.look(caller).full(request_id))

    async def suspect(self, actor_id: str) -> None:
        """Look after a stream actor that a reader could not reach."""
        actor = self._fleet.actors.get(actor_id)
        if actor is not None:
            await self._fleet.probe(actor_id, actor)

    async def drain(self, caller: str = "") -> int:
        """Take no new requests from now on; return how many are still open."""
        await self._ready()
        return self._doors.drain(caller)

    async def resume(self, caller: str = "") -> None:
        """Take new requests again."""
        self._doors.resume(caller)

    async def stop(self, caller: str = "") -> None:
        """Stop all stream actors; what was not read is gone."""
        self._doors.stop(caller)
        self._stopping = True
        await self._archiving.close()
        for actor_id in list(self._fleet.actors):
            self._fleet.kill(actor_id)
        self._observer.close()

    # --- from stream actors -----------------------------------------------------------------

    async def report(self, actor_id: str, frame: bytes) -> None:
        """Take reports of a stream actor; an empty list is its beat."""
        await self._ready()
        check_id(actor_id)
        self._registry.recovery.check_reporter(actor_id)
        actor = self._fleet.actors.get(actor_id)
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
        self._pause_watch.begin(lambda: self._stopping)
        restarts = await asyncio.to_thread(ray_actors.restarts)
        self._registry.agents.grant_above(beginning.first_number(restarts, time.time()))
        if restarts:
            await self._recover()
        else:
            await beginning.clear_away(self._config, self._shard)
        # The pool fills itself: `keep_house` also asks for the actors that should stand ready.
        self._registry.keep_house(time.monotonic())
        self._after_event()
        self._fleet.spawn(self._keep_house())
        self._fleet.spawn(self._archiving.keep_writing())
        if self._exports_metrics:
            self._fleet.spawn(self._export_metrics())

    async def _recover(self) -> None:
        """Learn from the stream actors of the incarnation before what they hold."""
        self._observer.router_restarted()
        found = await asyncio.to_thread(ray_actors.find_stream_actors, self._config, self._shard)
        log.warning("router %s/%d has restarted; %d stream actors to adopt", self._config.name, self._shard, len(found))
        # Only from now on: while Ray's control store could not say who there is, no publisher was heard.
        self._registry.wait_for_publishers(time.monotonic())
        await beginning.take_over(found, self._registry, self._fleet, self._after_event)

    # --- effects of the registry ------------------------------------------------------------

    def _after_event(self) -> None:
        registry = self._registry
        if sends := registry.take_sends():
            self._send(sends)
        elif registry.has_effects:
            self._perform(registry.take_effects())
        self._alarm.set(registry.due_at())

    def _perform(self, effects: Effects) -> None:
        self._observer.take(effects.notes)
        self._ends.tell(effects.notes)
        self._archiving.take(effects.kept)
        for actor_id in effects.start:
            if not self._stopping:
                self._fleet.start(actor_id)
        self._send(effects.send)
        self._wake_watchers(effects.wake)
        for key in effects.entered:
            self._lookers.wake(key)
        for actor_id in effects.stop:
            self._fleet.kill(actor_id)

    def _send(self, sends: list[tuple[str, str, Envelope, int]]) -> None:
        touched: dict[str, None] = {}  # in order, so that a run can be repeated
        shelved: list[Envelope] = []
        for actor_id, request_id, envelope, size_bytes in sends:
            actor = self._fleet.actors.get(actor_id)
            if actor is not None:
                actor.put(request_id, envelope, size_bytes)
                touched[actor_id] = None
            elif actor_id == ROUTER_ITSELF:
                shelved.append(envelope)
        if shelved:
            self._fleet.spawn(self._put_on_shelf(shelved))
        for actor_id in touched:
            self._fleet.pump(actor_id)

    def _wake_watchers(self, wakes: dict[str, bool]) -> None:
        for client_id, urgent in wakes.items():
            if urgent:
                self._watchers.wake(client_id)
            else:
                self._watchers.wake_within(client_id, LAZY_WAKE_S)

    def _tick(self) -> None:
        self._pause_watch.look()
        self._registry.tick(time.monotonic())
        self._after_event()

    # --- in the background ------------------------------------------------------------------

    async def _export_metrics(self) -> None:
        while not self._stopping:
            await asyncio.sleep(self._config.metrics.interval_s)
            looks = await self._fleet.measure()
            self._observer.export(self._registry, looks, [means for means, _ in self._fleet.transports().values()])

    def _set_clock(self) -> None:
        """Say the time of day to the catalogue: the clock that all else goes by knows none, and may stand still."""
        self._registry.requests.catalogue.set_clock(time.time(), time.monotonic())

    def _paused(self, gap_s: float) -> None:
        """This process was stopped (SIGSTOP, a paused machine): that was no silence of the others."""
        log.warning("this router was stopped for %.1f s; others are given that time", gap_s)
        self._registry.paused(gap_s)
        self._fleet.paused(gap_s)

    async def _keep_house(self) -> None:
        while not self._stopping:
            await asyncio.sleep(HOUSEKEEPING_S)
            now = time.monotonic()
            self._set_clock()
            self._fleet.probe_silent(now, 2 * HOUSEKEEPING_S)
            self._registry.keep_house(now)
            self._after_event()
