"""What the pace of real models costs: cores busy and added latency, through Ray and through sockets.

Run it with
`python -m benchmarks.pace [--loads 20x10,100x5,400x5] [--transports ray,auto] [--gather 2] [--packed 512] [--nodes 1]
[--rounds 3] [--threads] [--json FILE]`.
A load of 20x10 is 20 streams of 10 chunks a second each. Publishers and readers share one process, as in a driver.
`--gather 0,2,5` compares settings of `publisher.gather_ms`, `--packed 512,1` of
`stream_actors.packed_streams_per_actor`: all streams on one actor, or as even as can be on four.
Each round runs every load through every transport, each on a fresh local Ray in a process of its own, so that a machine
that others share is as busy for one as for the other; the median of the rounds is shown, and the ratio to Ray.

With `--nodes 2` it is a local cluster of two nodes: this process and the router on the one, the stream actors on the
other, and `auto` has TCP between them.

Cores busy is the processor time of this process and of all its children (the actors, and Ray's own processes) by the
clock. Two controls in the same run say what part of it is not the product's: the same processes while nothing flows
(*idle*: Ray's own threads and processes, mostly), and this process while it makes the chunks at their times and sends
none (*making*). What is left is *carrying*, and its wake-ups are those of all event loops, for each chunk. `--threads`
shows each thread. `--transports bare` is neither: three processes that do nothing but hand the same bytes on, in the
same way and without Ray (`relay.py`), which says what waking up costs on this machine at this moment. Latency is from
the call of `chunk` to the message in the reader's hand, in the same process and by its clock.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import ray
from ray.cluster_utils import Cluster

from benchmarks import relay, threads
from benchmarks.spawn import leave_uvloop_out
from router import RouterConfig, StreamRouter

SETTLE_S = 3.0
CONTROL_S = 4.0
MEASURE_S = 8.0
WORDS = "word " * 8
BARE = "bare"
MS_PER_S = 1000.0
RUN_DEADLINE_S = 180.0
LEAST_CORES = 0.001
KINDS = (threads.DRIVER, threads.ROUTER, threads.ACTOR, threads.RAYS_OWN)

Spending = dict[tuple[str, str], tuple[float, float]]
"""Cores busy and wake-ups a second, by process and thread."""


class Pace(NamedTuple):
    """So many streams, each with so many chunks a second."""

    streams: int
    chunks_per_s: float

    @classmethod
    def of(cls, text: str) -> Pace:
        """Read it as it is given on the command line: 20x10."""
        streams, _, rate = text.partition("x")
        return cls(int(streams), float(rate))

    def __str__(self) -> str:
        return f"{self.streams} x {self.chunks_per_s:g}/s"


# --- one run, in a process of its own ---------------------------------------------------------------


def _chunk(now: float) -> bytes:
    delta = {"content": f"{now:.6f} {WORDS}"}
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [{"delta": delta}]}
    return json.dumps(body).encode()


def _sent_at(messages: list[dict[str, Any]]) -> Iterator[float]:
    for message in messages:
        content = message.get("content")
        if message["message_type"] == "assistant_message" and isinstance(content, str):
            yield float(content.partition(" ")[0])


async def _publish(router: StreamRouter, request_id: str, number: int, pace: Pace, until: float) -> None:
    async with router.publish(request_id, {"dialect": "chat"}) as stream:
        # Streams do not speak in step.
        at = time.perf_counter() + number / pace.streams / pace.chunks_per_s
        while at < until:
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            await stream.chunk(_chunk(time.perf_counter()))
            at += 1 / pace.chunks_per_s


async def _make(number: int, pace: Pace, until: float) -> None:
    """Do what `_publish` does, but publish nothing."""
    at = time.perf_counter() + number / pace.streams / pace.chunks_per_s
    while at < until:
        await asyncio.sleep(max(0.0, at - time.perf_counter()))
        _chunk(time.perf_counter())
        at += 1 / pace.chunks_per_s


async def _read(router: StreamRouter, request_id: str, latencies: list[tuple[float, float]]) -> None:
    async for batch in router.subscribe(request_id, format="dict"):
        now = time.perf_counter()
        latencies += [(now, now - sent_at) for sent_at in _sent_at(batch.messages)]


@contextmanager
def _configured(transport: str, gather_ms: float, packed: int, nodes: int) -> Iterator[RouterConfig]:
    """Give a configuration for a Ray of its own, of one node or two."""
    given: dict[str, Any] = {
        "transport": transport,
        "publisher": {"gather_ms": gather_ms},
        "stream_actors": {"packed_streams_per_actor": packed},
    }
    if nodes == 1:
        yield RouterConfig.model_validate(given)
        return
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=2, resources={"there": 1})
        cluster.wait_for_nodes()
        ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
        given |= {
            "network": {"enabled": transport != "ray"},
            "ray": {"address": cluster.address},
            "stream_actors": {"packed_streams_per_actor": packed, "resources": {"there": 0.01}},
        }
        yield RouterConfig.model_validate(given)
    finally:
        ray.shutdown()
        cluster.shutdown()


async def _over(seconds: float) -> Spending:
    """Return what all threads spend within so many seconds from now."""
    before, began = threads.snapshot(), time.perf_counter()
    await asyncio.sleep(seconds)
    return threads.between(before, threads.snapshot(), time.perf_counter() - began)


async def _controls(router: StreamRouter, pace: Pace) -> tuple[Spending, Spending]:
    """Use a router, and then none of it; see `_idle_and_making`."""
    await router.warm()
    async with router.publish("first", {"dialect": "chat"}) as stream:
        await stream.chunk(_chunk(time.perf_counter()))
    await _read(router, "first", [])
    return await _idle_and_making(pace)


async def _idle_and_making(pace: Pace) -> tuple[Spending, Spending]:
    """Return what is spent while nothing flows, and while chunks are made and not sent."""
    gc.collect()
    gc.freeze()  # as docs/benchmarks.md tells who reads much; else a full collection walks all that Ray has loaded
    await asyncio.sleep(SETTLE_S)
    idle = await _over(CONTROL_S)
    until = time.perf_counter() + CONTROL_S + 1.0
    async with asyncio.TaskGroup() as tasks:
        for number in range(pace.streams):
            tasks.create_task(_make(number, pace, until))
        await asyncio.sleep(0.5)
        making = await _over(CONTROL_S)
    return idle, making


async def run_bare(pace: Pace, gather_ms: float) -> dict[str, Any]:
    """Keep a pace up through processes that only hand bytes on; return the same as `run_one`."""
    latencies: list[tuple[float, float]] = []

    def on_line(line: bytes) -> None:
        now = time.perf_counter()
        latencies.append((now, now - float(line.partition(b'"content": "')[2].partition(b" ")[0])))

    async def publish(number: int, way: relay.Way, until: float) -> None:
        at = time.perf_counter() + number / pace.streams / pace.chunks_per_s
        while at < until:
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            way.send(_chunk(time.perf_counter()))
            at += 1 / pace.chunks_per_s

    async with relay.relayed((threads.ROUTER, threads.ACTOR), gather_ms / MS_PER_S, on_line) as way:
        idle, making = await _idle_and_making(pace)
        until = time.perf_counter() + SETTLE_S + MEASURE_S + 1.0
        async with asyncio.TaskGroup() as tasks:
            for number in range(pace.streams):
                tasks.create_task(publish(number, way, until))
            flowing, seen_ms, seconds = await _flowing(latencies)
    row = _row(pace, idle, making, flowing, seen_ms, seconds)
    # Each of these processes is one thread, whatever its name.
    row["wake_ups"] = sum(wake_ups for _, wake_ups in flowing.values()) / max(1.0, row["chunks_per_s"])
    return {"transport": BARE, "gather_ms": gather_ms, "packed": ""} | row


async def run_one(pace: Pace, config: RouterConfig) -> dict[str, Any]:
    """Keep a pace up for a while; return cores busy, by kind of process, and latencies in milliseconds."""
    latencies: list[tuple[float, float]] = []
    async with StreamRouter.start(config) as router:
        idle, making = await _controls(router, pace)
        until = time.perf_counter() + SETTLE_S + MEASURE_S + 1.0
        async with asyncio.TaskGroup() as tasks:
            for number in range(pace.streams):
                tasks.create_task(_publish(router, f"request-{number}", number, pace, until))
                tasks.create_task(_read(router, f"request-{number}", latencies))
            flowing, seen_ms, seconds = await _flowing(latencies)
    settings = {
        "transport": config.transport,
        "gather_ms": config.publisher.gather_ms,
        "packed": config.stream_actors.packed_streams_per_actor,
    }
    return settings | _row(pace, idle, making, flowing, seen_ms, seconds)


async def _flowing(latencies: list[tuple[float, float]]) -> tuple[Spending, list[float], float]:
    """Return what all threads spend while chunks flow, the latencies of that time in ms, and how long it was."""
    await asyncio.sleep(SETTLE_S)
    began = time.perf_counter()
    flowing = await _over(MEASURE_S)
    ended = time.perf_counter()
    return flowing, sorted(MS_PER_S * taken_s for at, taken_s in latencies if began <= at <= ended), ended - began


def _row(
    pace: Pace, idle: Spending, making: Spending, flowing: Spending, seen_ms: list[float], seconds: float
) -> dict[str, Any]:
    chunks_per_s = len(seen_ms) / seconds
    making_cores = _cores(making, threads.DRIVER) - _cores(idle, threads.DRIVER)
    loops = _loops_wake_ups(flowing) - _loops_wake_ups(idle)
    return {
        "pace": str(pace),
        "cores": _cores(flowing),
        "cores_by": {kind: _cores(flowing, kind) for kind in KINDS},
        "idle": _cores(idle),
        "making": making_cores,
        "carrying": _cores(flowing) - _cores(idle) - making_cores,
        "wake_ups": loops / max(1.0, chunks_per_s),
        "chunks_per_s": chunks_per_s,
        "p50_ms": seen_ms[len(seen_ms) // 2],
        "p99_ms": seen_ms[int(0.99 * len(seen_ms))],
        "threads": [
            [*thread, *spent, *idle.get(thread, (0.0, 0.0)), *making.get(thread, (0.0, 0.0))]
            for thread, spent in flowing.items()
        ],
    }


def _cores(spending: Spending, kind: str | None = None) -> float:
    return sum(cores for (process, _), (cores, _) in spending.items() if kind in (None, threads.kind_of(process)))


def _loops_wake_ups(spending: Spending) -> float:
    return sum(wake_ups for (_, thread), (_, wake_ups) in spending.items() if thread == threads.LOOP)


# --- many runs --------------------------------------------------------------------------------------


class _Setting(NamedTuple):
    """What one run is made with, as the command line says it."""

    load: str
    transport: str
    gather_ms: str
    packed: str


def _run_apart(setting: _Setting, nodes: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.pace", "--one", *setting, "--nodes", str(nodes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_DEADLINE_S, check=False)  # noqa: S603  # ourselves
    if done.returncode:
        raise RuntimeError(f"{setting} ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _median(runs: list[dict[str, Any]]) -> dict[str, Any]:
    figures = ("cores", "idle", "making", "carrying", "wake_ups", "chunks_per_s", "p50_ms", "p99_ms")
    return {
        **{name: runs[0][name] for name in ("pace", "transport", "gather_ms", "packed", "threads")},
        **{name: statistics.median(run[name] for run in runs) for name in figures},
        "cores_by": {kind: statistics.median(run["cores_by"].get(kind, 0.0) for run in runs) for kind in KINDS},
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the medians as a table of Markdown."""
    head = [
        "pace",
        "by",
        "gather",
        "packed",
        "cores",
        "of Ray's",
        "idle",
        "making",
        "carrying",
        "wake-ups",
        "p50",
        "p99",
    ]
    head += ["driver", "router", "actors", "Ray's"]
    lines = [f"| {' | '.join(head)} |", f"|---|---|{'---:|' * (len(head) - 2)}"]
    through_ray = {(row["pace"], row.get("gather_ms")): row["cores"] for row in rows if row["transport"] == "ray"}
    for row in rows:
        of_ray = through_ray.get((row["pace"], row.get("gather_ms")))
        ratio = "" if of_ray is None else f"{row['cores'] / of_ray:.2f}"
        cores = [f"{row.get(name, 0.0):.2f}" for name in ("idle", "making", "carrying")]
        by = [f"{row['cores_by'].get(kind, 0.0):.2f}" for kind in KINDS]
        settings = [f"{row.get('gather_ms', 0):g} ms", str(row.get("packed", ""))]
        ends = [f"{row.get('wake_ups', 0):.1f}", f"{row['p50_ms']:.1f} ms", f"{row['p99_ms']:.1f} ms"]
        cells = [row["pace"], row["transport"], *settings, f"{row['cores']:.2f}", ratio, *cores, *ends, *by]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def table_of_threads(row: dict[str, Any]) -> str:
    """Return what each kind of thread spent, the most first, as a table of Markdown: thousandths of a core."""
    lines = [
        f"| {row['pace']}, {row['transport']}: process | thread | ms/s | wake-ups/s | idle | wake-ups/s | making |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    spent = sorted(row["threads"], key=lambda thread: -thread[2])
    for process, thread, cores, wake_ups, idle, idle_wake_ups, making, _ in spent:
        if cores < LEAST_CORES and idle < LEAST_CORES:
            continue
        times = [f"{MS_PER_S * value:.1f}" for value in (cores, idle, making)]
        cells = [process, thread, times[0], f"{wake_ups:.0f}", times[1], f"{idle_wake_ups:.0f}", times[2]]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def measure_rounds(
    loads: Sequence[str],
    transports: Sequence[str],
    gathers: Sequence[str] = ("2",),
    packed: Sequence[str] = ("512",),
    *,
    rounds: int,
    nodes: int = 1,
) -> tuple[list[dict[str, Any]], list[list[dict[str, Any]]]]:
    """Run every load through every transport with every setting, so many times; return the medians, and all runs."""
    runs: dict[_Setting, list[dict[str, Any]]] = {}
    for number in range(1, rounds + 1):
        for setting in itertools.starmap(_Setting, itertools.product(loads, transports, gathers, packed)):
            runs.setdefault(setting, []).append(_run_apart(setting, nodes))
            print(f"round {number}/{rounds}: {' '.join(setting)}", file=sys.stderr, flush=True)
    return [_median(found) for found in runs.values()], [*runs.values()]


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pace", description=__doc__)
    parser.add_argument("--loads", default="20x10,100x5,400x5")
    parser.add_argument("--transports", default="ray,auto")
    parser.add_argument("--gather", default="2", help="publisher.gather_ms, one or many")
    parser.add_argument("--packed", default="512", help="packed_streams_per_actor, one or many")
    parser.add_argument("--nodes", type=int, default=1, choices=(1, 2))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", action="store_true", help="a table of threads too, of the first round")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=len(_Setting._fields), metavar=_Setting._fields, help="one run, here, as JSON")
    given = parser.parse_args()
    if given.one:
        load, transport, gather_ms, packed = given.one
        if transport == BARE:
            print(json.dumps(asyncio.run(run_bare(Pace.of(load), float(gather_ms)))))
            return
        with _configured(transport, float(gather_ms), int(packed), given.nodes) as config:
            print(json.dumps(asyncio.run(run_one(Pace.of(load), config))))
        return
    leave_uvloop_out()
    lists = [text.split(",") for text in (given.loads, given.transports, given.gather, given.packed)]
    rows, runs = measure_rounds(*lists, rounds=given.rounds, nodes=given.nodes)
    print(table(rows))
    if given.threads:
        print("\n", "\n\n".join(map(table_of_threads, rows)), sep="")
    if given.json:
        given.json.write_text(json.dumps({"rounds": given.rounds, "rows": rows, "runs": runs}, indent=1))


if __name__ == "__main__":
    main()
