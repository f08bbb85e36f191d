"""What larger machines should reach, reckoned from what was measured, so that such a machine can prove it wrong.

The arithmetic, all of it:

- A chunk costs each process its measured CPU (`cpu_us_per_chunk`), Ray's own included. That was measured with all
  processes on two cores in turn; on more cores it should cost no more.
- A process runs Python on one core at a time, so one of a kind carries at most 1 / its CPU a chunk, and a kind of
  which there are N carries N times as much, the streams being spread evenly.
- All processes of a node together carry at most its cores / the CPU of all, times the share of the cores that was busy
  with it where it was measured (the rest waited for each other).
- Between nodes a chunk is written and read through TCP where it was a local socket: three times (to the router, to the
  stream actor, to the reader) what that costs more, `hop_us_per_chunk`. Of N nodes a share of (N - 1) / N of the ways
  goes to another node, placed blindly. Networks are taken to be no limit: a chunk crosses in 400 bytes at most.
- Nodes share nothing but Ray's control plane, so N of them carry N times as much.

The least of these is what is predicted, and its name is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from benchmarks.measure import significant
from benchmarks.stages import US_PER_S, by_process

HOPS = 3


class Layout(NamedTuple):
    """A machine, and how many processes of each kind run on each of its nodes."""

    name: str
    nodes: int
    cores: int
    """Of each node."""
    processes: dict[str, int]


LAYOUTS = (
    Layout("16 cores, one node: 1 router shard", 1, 16, {"publisher": 4, "router": 1, "stream actor": 8, "reader": 3}),
    Layout("16 cores, one node: 4 router shards", 1, 16, {"publisher": 4, "router": 4, "stream actor": 8, "reader": 4}),
    Layout(
        "8 nodes of 16 cores, 4 shards a node", 8, 16, {"publisher": 4, "router": 4, "stream actor": 8, "reader": 4}
    ),
    Layout("8 nodes of 2 cores, 1 shard a node", 8, 2, {"publisher": 1, "router": 1, "stream actor": 2, "reader": 1}),
)


def busy_share(chunks_per_s: float, us_in_all: float, cores: int) -> float:
    """Return the share of the cores that was busy with chunks; at most all of them."""
    return min(chunks_per_s * us_in_all / US_PER_S / cores, 1.0)


def limits(layout: Layout, cpu_us: Mapping[str, float], more_us_a_hop: float, busy: float) -> dict[str, float]:
    """Return what each kind of process, and the cores, let through a second, all nodes together.

    `cpu_us`: what a chunk costs, by process. `more_us_a_hop`: what a way between nodes costs more, both ends.
    """
    far = (layout.nodes - 1) / layout.nodes
    # Of a hop one end writes and the other reads; each of the four has its part in the three hops.
    more_us = {kind: far * more_us_a_hop * HOPS / len(layout.processes) for kind in layout.processes}
    found = {
        kind: layout.nodes * count * US_PER_S / (cpu_us[kind] + more_us[kind])
        for kind, count in layout.processes.items()
    }
    in_all = sum(cpu_us.values()) + sum(more_us.values())
    found["cores"] = layout.nodes * layout.cores * busy * US_PER_S / in_all
    return found


def predict(layout: Layout, cpu_us: Mapping[str, float], more_us_a_hop: float, busy: float) -> dict[str, Any]:
    """Return what a layout should carry, what keeps it from more, and what each limit is."""
    all_limits = limits(layout, cpu_us, more_us_a_hop, busy)
    what = min(all_limits, key=lambda name: all_limits[name])
    return {
        "name": layout.name,
        "chunks_per_s": significant(all_limits[what], 3),
        "limited_by": what,
        "limits": {name: significant(value, 3) for name, value in all_limits.items()},
    }


def add_prediction(found: dict[str, Any]) -> None:
    """Put predictions among the figures, where those that they are reckoned from were measured in the same run."""
    shared, stages = found.get("throughput", {}).get("shared"), found.get("stages")
    if shared is None or stages is None:
        return
    cpu_us = by_process(shared["cpu_us_per_chunk"])
    cores = found["machine"]["cpus"]
    busy = busy_share(shared["chunks_per_s"]["median"], sum(cpu_us.values()), cores)
    hop = stages["hop_us_per_chunk"]
    more_us = max(hop["network"] - hop["local"], 0.0)
    found["prediction"] = {
        "cpu_us_per_chunk": {name: significant(us, 3) for name, us in cpu_us.items()},
        "busy_share": significant(busy, 3),
        "more_us_a_hop": significant(more_us, 3),
        "layouts": [predict(layout, cpu_us, more_us, busy) for layout in LAYOUTS],
    }
