"""What a load test runs on: failing calls, a cluster whose nodes can be killed, a router, providers."""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import ray

from actors.errors import ConfigError, RouterUnavailable
from router.client.stream_router import StreamRouter
from router.demo import RECORDINGS
from router.loadtest.fault_schedule import rpc_failure_setting
from router.loadtest.workload import Workload
from router.on_ray.cluster import ensure_ray
from router.scripted_provider import Recording, provider_process

OBJECT_STORE_BYTES = 128 * 1024 * 1024
RPC_FAILURE_VARIABLE = "RAY_testing_rpc_failure"
# Of the cluster that is started for kill-node: its worker nodes have this, and all stream actors want a little of it.
STREAM_NODE = "stream_node"
STREAM_NODE_SHARE = 0.001


@contextmanager
def rpc_failures(share: float) -> Any:
    """Let a share of the calls between workers fail, in every process that Ray starts from here on.

    Raises ConfigError where Ray runs already.
    """
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


async def start_cluster(stack: AsyncExitStack, workload: Workload) -> Any:
    """Start a cluster of several nodes on this machine where nodes are to be killed; else None.

    Raises RouterUnavailable.
    """
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
async def router_under_test(workload: Workload) -> AsyncIterator[StreamRouter]:
    """Start a router, or connect to the running one that the workload names."""
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
        await router.warm()
        yield router


async def start_providers(stack: AsyncExitStack, workload: Workload, recordings: Sequence[Recording]) -> list[str]:
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
