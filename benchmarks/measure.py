"""Figures with their spread; CPU time and memory of groups of processes."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import psutil

T = TypeVar("T")


def figure(values: Sequence[float], digits: int = 4) -> dict[str, Any]:
    """Return the median of repeats with all that it was taken from."""
    return {
        "median": significant(statistics.median(values), digits),
        "low": significant(min(values), digits),
        "high": significant(max(values), digits),
        "values": [significant(value, digits) for value in values],
    }


def significant(value: float, digits: int = 4) -> float:
    """Round to so many significant digits."""
    return float(f"{value:.{digits}g}")


def middle(runs: Sequence[T], key: Callable[[T], float]) -> T:
    """Return the run whose figure is the median; of an even number the higher one."""
    return sorted(runs, key=key)[len(runs) // 2]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` (0 to 1) of all lie."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def family() -> list[psutil.Process]:
    """Return this process and all it has started: an embedded Ray with its workers among them."""
    me = psutil.Process()
    return [me, *me.children(recursive=True)]


def cpu_s(pids: Iterable[int]) -> float:
    """Return the CPU time (user and system) that these processes have used so far."""
    total = 0.0
    for pid in pids:
        try:
            times = psutil.Process(pid).cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def memory_bytes(pids: Iterable[int]) -> dict[str, int]:
    """Return what these processes hold: `uss` (theirs alone) and `pss` (with their share of what is shared)."""
    uss = pss = 0
    for pid in pids:
        try:
            info = psutil.Process(pid).memory_full_info()
        except psutil.NoSuchProcess:
            continue
        uss += info.uss
        pss += info.pss
    return {"uss": uss, "pss": pss}
