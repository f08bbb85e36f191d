"""Measure the router and its alternatives: `python -m benchmarks --json FILE [--quick] [--only NAME]`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import ray

from benchmarks import ours, prediction, stages, tables, targets
from benchmarks.chunks import CHUNK_BYTES
from benchmarks.plan import FULL, QUICK, Plan
from benchmarks.sections import (
    AFTER_STAGE,
    BEFORE_STAGE,
    ON_STAGE,
    SECTIONS,
    STREAM_ACTORS,
    WITHOUT_RAY,
    Found,
    Section,
)
from benchmarks.spawn import has_uvloop, leave_uvloop_out
from router.config import RayConfig
from router.on_ray.cluster import ensure_ray


async def run(plan: Plan, wanted: Sequence[str], found: Found, write: Callable[[], None]) -> None:
    """Measure what is asked for; `write` after each section, so that an interrupted run keeps its figures."""
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


def measure_all(plan: Plan, wanted: Sequence[str], found: Found, write: Callable[[], None]) -> None:
    """Measure what needs no Ray of this process, then the rest on one."""
    for name, section in WITHOUT_RAY.items():
        if name in wanted:
            section(plan, found)
            write()
    if set(wanted) <= set(WITHOUT_RAY):
        return
    ensure_ray(RayConfig(), "benchmarks")
    try:
        asyncio.run(run(plan, wanted, found, write))
    finally:
        ray.shutdown()


def machine() -> dict[str, Any]:
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
        "uvloop": has_uvloop(),
        "revision": revision.stdout.strip() or None,
        "load_average_before": os.getloadavg(),
        "chunk_bytes": CHUNK_BYTES,
    }


def main() -> int:
    """Parse the command line, measure, write the figures, and print which targets are met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="where the figures go")
    parser.add_argument("--quick", action="store_true", help="fewer repeats, some ten minutes; figures are rougher")
    parser.add_argument("--only", action="append", default=[], choices=SECTIONS, help="one section (repeatable)")
    parser.add_argument("--plots", type=Path, help="a folder for the plots (needs matplotlib)")
    arguments = parser.parse_args()
    leave_uvloop_out()
    started = time.monotonic()
    found: Found = {"machine": machine(), "quick": arguments.quick}
    arguments.json.parent.mkdir(parents=True, exist_ok=True)

    def write() -> None:
        found["machine"]["load_average_after"] = os.getloadavg()
        found["seconds"] = round(time.monotonic() - started)
        targets.add_ratios(found)
        stages.add_standing(found)
        prediction.add_prediction(found)
        found["targets"] = targets.check(found)
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")

    measure_all(QUICK if arguments.quick else FULL, arguments.only or SECTIONS, found, write)
    if arguments.plots is not None:
        from benchmarks import plots  # noqa: PLC0415  # matplotlib is an extra

        plots.write(found, arguments.plots)
    print(tables.all_tables(found, [name for name in tables.TABLES if name != "goals"]), end="\n\n")
    print(targets.table(found["targets"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
