"""Processes of a benchmark: plain classes made Ray actors, in one place."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import ray

UVLOOP = "RAY_USE_UVLOOP"
OPTIONS: dict[str, Any] = {"num_cpus": 0, "max_concurrency": 10_000}


def spawn(kind: type, *arguments: Any, **options: Any) -> Any:
    """Start an actor of this class, in a process of its own; return its handle."""
    return ray.remote(**{**OPTIONS, **options})(kind).remote(*arguments)


def leave_uvloop_out() -> None:
    """Let Ray's actors run on asyncio's own loop, unless `RAY_USE_UVLOOP` says otherwise. Called before Ray starts.

    Ray Serve, one of the peers, brings uvloop along, and Ray takes it for all actors where it is installed. Users who
    have neither are not to be shown its figures.
    """
    os.environ.setdefault(UVLOOP, "0")


def has_uvloop() -> bool:
    """Whether Ray's actors run on uvloop."""
    return importlib.util.find_spec("uvloop") is not None and os.environ.get(UVLOOP) != "0"
