"""The kinds of kill, each under the same load, each in a Ray of its own."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from actors.errors import StreamRouterError
from router import RouterConfig, StreamRouter

from .load import DATE, SETTINGS, Load, Stream, Tally, percentile, read, recordings, right_messages

ROOT = Path(__file__).parents[2]
NAME = "chaos"
CALM_S = 1.5


def config(**stream_actors: Any) -> RouterConfig:
    """Return the configuration of the load."""
    return RouterConfig.model_validate(
        {
            "name": NAME,
            "ray": {"num_cpus": 2},
            "stream_actors": {"max_actors": 2, "warm_actors": 1, **stream_actors},
        }
    )


def _report(kind: str, tally: Tally, kills: int, recovery_s: list[float], **more: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "kills": kills,
        **tally.figures(),
        "recovered_streams": len(recovery_s),
        "recovery_p50_s": percentile(recovery_s, 0.5),
        "recovery_p99_s": percentile(recovery_s, 0.99),
        **more,
    }


async def _under_load(
    kind: str, strike: Callable[[StreamRouter, Load], Awaitable[list[str]]], kills: int, settle_s: float
) -> dict[str, Any]:
    """Kill something several times under load. `strike` returns the streams that it hits."""
    recovery_s: list[float] = []
    hits: list[tuple[float, list[str]]] = []
    async with StreamRouter.start(config()) as router:
        load = Load(router)
        load.start()
        await asyncio.sleep(3.0)
        for _ in range(kills):
            now = time.monotonic()
            hits.append((now, await strike(router, load)))
            await asyncio.sleep(settle_s)
        await asyncio.sleep(CALM_S)
        tally = await load.stop()
        by_id = {stream.request_id: stream for stream in load.streams}
        for at, hit in hits:
            found = [by_id[request_id].silence_s(at) for request_id in hit if request_id in by_id]
            recovery_s += [seconds for seconds in found if seconds is not None]
    return _report(kind, tally, kills, recovery_s)


async def _requests_on(router: StreamRouter, actor_id: str) -> list[str]:
    return [r.request_id for r in (await router.describe()).requests if r.actor_id == actor_id and r.state == "open"]


async def _signal_actor(router: StreamRouter, signal_number: int) -> list[str]:
    actors = [actor for actor in (await router.describe()).stream_actors if actor.open_requests and actor.pid]
    victim = max(actors, key=lambda actor: actor.open_requests)
    hit = await _requests_on(router, victim.actor_id)
    os.kill(victim.pid, signal_number)
    return hit


async def kill_actor() -> dict[str, Any]:
    """SIGKILL of a stream actor."""
    return await _under_load("stream actor killed", lambda router, _: _signal_actor(router, signal.SIGKILL), 3, 4.0)


async def stop_actor() -> dict[str, Any]:
    """SIGSTOP of a stream actor: it hangs, is given up and replaced."""
    return await _under_load("stream actor stopped", lambda router, _: _signal_actor(router, signal.SIGSTOP), 1, 14.0)


async def kill_router() -> dict[str, Any]:
    """SIGKILL of the router actor."""

    async def strike(router: StreamRouter, load: Load) -> list[str]:
        hit = [stream.request_id for stream in load.under_way]
        os.kill((await router.describe()).routers[0].pid, signal.SIGKILL)
        return hit

    return await _under_load("router killed", strike, 3, 5.0)


async def remove_node() -> dict[str, Any]:
    """A node that holds stream actors goes, without a word."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    workers = [cluster.add_node(num_cpus=1, resources={"streams": 4}) for _ in range(2)]
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
    try:
        async with StreamRouter.start(config(resources={"streams": 1}, spread=True, warm_actors=2)) as router:
            load = Load(router)
            load.start()
            await asyncio.sleep(3.0)
            description = await router.describe()
            busy = {actor.node_id for actor in description.stream_actors if actor.open_requests}
            victim = next(node for node in workers if node.node_id in busy)
            gone = {actor.actor_id for actor in description.stream_actors if actor.node_id == victim.node_id}
            hit = {request.request_id for request in description.requests if request.actor_id in gone}
            killed_at = time.monotonic()
            await asyncio.to_thread(cluster.remove_node, victim, allow_graceful=False)
            await asyncio.sleep(14.0)
            tally = await load.stop()
            found = [stream.silence_s(killed_at) for stream in load.streams if stream.request_id in hit]
            return _report("node removed", tally, 1, [seconds for seconds in found if seconds is not None])
    finally:
        ray.shutdown()
        cluster.shutdown()


async def fail_calls() -> dict[str, Any]:
    """Ray fails calls between processes at random, before and after they ran."""
    os.environ["RAY_testing_rpc_failure"] = json.dumps(
        {"CoreWorkerService.grpc_client.PushTask": {"num_failures": -1, "req_failure_prob": 4, "resp_failure_prob": 4}}
    )
    os.environ["RAY_testing_rpc_failure_avoid_intra_node_failures"] = "0"
    async with StreamRouter.start(config()) as router:
        load = Load(router)
        load.start()
        probes = failed = 0
        ends_at = time.monotonic() + 12.0
        while time.monotonic() < ends_at:
            probes += 1
            try:
                await asyncio.wait_for(router._links[0]._handle.describe.remote(), 5.0)
            except (ray.exceptions.RayError, TimeoutError):
                failed += 1
            await asyncio.sleep(0.1)
        tally = await load.stop()
        return _report("calls failed", tally, failed, [], probes=probes)


# --- whole processes ----------------------------------------------------------------------------------


def _child(role: str, address: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.chaos", f"--{role}", address, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


async def _said(child: subprocess.Popen[str], enough: Callable[[str], bool]) -> None:
    """Wait until a child has said something."""
    stdout = child.stdout
    if stdout is None:
        raise RuntimeError("a child without output")
    while True:
        line = await asyncio.to_thread(stdout.readline)
        if enough(line):
            return
        if not line:
            raise RuntimeError("a child ended before it had said enough")


async def kill_publisher() -> dict[str, Any]:
    """SIGKILL of publishing processes: one request is taken over, the other ends as publisher_lost."""
    async with StreamRouter.start(config()) as router:
        chunks = recordings(1)[0].chunks
        address = ray.get_runtime_context().gcs_address
        child = _child("publish", address, "taken", "left")
        streams = [Stream("taken", chunks), Stream("left", chunks)]
        readers = [asyncio.create_task(read(router, stream)) for stream in streams]
        await _said(child, lambda line: line.startswith("sent 8"))
        killed_at = time.monotonic()
        child.kill()
        took_over_s = None
        while took_over_s is None:
            try:
                async with router.publish("taken", SETTINGS, date=DATE, take_over=True) as publisher:
                    took_over_s = time.monotonic() - killed_at
                    await publisher.chunks(chunks[publisher.next_seq - 1 :])
            except StreamRouterError as error:
                if time.monotonic() - killed_at > 40.0:
                    raise TimeoutError(f"no take-over within 40 s: {error}") from error
                await asyncio.sleep(0.2)
        await asyncio.wait_for(asyncio.gather(*readers), 60.0)
        tally = Tally()
        tally.count(streams[0])
        right, _ = right_messages("left", chunks)
        left = streams[1].messages
        return _report(
            "publisher killed",
            tally,
            1,
            [],
            took_over_after_s=round(took_over_s, 3),
            left_ended_after_s=round(streams[1].read_at[-1] - killed_at, 3),
            left_stop_reason=streams[1].stop_reason,
            left_is_whole_up_to_its_end=left[:-2] == right[: len(left) - 2] and len(left) > 2,
            left_terminals=sum(1 for message in left if message["message_type"] == "stop_reason"),
        )


async def kill_reader() -> dict[str, Any]:
    """SIGKILL of a reading process: another goes on from its cursor, and its hold on the credit is let go."""
    async with StreamRouter.start(config()) as router:
        chunks = recordings(1)[0].chunks
        address = ray.get_runtime_context().gcs_address
        cursor_file = ROOT / f"out-chaos-cursor-{os.getpid()}"
        child = _child("read", address, "read", str(cursor_file))
        stream = Stream("read", chunks)
        try:
            async with router.publish("read", SETTINGS, date=DATE) as publisher:
                for number, chunk in enumerate(chunks):
                    await publisher.chunk(chunk)
                    await asyncio.sleep(0.02)
                    if number == len(chunks) // 2:
                        await _said(child, lambda line: line.startswith("read"))
                        child.kill()
                        child.wait()
                        for line in cursor_file.read_text().splitlines():
                            if line.endswith("}"):
                                stream.messages.append(json.loads(line))
                        after = stream.messages[-1]["seq_id"] if stream.messages else 0
                        going_on = asyncio.create_task(read(router, stream, after))
            await asyncio.wait_for(going_on, 30.0)
        finally:
            cursor_file.unlink(missing_ok=True)
        tally = Tally()
        tally.count(stream)
        return _report("reader killed", tally, 1, [], read_before=after)


async def publish_child(address: str, request_ids: list[str]) -> None:
    """Publish slowly, never ending, until killed."""
    chunks = recordings(1)[0].chunks
    async with StreamRouter.connect(NAME, address=address) as router:
        publishers = [await router.publish(request_id, SETTINGS, date=DATE).open() for request_id in request_ids]
        for number, chunk in enumerate(chunks[:-1]):
            for publisher in publishers:
                await publisher.chunk(chunk)
            print(f"sent {number}", flush=True)
            await asyncio.sleep(0.05)
        await asyncio.sleep(600)


async def read_child(address: str, request_id: str, file: str) -> None:
    """Read, writing down each message before the next is asked for, until killed."""
    async with StreamRouter.connect(NAME, address=address) as router:
        with Path(file).open("w") as out:
            async for batch in router.subscribe(request_id, format="dict"):
                for message in batch:
                    out.write(json.dumps(message) + "\n")
                    out.flush()
                print(f"read {batch.last_seq_id}", flush=True)
                await asyncio.sleep(random.uniform(0.0, 0.02))


async def driver_child(address: str) -> None:
    """Start routers on a running cluster, publish, and wait to be killed."""
    chosen = RouterConfig.model_validate({**config().model_dump(), "ray": {"address": address}})
    async with StreamRouter.start(chosen) as router, router.publish("forever", SETTINGS) as publisher:
        await publisher.chunk(recordings(1)[0].chunks[0])
        print("running", flush=True)
        await asyncio.sleep(600)


async def kill_driver() -> dict[str, Any]:
    """SIGKILL of the driver that started the routers on somebody else's cluster: nothing of it stays."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    try:
        before = _leftovers(cluster.address)
        child = _child("driver", cluster.address)
        await _said(child, lambda line: line.startswith("running"))
        ray.init(address=cluster.address, log_to_driver=False, configure_logging=False, namespace="somebody-else")
        alive = _names()
        child.kill()
        killed_at = time.monotonic()
        while _names() and time.monotonic() - killed_at < 60.0:
            await asyncio.sleep(0.25)
        return {
            "kind": "driver killed",
            "kills": 1,
            "actors_before": len(alive),
            "actors_left": _names(),
            "gone_after_s": round(time.monotonic() - killed_at, 3),
            "files_left": sorted(set(_leftovers(cluster.address)) - set(before)),
        }
    finally:
        ray.shutdown()
        cluster.shutdown()


async def shut_down() -> dict[str, Any]:
    """An ordinary end: no actors, names or files are left on the cluster."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    try:
        ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
        before = _leftovers(cluster.address)
        async with StreamRouter.start(config()) as router:
            load = Load(router, width=4, pace_s=0.0)
            load.start()
            await asyncio.sleep(1.0)
            tally = await load.stop()
            alive = len(_names())
        ended_at = time.monotonic()
        while _names() and time.monotonic() - ended_at < 20.0:
            await asyncio.sleep(0.1)
        return _report(
            "shut down",
            tally,
            0,
            [],
            actors_before=alive,
            actors_left=_names(),
            gone_after_s=round(time.monotonic() - ended_at, 3),
            files_left=sorted(set(_leftovers(cluster.address)) - set(before)),
        )
    finally:
        ray.shutdown()
        cluster.shutdown()


def _names() -> list[str]:
    return [known["name"] for known in ray.util.list_named_actors(all_namespaces=True)]


def _leftovers(_address: str) -> list[str]:
    return [str(path) for path in Path(os.environ.get("TMPDIR", "/tmp")).glob("stream-router-replay-*")]


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
}
