"""How long `StreamRouter.start` takes beyond a bare `ray.init`, each in a process of its own, by turns.

Nothing else of the process is timed: all imports are done before.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from benchmarks.measure import figure, significant

DEADLINE_S = 120.0
_BARE = """
import time, ray
began = time.perf_counter()
ray.init(address="local", include_dashboard=False, log_to_driver=False, configure_logging=False)
print(time.perf_counter() - began)
ray.shutdown()
"""
_ROUTER = """
import asyncio, time, ray
from router import RouterConfig, StreamRouter
config = RouterConfig()
async def start():
    began = time.perf_counter()
    async with StreamRouter.start(config):
        print(time.perf_counter() - began)
asyncio.run(start())
"""


def _seconds(code: str) -> float:
    done = subprocess.run(  # noqa: S603  # ourselves
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    if done.returncode:
        raise RuntimeError(f"a start ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def measure_starts(repeats: int) -> dict[str, Any]:
    """Return how long both take, and what the router adds."""
    pairs = [(_seconds(_BARE), _seconds(_ROUTER)) for _ in range(repeats)]
    bare_s, router_s = figure([bare for bare, _ in pairs]), figure([router for _, router in pairs])
    return {
        "ray_init_s": bare_s,
        "router_start_s": router_s,
        "beyond_ray_init_s": significant(router_s["median"] - bare_s["median"], 3),
    }
