"""What a reader over HTTP costs: `python -m benchmarks.gateway [--quick] [--only ours|plain|langgraph] [--json FILE]`.

A gateway on a router, each in processes of its own, is read by clients that do as little as they can; beside it, in the
same run, what one would write by hand for the same purpose (Starlette, and an XREAD of a Redis stream for each reader),
and LangGraph's own server, where it is installed.
CPU is what the serving process used (user and system), memory what it and those behind it hold alone (USS).

    open        beyond subscribing itself, which is measured without HTTP in the same process
    idle        memory of readers that wait, each for a run of its own; and of readers of one run
    heartbeats  CPU of readers that wait, as a share of a core
    message     CPU a message and reader: each reads a run of its own, at a pace of people; and all read one run
    latency     what HTTP adds to a message that is alone under way
    floor       beside a message of ours, at that moment: what aiohttp alone takes to write an event to one of as many
                readers, at the same pace
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import ray

from benchmarks import langgraph_server, measure, ours, redis_streams, targets
from benchmarks.gateway_processes import BareServer, GatewayServer, HttpReaders, PlainServer
from benchmarks.measure import percentile, significant
from benchmarks.spawn import leave_uvloop_out, spawn
from router.config import RayConfig
from router.on_ray.cluster import ensure_ray

HEARTBEAT_S = 15.0
WARM_UP = 20
US, MS, KB = 1e6, 1e3, 1e3
MESSAGES_PER_S = 5.0
PACED_RUNS = 400  # with which `benchmarks.pace` measures too
FIELDS = {"m": b'{"message_type":"assistant_message","run_id":"run-1","seq_id":1,"content":"%b"}'}

TARGETS: tuple[targets.Target, ...] = (
    ("ours.open_us_beyond", "open, beyond subscribing, us of CPU", targets.AT_MOST, 400),
    ("ours.idle_kb", "an idle reader: the gateway, kB", targets.AT_MOST, 14),
    ("ours.idle_kb_whole", "an idle reader: the whole stack, kB", targets.AT_MOST, 17),
    ("ours.heartbeats_percent", "10,000 idle readers with heartbeats: percent of a core", targets.AT_MOST, 5),
    ("ours.message_us", "a message and reader, us of CPU", targets.AT_MOST, 50),
    ("ours.message_us_of_one_run", "the same, when 1,000 read one run", targets.AT_MOST, 20),
    ("ours.not_found_ms", "a 404: p50, ms", targets.AT_MOST, 20),
    ("ours.added_ms", "what HTTP adds at light load: p50, ms", targets.AT_MOST, 3),
)


class Size(NamedTuple):
    """How much is measured."""

    readers: int
    idle_readers: int
    seconds: float
    heartbeats_s: float


FULL = Size(readers=1000, idle_readers=10_000, seconds=6.0, heartbeats_s=2 * HEARTBEAT_S)
QUICK = Size(readers=200, idle_readers=1000, seconds=2.0, heartbeats_s=HEARTBEAT_S)


class Contender(Protocol):
    """A server, and what says something behind it."""

    server: Any
    url: str
    server_pid: int
    idle_readers_max: int
    pids: list[int]
    """Of all processes that carry something, the server's among them."""
    head: str
    """What else its readers say in their requests' heads."""

    def path(self, request_id: str) -> str:
        """Return where a run is read."""
        ...

    async def open_runs(self, count: int) -> list[str]:
        """Open runs, and say a message in each."""
        ...

    async def pace(self, request_ids: list[str], messages_per_s: float, seconds: float) -> int:
        """Say stamped messages in turn; return how many."""
        ...


class _Native:
    """Readers of these ask as an `EventSource` does."""

    head = ""

    @staticmethod
    def path(request_id: str) -> str:
        """See `Contender`."""
        return f"/v1/streams/{request_id}/events"


class Ours(_Native):
    """A gateway."""

    idle_readers_max = 10_000

    def __init__(self, stage: ours.Stage, server: Any, url: str, server_pid: int) -> None:
        self._stage = stage
        self.server = server
        self.url = url
        self.server_pid = server_pid
        self.pids = [server_pid, *(pid for name, pid in stage.pids.items() if name.startswith(("router", "stream")))]

    async def open_runs(self, count: int) -> list[str]:
        """See `Contender`."""
        request_ids = self._stage.ids(count)
        await self._stage.producer.open.remote(request_ids)
        await self._stage.producer.run.remote(request_ids, 1)
        return request_ids

    async def pace(self, request_ids: list[str], messages_per_s: float, seconds: float) -> int:
        """See `Contender`."""
        found = await self._stage.producer.pace.remote(request_ids, messages_per_s, seconds)
        return int(found["sent"])


class Plain(_Native):
    """Starlette and Redis."""

    idle_readers_max = 1000  # each takes two files, and a client of Redis

    def __init__(self, server: Any, url: str, server_pid: int, redis: Any, redis_pid: int) -> None:
        self._redis = redis
        self._runs = 0
        self.server = server
        self.url = url
        self.server_pid = server_pid
        self.pids = [server_pid, redis_pid]

    async def open_runs(self, count: int) -> list[str]:
        """See `Contender`."""
        request_ids = [f"run-{self._runs + n}" for n in range(count)]
        self._runs += count
        for request_id in request_ids:
            await self._redis.xadd(request_id, {"m": FIELDS["m"] % b"The"})
        return request_ids

    async def pace(self, request_ids: list[str], messages_per_s: float, seconds: float) -> int:
        """See `Contender`."""
        count = int(messages_per_s * seconds)
        began = time.monotonic()
        for number in range(count):
            await asyncio.sleep(max(0.0, began + number / messages_per_s - time.monotonic()))
            said = FIELDS["m"] % b"@%019d" % time.monotonic_ns()
            await self._redis.xadd(request_ids[number % len(request_ids)], {"m": said})
        return count


@asynccontextmanager
async def our_gateway() -> AsyncIterator[Ours]:
    """Run a gateway on a router."""
    async with ours.stage(actors=1) as stage:
        server = spawn(GatewayServer)
        pid = await server.connect.remote(stage.name)
        url = await server.serve.remote({"port": 0, "heartbeat_s": HEARTBEAT_S, "readers_max": 20_000})
        yield Ours(stage, server, url, pid)
        ray.kill(server)


@asynccontextmanager
async def plain_server() -> AsyncIterator[Plain]:
    """Run Starlette on Redis."""
    import redis.asyncio  # noqa: PLC0415  # an extra of its own

    with redis_streams.redis_server() as port:
        await asyncio.sleep(0.3)
        server = spawn(PlainServer)
        url = await server.serve.remote(port, HEARTBEAT_S)
        async with redis.asyncio.Redis(port=port) as client:
            info = await client.info("server")
            yield Plain(server, url, await server.pid.remote(), client, int(info["process_id"]))
        ray.kill(server)


def plain_is_missing() -> str | None:
    """Return why the other one cannot be measured here, or None."""
    try:
        import starlette  # noqa: F401, PLC0415  # an extra of its own
        import uvicorn  # noqa: F401, PLC0415  # an extra of its own
    except ImportError as error:
        return f"{error} (pip install 'agent-stream-router[bench]')"
    return redis_streams.missing()


# --- what is measured ---------------------------------------------------------------------------


async def _memory(contender: Contender) -> tuple[int, int]:
    await contender.server.settle.remote()
    return tuple(measure.memory_bytes(pids)["uss"] for pids in ([contender.server_pid], contender.pids))  # type: ignore[return-value]


async def _open(contender: Contender, readers: Any, run_ids: list[str], at_a_time: int = 8) -> None:
    paths = [contender.path(run_id) for run_id in run_ids]
    await readers.open.remote(contender.url, paths, at_a_time, contender.head)


async def measure_open_and_idle(contender: Contender, readers: Any, size: Size, found: dict[str, Any]) -> list[str]:
    """Open readers, each of a run of its own, and let them wait; return the runs."""
    run_ids = await contender.open_runs(size.readers)
    await _open(contender, readers, run_ids[:WARM_UP])  # few: what they leave is used again
    await readers.close.remote()
    before = await _memory(contender)
    began_s = await contender.server.cpu_s.remote()
    await _open(contender, readers, run_ids)
    found["open_us"] = (await contender.server.cpu_s.remote() - began_s) / size.readers * US
    after = await _memory(contender)
    found["idle_kb"], found["idle_kb_whole"] = (
        (held - held_before) / size.readers / KB for held, held_before in zip(after, before, strict=True)
    )
    return run_ids


async def measure_messages(
    contender: Contender, readers: Any, run_ids: list[str], each: int, rate: float, seconds: float
) -> float:
    """Return the CPU of a message and reader, us; each of the runs has so many readers."""
    await readers.forget.remote()
    await contender.server.settle.remote()
    began_s = await contender.server.cpu_s.remote()
    count = await contender.pace(run_ids, rate, seconds)
    await readers.until.remote(count * each)
    used_s: float = await contender.server.cpu_s.remote() - began_s
    return used_s / (count * each) * US


async def measure_floor(rate: float, seconds: float) -> float:
    """Return the CPU of an event that is written by itself, us; each of `PACED_RUNS` readers has events of its own."""
    server, readers = spawn(BareServer), spawn(HttpReaders)
    await readers.open.remote(await server.serve.remote(), ["/"] * PACED_RUNS)
    await readers.forget.remote()
    began_s = await server.cpu_s.remote()
    count = await server.pace.remote(rate, seconds)
    await readers.until.remote(count)
    used_s: float = await server.cpu_s.remote() - began_s
    for process in (server, readers):
        ray.kill(process)
    return used_s / count * US


async def measure_heartbeats(contender: Contender, readers: Any, size: Size, run_ids: list[str]) -> float:
    """Return what idle readers take, in percent of a core for 10,000."""
    count = min(size.idle_readers, contender.idle_readers_max)
    await _open(contender, readers, [run_ids[n % len(run_ids)] for n in range(count)], 32)
    await contender.server.settle.remote()
    began_s, began_at = await contender.server.cpu_s.remote(), time.monotonic()
    await asyncio.sleep(size.heartbeats_s)
    used_s: float = await contender.server.cpu_s.remote() - began_s
    await readers.close.remote()
    return 100 * used_s / (time.monotonic() - began_at) * 10_000 / count


async def measure_all(contender: Contender, size: Size) -> dict[str, Any]:
    """Measure one of them."""
    found: dict[str, Any] = {}
    readers = spawn(HttpReaders)
    run_ids = await measure_open_and_idle(contender, readers, size, found)
    paced = run_ids[:PACED_RUNS]
    rate = MESSAGES_PER_S * len(paced)
    found["message_us"] = await measure_messages(contender, readers, paced, 1, rate, size.seconds)
    if isinstance(contender, Ours):
        found["floor_us"] = await measure_floor(rate, size.seconds)
        found["message_to_floor"] = found["message_us"] / found["floor_us"]
    one = await contender.open_runs(1)  # read beside those that are there: what they would leave is used again
    before = await _memory(contender)
    await _open(contender, readers, one * size.readers)
    found["idle_kb_of_one_run"] = ((await _memory(contender))[0] - before[0]) / size.readers / KB
    found["message_us_of_one_run"] = await measure_messages(
        contender, readers, one, size.readers, 2 * MESSAGES_PER_S, size.seconds
    )
    await readers.close.remote()
    found["heartbeats_percent"] = await measure_heartbeats(contender, readers, size, run_ids)
    found |= await measure_latency(contender, readers)
    ray.kill(readers)
    return found


async def measure_latency(contender: Contender, readers: Any) -> dict[str, float]:
    """Return how long a message takes that is alone under way; of ours also without HTTP."""
    (run_id,) = await contender.open_runs(1)
    await _open(contender, readers, [run_id])
    await readers.forget.remote()
    direct = contender.server.delays_s.remote(run_id, 100) if isinstance(contender, Ours) else None
    count = await contender.pace([run_id], 20.0, 7.0)
    delays_s = await readers.until.remote(count)
    found = {"latency_ms": statistics.median(delays_s) * MS, "latency_p99_ms": percentile(delays_s, 0.99) * MS}
    if direct is not None:
        found["added_ms"] = found["latency_ms"] - statistics.median(await direct) * MS
    await readers.close.remote()
    return found


async def measure_ours(size: Size) -> dict[str, Any]:
    """Measure a gateway, and what only it is measured by."""
    async with our_gateway() as contender:
        found = await measure_all(contender, size)
        run_ids = await contender.open_runs(size.readers)
        await contender.server.subscribing_s.remote(run_ids[:50])
        subscribing_s = await contender.server.subscribing_s.remote(run_ids)
        found["subscribe_us"] = subscribing_s / size.readers * US
        found["open_us_beyond"] = found["open_us"] - found["subscribe_us"]
        readers = spawn(HttpReaders)
        answers_s = await readers.answers_s.remote(contender.url, "/v1/streams/none/events", 100)
        found["not_found_ms"] = statistics.median(answers_s) * MS
        found["not_found_p99_ms"] = percentile(answers_s, 0.99) * MS
        return found


PEERS: dict[str, tuple[str, Callable[[], str | None], Callable[[], AbstractAsyncContextManager[Contender]]]] = {
    "plain": ("Starlette and Redis", plain_is_missing, plain_server),
    "langgraph": ("LangGraph's own server", langgraph_server.missing, langgraph_server.langgraph_server),
}
"""What stands beside it: what it is, why it cannot be measured here, and what runs it."""


async def run(size: Size, wanted: list[str]) -> dict[str, Any]:
    """Measure what is asked for."""
    found: dict[str, Any] = {}
    if "ours" in wanted:
        print("ours: a gateway", file=sys.stderr, flush=True)
        found["ours"] = await measure_ours(size)
    for name, (says, missing, peer) in PEERS.items():
        why_not = missing() if name in wanted else "not asked for"
        print(f"{name}: {why_not or says}", file=sys.stderr, flush=True)
        if why_not is None:
            async with AsyncExitStack() as held:
                found[name] = await measure_all(await held.enter_async_context(peer()), size)
    return {name: {key: significant(value, 3) for key, value in figures.items()} for name, figures in found.items()}


def table(found: dict[str, Any]) -> str:
    """Return the figures of all as lines of text."""
    keys = dict.fromkeys(key for figures in found.values() for key in figures)
    lines = [f"{'':<26}" + "".join(f"{name:>10}" for name in found)]
    for key in keys:
        values = [found[name].get(key) for name in found]
        lines.append(f"{key:<26}" + "".join(f"{'-' if value is None else f'{value:g}':>10}" for value in values))
    return "\n".join(lines)


def main() -> int:
    """Parse the command line, measure, and print the figures and which targets are met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer readers; figures are rougher")
    parser.add_argument("--only", choices=("ours", *PEERS), help="one of them")
    parser.add_argument("--json", type=Path, help="where the figures go")
    given = parser.parse_args()
    leave_uvloop_out()
    ensure_ray(RayConfig(), "benchmarks")
    try:
        found = asyncio.run(run(QUICK if given.quick else FULL, [given.only] if given.only else ["ours", *PEERS]))
    finally:
        ray.shutdown()
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found), end="\n\n")
    print(targets.table(targets.check(found, TARGETS)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
