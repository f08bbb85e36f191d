"""Kills under load: stream actors, the router, a node, calls. Each kind runs in a Ray of its own."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import ray
from ray.cluster_utils import Cluster

from router import Description, StreamRouter
from router.status.overview import RouterDescription, StreamActorDescription

from .common import config, figures, is_gone, until, weight
from .gateways import (
    kill_actor_of_gateway,
    kill_gateway,
    kill_node_of_gateway,
    kill_router_of_gateway,
    kill_runner,
)
from .load import Load
from .misuse import close_and_break, full_disk, unplaced
from .processes import kill_driver, kill_publisher, kill_reader, shut_down
from .refusals import refuse_opens
from .sockets import cut_sockets
from .together import hang_and_kill, kill_both, kill_node, stop_router

KILLS = 3
ENOUGH_STREAMS = 36
ENOUGH_FAILED_CALLS = 10


@dataclass
class Blow:
    """One kill: when it was done, when its victim was dead, which requests it hit, what to check afterwards."""

    struck_at: float
    dead_at: float
    hit: list[str]
    aftermath: Callable[[], Awaitable[None]] | None = None

    def recoveries_s(self, load: Load) -> list[float]:
        """Return how long each hit stream had to wait, where that can be told."""
        found = [
            stream.recovery_s(self.struck_at, self.dead_at) for stream in load.streams if stream.request_id in self.hit
        ]
        return [seconds for seconds in found if seconds is not None]

    def is_over(self, load: Load) -> bool:
        """Whether each hit stream has gone on, or has ended."""
        return all(
            stream.ended or stream.recovery_s(self.struck_at, self.dead_at) is not None
            for stream in load.streams
            if stream.request_id in self.hit
        )


Strike = Callable[[StreamRouter, Load], Awaitable[Blow]]


async def _under_load(router: StreamRouter, kind: str, strike: Strike, kills: int) -> dict[str, Any]:
    """Strike several times, each time when the load is steady again."""
    await router.warm()
    load = Load(router)
    load.start()
    blows = []
    for number in range(kills):
        await until(lambda: load.is_steady, f"the load is steady before kill {number + 1}")
        blow = await strike(router, load)
        blows.append(blow)
        await until(lambda blow=blow: blow.is_over(load), f"the streams hit by kill {number + 1} go on")
        if blow.aftermath is not None:
            await blow.aftermath()
    await until(lambda: load.is_steady, "the load is steady after the last kill")
    tally = await load.stop()
    each = [blow.recoveries_s(load) for blow in blows]
    return figures(kind, tally, kills, [s for found in each for s in found], recovered_streams=[len(f) for f in each])


async def _embedded(kind: str, strike: Strike, kills: int = KILLS) -> dict[str, Any]:
    async with StreamRouter.start(config()) as router:
        return await _under_load(router, kind, strike, kills)


async def _strike_actor(router: StreamRouter, signal_number: int) -> tuple[Blow, int]:
    """Signal the stream actor with the most open requests; return the blow and the process."""
    while True:
        described = await router.describe()
        victim = max(described.stream_actors, key=lambda actor: actor.open_requests)
        hit = [r.request_id for r in described.requests if r.actor_id == victim.actor_id and r.state == "open"]
        if victim.pid and hit:
            break
    struck_at = time.monotonic()
    os.kill(victim.pid, signal_number)
    return Blow(struck_at, time.monotonic(), hit), victim.pid


async def kill_actor() -> dict[str, Any]:
    """SIGKILL of a stream actor."""

    async def strike(router: StreamRouter, _: Load) -> Blow:
        blow, pid = await _strike_actor(router, signal.SIGKILL)
        await until(lambda: is_gone(pid), "the stream actor is dead")
        return blow

    return await _embedded("stream actor killed", strike)


async def stop_actor() -> dict[str, Any]:
    """SIGSTOP of a stream actor: it hangs, is given up and replaced, and its process does not stay behind."""

    async def strike(router: StreamRouter, _: Load) -> Blow:
        blow, pid = await _strike_actor(router, signal.SIGSTOP)
        await until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, "the stream actor is stopped")

        async def cleared_away() -> None:
            await until(lambda: is_gone(pid), "the process of the stream actor that hung is gone")

        blow.aftermath = cleared_away
        return blow

    return await _embedded("stream actor stopped", strike, 1)


async def kill_router() -> dict[str, Any]:
    """SIGKILL of the router actor, each time of another incarnation of it.

    Right after its death all requests are listed: `listed_s` says how long that took at most, `not_listed` how many of
    those under way were missing though the listing said that it was all.
    """
    killed: set[int] = set()
    listed_s: list[float] = []
    not_listed: set[str] = set()

    async def strike(router: StreamRouter, load: Load) -> Blow:
        pid = (await router.describe()).routers[0].pid
        if pid in killed:
            raise RuntimeError(f"the router that was killed, process {pid}, answers")
        killed.add(pid)
        hit = [stream.request_id for stream in load.under_way]
        struck_at = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        await until(lambda: is_gone(pid), "the router is dead")
        blow = Blow(struck_at, time.monotonic(), hit)
        listed = await router.list(limit=1_000, newest_first=True)
        listed_s.append(time.monotonic() - blow.dead_at)
        if not listed.is_partial:
            not_listed.update({*hit} - {request.request_id for request in listed})
        return blow

    found = await _embedded("router killed", strike)
    return {**found, "listed_s": round(max(listed_s), 3), "not_listed": len(not_listed)}


async def remove_node() -> dict[str, Any]:
    """Kill a node that holds stream actors, and a router where one was placed there.

    Ray notices by its own health checks. At their defaults that alone takes up to 15 s, so their period is the
    one that our cluster files set. Between nodes calls go over TCP.
    """
    os.environ["RAY_health_check_period_ms"] = "1000"  # noqa: SIM112  # Ray spells it so
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    workers = [cluster.add_node(num_cpus=1, resources={"streams": 4}) for _ in range(2)]
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
    routers_hit = over_network = 0

    async def strike(router: StreamRouter, _: Load) -> Blow:
        nonlocal routers_hit, over_network
        described = await router.describe()
        over_network = sum(one.transport == "network" for one in [*described.lines, *described.stream_actors])
        victim = max(workers, key=lambda node: weight(described, node.node_id))
        routers = [actor for actor in described.routers if actor.node_id == victim.node_id]
        actors = [actor for actor in described.stream_actors if actor.node_id == victim.node_id]
        routers_hit = len(routers)
        hit = _open_on(described, routers, actors)
        struck_at = time.monotonic()
        await asyncio.to_thread(victim.kill_all_processes, check_alive=False, allow_graceful=False, wait=True)
        pids = [actor.pid for actor in [*routers, *actors]]
        await until(lambda: all(map(is_gone, pids)), "the processes of the node are dead")
        return Blow(struck_at, time.monotonic(), hit)

    try:
        chosen = config(
            stream_actors={"resources": {"streams": 1}, "spread": True}, routers=2, network={"enabled": True}
        )
        async with StreamRouter.start(chosen) as router:
            found = await _under_load(router, "node removed", strike, 1)
            return {**found, "routers_hit": routers_hit, "over_network": over_network}
    finally:
        ray.shutdown()
        cluster.shutdown()


def _open_on(
    described: Description, routers: Sequence[RouterDescription], actors: Sequence[StreamActorDescription]
) -> list[str]:
    """Return the open requests that these stream actors hold, or that belong to the shards of these routers."""
    shards = {router.actor_id.rpartition("-")[2] for router in routers}
    gone = {actor.actor_id for actor in actors}
    return [
        request.request_id
        for request in described.requests
        if request.state == "open" and request.actor_id
        if request.actor_id in gone or request.actor_id.split("/")[1] in shards
    ]


async def fail_calls() -> dict[str, Any]:
    """Ray fails calls between processes at random, some before and some after they ran."""
    os.environ["RAY_testing_rpc_failure"] = json.dumps(  # noqa: SIM112  # Ray spells it so
        {"CoreWorkerService.grpc_client.PushTask": {"num_failures": -1, "req_failure_prob": 4, "resp_failure_prob": 4}}
    )
    os.environ["RAY_testing_rpc_failure_avoid_intra_node_failures"] = "0"  # noqa: SIM112  # Ray spells it so
    ours = _Retries()
    logger = logging.getLogger("router.link")
    logger.setLevel(logging.INFO)
    logger.addHandler(ours)
    logger.propagate = False
    # Through sockets no call of ours would be among those that Ray fails.
    async with StreamRouter.start(config(logs={"level": "info"}, transport="ray")) as router:
        logs = Path(ray._private.worker._global_node.get_logs_dir_path())
        load = Load(router)
        load.start()
        await until(
            lambda: (
                ours.count >= ENOUGH_FAILED_CALLS
                and sum(stream.ended for stream in load.streams) >= ENOUGH_STREAMS
                and _retries_in(logs) > 0
            ),
            "enough calls have failed, and enough streams have ended",
        )
        tally = await load.stop()
        of_actors = _retries_in(logs)
    return figures(
        "calls failed", tally, ours.count + of_actors, [], failed_of_clients=ours.count, failed_of_routers=of_actors
    )


class _Retries(logging.Handler):
    """Counts the calls of this process that failed and are made again."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        self.count += "trying again" in record.getMessage()


def _retries_in(logs: Path) -> int:
    """Return how many calls of routers to stream actors failed and were made again, by the routers' own logs."""
    return sum(file.read_text(errors="replace").count("a call failed") for file in logs.glob("worker-*"))


KINDS: dict[str, Callable[[], Awaitable[dict[str, Any]]]] = {
    "kill-actor": kill_actor,
    "stop-actor": stop_actor,
    "kill-router": kill_router,
    "remove-node": remove_node,
    "fail-calls": fail_calls,
    "kill-publisher": kill_publisher,
    "kill-reader": kill_reader,
    "kill-driver": kill_driver,
    "shut-down": shut_down,
    "refuse-opens": refuse_opens,
    "kill-both": kill_both,
    "kill-node": kill_node,
    "stop-router": stop_router,
    "hang-and-kill": hang_and_kill,
    "unplaced": unplaced,
    "full-disk": full_disk,
    "close-and-break": close_and_break,
    "cut-sockets": cut_sockets,
    "kill-gateway": kill_gateway,
    "kill-runner": kill_runner,
    "kill-actor-of-gateway": kill_actor_of_gateway,
    "kill-router-of-gateway": kill_router_of_gateway,
    "kill-node-of-gateway": kill_node_of_gateway,
}
