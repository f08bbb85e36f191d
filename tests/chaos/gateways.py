"""Kills under readers over HTTP: of a gateway, of what runs agents, of a stream actor, of a router, of a node.

Readers go on as an `EventSource` does, behind the last event that they had. What each has read in the end is compared
with what a reader has that comes when all is over.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import psutil
import ray
from ray.cluster_utils import Cluster

from gateway.config import GatewayConfig, gateway_section
from gateway.workers.fleet import Fleet, served_here, this_node
from router import StreamRouter
from tests.gateway.proxies import free_port
from tests.gateway.resuming import ResumingReader

from .common import config, figures, is_gone, until, weight
from .load import Tally

READERS = int(os.environ.get("CHAOS_READERS", "200"))
READERS_OF_GATEWAY = int(os.environ.get("CHAOS_READERS", "1000"))
RUNS = 10
PACE_S = 0.25
KILLS = 3
SAMPLE = 100  # of all waits, evenly
NODES = 3  # one more than there are actors that run agents, so that there is a node without any

FindVictim = Callable[[StreamRouter], Awaitable[int]]
Strike = Callable[[StreamRouter], Awaitable[float]]
"""Kills, and returns when it did once the dead are dead."""


class Audience:
    """Readers of some runs, by way of two gateways that share a port."""

    def __init__(self, http: aiohttp.ClientSession, url: str, readers: int) -> None:
        self._http = http
        self._url = url
        self._count = readers
        self._reading: list[asyncio.Task[None]] = []
        self.runs: list[str] = []
        self.readers: list[ResumingReader] = []

    async def begin(self) -> None:
        """Start runs and read them; return when every reader has something."""
        self.runs = [await self.start() for _ in range(RUNS)]
        self.readers = [self._reader(self.runs[number % RUNS]) for number in range(self._count)]
        self._reading = [asyncio.create_task(reader.read()) for reader in self.readers]
        await until(lambda: all(reader.ids for reader in self.readers), "every reader has something")

    async def start(self) -> str:
        """Start a run."""
        body = {"agent": "steady", "input": {"pace_s": PACE_S}}
        async with self._http.post(f"{self._url}/v1/streams", json=body) as answered:
            return str((await answered.json())["id"])

    async def cancel(self) -> None:
        """End the runs."""
        for run in self.runs:
            async with self._http.delete(f"{self._url}/v1/streams/{run}") as answered:
                answered.raise_for_status()

    async def go_on(self, struck_at: float, what: str) -> list[float]:
        """Wait until every reader has something new, or its end; return how long each had to wait."""
        had = [len(reader.ids) for reader in self.readers]
        went_on: dict[int, float] = {}

        def all_went_on() -> bool:
            for number, reader in enumerate(self.readers):
                if number not in went_on and (len(reader.ids) > had[number] or reader.ends):
                    went_on[number] = time.monotonic() - struck_at
            return len(went_on) == len(self.readers)

        await until(all_went_on, what)
        return list(went_on.values())

    async def tally(self) -> Tally:
        """Wait for all ends; return what each has read, held against a reader that comes now."""
        await asyncio.gather(*self._reading)
        right = {run: self._reader(run) for run in self.runs}
        await asyncio.gather(*(reader.read() for reader in right.values()))
        tally = Tally()
        for number, reader in enumerate(self.readers):
            _count(tally, reader, right[self.runs[number % RUNS]])
        return tally

    def _reader(self, run: str) -> ResumingReader:
        return ResumingReader(self._http, lambda: self._url, run)


def _count(tally: Tally, reader: ResumingReader, right: ResumingReader) -> None:
    ids = reader.ids
    tally.streams += 1
    tally.messages += len(ids)
    tally.duplicated += len(ids) - len(set(ids))
    tally.out_of_order += sum(one > next_one for one, next_one in itertools.pairwise(ids))
    tally.lost += len(set(right.ids) - set(ids))
    tally.wrong += reader.digest != right.digest
    tally.without_terminal += not reader.ends
    tally.with_several_terminals += reader.ends > 1
    tally.ended_by[str(reader.stop_reason)] += 1


def _section(**more: int) -> GatewayConfig:
    agents = {"steady": {"run": "tests.gateway.gateway_agents:steady"}}
    return gateway_section({"agents": agents, "runner_actors": 1, **more})


async def _struck(
    kind: str, router: StreamRouter, url: str, strike: Strike, readers: int, kills: int
) -> dict[str, Any]:
    """Strike under readers; return what they have read and how long they waited."""
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
        audience = Audience(http, url, readers)
        await audience.begin()
        waited_s: list[float] = []
        for number in range(1, kills + 1):
            struck_at = await strike(router)
            waited_s += await audience.go_on(struck_at, f"all readers go on after kill {number}")
        if not all(reader.ends for reader in audience.readers):
            await audience.cancel()
        tally = await audience.tally()
        await audience.start()  # what starts runs is there again, or still
        connections = sum(reader.connections for reader in audience.readers)
    waited_s.sort()
    sample_s = [*waited_s[:: max(len(waited_s) // SAMPLE, 1)], waited_s[-1]]
    return figures(kind, tally, kills, sample_s, connections=connections, waited_max_s=waited_s[-1])


async def _under_readers(kind: str, find_victim: FindVictim, readers: int, kills: int = KILLS) -> dict[str, Any]:
    async def strike(router: StreamRouter) -> float:
        victim = await find_victim(router)
        struck_at = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        await until(lambda: is_gone(victim), "the victim is dead")
        return struck_at

    async with (
        StreamRouter.start(config(streams={"dialect": "chat"})) as router,
        served_here(router, _section(port=0, workers=2)) as url,
    ):
        return await _struck(kind, router, url, strike, readers, kills)


def _processes_of(actor: str, parent: int | None = None) -> set[int]:
    """Return the processes that are actors of a class, of this test's own Ray or of the node of a raylet."""
    return {one.pid for one in psutil.Process(parent).children(recursive=True) if actor in "".join(one.cmdline())}


async def kill_gateway() -> dict[str, Any]:
    """SIGKILL of one of two gateways, each time of another one."""
    killed: set[int] = set()

    async def victim(_: StreamRouter) -> int:
        pid = min(_processes_of("GatewayWorker") - killed)
        killed.add(pid)
        return pid

    return await _under_readers("gateway killed", victim, READERS_OF_GATEWAY)


async def kill_runner() -> dict[str, Any]:
    """SIGKILL of the actor that runs agents: its runs end by name."""

    async def victim(_: StreamRouter) -> int:
        return min(_processes_of("RunnerActor"))

    return await _under_readers("runner of agents killed", victim, READERS, 1)


async def kill_actor_of_gateway() -> dict[str, Any]:
    """SIGKILL of the stream actor that holds most runs."""

    async def victim(router: StreamRouter) -> int:
        while True:
            described = await router.describe()
            most = max(described.stream_actors, key=lambda actor: actor.open_requests)
            if most.pid and most.open_requests:
                return most.pid

    return await _under_readers("stream actor behind a gateway killed", victim, READERS)


async def kill_router_of_gateway() -> dict[str, Any]:
    """SIGKILL of the router."""

    async def victim(router: StreamRouter) -> int:
        return int((await router.describe()).routers[0].pid)

    return await _under_readers("router behind a gateway killed", victim, READERS)


async def kill_node_of_gateway() -> dict[str, Any]:
    """A node goes with a stream actor, a gateway, and routers where Ray put some; what runs the agents is on others.

    All nodes of this test are one machine, so that their gateways share a port, as do the workers of one node.
    """
    os.environ["RAY_health_check_period_ms"] = "1000"  # noqa: SIM112  # Ray spells it so
    place = {"streams": 1}
    head = {"num_cpus": 0, "resources": place, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.add_node(num_cpus=1, resources=place) for _ in range(NODES)]
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
    hit: dict[str, int] = {}

    async def strike(router: StreamRouter) -> float:
        described = await router.describe()
        free = [node for node in nodes if not _on(node, "RunnerActor") | _on(node, "AgentHost")]
        victim = max(free, key=lambda node: weight(described, node.node_id))
        routers = {actor.pid for actor in described.routers if actor.node_id == victim.node_id}
        actors = {actor.pid for actor in described.stream_actors if actor.node_id == victim.node_id}
        gateways = _on(victim, "GatewayWorker")
        hit.update(routers_hit=len(routers), actors_hit=len(actors), gateways_hit=len(gateways))
        if not (actors and gateways):
            raise RuntimeError(f"the node was to hold a stream actor and a gateway, and has {hit}")
        struck_at = time.monotonic()
        await asyncio.to_thread(victim.kill_all_processes, check_alive=False, allow_graceful=False, wait=True)
        await until(lambda: all(map(is_gone, routers | actors | gateways)), "the processes of the node are dead")
        return struck_at

    try:
        chosen = config(
            streams={"dialect": "chat"},
            stream_actors={"max_actors": 1, "warm_actors": 1, "resources": place, "spread": True},
            routers=NODES + 1,  # each fills one place with its stream actor
            network={"enabled": True},
        )
        async with StreamRouter.start(chosen) as router:
            await router.warm()
            cluster.add_node(num_cpus=1, resources=place)  # all others are full, and the victim's actors come here
            cluster.wait_for_nodes()
            fleet = Fleet(router, _section(port=free_port(), drain_s=1))
            (url,) = await fleet.deploy([this_node(), *(node.node_id for node in nodes)], detached=False)
            try:
                found = await _struck("node with a gateway removed", router, url, strike, READERS, 1)
            finally:
                await fleet.end_all()
            return {**found, **hit}
    finally:
        ray.shutdown()
        cluster.shutdown()


def _on(node: Any, actor: str) -> set[int]:
    """Return the processes on a node that are actors of a class."""
    (raylet,) = node.all_processes["raylet"]
    return _processes_of(actor, raylet.process.pid)
