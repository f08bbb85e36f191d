"""What the pace of real models costs: cores busy and added latency, through Ray and through sockets.

Run it with
`python -m benchmarks.pace [--loads 20x10,100x5,400x5] [--transports ray,auto] [--gather 2] [--nodes 1] [--rounds 3]
[--json FILE]`.
A load of 20x10 is 20 streams of 10 chunks a second each. Publishers and readers share one process, as in a driver.
`--gather 0,2,5` compares settings of `publisher.gather_ms`.
Each round runs every load through every transport, each on a fresh local Ray in a process of its own, so that a machine
that others share is as busy for one as for the other; the median of the rounds is shown, and the ratio to Ray.

With `--nodes 2` it is a local cluster of two nodes: this process and the router on the one, the stream actors on the
other, and `auto` has TCP between them.

Cores busy is the processor time of this process and of all its children (the actors, and Ray's own processes) by the
clock. Wake-ups are those of all threads of these but Ray's own processes, for each chunk. Latency is from the call of
`chunk` to the message in the reader's hand, in the same process and by its clock.
"""

from __future__ import annotations

import argparse
import asyncio
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

import psutil
import ray
from ray.cluster_utils import Cluster

from benchmarks.spawn import leave_uvloop_out
from router import RouterConfig, StreamRouter

SETTLE_S = 3.0
MEASURE_S = 8.0
WORDS = "word " * 8
MS_PER_S = 1000.0
RUN_DEADLINE_S = 180.0
RAYS_OWN = "Ray's own"


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


class _Spent(NamedTuple):
    """What a process has spent so far."""

    what: str
    cpu_s: float
    wake_ups: int


def _spent() -> dict[int, _Spent]:
    """Return what this process and its children have spent so far."""
    found = {}
    me = psutil.Process()
    for process in [me, *me.children(recursive=True)]:
        try:
            times = process.cpu_times()
            title = process.cmdline()[0] if process.pid != me.pid else "driver"
            found[process.pid] = _Spent(_what(title), times.user + times.system, _wake_ups(process.pid))
        except (psutil.Error, OSError, IndexError):
            continue
    return found


def _wake_ups(pid: int) -> int:
    """Return how often the threads of a process have waited for something so far."""
    name = "voluntary_ctxt_switches:"
    statuses = [thread / "status" for thread in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int(status.read_text().partition(f"\n{name}")[2].split()[0]) for status in statuses)


def _what(title: str) -> str:
    for part in ("RouterActor", "StreamActor", "driver"):
        if part in title:
            return part
    return RAYS_OWN


def _chunk(now: float) -> bytes:
    delta = {"content": f"{now:.6f} {WORDS}"}
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [{"delta": delta}]}
    return json.dumps(body).encode()


def _sent_at(messages: list[dict[str, Any]]) -> Iterator[float]:
    for message in messages:
        content = message.get("content")
        if message["message_type"] == "assistant_message" and isinstance(content, str):
            yield float(content.partition(" ")[0])


async def _publish(router: StreamRouter, number: int, pace: Pace, until: float) -> None:
    async with router.publish(f"request-{number}", {"dialect": "chat"}) as stream:
        # Streams do not speak in step.
        at = time.perf_counter() + number / pace.streams / pace.chunks_per_s
        while at < until:
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            await stream.chunk(_chunk(time.perf_counter()))
            at += 1 / pace.chunks_per_s


async def _read(router: StreamRouter, number: int, latencies: list[tuple[float, float]]) -> None:
    async for batch in router.subscribe(f"request-{number}", format="dict"):
        now = time.perf_counter()
        latencies += [(now, now - sent_at) for sent_at in _sent_at(batch.messages)]


@contextmanager
def _configured(transport: str, gather_ms: float, nodes: int) -> Iterator[RouterConfig]:
    """Give a configuration for a Ray of its own, of one node or two."""
    publisher = {"gather_ms": gather_ms}
    if nodes == 1:
        yield RouterConfig.model_validate({"transport": transport, "publisher": publisher})
        return
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=2, resources={"there": 1})
        cluster.wait_for_nodes()
        ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
        given = {
            "transport": transport,
            "publisher": publisher,
            "network": {"enabled": transport != "ray"},
            "ray": {"address": cluster.address},
            "stream_actors": {"resources": {"there": 0.01}},
        }
        yield RouterConfig.model_validate(given)
    finally:
        ray.shutdown()
        cluster.shutdown()


async def run_one(pace: Pace, config: RouterConfig) -> dict[str, Any]:
    """Keep a pace up for a while; return cores busy, by kind of process, and latencies in milliseconds."""
    latencies: list[tuple[float, float]] = []
    async with StreamRouter.start(config) as router:
        until = time.perf_counter() + SETTLE_S + MEASURE_S + 1.0
        async with asyncio.TaskGroup() as tasks:
            for number in range(pace.streams):
                tasks.create_task(_publish(router, number, pace, until))
                tasks.create_task(_read(router, number, latencies))
            await asyncio.sleep(SETTLE_S)
            before, began = _spent(), time.perf_counter()
            await asyncio.sleep(MEASURE_S)
            after, ended = _spent(), time.perf_counter()
    cores: dict[str, float] = {}
    wake_ups = 0
    for pid, spent in after.items():
        earlier = before.get(pid, _Spent(spent.what, 0.0, 0))
        cores[spent.what] = cores.get(spent.what, 0.0) + (spent.cpu_s - earlier.cpu_s) / (ended - began)
        wake_ups += spent.wake_ups - earlier.wake_ups if spent.what != RAYS_OWN else 0
    seen_ms = sorted(MS_PER_S * latency_s for at, latency_s in latencies if began <= at <= ended)
    return {
        "pace": str(pace),
        "transport": config.transport,
        "gather_ms": config.publisher.gather_ms,
        "cores": sum(cores.values()),
        "cores_by": cores,
        "wake_ups": wake_ups / max(1, len(seen_ms)),
        "chunks_per_s": len(seen_ms) / (ended - began),
        "p50_ms": seen_ms[len(seen_ms) // 2],
        "p99_ms": seen_ms[int(0.99 * len(seen_ms))],
    }


# --- many runs --------------------------------------------------------------------------------------


def _run_apart(pace: str, transport: str, gather_ms: str, nodes: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.pace", "--one", pace, transport, gather_ms, "--nodes", str(nodes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_DEADLINE_S, check=False)  # noqa: S603  # ourselves
    if done.returncode:
        raise RuntimeError(f"{pace} through {transport} ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _median(runs: list[dict[str, Any]]) -> dict[str, Any]:
    figures = ("cores", "wake_ups", "chunks_per_s", "p50_ms", "p99_ms")
    kinds = sorted({kind for run in runs for kind in run["cores_by"]})
    return {
        "pace": runs[0]["pace"],
        "transport": runs[0]["transport"],
        "gather_ms": runs[0]["gather_ms"],
        **{name: statistics.median(run[name] for run in runs) for name in figures},
        "cores_by": {kind: statistics.median(run["cores_by"].get(kind, 0.0) for run in runs) for kind in kinds},
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the medians as a table of Markdown."""
    lines = [
        "| pace | by | gather | cores | of Ray's | wake-ups | p50 | p99 | driver | router | actors | Ray's |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    through_ray = {(row["pace"], row.get("gather_ms")): row["cores"] for row in rows if row["transport"] == "ray"}
    for row in rows:
        of_ray = through_ray.get((row["pace"], row.get("gather_ms")))
        ratio = "" if of_ray is None else f"{row['cores'] / of_ray:.2f}"
        by = [row["cores_by"].get(kind, 0.0) for kind in ("driver", "RouterActor", "StreamActor", RAYS_OWN)]
        lines.append(
            f"| {row['pace']} | {row['transport']} | {row.get('gather_ms', 0):g} ms | {row['cores']:.2f} | {ratio} | "
            f"{row.get('wake_ups', 0):.1f} | {row['p50_ms']:.1f} ms | {row['p99_ms']:.1f} ms | "
            + " | ".join(f"{cores:.2f}" for cores in by)
            + " |"
        )
    return "\n".join(lines)


def measure_rounds(
    loads: Sequence[str], transports: Sequence[str], gathers: Sequence[str] = ("2",), *, rounds: int, nodes: int = 1
) -> tuple[list[dict[str, Any]], list[list[dict[str, Any]]]]:
    """Run every load through every transport with every setting, so many times; return the medians, and all runs."""
    runs: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for number in range(1, rounds + 1):
        for load, transport, gather_ms in itertools.product(loads, transports, gathers):
            found = runs.setdefault((load, transport, gather_ms), [])
            found.append(_run_apart(load, transport, gather_ms, nodes))
            print(f"round {number}/{rounds}: {load} through {transport}, {gather_ms} ms", file=sys.stderr, flush=True)
    return [_median(found) for found in runs.values()], [*runs.values()]


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pace", description=__doc__)
    parser.add_argument("--loads", default="20x10,100x5,400x5")
    parser.add_argument("--transports", default="ray,auto")
    parser.add_argument("--gather", default="2", help="publisher.gather_ms, one or many")
    parser.add_argument("--nodes", type=int, default=1, choices=(1, 2))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--one", nargs=3, metavar=("PACE", "TRANSPORT", "GATHER_MS"), help="one run, here; its figures as JSON"
    )
    given = parser.parse_args()
    if given.one:
        load, transport, gather_ms = given.one
        with _configured(transport, float(gather_ms), given.nodes) as config:
            print(json.dumps(asyncio.run(run_one(Pace.of(load), config))))
        return
    leave_uvloop_out()
    rows, runs = measure_rounds(
        given.loads.split(","),
        given.transports.split(","),
        given.gather.split(","),
        rounds=given.rounds,
        nodes=given.nodes,
    )
    print(table(rows))
    if given.json:
        given.json.write_text(json.dumps({"rounds": given.rounds, "rows": rows, "runs": runs}, indent=1))


if __name__ == "__main__":
    main()
