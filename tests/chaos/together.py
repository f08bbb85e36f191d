"""Two things at once: deaths of two processes or of a node with both, and stops beside deaths."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import psutil
import ray
from ray.cluster_utils import Cluster

from router import RouterConfig, StreamRouter

from .common import config, figures, is_gone, until
from .load import Load, Stream

ROUNDS = 3
ENDED_BEFORE = 12
STOPPED_S = 12.0
HANGS_S = 5.0
PLACED_TRIES = 8


def _stopped(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_STOPPED


async def _stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    await until(lambda: _stopped(pid), "the process is stopped")


async def _goes_on(load: Load, streams: list[Stream], since: float, what: str) -> list[float]:
    """Wait until each of these streams has ended or been read again; return how long that took, of each it tells of."""

    def recoveries() -> list[float | None]:
        return [stream.recovery_s(since, since) for stream in streams]

    await until(
        lambda: all(s.ended or r is not None for s, r in zip(streams, recoveries(), strict=True)),
        f"the streams go on after {what}",
    )
    await until(lambda: load.is_steady, f"the load is steady after {what}")
    return [seconds for seconds in recoveries() if seconds is not None]


async def _rounds(
    kind: str, strike: Callable[[StreamRouter, Load], Awaitable[tuple[float, list[Stream]]]], rounds: int = ROUNDS
) -> dict[str, Any]:
    """Strike several times under load; `strike` returns when, and whom it hit."""
    recovery_s: list[float] = []
    async with StreamRouter.start(config()) as router:
        await router.warm()
        load = Load(router)
        load.start()
        for number in range(rounds):
            await until(lambda: load.is_steady, f"the load is steady before blow {number + 1}")
            struck_at, hit = await strike(router, load)
            late = load.read_late(hit)  # they come while all begins again
            recovery_s += await _goes_on(load, hit, struck_at, kind)
            await late
        tally = await load.stop()
    return figures(kind, tally, rounds, recovery_s)


async def kill_both() -> dict[str, Any]:
    """SIGKILL of the router and of a stream actor at the same moment; their publishers live, so nothing is lost."""

    async def strike(router: StreamRouter, load: Load) -> tuple[float, list[Stream]]:
        described = await router.describe()
        victim = max(described.stream_actors, key=lambda actor: actor.open_requests)
        pids = [described.routers[0].pid, victim.pid]
        hit = load.under_way
        struck_at = time.monotonic()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        await until(lambda: all(map(is_gone, pids)), "router and stream actor are dead")
        return struck_at, hit

    return await _rounds("router and stream actor killed", strike)


async def stop_router() -> dict[str, Any]:
    """SIGSTOP of the router for 12 s: when it wakes it kills nobody, for nobody else was silent."""
    killed = 0

    async def strike(router: StreamRouter, load: Load) -> tuple[float, list[Stream]]:
        nonlocal killed
        described = await router.describe()
        hit = load.under_way
        struck_at = time.monotonic()
        await _stop(described.routers[0].pid)
        await asyncio.sleep(STOPPED_S)
        os.kill(described.routers[0].pid, signal.SIGCONT)
        await until(lambda: load.is_steady, "the load is steady again")
        await asyncio.sleep(HANGS_S)
        killed += sum(is_gone(actor.pid) for actor in described.stream_actors if actor.pid)  # else it is starting yet
        return struck_at, hit

    found = await _rounds("router stopped for 12 s", strike, 1)
    return {**found, "actors_killed": killed}


async def hang_and_kill() -> dict[str, Any]:
    """SIGSTOP of a stream actor for 5 s, in which its router is killed: it was slow, and keeps what it had."""
    killed = 0

    async def strike(router: StreamRouter, load: Load) -> tuple[float, list[Stream]]:
        nonlocal killed
        await until(lambda: len(load.ended) >= ENDED_BEFORE, "some streams have ended")
        described = await router.describe()
        victim = max(described.stream_actors, key=lambda actor: actor.open_requests)
        hit, ended = load.under_way, load.ended
        struck_at = time.monotonic()
        await _stop(victim.pid)
        os.kill(described.routers[0].pid, signal.SIGKILL)
        await asyncio.sleep(HANGS_S)
        os.kill(victim.pid, signal.SIGCONT)
        await until(lambda: load.is_steady, "the load is steady again")
        killed += is_gone(victim.pid)
        await load.read_late(ended)
        return struck_at, hit

    found = await _rounds("stream actor hangs, router killed", strike, 1)
    return {**found, "actors_killed": killed}


@contextlib.asynccontextmanager
async def _router_on(workers: list[Any], chosen: RouterConfig) -> AsyncIterator[tuple[StreamRouter, Any]]:
    """Start a router until Ray has put it on one of these nodes, and not on the head, which is not to die."""
    for _ in range(PLACED_TRIES):
        async with StreamRouter.start(chosen) as router:
            node_id = (await router.describe()).routers[0].node_id
            victim = next((node for node in workers if node.node_id == node_id), None)
            if victim is not None:
                yield router, victim
                return
    raise RuntimeError(f"Ray has put the router on the head node {PLACED_TRIES} times")


async def kill_node() -> dict[str, Any]:
    """A node goes that holds the router and a stream actor: what had ended is readable from another node."""
    os.environ["RAY_health_check_period_ms"] = "1000"  # noqa: SIM112  # Ray spells it so
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    workers = [cluster.add_node(num_cpus=2, resources={"streams": 4}) for _ in range(2)]
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
    try:
        chosen = config(stream_actors={"resources": {"streams": 1}, "spread": True})
        async with _router_on(workers, chosen) as (router, victim):
            load = Load(router)
            load.start()
            await until(lambda: len(load.ended) >= ENDED_BEFORE and load.is_steady, "some streams have ended")
            described = await router.describe()
            node_id = victim.node_id
            hit, ended = load.under_way, load.ended
            struck_at = time.monotonic()
            await asyncio.to_thread(victim.kill_all_processes, check_alive=False, allow_graceful=False, wait=True)
            recovery_s = await _goes_on(load, hit, struck_at, "the node has gone")
            await load.read_late(ended)
            tally = await load.stop()
            actors = sum(actor.node_id == node_id for actor in described.stream_actors)
            return figures("node with both removed", tally, 1, recovery_s, actors_hit=actors, read_again=len(ended))
    finally:
        ray.shutdown()
        cluster.shutdown()
