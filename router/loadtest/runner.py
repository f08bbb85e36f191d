"""A load test from its workload to its results."""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import ray
from ray.exceptions import RayError

from actors.errors import ConfigError, RouterUnavailable, StreamRouterError
from router.client.stream_router import StreamRouter
from router.demo import RECORDINGS
from router.loadtest import processes, results
from router.loadtest.fault_injector import FaultInjector
from router.loadtest.fault_schedule import schedule
from router.loadtest.format_readers import request_prefix
from router.loadtest.gateways import Gateways
from router.loadtest.generators import CALL_DEADLINE_S, Generators, ask, call_of, start_generators
from router.loadtest.infrastructure import router_under_test, rpc_failures, start_cluster, start_providers
from router.loadtest.measurements import Measurements, merged
from router.loadtest.plan import Planner, all_recordings
from router.loadtest.publishing_actor import Setup
from router.loadtest.verify import can_verify
from router.loadtest.workload import Workload
from router.on_ray.actors import find_actor
from router.runs.requests import parse_requests
from router.scripted_provider import Library, Recording

TICK_S = 1.0
SAMPLE_EVERY_TICKS = 2
READ_REST_S = 15.0


@dataclass
class State:
    """The state of a running load test, which its view shows."""

    workload: Workload
    expected_s: float
    phase: str = "starting"
    elapsed_s: float = 0.0
    open: int = 0
    reading: int = 0
    actors: int = 0
    actors_max: int = 0
    measured: Measurements = field(default_factory=Measurements)
    samples: list[processes.Sample] = field(default_factory=list)
    queues: list[dict[str, float]] = field(default_factory=list)
    faults: list[Any] = field(default_factory=list)


class View(Protocol):
    """Shows a load test while it runs."""

    def show(self, state: State) -> None:
        """Show the state; called about once a second."""
        ...


async def run_loadtest(workload: Workload, view: View) -> dict[str, Any]:
    """Run a load test and return its results; see `results`.

    Ctrl-C ends it early and in order: streams are cancelled, readers see that, and the results so far
    are returned with `interrupted`. Raises StreamRouterError where it cannot be run at all.
    """
    setup, planner = _prepare(workload)
    state = State(workload, planner.expected_s())
    view.show(state)
    started_at = datetime.now(UTC)
    started = time.perf_counter()
    with rpc_failures(workload.chaos.rpc_failures):
        async with AsyncExitStack() as stack:
            cluster = await start_cluster(stack, workload)
            router = await stack.enter_async_context(router_under_test(workload))
            setup.router_name, setup.namespace = router.config.name, router.config.namespace
            urls = await start_providers(stack, workload, setup.recordings)
            gateways = await _gateways(stack, workload, router)
            setup.gateways = [] if gateways is None else gateways.urls
            generators = await stack.enter_async_context(start_generators(setup, urls))
            run = _Run(workload, router, generators, state, view, cluster, gateways)
            interrupted = await run.run()
    about = {
        "started_at": started_at.isoformat(timespec="seconds"),
        "interrupted": interrupted,
        "actors": state.actors_max,
        "environment": _environment(),
    }
    return results.build(
        workload,
        state.measured,
        wall_s=time.perf_counter() - started,
        streams_open_max=run.open_max,
        samples=state.samples,
        queues=state.queues,
        processes=list(run.sampler.figures.values()),
        faults=state.faults,
        faults_planned=run.faults_planned,
        about=about,
    )


def _prepare(workload: Workload) -> tuple[Setup, Planner]:
    """Check the workload before anything starts. Raises ConfigError, RecordingError."""
    workload.router_config()
    for number, kind in enumerate(workload.mix):
        reason = can_verify(kind.settings)
        if reason is not None:
            raise ConfigError(f"mix.{number}.settings: text under {reason} cannot be checked by an independent reading")
    requests = []
    target = workload.target
    if target.endpoint is not None and target.requests is not None:
        target.endpoint.key()
        try:
            text = Path(target.requests).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"target.requests: {target.requests}: cannot be read: {error}") from None
        requests = parse_requests(text, target.requests)
    recordings: list[Recording] = []
    if target.kind != "endpoint":
        library = Library.load(target.recordings or RECORDINGS)
        recordings = all_recordings(workload, list(library.recordings.values()))
    prefix = request_prefix(workload.readers.format)
    setup = Setup(workload, recordings, requests, f"{prefix}{workload.name}-{uuid.uuid4().hex[:8]}", "", "")
    return setup, Planner(workload, recordings)


async def _gateways(stack: AsyncExitStack, workload: Workload, router: StreamRouter) -> Gateways | None:
    """Start the gateways that readers come by. Raises RouterUnavailable."""
    if workload.readers.via != "sse":
        return None
    config = router.config
    return await stack.enter_async_context(Gateways(workload.readers.gateways, config.name, config.namespace))


class _Run:
    def __init__(
        self,
        workload: Workload,
        router: StreamRouter,
        generators: Generators,
        state: State,
        view: View,
        cluster: Any,
        gateways: Gateways | None = None,
    ) -> None:
        self._workload, self._router, self._generators = workload, router, generators
        self._state, self._view = state, view
        self._zero = time.time()
        strikes = schedule(workload.chaos, workload.seed, state.expected_s)
        self.faults_planned = len(strikes)
        self._faults = FaultInjector(router, strikes, self._now, cluster, gateways)
        self._gateways = gateways
        self._stop = asyncio.Event()
        self._handles: dict[str, Any] = {}
        self._last_done_s: float | None = None
        self.sampler = processes.ProcessSampler()
        self.open_max = 0

    def _now(self) -> float:
        return time.time() - self._zero

    async def run(self) -> bool:
        """Run until all has ended, or is given up; return whether it was interrupted."""
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(sign, self._stop.set)
        self._zero = time.time()
        striking: asyncio.Task[None] | None = None
        try:
            await self._introduce()
            await self._begin()
            self._state.phase = "running"
            striking = asyncio.create_task(self._faults.run())
            interrupted = await self._until_done()
            if interrupted:
                self._state.phase = "stopping"
                await self._all_of([publisher.stop.remote for publisher in self._generators.publishers])
                await self._until_read()
            await self._all_of([reader.give_up.remote for reader in self._generators.readers])
            await self._look()
            self._state.phase = "done"
            self._view.show(self._state)
            return interrupted
        finally:
            for sign in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(sign)
            if striking is not None:
                striking.cancel()
                with suppress(asyncio.CancelledError):
                    await striking
            await self._faults.close()

    async def _until_done(self) -> bool:
        ticks = 0
        while not self._stop.is_set():
            is_done = await self._look()
            if ticks % SAMPLE_EVERY_TICKS == 0:
                await self._sample()
            self._view.show(self._state)
            if is_done:
                return False
            ticks += 1
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), TICK_S)
        return True

    async def _until_read(self) -> None:
        """Wait until the readers have read the ends of the streams that were cancelled."""
        deadline_s = self._now() + READ_REST_S
        while self._now() < deadline_s:
            await self._look()
            self._view.show(self._state)
            if self._state.reading == 0:
                return
            await asyncio.sleep(TICK_S / 4)

    async def _look(self) -> bool:
        """Take a snapshot of all that was measured; return whether all has ended, or time is up."""
        state = self._state
        published = await self._all_of([publisher.progress.remote for publisher in self._generators.publishers])
        read = await self._all_of([reader.progress.remote for reader in self._generators.readers])
        failure = next((snapshot["failure"] for snapshot in published if snapshot["failure"]), None)
        if failure is not None:
            raise RouterUnavailable(f"a load generator has failed: {failure}")
        state.measured = merged(snapshot["measurements"] for snapshot in (*published, *read))
        state.open = sum(snapshot["open"] for snapshot in published)
        state.reading = sum(snapshot["reading"] for snapshot in read)
        state.faults = self._faults.done
        state.elapsed_s = self._now()
        self.open_max = max(self.open_max, state.open)
        if not all(snapshot["done"] for snapshot in published):
            return self._is_overdue()
        if self._last_done_s is None:
            self._last_done_s = state.elapsed_s
            state.phase = "draining"
        return state.reading == 0 or state.elapsed_s > self._last_done_s + self._workload.drain_s

    def _is_overdue(self) -> bool:
        """Whether streams that can no longer end in time are to be given up."""
        bound_s = self._workload.duration_s
        return bound_s is not None and self._now() > max(bound_s, self._state.expected_s) + self._workload.drain_s

    async def _begin(self) -> None:
        """Start the load. Readers first: the times that publishers tell them are since the start."""
        for handles in (self._generators.readers, self._generators.publishers):
            await self._all_of([call_of(handle.begin.remote, self._zero) for handle in handles])

    async def _introduce(self) -> None:
        """Tell the sampler each process's role."""
        for handles, role in (
            (self._generators.publishers, processes.PUBLISHER),
            (self._generators.readers, processes.READER),
        ):
            for pid in await self._all_of([handle.pid.remote for handle in handles]):
                self.sampler.know(pid, role)

    async def _sample(self) -> None:
        """Measure processes and queues. A process that does not answer now (it was killed, say) is left out."""
        state = self._state
        for pid in self._gateways.pids if self._gateways is not None else []:
            self.sampler.know(pid, processes.GATEWAY)
        try:
            description = await asyncio.wait_for(self._router.describe(), CALL_DEADLINE_S)
        except (StreamRouterError, RayError, TimeoutError):
            description = None
        if description is not None:
            for router in description.routers:
                if router.pid:
                    self.sampler.know(router.pid, processes.ROUTER)
            for actor in description.stream_actors:
                if actor.pid:
                    self.sampler.know(actor.pid, processes.STREAM_ACTOR)
            state.actors = len(description.stream_actors)
            state.actors_max = max(state.actors_max, state.actors)
            state.queues.append(await self._queues([actor.actor_id for actor in description.stream_actors]))
        state.samples.append(await asyncio.to_thread(self.sampler.sample, self._now()))

    async def _queues(self, actor_ids: Sequence[str]) -> dict[str, float]:
        """Return what the stream actors hold: unread of open streams, in all, and in how many sessions."""
        row = {"at_s": round(self._now(), 2), "unread_bytes": 0.0, "held_bytes": 0.0, "sessions": 0.0}
        described = await asyncio.gather(*(self._describe(actor_id) for actor_id in actor_ids))
        for sessions in described:
            for session in sessions:
                if session["stop_reason"] is None:  # a reader that has the end acknowledges nothing more
                    row["unread_bytes"] += session["unread_bytes"]
                row["held_bytes"] += session["bytes_held"]
                row["sessions"] += 1
        return row

    async def _describe(self, actor_id: str) -> list[dict[str, Any]]:
        try:
            handle = self._handles.get(actor_id)
            if handle is None:
                find = asyncio.to_thread(find_actor, actor_id, self._router.config.namespace)
                handle = self._handles[actor_id] = await find
            described = await asyncio.wait_for(handle.describe.remote(self._router.client_id), TICK_S)
        except (RayError, TimeoutError, ValueError):
            self._handles.pop(actor_id, None)
            return []
        return list(described["sessions"].values())

    async def _all_of(self, calls: Sequence[Callable[[], Awaitable[Any]]]) -> list[Any]:
        return list(await asyncio.gather(*(ask(call) for call in calls)))


def _environment() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "ray": ray.__version__,
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
    }
