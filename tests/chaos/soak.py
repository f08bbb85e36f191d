"""Short requests for a long time: what each one that is over leaves behind, in bytes, in every process.

    python -m tests.chaos.soak --minutes 30

Requests of a few chunks are published and read to their end, many at a time, with short times-to-live, so that
nothing is kept on purpose. Now and then the memory that only this process has (USS) is taken of the driver, the
router and each stream actor. The bytes per closed request are the slope of the straight line through these, from
the time when all have warmed up: what grows with the number of requests, and not what a process once took.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from actors.errors import StreamRouterError
from router import StreamRouter

from .common import config

WIDTH = 48
CHUNKS = 4
CHUNK = json.dumps({"choices": [{"index": 0, "delta": {"content": "x" * 120}}]}).encode()
LOOK_EVERY_S = 5.0
# What comes before is warm-up: arenas, caches, compiled patterns.
WARM_SHARE = 0.25
SAMPLES_MIN = 6
MESSAGES = CHUNKS + 2
SETTINGS = {
    "dialect": "chat",
    "sealed_ttl_s": 10.0,
    "publisher_grace_s": 5.0,
    "request_timeout_s": 20.0,
    "first_message_timeout_s": 20.0,
    "stall_timeout_s": 20.0,
}
NEVER = 1_000_000_000


class Sample(NamedTuple):
    """What a process held when so many requests were over."""

    closed: int
    bytes_held: int


@dataclass
class Role:
    """All samples of one process."""

    name: str
    pid: int
    samples: list[Sample] = field(default_factory=list)

    def bytes_per_request(self) -> float | None:
        """Return the slope of the samples after the warm-up; None where there are too few."""
        kept = self.samples[int(len(self.samples) * WARM_SHARE) :]
        return slope(kept) if len(kept) >= SAMPLES_MIN else None


def slope(samples: Sequence[Sample]) -> float:
    """Return the slope of the straight line with the least squares through samples."""
    count = len(samples)
    mean_closed = sum(s.closed for s in samples) / count
    mean_bytes = sum(s.bytes_held for s in samples) / count
    spread = sum((s.closed - mean_closed) ** 2 for s in samples)
    if not spread:
        return 0.0
    return sum((s.closed - mean_closed) * (s.bytes_held - mean_bytes) for s in samples) / spread


class Soak:
    """Publishes and reads until its time is over."""

    def __init__(self, router: StreamRouter, seconds: float) -> None:
        self._router = router
        self._until = time.monotonic() + seconds
        self.closed = 0
        self.wrong: list[str] = []
        self.roles: dict[int, Role] = {}

    @property
    def is_over(self) -> bool:
        """Whether its time is over."""
        return time.monotonic() >= self._until

    async def run(self) -> None:
        """Run to the end."""
        watching = asyncio.create_task(self._watch())
        await asyncio.gather(*(self._requests(place) for place in range(WIDTH)))
        await watching

    async def _requests(self, place: int) -> None:
        number = 0
        while not self.is_over:
            number += 1
            request_id = f"soak-{place}-{number}"
            try:
                _, found = await asyncio.gather(self._publish(request_id), self._read(request_id))
            except StreamRouterError as error:
                self.wrong.append(f"{request_id}: {error!r}")
                continue
            if found != list(range(1, MESSAGES + 1)):
                self.wrong.append(f"{request_id}: {found}")
            self.closed += 1

    async def _publish(self, request_id: str) -> None:
        async with self._router.publish(request_id, SETTINGS) as stream:
            for _ in range(CHUNKS):
                await stream.chunk(CHUNK)

    async def _read(self, request_id: str) -> list[int]:
        found: list[int] = []
        async for batch in self._router.subscribe(request_id, format="dict"):
            found += [message["seq_id"] for message in batch]
        return found

    async def _watch(self) -> None:
        while not self.is_over:
            described = await self._router.describe()
            pids = {described.routers[0].pid: "router"}
            pids |= {actor.pid: "stream actor" for actor in described.stream_actors if actor.pid}
            gc.collect()
            self._take(psutil.Process().pid, "driver")
            for pid, name in pids.items():
                self._take(pid, name)
            await asyncio.sleep(LOOK_EVERY_S)

    def _take(self, pid: int, name: str) -> None:
        try:
            held = psutil.Process(pid).memory_full_info().uss
        except psutil.NoSuchProcess:
            return  # retired since
        role = self.roles.setdefault(pid, Role(name, pid))
        role.samples.append(Sample(self.closed, held))


async def soak(minutes: float, recycle_after: int) -> dict[str, Any]:
    """Run; return the figures."""
    chosen = config(
        stream_actors={"recycle_after_requests": recycle_after},
        limits={"open_requests_max": 2_000},
    )
    began = time.monotonic()
    async with StreamRouter.start(chosen) as router:
        running = Soak(router, minutes * 60.0)
        await running.run()
        described = await router.describe()
    seconds = time.monotonic() - began
    order = ("driver", "router", "stream actor")
    found: dict[str, Any] = {
        "minutes": round(seconds / 60.0, 1),
        "closed": running.closed,
        "wrong": running.wrong[:5],
        "wrong_count": len(running.wrong),
        "recycle_after_requests": None if recycle_after == NEVER else recycle_after,
        "stream_actors_used": sum(role.name == "stream actor" for role in running.roles.values()),
        "counts": described.routers[0].counts,
        "processes": [],
    }
    for role in sorted(running.roles.values(), key=lambda role: (order.index(role.name), role.pid)):
        per_request = role.bytes_per_request()
        found["processes"].append(
            {
                "process": role.name,
                "first_bytes": role.samples[0].bytes_held,
                "last_bytes": role.samples[-1].bytes_held,
                "closed": role.samples[-1].closed - role.samples[0].closed,
                "bytes_per_closed_request": None if per_request is None else round(per_request, 1),
            }
        )
    return found


def table(found: dict[str, Any]) -> str:
    """Return the figures as a table in Markdown."""
    lines = [
        (
            f"{found['closed']:,} requests in {found['minutes']:g} minutes, "
            f"{found['stream_actors_used']} stream actors, "
            f"{found['wrong_count']} wrong"
        ),
        "",
        "| process | requests closed while it ran | first | last | bytes a closed request |",
        "|---|---:|---:|---:|---:|",
    ]
    for process in found["processes"]:
        first, last = (f"{process[name] / 1048576:.1f} MiB" for name in ("first_bytes", "last_bytes"))
        each = process["bytes_per_closed_request"]
        lines.append(
            f"| {process['process']} | {process['closed']:,} | {first} | {last} | "
            f"{'' if each is None else f'{each:.0f}'} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Run the command; 1 says that a request was not whole."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--recycle-after", type=int, default=NEVER, help="requests after which an actor is replaced")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE")
    given = parser.parse_args()
    found = asyncio.run(soak(given.minutes, given.recycle_after))
    if given.json is not None:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))
    return 1 if found["wrong_count"] else 0


if __name__ == "__main__":
    sys.exit(main())
