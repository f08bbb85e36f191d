"""Processes of a benchmark: plain classes made Ray actors, in one place."""

from __future__ import annotations

from typing import Any

import ray

OPTIONS: dict[str, Any] = {"num_cpus": 0, "max_concurrency": 10_000}


def spawn(kind: type, *arguments: Any, **options: Any) -> Any:
    """Start an actor of this class, in a process of its own; return its handle."""
    return ray.remote(**{**OPTIONS, **options})(kind).remote(*arguments)
