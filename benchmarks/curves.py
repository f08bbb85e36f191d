"""How the cost of a chunk grows with the work: `python -m benchmarks.curves [--quick] [--json FILE] [--plots FOLDER]`.

Four curves, each with all else kept: the size of a chunk, the number of streams, of readers of one request, and of
reading processes that share the streams. All at saturation, on the router of the other benchmarks; every message is
checked. Cost is the CPU of all processes, Ray's own too.

What a curve must not have is a cliff: a place where the cost grows much faster than the work between two neighbours.
Work is what the curve is about: a chunk has so many bytes; of readers, each that a chunk is handed to. Where streams or
processes become more, a chunk remains a chunk.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import ray

from benchmarks import ours
from benchmarks.chunks import CHUNK_BYTES
from benchmarks.measure import middle, significant
from benchmarks.plan import FULL, QUICK, Plan
from benchmarks.spawn import leave_uvloop_out
from router.config import RayConfig
from router.on_ray.cluster import ensure_ray

STREAM_ACTORS = 2
STREAMS = 64
SIZES = (50, CHUNK_BYTES, 4 * 1024, 64 * 1024)
STREAM_COUNTS = (1, 10, 100, 1_000, 10_000)
READERS = (1, 3, 10, 30, 100)
READING_PROCESSES = (1, 2, 4, 8)
# So much faster than the work the cost may grow from one point to the next.
CLIFF_TIMES = 2.0
CHUNKS_MIN = 20
# A publisher keeps more than this on disk (`publisher.replay_bytes_max` is a little higher), which is another matter.
KEPT_BYTES_MAX = 192 * 1024 * 1024

Point = dict[str, Any]


class Curve(NamedTuple):
    """One curve: its name, what its points are counted in, and what of it is work."""

    name: str
    unit: str
    work: Callable[[float], float]
    """What a chunk has of work at a point."""


CURVES: dict[str, Curve] = {
    "chunk_bytes": Curve("bytes of a chunk", "bytes", lambda at: at),
    "streams": Curve("open streams", "streams", lambda _: 1.0),
    "readers": Curve("readers of one request, in one process", "readers", lambda at: at),
    "reading_processes": Curve(f"processes that read {STREAMS} streams between them", "processes", lambda _: 1.0),
}


def cliffs(curve: Curve, points: Sequence[Point]) -> list[str]:
    """Return, in words, where the cost of a chunk grows more than `CLIFF_TIMES` as fast as the work."""
    found = []
    for before, after in pairwise(points):
        cost = after["cpu_us_per_chunk_in_all"] / before["cpu_us_per_chunk_in_all"]
        # Less work than before cannot be asked to cost less.
        work = max(curve.work(after["at"]) / curve.work(before["at"]), 1.0)
        if cost > CLIFF_TIMES * work:
            found.append(
                f"{curve.name}: from {before['at']:,} to {after['at']:,} a chunk costs {cost:.1f} times as much, "
                f"for {work:.1f} times the work"
            )
    return found


def counts(total: int, work: Sequence[float]) -> list[int]:
    """Return how many chunks are carried at each point, that all may take about as long."""
    return [max(int(total / each), CHUNKS_MIN) for each in work]


async def _point(stage: ours.Stage, at: float, repeats: int, streams: int, chunks: int, **how: Any) -> Point:
    await ours.carry(stage, streams, max(CHUNKS_MIN, chunks // 8), **how)  # warms up
    runs = [await ours.carry(stage, streams, chunks, **how) for _ in range(repeats)]
    run = middle(runs, key=lambda run: run["cpu_us_per_chunk_in_all"])
    say(f"  {at:,}: {run['cpu_us_per_chunk_in_all']:.3g} us of CPU a chunk, {run['chunks_per_s']:,.0f} chunks/s")
    return {
        "at": at,
        "streams": streams,
        "chunks_per_stream": chunks,
        "chunks_per_s": significant(run["chunks_per_s"]),
        "cpu_us_per_chunk": run["cpu_us_per_chunk"],
        "cpu_us_per_chunk_in_all": significant(run["cpu_us_per_chunk_in_all"], 3),
    }


async def measure_curves(plan: Plan, stage: ours.Stage) -> dict[str, Any]:
    """Measure all four. The last adds reading processes to the stage."""
    total, repeats = plan.curve_chunks, plan.curve_repeats
    points: dict[str, list[Point]] = {name: [] for name in CURVES}
    say("curves: the size of a chunk")
    # What a chunk costs beside its bytes is as much as some thousand bytes.
    for size, chunks in zip(SIZES, counts(total // STREAMS, [1 + size / 4096 for size in SIZES]), strict=True):
        kept = min(chunks, KEPT_BYTES_MAX // (size * STREAMS))
        points["chunk_bytes"].append(await _point(stage, size, repeats, STREAMS, kept, chunk_bytes=size))
    say("curves: streams")
    for streams, chunks in zip(STREAM_COUNTS, counts(total, [max(count, 4) for count in STREAM_COUNTS]), strict=True):
        points["streams"].append(await _point(stage, streams, repeats, streams, chunks))
    say("curves: readers of one request")
    for readers, chunks in zip(READERS, counts(total // 4, [1 + count / 4 for count in READERS]), strict=True):
        points["readers"].append(await _point(stage, readers, repeats, 1, chunks, readers=readers))
    say("curves: reading processes")
    for processes in READING_PROCESSES:
        while len(stage.consumers) < processes:
            await stage.add_consumer()
        points["reading_processes"].append(await _point(stage, processes, repeats, STREAMS, total // STREAMS))
    return described(points)


def described(points: dict[str, list[Point]]) -> dict[str, Any]:
    """Return the curves with their cliffs."""
    return {
        "points": points,
        "cliffs": [cliff for name, found in points.items() for cliff in cliffs(CURVES[name], found)],
    }


def say(text: str) -> None:
    """Print progress to standard error."""
    print(text, file=sys.stderr, flush=True)


async def run(plan: Plan) -> dict[str, Any]:
    """Set up a router and measure."""
    async with ours.stage(actors=STREAM_ACTORS) as stage:
        return await measure_curves(plan, stage)


def main() -> int:
    """Measure, write the figures, print the curves; 1 where there is a cliff."""
    from benchmarks import tables  # noqa: PLC0415  # it prints what this measures

    parser = argparse.ArgumentParser(prog="python -m benchmarks.curves", description=__doc__)
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument("--quick", action="store_true", help="fewer chunks, one repeat: three minutes; rougher")
    parser.add_argument("--plots", type=Path, help="a folder for curves.svg (needs matplotlib)")
    given = parser.parse_args()
    leave_uvloop_out()
    ensure_ray(RayConfig(), "benchmarks")
    try:
        found = {"cost_curves": asyncio.run(run(QUICK if given.quick else FULL))}
    finally:
        ray.shutdown()
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n")
    if given.plots:
        from benchmarks import plots  # noqa: PLC0415  # matplotlib is an extra

        plots.write(found, given.plots)
    print(tables.cost_curves(found))
    return 1 if found["cost_curves"]["cliffs"] else 0


if __name__ == "__main__":
    sys.exit(main())
