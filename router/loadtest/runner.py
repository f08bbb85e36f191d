"""A load test, from its workload to its results: Ray, a router, providers and load generators, faults, an end."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import signal
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.errors import ConfigError, RouterUnavailable, StreamRouterError
from router.client.stream_router import StreamRouter
from router.demo import RECORDINGS
from router.loadtest import processes, results
from router.loadtest.chaos import rpc_failure_setting, schedule
from router.loadtest.faults import FaultInjector
from router.loadtest.measurements import Measurements, merged
from router.loadtest.plan import Planner, all_recordings
from router.loadtest.publishers import Publishers, Setup
from router.loadtest.readers import Readers
from router.loadtest.verify import can_verify
from router.loadtest.workload import Workload
from router.on_ray.cluster import ensure_ray
from router.runs.requests import parse_requests
from router.scripted_provider import Library, Recording, provider_process

TICK_S = 1.0
SAMPLE_EVERY_TICKS = 2
CALL_DEADLINE_S = 20.0
CALL_TRIES_MAX = 10
CALL_BACKOFF_S = 0.1
CONNECT_TIMEOUT_S = 90.0
READ_REST_S = 15.0
CONCURRENCY_MAX = 1_000_000
OBJECT_STORE_BYTES = 128 * 1024 * 1024
RPC_FAILURE_VARIABLE = "RAY_testing_rpc_failure"
# Of the cluster that is started for kill-node: its worker nodes have this, and all stream actors want a little of it.
STREAM_NODE = "stream_node"
STREAM_NODE_SHARE = 0.001


@dataclass
class State:
    """What is known while a load test runs: what its view shows."""

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
        """Show how it stands; called about once a second."""
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
    with _rpc_failures(workload.chaos.rpc_failures):
        async with AsyncExitStack() as stack:
            cluster = await _cluster(stack, workload)
            router = await stack.enter_async_context(_router(workload))
            setup.router_name, setup.namespace = router.config.name, router.config.namespace
            urls = await _targets(stack, workload, setup.recordings)
            load = await stack.enter_async_context(_generators(setup, urls))
            run = _Run(workload, router, load, state, view, cluster)
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
    """Find out all that can be wrong before anything starts. Raises ConfigError, RecordingError."""
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
    setup = Setup(workload, recordings, requests, f"{workload.name}-{uuid.uuid4().hex[:8]}", "", "")
    return setup, Planner(workload, recordings)


# --- what it runs on ------------------------------------------------------------------------------


@contextmanager
def _rpc_failures(share: float) -> Any:
    """Let calls between workers fail, in every process that Ray starts from here on."""
    if not share:
        yield
        return
    if ray.is_initialized():
        raise ConfigError("rpc-failures must be set before Ray starts, but it runs in this process already")
    before = os.environ.get(RPC_FAILURE_VARIABLE)
    os.environ[RPC_FAILURE_VARIABLE] = rpc_failure_setting(share)
    try:
        yield
    finally:
        if before is None:
            del os.environ[RPC_FAILURE_VARIABLE]
        else:
            os.environ[RPC_FAILURE_VARIABLE] = before


async def _cluster(stack: AsyncExitStack, workload: Workload) -> Any:
    """Start a cluster of several nodes on this machine where nodes are to be killed; else None."""
    if not workload.chaos.kills_nodes:
        return None
    from ray.cluster_utils import Cluster  # noqa: PLC0415  # of Ray's own tests; wanted for this only

    config = workload.router_config()
    os.environ.setdefault("RAY_worker_niceness", str(config.ray.worker_niceness))
    logging.getLogger("ray").setLevel(logging.WARNING)
    cpus = config.ray.num_cpus if config.ray.num_cpus is not None else os.cpu_count() or 1
    head = {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    try:
        cluster = Cluster(initialize_head=True, head_node_args=head)
    except (OSError, RuntimeError, ConnectionError) as error:
        raise RouterUnavailable(f"a cluster on this machine did not start: {str(error)[:300]}") from error
    stack.callback(cluster.shutdown)
    for _ in range(workload.chaos.kills_nodes + 1):
        cluster.add_node(num_cpus=1, object_store_memory=OBJECT_STORE_BYTES, resources={STREAM_NODE: 1})
    cluster.wait_for_nodes()
    ensure_ray(config.ray.model_copy(update={"address": cluster.address}), config.namespace)
    stack.callback(ray.shutdown)
    return cluster


@asynccontextmanager
async def _router(workload: Workload) -> AsyncIterator[StreamRouter]:
    under_test = workload.router
    if under_test.connect is not None:
        entrance = StreamRouter.connect(under_test.connect, namespace=under_test.namespace, address=under_test.address)
    else:
        # A router that this test starts goes with it, also where its configuration is that of a service.
        config = workload.router_config().model_copy(update={"detached": False})
        if workload.chaos.kills_nodes:
            # Without this, all stream actors may come to stand where the router and the driver are.
            actors = config.stream_actors
            placed = {"resources": {STREAM_NODE: STREAM_NODE_SHARE, **actors.resources}, "spread": True}
            config = config.model_copy(update={"stream_actors": actors.model_copy(update=placed)})
        entrance = StreamRouter.start(config)
    async with entrance as router:
        yield router


async def _targets(stack: AsyncExitStack, workload: Workload, recordings: Sequence[Recording]) -> list[str]:
    """Start what the streams come from; return the addresses."""
    target = workload.target
    if target.kind == "memory":
        return []
    if target.endpoint is not None:
        return [target.endpoint.base_url]
    folder = target.recordings or str(RECORDINGS)
    if any(recording.name.startswith("synthetic-") for recording in recordings):
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="stream-router-recordings-"))
        await asyncio.to_thread(_write_recordings, Path(folder), recordings)
    return [await stack.enter_async_context(provider_process(folder)) for _ in range(target.processes)]


def _write_recordings(folder: Path, recordings: Sequence[Recording]) -> None:
    for recording in recordings:
        (folder / f"{recording.name}.sse").write_bytes(recording.body)


class _Load:
    """The load generators: their Ray handles."""

    def __init__(self, publishers: list[Any], readers: list[Any]) -> None:
        self.publishers, self.readers = publishers, readers

    @property
    def all(self) -> list[Any]:
        """Publishing and reading ones."""
        return [*self.publishers, *self.readers]


@asynccontextmanager
async def _generators(setup: Setup, urls: Sequence[str]) -> AsyncIterator[_Load]:
    wanted = setup.workload.generators
    endpoint = setup.workload.target.endpoint
    key = endpoint.key() if endpoint is not None else None
    options: dict[str, Any] = {"num_cpus": 0, "max_concurrency": CONCURRENCY_MAX, "max_restarts": 0}
    if wanted.placement == "spread":
        options["scheduling_strategy"] = "SPREAD"
    else:
        node_id = ray.get_runtime_context().get_node_id()
        options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node_id=node_id, soft=False)
    shared = ray.put(setup)
    make_publishers: Any = ray.remote(Publishers)  # Ray's types do not know `options` of a class that is given so
    make_readers: Any = ray.remote(Readers)
    load = _Load(
        [make_publishers.options(**options).remote(shared, n, wanted.publishers) for n in range(wanted.publishers)],
        [make_readers.options(**options).remote(shared, n, wanted.readers) for n in range(wanted.readers)],
    )
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await asyncio.gather(*(_ask(reader.connect.remote) for reader in load.readers))
            connects = [_asking(publisher.connect.remote, urls, key, load.readers) for publisher in load.publishers]
            await asyncio.gather(*(_ask(connect) for connect in connects))
        yield load
    except TimeoutError:
        raise RouterUnavailable(f"the load generators did not start within {CONNECT_TIMEOUT_S:.0f} s") from None
    finally:
        for handle in load.all:
            ray.kill(handle)


def _asking(method: Callable[..., Awaitable[Any]], *arguments: Any) -> Callable[[], Awaitable[Any]]:
    return lambda: method(*arguments)


async def _ask(call: Callable[[], Awaitable[Any]]) -> Any:
    """Make a call that may be made twice until it has an answer: where calls fail by design, so do ours."""
    for attempt in range(1, CALL_TRIES_MAX + 1):
        try:
            return await asyncio.wait_for(call(), CALL_DEADLINE_S)
        except (RayError, TimeoutError) as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, StreamRouterError):
                raise cause from None
            if attempt == CALL_TRIES_MAX:
                raise RouterUnavailable(
                    f"a load generator does not answer: {str(error).splitlines()[0][:300]}"
                ) from error
        await asyncio.sleep(CALL_BACKOFF_S * attempt)
    return None


# --- the run --------------------------------------------------------------------------------------


class _Run:
    def __init__(
        self, workload: Workload, router: StreamRouter, load: _Load, state: State, view: View, cluster: Any
    ) -> None:
        self._workload, self._router, self._load, self._state, self._view = workload, router, load, state, view
        self._zero = time.time()
        strikes = schedule(workload.chaos, workload.seed, state.expected_s)
        self.faults_planned = len(strikes)
        self._faults = FaultInjector(router, strikes, self._now, cluster)
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
                await self._all_of([publisher.stop.remote for publisher in self._load.publishers])
                await self._until_read()
            await self._all_of([reader.give_up.remote for reader in self._load.readers])
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
        """Let the readers see the ends of streams that were broken off."""
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
        published = await self._all_of([publisher.progress.remote for publisher in self._load.publishers])
        read = await self._all_of([reader.progress.remote for reader in self._load.readers])
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
        """Start the load. Readers first: what a publisher that has begun tells them is of times since the start."""
        for handles in (self._load.readers, self._load.publishers):
            await self._all_of([_asking(handle.begin.remote, self._zero) for handle in handles])

    async def _introduce(self) -> None:
        """Tell the sampler which process is what."""
        for handles, role in ((self._load.publishers, processes.PUBLISHER), (self._load.readers, processes.READER)):
            for pid in await self._all_of([handle.pid.remote for handle in handles]):
                self.sampler.know(pid, role)

    async def _sample(self) -> None:
        """Look at processes and queues. What does not answer now (it was killed, say) is left out."""
        state = self._state
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
                find = asyncio.to_thread(ray.get_actor, actor_id, namespace=self._router.config.namespace)
                handle = self._handles[actor_id] = await find
            described = await asyncio.wait_for(handle.describe.remote(), TICK_S)
        except (RayError, TimeoutError, ValueError):
            self._handles.pop(actor_id, None)
            return []
        return list(described["sessions"].values())

    async def _all_of(self, calls: Sequence[Callable[[], Awaitable[Any]]]) -> list[Any]:
        return list(await asyncio.gather(*(_ask(call) for call in calls)))


def _environment() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "ray": ray.__version__,
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
    }
