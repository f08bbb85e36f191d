"""Thousands of refused opens a second beside open streams, whose latency must not suffer."""

from __future__ import annotations

import asyncio
import json
import math
import time
from typing import Any

import ray

from router import StreamRouter

from .common import config, figures, until
from .load import Load, percentile, recordings
from .processes import child, kill, said

WIDTH = 16
CHUNKS_MIN = 120
# At this pace the shortest stream outlasts all that happens here, so that no place becomes free for the flood.
PACE_S = 0.12
GOAL_PER_S = 10_000
FLOODS: dict[str, tuple[float, float]] = {"calm": (0.0, 3.0), "goal": (GOAL_PER_S, 4.0), "flat_out": (math.inf, 3.0)}


async def refuse_opens() -> dict[str, Any]:
    """Fill the router up, then flood it with opens that go beyond its limit; measure the streams that are open."""
    long_ones = recordings(WIDTH, chunks_min=CHUNKS_MIN, chunks_max=10_000)
    found: dict[str, dict[str, Any]] = {}
    async with StreamRouter.start(config(limits={"open_requests_max": WIDTH})) as router:
        flooding = child("flood", ray.get_runtime_context().gcs_address)
        try:
            await said(flooding, "ready")
            load = Load(router, width=WIDTH, pace_s=PACE_S, chosen=long_ones)
            load.start()
            await until(lambda: load.is_steady, "the load is steady")
            times = {}
            for name, (opens_per_s, seconds) in FLOODS.items():
                began = time.monotonic()
                found[name] = {}
                if opens_per_s:
                    flooding.stdin.write(f"{opens_per_s} {seconds}\n")
                    flooding.stdin.flush()
                    found[name] = json.loads(await said(flooding, "flooded"))
                else:
                    await asyncio.sleep(seconds)
                times[name] = (began, time.monotonic())
            tally = await load.stop(cut_short=True)
        finally:
            kill(flooding)
        refused = (await router.describe()).routers[0].refused_by.get("limit_exceeded", 0)
    for name, (began, ended) in times.items():
        latencies_s = [seconds for stream in load.streams for seconds in stream.latencies_s(began, ended)]
        found[name]["latency_p50_s"] = percentile(latencies_s, 0.5)
        found[name]["latency_p99_s"] = percentile(latencies_s, 0.99)
        found[name]["latency_max_s"] = percentile(latencies_s, 1.0)
        found[name]["messages"] = len(latencies_s)
    return figures("opens refused", tally, 0, [], refused=refused, floods=found)
