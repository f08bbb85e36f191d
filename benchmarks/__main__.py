"""Measure the router and its alternatives: `python -m benchmarks --json FILE [--quick] [--only NAME]`."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import ray

from benchmarks import bound, measure, naive, ours, ray_queue, redis_streams, targets
from benchmarks.chunks import CHUNK_BYTES
from benchmarks.measure import figure
from router.config import RayConfig
from router.on_ray.cluster import ensure_ray

STREAM_ACTORS = 2


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    repeats: int
    shared_chunks: int
    naive_chunks: int
    redis_chunks: int
    bound_chunks: int
    dedicated_chunks: int
    growth_chunks: int
    growth_repeats: int
    many: int
    seconds: float
    light_repeats: int
    half_repeats: int
    opens: int
    fairness_rounds: int
    idle_s: float
    stream_counts: tuple[int, ...]
    loads: tuple[float, ...]


FULL = Plan(
    repeats=5,
    shared_chunks=800,
    naive_chunks=40,
    redis_chunks=200,
    bound_chunks=200_000,
    dedicated_chunks=4000,
    growth_chunks=40,
    growth_repeats=3,
    many=10_000,
    seconds=6.0,
    light_repeats=3,
    half_repeats=5,
    opens=100,
    fairness_rounds=3,
    idle_s=20.0,
    stream_counts=(1, 8, 32, 128, 512, 2048, 10_000),
    loads=(0.1, 0.25, 0.5, 0.75, 0.9),
)
QUICK = Plan(
    repeats=2,
    shared_chunks=300,
    naive_chunks=15,
    redis_chunks=60,
    bound_chunks=60_000,
    dedicated_chunks=1000,
    growth_chunks=40,
    growth_repeats=1,
    many=10_000,
    seconds=2.5,
    light_repeats=1,
    half_repeats=2,
    opens=30,
    fairness_rounds=1,
    idle_s=6.0,
    stream_counts=(1, 32, 512),
    loads=(0.25, 0.5, 0.75),
)

Found = dict[str, Any]


def say(text: str) -> None:
    """Print progress to standard error."""
    print(text, file=sys.stderr, flush=True)


# --- the sections -------------------------------------------------------------------------------


async def measure_baselines(plan: Plan, found: Found) -> None:
    """The alternatives with the same chunks."""
    baselines = found.setdefault("baselines", {})
    say("bound: the same work in one process, without Ray")
    repeats = range(max(plan.repeats, 3))
    to_batches = [2 * bound.chunks_per_s(plan.bound_chunks, to_messages=False) for _ in repeats]
    to_messages = [2 * bound.chunks_per_s(plan.bound_chunks, to_messages=True) for _ in repeats]
    baselines["bound"] = {
        "cores": 2,
        "chunks_per_s": figure(to_messages),
        "chunks_per_s_without_models": figure(to_batches),
    }
    if redis_streams.missing() is None:
        say("redis_streams: 512 streams through a redis-server")
        plain = await redis_streams.chunks_per_s(512, plan.redis_chunks, plan.repeats, hiredis=False)
        baselines["redis_streams"] = {"streams": 512, "chunks_per_s": figure(plain)}
        if redis_streams.has_hiredis():
            fast = await redis_streams.chunks_per_s(512, plan.redis_chunks, plan.repeats, hiredis=True)
            baselines["redis_streams"]["chunks_per_s_hiredis"] = figure(fast)
    else:
        say(f"redis_streams: left out, {redis_streams.missing()}")
        baselines["redis_streams"] = {"left_out": redis_streams.missing()}
    say("naive: one call per chunk per hop, 8 and 32 actors")
    rates = {
        streams: await naive.chunks_per_s(streams, 4 * plan.naive_chunks * 8 // streams, plan.repeats)
        for streams in (8, 32)
    }
    baselines["naive"] = {"streams": 32, "chunks_per_s": figure(rates[32]), "chunks_per_s_8_streams": figure(rates[8])}
    say("ray_queue: 8 queues")
    queues = await ray_queue.chunks_per_s(8, 4 * plan.naive_chunks, plan.repeats)
    baselines["ray_queue"] = {"streams": 8, "chunks_per_s": figure(queues)}


async def measure_throughput(plan: Plan, found: Found, stage: ours.Stage) -> None:
    """512 streams on shared actors."""
    say("throughput: 512 streams on shared actors")
    shared = await ours.throughput(stage, 512, plan.shared_chunks, plan.repeats)
    others = {
        fmt: await ours.throughput(stage, 512, plan.shared_chunks, max(1, plan.repeats // 2), fmt)
        for fmt in ("dict", "packed")
    }
    shared["other_formats"] = {fmt: run["chunks_per_s"] for fmt, run in others.items()}
    found.setdefault("throughput", {})["shared"] = shared


async def measure_latency(plan: Plan, found: Found, stage: ours.Stage) -> None:
    """One stream at a light load, 256 at half of what they can do at most."""
    latency = found.setdefault("latency", {})
    say("latency: one stream, light load")
    latency["light"] = await ours.light(stage, plan.seconds, plan.light_repeats)
    say("latency: 256 streams at half of their saturated rate")
    latency["saturated"] = await ours.throughput(stage, 256, plan.shared_chunks, plan.half_repeats, alternate=True)
    call_ms = latency["light"]["call_without_gaps_ms"]["median"]
    saturated = latency["saturated"]["chunks_per_s"]["median"]
    latency["half"] = await ours.half(stage, saturated, plan.seconds, plan.half_repeats, call_ms)


async def measure_curves(plan: Plan, found: Found, stage: ours.Stage) -> None:
    """Throughput over the number of streams, latency over the load."""
    say("curves: throughput over the number of streams")
    total = 512 * plan.shared_chunks // 2
    found["curves"] = {"throughput": [], "latency": []}
    for streams in plan.stream_counts:
        runs = [await ours.carry(stage, streams, max(10, min(total // streams, 60_000))) for _ in range(2)]
        found["curves"]["throughput"].append(
            {"streams": streams, "chunks_per_s": measure.significant(max(run["chunks_per_s"] for run in runs))}
        )
    say("curves: latency over the load")
    if "saturated" not in found.get("latency", {}):
        run = await ours.throughput(stage, 256, plan.shared_chunks, 2, alternate=True)
        found.setdefault("latency", {})["saturated"] = run
    saturated = found["latency"]["saturated"]["chunks_per_s"]["median"]
    for load in plan.loads:
        run = await ours.paced(stage, 256, load * saturated, plan.seconds)
        found["curves"]["latency"].append({"load": load, **run})


async def measure_growth(plan: Plan, found: Found, stage: ours.Stage) -> None:
    """Many streams against 512, with as many chunks in all."""
    say(f"growth: {plan.many} streams against 512")
    chunks = plan.growth_chunks
    few = await ours.throughput(stage, 512, plan.many * chunks // 512, plan.growth_repeats)
    many = await ours.throughput(stage, plan.many, chunks, plan.growth_repeats)
    ratio = many["chunks_per_s"]["median"] / few["chunks_per_s"]["median"]
    found["growth"] = {"512": few, str(plan.many): many, "ratio_10000_to_512": measure.significant(ratio, 3)}


async def measure_opening(plan: Plan, found: Found, stage: ours.Stage) -> None:
    """From opening to the first message."""
    say("open: from publish to the first message")
    found["open"] = await ours.opening(stage, plan.opens, plan.light_repeats)


async def measure_fairness(plan: Plan, found: Found, stage: ours.Stage) -> None:
    """Small streams beside a flood."""
    say("fairness: 100 small streams beside a flood")
    found["fairness"] = await ours.fairness(stage, plan.fairness_rounds)


async def measure_silence(plan: Plan, found: Found) -> None:
    """Memory and CPU of silent streams."""
    say(f"memory and idling: {plan.many} open silent streams")
    async with ours.stage(actors=STREAM_ACTORS) as stage:
        found |= await ours.silence(stage, plan.many, plan.idle_s)


async def measure_dedicated(plan: Plan, found: Found) -> None:
    """32 streams on 32 actors."""
    say("dedicated: 32 streams on 32 actors")
    async with ours.stage(actors=32, streams_per_actor=1) as stage:
        run = await ours.throughput(stage, 32, plan.dedicated_chunks, plan.repeats)
    found.setdefault("throughput", {})["dedicated"] = run


async def measure_bad_input(plan: Plan, found: Found, stage: ours.Stage) -> None:
    """Streams that misbehave, and the latency of others meanwhile."""
    say("bad input: a reader that never acknowledges, a million-byte chunk, odd and long IDs")
    found["bad_input"] = await ours.bad_input(stage, plan.seconds)


ON_STAGE: dict[str, Callable[[Plan, Found, ours.Stage], Awaitable[None]]] = {
    "throughput": measure_throughput,
    "latency": measure_latency,
    "open": measure_opening,
    "fairness": measure_fairness,
    "bad_input": measure_bad_input,
    "growth": measure_growth,
    "curves": measure_curves,
}
Section = Callable[[Plan, Found], Awaitable[None]]
BEFORE_STAGE: dict[str, Section] = {"memory": measure_silence}
AFTER_STAGE: dict[str, Section] = {"dedicated": measure_dedicated, "baselines": measure_baselines}
SECTIONS = (*ON_STAGE, *BEFORE_STAGE, *AFTER_STAGE)


async def run(plan: Plan, only: list[str], found: Found, write: Callable[[], None]) -> None:
    """Measure what is asked for; `write` after each section, so that an interrupted run keeps its figures."""
    wanted = only or SECTIONS
    await _off_stage(BEFORE_STAGE, wanted, plan, found, write)
    on_stage = [section for name, section in ON_STAGE.items() if name in wanted]
    if on_stage:
        async with ours.stage(actors=STREAM_ACTORS) as stage:
            for section in on_stage:
                await section(plan, found, stage)
                write()
    await _off_stage(AFTER_STAGE, wanted, plan, found, write)


async def _off_stage(
    sections: dict[str, Section], wanted: Sequence[str], plan: Plan, found: Found, write: Callable[[], None]
) -> None:
    for name, section in sections.items():
        if name in wanted:
            await section(plan, found)
            write()


def machine() -> Found:
    """Return the machine and the revision that were measured."""
    revision = subprocess.run(  # a fixed command
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return {
        "cpus": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "ray": ray.__version__,
        "uvloop": importlib.util.find_spec("uvloop") is not None,
        "revision": revision.stdout.strip() or None,
        "load_average_before": os.getloadavg(),
        "chunk_bytes": CHUNK_BYTES,
    }


def main() -> int:
    """Parse the command line, measure, write the figures, and print which targets are met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="where the figures go")
    parser.add_argument("--quick", action="store_true", help="fewer repeats, under three minutes; figures are rougher")
    parser.add_argument("--only", action="append", default=[], choices=SECTIONS, help="one section (repeatable)")
    parser.add_argument("--plots", type=Path, help="a folder for throughput.png and latency.png (needs matplotlib)")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else FULL
    started = time.monotonic()
    found: Found = {"machine": machine(), "quick": arguments.quick}
    arguments.json.parent.mkdir(parents=True, exist_ok=True)

    def write() -> None:
        found["machine"]["load_average_after"] = os.getloadavg()
        found["seconds"] = round(time.monotonic() - started)
        targets.add_ratios(found)
        found["targets"] = targets.check(found)
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")

    ensure_ray(RayConfig(), "benchmarks")
    try:
        asyncio.run(run(plan, arguments.only, found, write))
    finally:
        ray.shutdown()
    if arguments.plots is not None:
        from benchmarks import plots  # noqa: PLC0415  # matplotlib is an extra

        plots.write(found, arguments.plots)
    print(targets.table(found["targets"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
