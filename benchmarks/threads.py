"""What each thread of this process and of its children has spent: processor time, and how often it has waited.

Linux only: `/proc/PID/task/TID`. A thread that waits and goes on has been woken up, so voluntary switches are wake-ups.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import psutil

DRIVER, ROUTER, ACTOR = "driver", "RouterActor", "StreamActor"
RAYS_OWN = "Ray's own"
LOOP = "event loop"
# Threads keep the name that their process had when they began; Ray makes the event loop of an actor before it names it.
LOOPS_NAME = "ray::IDLE"
NS_PER_S = 1e9


class Spent(NamedTuple):
    """What one thread has spent so far."""

    process: str
    """Its process: `DRIVER`, `ROUTER`, `ACTOR`, or what Ray calls it."""
    thread: str
    """`LOOP`, or the name that Ray gave it."""
    cpu_s: float
    wake_ups: int


def kind_of(process: str) -> str:
    """Return a process of ours, or `RAYS_OWN`."""
    return process if process in (DRIVER, ROUTER, ACTOR) else RAYS_OWN


Snapshot = dict[tuple[int, str], Spent]


def snapshot() -> Snapshot:
    """Return what all threads of this process and of its children have spent so far."""
    found: Snapshot = {}
    me = psutil.Process()
    for process in [me, *me.children(recursive=True)]:
        try:
            name = DRIVER if process.pid == me.pid else _name(process.cmdline()[0])
            threads = [*Path(f"/proc/{process.pid}/task").iterdir()]
        except (psutil.Error, OSError, IndexError):
            continue
        for thread in threads:
            try:
                found[process.pid, thread.name] = _spent(name, process.pid, thread)
            except OSError:
                continue  # it has ended
    return found


def _name(title: str) -> str:
    for name in (ROUTER, ACTOR):
        if name in title:
            return name
    return title.split(maxsplit=1)[0].rpartition("/")[2]


def _spent(process: str, pid: int, thread: Path) -> Spent:
    called = (thread / "comm").read_text().strip()
    is_loop = thread.name == str(pid) if process == DRIVER else process in (ROUTER, ACTOR) and called == LOOPS_NAME
    cpu_s = int((thread / "schedstat").read_text().split()[0]) / NS_PER_S
    line = "\nvoluntary_ctxt_switches:"
    wake_ups = int((thread / "status").read_text().partition(line)[2].split()[0])
    return Spent(process, LOOP if is_loop else called, cpu_s, wake_ups)


def between(before: Snapshot, after: Snapshot, seconds: float) -> dict[tuple[str, str], tuple[float, float]]:
    """Return cores busy and wake-ups a second between two snapshots, by process and thread."""
    found: dict[tuple[str, str], tuple[float, float]] = {}
    for key, spent in after.items():
        earlier = before.get(key, spent._replace(cpu_s=0.0, wake_ups=0))
        cores, wakes = found.get((spent.process, spent.thread), (0.0, 0.0))
        found[spent.process, spent.thread] = (
            cores + (spent.cpu_s - earlier.cpu_s) / seconds,
            wakes + (spent.wake_ups - earlier.wake_ups) / seconds,
        )
    return found
