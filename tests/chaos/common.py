"""What all kinds of kill share: the configuration, waiting for a condition, the figures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import ray

from router import Description, RouterConfig

from .load import Tally, percentile

ROOT = Path(__file__).parents[2]
NAME = "chaos"
LOOK_S = 0.02
# Not a promise of the router: the time after which a kind gives up, long enough for a busy machine.
PATIENCE_S = 90.0


def config(*, stream_actors: dict[str, Any] | None = None, **more: Any) -> RouterConfig:
    """Return the configuration of the load."""
    return RouterConfig.model_validate(
        {
            "name": NAME,
            "ray": {"num_cpus": 2},
            **more,
            "stream_actors": {"max_actors": 2, "warm_actors": 2, **(stream_actors or {})},
        }
    )


async def until(condition: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> float:
    """Wait for a condition; return how many seconds that took. Raises TimeoutError, naming what did not happen."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > patience_s:
            raise TimeoutError(f"not within {patience_s:g} s: {what}")
        await asyncio.sleep(LOOK_S)
    return time.monotonic() - began


def is_gone(pid: int) -> bool:
    """Whether a process has ended; a zombie has."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def names() -> list[str]:
    """Return the names of all actors of the cluster."""
    return [known["name"] for known in ray.util.list_named_actors(all_namespaces=True)]


def weight(described: Description, node_id: str) -> tuple[int, int]:
    """Return what the loss of a node would cost: its routers, then the open requests of its stream actors."""
    routers = sum(actor.node_id == node_id for actor in described.routers)
    return routers, sum(actor.open_requests for actor in described.stream_actors if actor.node_id == node_id)


def figures(kind: str, tally: Tally, kills: int, recovery_s: list[float], **more: Any) -> dict[str, Any]:
    """Return what a kind reports."""
    return {
        "kind": kind,
        "kills": kills,
        **tally.figures(),
        "recovery_s": [round(seconds, 3) for seconds in recovery_s],
        "recovery_p50_s": percentile(recovery_s, 0.5),
        "recovery_p99_s": percentile(recovery_s, 0.99),
        **more,
    }
