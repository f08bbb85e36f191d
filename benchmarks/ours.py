"""The router under measurement: throughput, latency, growth, memory, idling, opening, fairness.

One process publishes, one reads, both Ray actors with the front door only; between them one router
actor and as many stream actors as the configuration says. All on this machine, all of its cores.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import ray

from benchmarks import measure
from benchmarks.chunks import CHUNK_BYTES, WORDS, text_of
from benchmarks.measure import figure, percentile
from benchmarks.processes import Consumer, Ping, Producer
from benchmarks.spawn import spawn
from router import StreamRouter
from router.client.reading.batch import Format
from router.config import RouterConfig

_numbers = itertools.count(1)


def config(name: str, *, actors: int, streams_per_actor: int = 20_000) -> RouterConfig:
    """Return a configuration whose pool does not grow or shrink while it is measured."""
    return RouterConfig.model_validate(
        {
            "name": name,
            "stream_actors": {
                "max_actors": actors,
                "warm_actors": actors,
                "packed_streams_per_actor": 1,
                "max_streams_per_actor": streams_per_actor,
                "idle_ttl_s": 3600.0,
                "recycle_after_requests": 10_000_000,
            },
            "limits": {"open_requests_max": 50_000},
        }
    )


@dataclass
class Stage:
    """A running router with one publishing and one reading process, and the far end of a bare call."""

    router: StreamRouter
    producer: Any
    consumer: Any
    ping: Any
    pids: dict[str, int]
    name: str
    more_consumers: list[Any] = field(default_factory=list)

    @property
    def consumers(self) -> list[Any]:
        """All reading processes."""
        return [self.consumer, *self.more_consumers]

    async def add_consumer(self) -> None:
        """Start another reading process."""
        consumer = spawn(Consumer)
        self.pids[f"consumer_{len(self.consumers) + 1}"] = await consumer.connect.remote(self.name)
        self.more_consumers.append(consumer)

    def ids(self, count: int) -> list[str]:
        """Return request IDs that were never used before."""
        number = next(_numbers)
        return [f"bench-{number}-{n}" for n in range(count)]

    def cpu_s(self) -> dict[str, float]:
        """Return the CPU time of each process so far, and that of Ray's own processes together."""
        named = {name: measure.cpu_s([pid]) for name, pid in self.pids.items()}
        ours = {*self.pids.values(), os.getpid()}
        named["ray"] = measure.cpu_s(p.pid for p in measure.family() if p.pid not in ours)
        return named


@asynccontextmanager
async def stage(*, actors: int, streams_per_actor: int = 20_000) -> AsyncIterator[Stage]:
    """Set a router up, with its actors warm."""
    name = f"bench-{next(_numbers)}"
    async with StreamRouter.start(config(name, actors=actors, streams_per_actor=streams_per_actor)) as router:
        producer, consumer, ping = spawn(Producer), spawn(Consumer), spawn(Ping)
        pids = {"producer": await producer.connect.remote(name), "consumer": await consumer.connect.remote(name)}
        await ping.ping.remote(b"")
        while True:
            described = await router.describe()
            ready = [a for a in described.stream_actors if a.state == "ready"]
            if len(ready) >= actors:
                break
            await asyncio.sleep(0.2)
        pids["router"] = described.routers[0].pid
        pids |= {f"stream_actor_{n}": a.pid for n, a in enumerate(ready, 1)}
        made = Stage(router, producer, consumer, ping, pids, name)
        yield made
        for actor in (producer, *made.consumers, ping):
            ray.kill(actor)


# --- throughput ---------------------------------------------------------------------------------


async def carry(
    stage: Stage,
    streams: int,
    chunks: int,
    fmt: Format = "model",
    *,
    alternate: bool = False,
    chunk_bytes: int = CHUNK_BYTES,
    readers: int = 1,
) -> dict[str, Any]:
    """Carry `chunks` on each of `streams` and check every one; return rate and CPU per chunk by process.

    The clock runs from the first chunk sent to the last content message read. Streams are open and
    read before it starts and end after it; how fast they open and end is told beside it.
    `alternate`: every chunk on another stream than the one before. `readers`: so many read each stream. The streams
    are shared out over the reading processes of the stage.
    """
    ids = stage.ids(streams)
    shares = [ids[n :: len(stage.consumers)] * readers for n in range(len(stage.consumers))]
    reading = [*zip(stage.consumers, shares, strict=True)]
    await asyncio.gather(*(consumer.read.remote(share, fmt) for consumer, share in reading))
    opened_s = await stage.producer.open.remote(ids)
    before = stage.cpu_s()
    start = await (stage.producer.alternate if alternate else stage.producer.run).remote(ids, chunks, chunk_bytes)
    await asyncio.gather(*(consumer.wait_for.remote(len(share) * chunks) for consumer, share in reading))
    after = stage.cpu_s()
    ended_s = await stage.producer.end.remote(ids)
    last_at = 0.0
    checksum = zlib.crc32(text_of(chunks, chunk_bytes).encode())
    for consumer, share in reading:
        for request_id, result in zip(share, await consumer.wait.remote(), strict=True):
            _check(request_id, result, chunks, checksum)
            last_at = max(last_at, result["last_at"])
    total = streams * chunks
    cpu_us = {name: 1e6 * (after[name] - before.get(name, 0.0)) / total for name in after}
    return {
        "chunks_per_s": total / (last_at - start),
        "opens_per_s": streams / opened_s,
        "ends_per_s": streams / ended_s,
        "cpu_us_per_chunk": {name: measure.significant(value, 3) for name, value in cpu_us.items()},
        "cpu_us_per_chunk_in_all": sum(cpu_us.values()),
    }


def _check(request_id: str, result: dict[str, Any], chunks: int, checksum: int) -> None:
    came = (result["count"], result["checksum"], result["stop_reason"])
    if came != (chunks, checksum, "end_turn") or not result["in_order"]:
        raise RuntimeError(f"{request_id} was not carried whole: {result}, expected {chunks} chunks")


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of several `carry`s."""
    middle = measure.middle(runs, key=lambda run: float(run["chunks_per_s"]))
    return {
        "chunks_per_s": figure([run["chunks_per_s"] for run in runs]),
        "opens_per_s": figure([run["opens_per_s"] for run in runs], 3),
        "ends_per_s": figure([run["ends_per_s"] for run in runs], 3),
        "cpu_us_per_chunk": middle["cpu_us_per_chunk"],
        "cpu_us_per_chunk_in_all": figure([run["cpu_us_per_chunk_in_all"] for run in runs], 3),
    }


async def throughput(
    stage: Stage, streams: int, chunks: int, repeats: int, fmt: Format = "model", *, alternate: bool = False
) -> dict[str, Any]:
    """Return the summary of several `carry`s behind one that warms up."""
    await carry(stage, streams, max(8, chunks // 8), fmt, alternate=alternate)
    return {
        "streams": streams,
        "chunks_per_stream": chunks,
        "format": fmt,
        **summary([await carry(stage, streams, chunks, fmt, alternate=alternate) for _ in range(repeats)]),
    }


# --- latency ------------------------------------------------------------------------------------


# How far apart the chunks, the opens and the bare calls of the light measurements are.
LIGHT_GAP_S = 0.02


async def bare_call_ms(stage: Stage, calls: int = 100, gap_s: float = LIGHT_GAP_S) -> float:
    """Return the median of one bare Ray call there and back: an async method of an idle actor, a chunk as argument.

    With the gap that the light measurements have between their chunks. Without a gap (0) a call takes
    about half as long, for nothing has gone to sleep meanwhile.
    """
    await stage.producer.call_s.remote(stage.ping, 20, WORDS[0], 0.0)
    took_s = await stage.producer.call_s.remote(stage.ping, calls, WORDS[0], gap_s)
    return 1e3 * percentile(took_s, 0.5)


async def paced(stage: Stage, streams: int, chunks_per_s: float, seconds: float) -> dict[str, float]:
    """Send at a rate; return quantiles of the time from when a chunk was due to its message in the reader's hands."""
    ids = stage.ids(streams)
    await stage.consumer.read.remote(ids)
    await stage.producer.open.remote(ids)
    await stage.producer.say.remote(ids)
    await stage.consumer.wait_for_first.remote(streams)
    drop_s = min(0.25 * seconds, 1.0)
    before = stage.cpu_s()
    said = await stage.producer.pace.remote(ids, chunks_per_s, seconds, drop_s)
    after = stage.cpu_s()
    await stage.producer.end.remote(ids)
    await stage.consumer.wait.remote()
    delays_s = await stage.consumer.delays_s.remote()
    found = {f"p{share:g}_ms": 1e3 * percentile(delays_s, share / 100) for share in (50, 90, 99, 99.9)}
    cores = sum(after.values()) - sum(before.get(name, 0.0) for name in after)
    return {
        **{key: measure.significant(value) for key, value in found.items()},
        "samples": len(delays_s),
        "sent_per_s": measure.significant(said["sent"] / said["seconds"]),
        "cores_busy": measure.significant(cores / said["seconds"], 3),
    }


async def light(stage: Stage, seconds: float, repeats: int) -> dict[str, Any]:
    """One stream, fifty chunks a second: the latency without queueing."""
    calls, quick_calls, medians, tails = [], [], [], []
    for _ in range(repeats):
        calls.append(await bare_call_ms(stage))
        run = await paced(stage, 1, 1.0 / LIGHT_GAP_S, seconds)
        calls.append(await bare_call_ms(stage))
        quick_calls.append(await bare_call_ms(stage, 300, 0.0))
        medians.append(run["p50_ms"])
        tails.append(run["p99_ms"])
    call_ms, quick_call_ms, p50_ms = figure(calls), figure(quick_calls), figure(medians)
    return {
        "call_ms": call_ms,
        "call_without_gaps_ms": quick_call_ms,
        "p50_ms": p50_ms,
        "p99_ms": figure(tails),
        "ratio_to_call": measure.significant(p50_ms["median"] / call_ms["median"], 3),
        "ratio_to_call_without_gaps": measure.significant(p50_ms["median"] / quick_call_ms["median"], 3),
    }


async def loaded(stage: Stage, chunks_per_s: float, seconds: float, repeats: int, call_ms: float) -> dict[str, Any]:
    """256 streams at a rate, every chunk on another stream than the one before."""
    runs = [await paced(stage, 256, chunks_per_s, seconds) for _ in range(repeats)]
    p99_ms = figure([run["p99_ms"] for run in runs])
    return {
        "streams": 256,
        "asked_per_s": measure.significant(chunks_per_s),
        "sent_per_s": figure([run["sent_per_s"] for run in runs]),
        "p50_ms": figure([run["p50_ms"] for run in runs]),
        "p99_ms": p99_ms,
        "cores_busy": figure([run["cores_busy"] for run in runs], 3),
        "call_ms": call_ms,
        "ratio_p99_to_call": measure.significant(p99_ms["median"] / call_ms, 3),
    }


async def opening(stage: Stage, count: int, repeats: int) -> dict[str, Any]:
    """From `publish` to the first message in the hands of a reader who was there before, actors warm."""
    calls, quick_calls, medians, tails = [], [], [], []
    for _ in range(repeats):
        calls.append(await bare_call_ms(stage))
        quick_calls.append(await bare_call_ms(stage, 300, 0.0))
        ids = stage.ids(count)
        await stage.consumer.read.remote(ids)
        await asyncio.sleep(0.5)
        for request_id in ids:
            await stage.producer.open_and_say.remote(request_id)
            await asyncio.sleep(LIGHT_GAP_S)
        await stage.consumer.wait_for_first.remote(count)
        await stage.producer.end.remote(ids)
        await stage.consumer.wait.remote()
        delays_s = await stage.consumer.delays_s.remote()
        medians.append(1e3 * percentile(delays_s, 0.5))
        tails.append(1e3 * percentile(delays_s, 0.99))
    call_ms, quick_call_ms, open_ms = figure(calls), figure(quick_calls), figure(medians)
    return {
        "call_ms": call_ms,
        "call_without_gaps_ms": quick_call_ms,
        "p50_ms": open_ms,
        "p99_ms": figure(tails),
        "ratio_to_call": measure.significant(open_ms["median"] / call_ms["median"], 3),
        "ratio_to_call_without_gaps": measure.significant(open_ms["median"] / quick_call_ms["median"], 3),
    }


async def fairness(stage: Stage, rounds: int) -> dict[str, Any]:
    """100 small streams' first messages, alone and while another stream of the same publisher floods."""
    found: dict[str, list[float]] = {"alone": [], "beside_a_flood": []}
    flooded = 0
    for _ in range(rounds):
        for name, delays_s in found.items():
            small, flood = stage.ids(100), stage.ids(1)
            await stage.consumer.read.remote([*small, *flood])
            await stage.producer.open.remote([*small, *flood])
            await asyncio.sleep(0.3)
            flooding = stage.producer.flood.remote(flood[0], 3.0) if name == "beside_a_flood" else None
            await asyncio.sleep(0.5)
            await stage.producer.first_chunks.remote(small, 0.02)
            await stage.consumer.wait_for_first.remote(100)
            if flooding is not None:
                flooded += await flooding
            delays_s.extend(await stage.consumer.delays_s.remote())
            await stage.producer.end.remote([*small, *flood])
            await stage.consumer.wait.remote()
    p99_ms = {name: 1e3 * percentile(delays_s, 0.99) for name, delays_s in found.items()}
    return {
        "rounds": rounds,
        "p50_ms": {name: measure.significant(1e3 * percentile(delays_s, 0.5)) for name, delays_s in found.items()},
        "p99_ms": {name: measure.significant(value) for name, value in p99_ms.items()},
        "flood_chunks_per_s": measure.significant(flooded / (3.0 * rounds)),
        "ratio_p99": measure.significant(p99_ms["beside_a_flood"] / p99_ms["alone"], 3),
    }


# --- many silent streams ------------------------------------------------------------------------


WAVE = 1000


async def cpu_percent(stage: Stage, seconds: float) -> dict[str, float]:
    """Return what is used over the next seconds: by our own processes, and by Ray's daemons beside them."""
    before = stage.cpu_s()
    start = time.monotonic()
    await asyncio.sleep(seconds)
    took_s = time.monotonic() - start
    after = stage.cpu_s()
    used_s = sum(after[name] - before[name] for name in stage.pids)
    return {"ours": 100 * used_s / took_s, "ray": 100 * (after["ray"] - before["ray"]) / took_s}


def memory_of_all_but_us() -> dict[str, int]:
    """Return the memory of all processes below this one."""
    return measure.memory_bytes([process.pid for process in measure.family() if process.pid != os.getpid()])


def uss_by_process(stage: Stage) -> dict[str, int]:
    """Return what each of our processes holds for itself alone."""
    return {name: measure.memory_bytes([pid])["uss"] for name, pid in stage.pids.items()}


async def silence(stage: Stage, streams: int, seconds: float, *, listens: bool = False) -> dict[str, dict[str, Any]]:
    """Memory and CPU of streams that are open, have been read, and now say nothing.

    Each has one publisher, one reader, and has had one chunk. The reader is a task in an `async for`, or `listens`
    (`Subscription.listen`), as who reads thousands of requests in one process should. CPU is counted over our own
    processes (publisher, reader, router, stream actors), with and without the streams; Ray's daemons are beside it.
    """
    # What only the first stream costs (code, caches, the allocator's first pages) is no stream's.
    await carry(stage, 64, 50)
    gc.collect()
    await asyncio.sleep(2.0)
    idle_without = await cpu_percent(stage, seconds)
    before, before_by_process = memory_of_all_but_us(), uss_by_process(stage)
    ids = stage.ids(streams)
    await (stage.consumer.listen if listens else stage.consumer.read).remote(ids)
    start = time.monotonic()
    # In waves, as a service fills up; ten thousand opens in one instant leave their own traces in the allocator.
    for at in range(0, streams, WAVE):
        await stage.producer.open.remote(ids[at : at + WAVE])
        await stage.producer.say.remote(ids[at : at + WAVE])
    await stage.consumer.wait_for_first.remote(streams)
    took_s = time.monotonic() - start
    await asyncio.sleep(3.0)
    after, after_by_process = memory_of_all_but_us(), uss_by_process(stage)
    idle_with = await cpu_percent(stage, seconds)
    await stage.producer.end.remote(ids)
    await stage.consumer.wait.remote()
    return {
        "memory": {
            "streams": streams,
            "bytes_per_open_stream": round((after["pss"] - before["pss"]) / streams),
            "bytes_per_open_stream_uss": round((after["uss"] - before["uss"]) / streams),
            "bytes_per_open_stream_by_process": {
                name: round((uss - before_by_process[name]) / streams) for name, uss in after_by_process.items()
            },
            "uss_by_process": after_by_process,
        },
        "idle": {
            "streams": streams,
            "seconds": seconds,
            "cpu_percent_of_streams": measure.significant(max(0.0, idle_with["ours"] - idle_without["ours"]), 3),
            "cpu_percent_with_streams": measure.significant(idle_with["ours"], 3),
            "cpu_percent_without_streams": measure.significant(idle_without["ours"], 3),
            "cpu_percent_of_ray_itself": measure.significant(idle_with["ray"], 3),
        },
        "opens": {
            "streams": streams,
            "in_waves_of": WAVE,
            "seconds": measure.significant(took_s, 3),
            "per_s": round(streams / took_s),
        },
    }


# --- those who misbehave ------------------------------------------------------------------------


async def bad_input(stage: Stage, seconds: float) -> dict[str, Any]:
    """What misbehaving streams get, what they cost in memory, and what their neighbours' latency is meanwhile."""
    alone = await paced(stage, 64, 2000.0, seconds)
    pids = list(stage.pids.values())
    before = measure.memory_bytes(pids)["pss"]
    misbehaving = asyncio.ensure_future(stage.producer.misbehave.remote(stage.ids(4), seconds + 4.0))
    await asyncio.sleep(1.0)
    beside = await paced(stage, 64, 2000.0, seconds)
    held = measure.memory_bytes(pids)["pss"] - before
    told = await misbehaving
    return {
        "told": told,
        "memory_bytes_held": held,
        "p99_ms": {"alone": alone["p99_ms"], "beside": beside["p99_ms"]},
        "ratio_p99": measure.significant(beside["p99_ms"] / alone["p99_ms"], 3),
    }
