"""Does the faults of a `fault_schedule` to the processes of a running router."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.errors import StreamRouterError
from router.client.stream_router import StreamRouter
from router.loadtest.fault_schedule import KILL_GATEWAY, KILL_NODE, KILL_ROUTER, KILL_STREAM_ACTOR, STOP_ACTOR, Strike
from router.loadtest.gateways import Gateways
from router.status.overview import Description

FIND_FOR_S = 20.0
FIND_EVERY_S = 0.25
SIGNAL_DEADLINE_S = 30.0

_T = TypeVar("_T")


@dataclass
class Struck:
    """A fault as it was done. `target` None: nothing could be hit."""

    at_s: float
    kind: str
    target: str | None
    detail: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"at_s": round(self.at_s, 2), "kind": self.kind, "target": self.target, "detail": self.detail}


@dataclass
class FaultInjector:
    """Does each fault when it is due; `done` lists them. `cluster`: the test's own, for kill-node."""

    router: StreamRouter
    strikes: Sequence[Strike]
    now: Callable[[], float]
    cluster: Any = None
    gateways: Gateways | None = None
    done: list[Struck] = field(default_factory=list)
    _waking: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self) -> None:
        """Do all faults, each when it is due."""
        late_s = 0.0
        for strike in self.strikes:
            await asyncio.sleep(max(0.0, strike.at_s + late_s - self.now()))
            self.done.append(await self._strike(strike))
            # Where a strike had to wait for something to hit, those after it wait as long: never two at once.
            late_s = max(late_s, self.done[-1].at_s - strike.at_s)
        if self._waking:
            await asyncio.wait(self._waking)

    async def close(self) -> None:
        """Continue every process that is still stopped, now."""
        for task in self._waking:
            task.cancel()
        await asyncio.gather(*self._waking, return_exceptions=True)

    async def _strike(self, strike: Strike) -> Struck:
        deadline = self.now() + FIND_FOR_S
        while True:
            try:
                struck = await self._try(strike, await self.router.describe())
            except (StreamRouterError, RayError, OSError) as error:
                struck = Struck(self.now(), strike.kind, None, f"{type(error).__name__}: {str(error)[:200]}")
            if struck.target is not None or self.now() > deadline:
                return struck
            # Nothing to hit at the moment: actors start, a router recovers.
            await asyncio.sleep(FIND_EVERY_S)

    async def _try(self, strike: Strike, description: Description) -> Struck:
        at_s = self.now()
        if strike.kind == KILL_ROUTER:
            router = _pick(description.routers, strike.pick)
            await _signal(router.node_id, router.pid, signal.SIGKILL)
            return Struck(at_s, strike.kind, router.actor_id, f"{router.open_requests} open requests")
        if strike.kind == KILL_GATEWAY:
            pids = self.gateways.pids if self.gateways is not None else []
            if not pids:
                return Struck(at_s, strike.kind, None, "no gateway runs")
            pid = _pick(pids, strike.pick)
            os.kill(pid, signal.SIGKILL)
            return Struck(at_s, strike.kind, f"gateway {pid}")
        busy = [actor for actor in description.stream_actors if actor.pid and actor.node_id and actor.open_requests]
        if strike.kind == KILL_NODE:
            return await self._kill_node(strike, description, at_s)
        if not busy:
            return Struck(at_s, strike.kind, None, "no stream actor has requests")
        actor = _pick(sorted(busy, key=lambda actor: actor.actor_id), strike.pick)
        detail = f"{actor.open_requests} open requests"
        if strike.kind == KILL_STREAM_ACTOR:
            await _signal(actor.node_id, actor.pid, signal.SIGKILL)
        elif strike.kind == STOP_ACTOR:
            await _signal(actor.node_id, actor.pid, signal.SIGSTOP)
            waking = asyncio.create_task(self._wake(actor.node_id, actor.pid, strike.stop_s))
            self._waking.add(waking)
            waking.add_done_callback(self._waking.discard)
            detail += f", for {strike.stop_s:.1f} s"
        return Struck(at_s, strike.kind, actor.actor_id, detail)

    async def _wake(self, node_id: str | None, pid: int | None, after_s: float) -> None:
        try:
            await asyncio.sleep(after_s)
        finally:
            # The router may have killed it in the meantime, as it does with actors that hang.
            await _signal(node_id, pid, signal.SIGCONT)

    async def _kill_node(self, strike: Strike, description: Description, at_s: float) -> Struck:
        """Kill a worker node that holds requests and no router: a router's death is a fault of its own."""
        if self.cluster is None:
            return Struck(at_s, strike.kind, None, "kill-node needs a cluster of our own")
        of_routers = {router.node_id for router in description.routers}
        load = {node.node_id: 0 for node in self.cluster.worker_nodes if node.node_id not in of_routers}
        for actor in description.stream_actors:
            if actor.node_id in load:
                load[actor.node_id] += actor.open_requests
        nodes = [node for node in self.cluster.worker_nodes if load.get(node.node_id)]
        if not nodes:
            return Struck(at_s, strike.kind, None, "no worker node holds requests and no router")
        node = _pick(sorted(nodes, key=lambda node: str(node.node_id)), strike.pick)
        detail = f"{load[node.node_id]} open requests"
        await asyncio.to_thread(self.cluster.remove_node, node, allow_graceful=False)
        return Struck(at_s, strike.kind, f"node {str(node.node_id)[:8]}", detail)


def _pick(choices: Sequence[_T], share: float) -> _T:
    return choices[min(int(share * len(choices)), len(choices) - 1)]


async def _signal(node_id: str | None, pid: int | None, sign: signal.Signals) -> None:
    """Send a signal to a process of the cluster. Raises OSError, RayError."""
    if pid is None:
        return
    if _is_here(node_id):
        try:
            os.kill(pid, sign)
        except ProcessLookupError:
            return  # gone already
        return
    strategy = NodeAffinitySchedulingStrategy(node_id=str(node_id), soft=False)
    kill = ray.remote(num_cpus=0)(os.kill)
    call = kill.options(scheduling_strategy=strategy).remote(pid, int(sign))
    await asyncio.wait_for(call, SIGNAL_DEADLINE_S)


def _is_here(node_id: str | None) -> bool:
    """Whether a node runs on this machine, so that this process can signal its processes."""
    here = socket.gethostname()
    return any(node["NodeID"] == node_id and node["NodeManagerHostname"] == here for node in ray.nodes())  # type: ignore[no-untyped-call]
