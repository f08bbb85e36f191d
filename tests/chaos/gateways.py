"""Kills under readers over HTTP: of a gateway, of what runs agents, of a stream actor, of a router.

Readers go on as an `EventSource` does, behind the last event that they had. What each has read in the end is compared
with what a reader has that comes when all is over.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import psutil

from gateway.config import gateway_section
from gateway.workers.fleet import served_here
from router import StreamRouter
from tests.gateway.resuming import ResumingReader

from .common import config, figures, is_gone, until
from .load import Tally

READERS = int(os.environ.get("CHAOS_READERS", "200"))
READERS_OF_GATEWAY = int(os.environ.get("CHAOS_READERS", "1000"))
RUNS = 10
PACE_S = 0.25
KILLS = 3
SAMPLE = 100  # of all waits, evenly

FindVictim = Callable[[StreamRouter], Awaitable[int]]


class Audience:
    """Readers of some runs, by way of two gateways that share a port."""

    def __init__(self, http: aiohttp.ClientSession, url: str, readers: int) -> None:
        self._http = http
        self._url = url
        self._count = readers
        self._reading: list[asyncio.Task[None]] = []
        self.runs: list[str] = []
        self.readers: list[ResumingReader] = []

    async def begin(self) -> None:
        """Start runs and read them; return when every reader has something."""
        self.runs = [await self.start() for _ in range(RUNS)]
        self.readers = [self._reader(self.runs[number % RUNS]) for number in range(self._count)]
        self._reading = [asyncio.create_task(reader.read()) for reader in self.readers]
        await until(lambda: all(reader.ids for reader in self.readers), "every reader has something")

    async def start(self) -> str:
        """Start a run."""
        body = {"agent": "steady", "input": {"pace_s": PACE_S}}
        async with self._http.post(f"{self._url}/v1/streams", json=body) as answered:
            return str((await answered.json())["id"])

    async def cancel(self) -> None:
        """End the runs."""
        for run in self.runs:
            async with self._http.delete(f"{self._url}/v1/streams/{run}") as answered:
                answered.raise_for_status()

    async def go_on(self, struck_at: float, what: str) -> list[float]:
        """Wait until every reader has something new, or its end; return how long each had to wait."""
        had = [len(reader.ids) for reader in self.readers]
        went_on: dict[int, float] = {}

        def all_went_on() -> bool:
            for number, reader in enumerate(self.readers):
                if number not in went_on and (len(reader.ids) > had[number] or reader.ends):
                    went_on[number] = time.monotonic() - struck_at
            return len(went_on) == len(self.readers)

        await until(all_went_on, what)
        return list(went_on.values())

    async def tally(self) -> Tally:
        """Wait for all ends; return what each has read, held against a reader that comes now."""
        await asyncio.gather(*self._reading)
        right = {run: self._reader(run) for run in self.runs}
        await asyncio.gather(*(reader.read() for reader in right.values()))
        tally = Tally()
        for number, reader in enumerate(self.readers):
            _count(tally, reader, right[self.runs[number % RUNS]])
        return tally

    def _reader(self, run: str) -> ResumingReader:
        return ResumingReader(self._http, lambda: self._url, run)


def _count(tally: Tally, reader: ResumingReader, right: ResumingReader) -> None:
    ids = reader.ids
    tally.streams += 1
    tally.messages += len(ids)
    tally.duplicated += len(ids) - len(set(ids))
    tally.out_of_order += sum(one > next_one for one, next_one in itertools.pairwise(ids))
    tally.lost += len(set(right.ids) - set(ids))
    tally.wrong += reader.digest != right.digest
    tally.without_terminal += not reader.ends
    tally.with_several_terminals += reader.ends > 1
    tally.ended_by[str(reader.stop_reason)] += 1


async def _under_readers(kind: str, find_victim: FindVictim, readers: int, kills: int = KILLS) -> dict[str, Any]:
    agents = {"steady": {"run": "tests.gateway.gateway_agents:steady"}}
    section = gateway_section({"port": 0, "workers": 2, "agents": agents, "runner_actors": 1})
    async with AsyncExitStack() as held:
        router = await held.enter_async_context(StreamRouter.start(config(streams={"dialect": "chat"})))
        url = await held.enter_async_context(served_here(router, section))
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
        http = await held.enter_async_context(aiohttp.ClientSession(connector=connector, timeout=timeout))
        audience = Audience(http, url, readers)
        await audience.begin()
        waited_s: list[float] = []
        for number in range(1, kills + 1):
            victim = await find_victim(router)
            struck_at = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            await until(lambda victim=victim: is_gone(victim), "the victim is dead")
            waited_s += await audience.go_on(struck_at, f"all readers go on after kill {number}")
        if not all(reader.ends for reader in audience.readers):
            await audience.cancel()
        tally = await audience.tally()
        await audience.start()  # what starts runs is there again, or still
        connections = sum(reader.connections for reader in audience.readers)
    waited_s.sort()
    sample_s = [*waited_s[:: max(len(waited_s) // SAMPLE, 1)], waited_s[-1]]
    return figures(kind, tally, kills, sample_s, connections=connections, waited_max_s=waited_s[-1])


def _processes_of(actor: str) -> set[int]:
    """Return the processes of this test's own Ray that are actors of a class."""
    return {one.pid for one in psutil.Process().children(recursive=True) if actor in "".join(one.cmdline())}


async def kill_gateway() -> dict[str, Any]:
    """SIGKILL of one of two gateways, each time of another one."""
    killed: set[int] = set()

    async def victim(_: StreamRouter) -> int:
        pid = min(_processes_of("GatewayWorker") - killed)
        killed.add(pid)
        return pid

    return await _under_readers("gateway killed", victim, READERS_OF_GATEWAY)


async def kill_runner() -> dict[str, Any]:
    """SIGKILL of the actor that runs agents: its runs end by name."""

    async def victim(_: StreamRouter) -> int:
        return min(_processes_of("RunnerActor"))

    return await _under_readers("runner of agents killed", victim, READERS, 1)


async def kill_actor_of_gateway() -> dict[str, Any]:
    """SIGKILL of the stream actor that holds most runs."""

    async def victim(router: StreamRouter) -> int:
        while True:
            described = await router.describe()
            most = max(described.stream_actors, key=lambda actor: actor.open_requests)
            if most.pid and most.open_requests:
                return most.pid

    return await _under_readers("stream actor behind a gateway killed", victim, READERS)


async def kill_router_of_gateway() -> dict[str, Any]:
    """SIGKILL of the router."""

    async def victim(router: StreamRouter) -> int:
        return int((await router.describe()).routers[0].pid)

    return await _under_readers("router behind a gateway killed", victim, READERS)
