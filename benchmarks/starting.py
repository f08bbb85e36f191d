"""How long `StreamRouter.start` takes beyond the `ray.init` in it, and what comes after; beside a bare actor of Ray's.

Each in a process of its own, by turns. A start's own `ray.init` is subtracted, not that of another process: where other
work runs, one takes seconds longer than the next. Nothing else of the process is timed: all imports are done before.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from benchmarks.measure import figure, significant

DEADLINE_S = 120.0
_BARE = """
import json, time, ray
class Actor:
    async def hello(self):
        return "hello"
began = time.perf_counter()
ray.init(address="local", include_dashboard=False, log_to_driver=False, configure_logging=False)
up = time.perf_counter()
actor = ray.remote(Actor).options(name="bare", num_cpus=0, max_concurrency=1000).remote()
ray.get(actor.hello.remote())
print(json.dumps({"init_s": up - began, "actor_s": time.perf_counter() - up}))
ray.shutdown()
"""
_ROUTER = """
import asyncio, json, time, ray
from router import RouterConfig, StreamRouter
config = RouterConfig()
init = ray.init
def timed(**options):
    global init_s
    began = time.perf_counter()
    init(**options)
    init_s = time.perf_counter() - began
ray.init = timed
async def start():
    began = time.perf_counter()
    async with StreamRouter.start(config) as router:
        start_s = time.perf_counter() - began - init_s
        async with router.publish("first"):
            open_s = time.perf_counter() - began - init_s
            await router.warm()
            warm_s = time.perf_counter() - began - init_s
    print(json.dumps({"init_s": init_s, "start_s": start_s, "open_s": open_s, "warm_s": warm_s}))
asyncio.run(start())
"""


def _times(code: str) -> dict[str, float]:
    done = subprocess.run(  # noqa: S603  # ourselves
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    if done.returncode:
        raise RuntimeError(f"a start ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure_starts(repeats: int) -> dict[str, Any]:
    """Return what comes beyond `ray.init`, of both: till a call is answered, till an open, till all actors are warm."""
    pairs = [(_times(_BARE), _times(_ROUTER)) for _ in range(repeats)]

    def of(which: int, name: str) -> dict[str, float]:
        return figure([pair[which][name] for pair in pairs])

    starts = of(1, "start_s")
    return {
        "ray_init_s": of(0, "init_s"),
        "bare_actor_beyond_ray_init_s": of(0, "actor_s"),
        "ray_init_of_the_start_s": of(1, "init_s"),
        "start_beyond_ray_init_s": starts,
        "first_open_beyond_ray_init_s": of(1, "open_s"),
        "warm_beyond_ray_init_s": of(1, "warm_s"),
        "beyond_ray_init_s": significant(starts["median"], 3),
    }
