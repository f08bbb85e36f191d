"""Redis streams: a real redis-server of our own, one stream key per request, pipelined on both ends.

The publisher sends XADDs in pipelines of `PIPELINE`; the reader blocks in one XREAD over all keys
and makes the messages itself, with the same translator and into the same pydantic models as ours.
No persistence, no trimming: Redis at its fastest. The server is a third process on the same cores.
Measured with the client as `pip install redis` brings it, and again with its parser in C (hiredis).
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import ray

from benchmarks.chunks import stream_of, text_of
from benchmarks.ray_queue import MessageReader
from benchmarks.spawn import spawn

PIPELINE = 512
READ_COUNT = 64


def missing() -> str | None:
    """Return why this cannot be measured here, or None."""
    if shutil.which("redis-server") is None:
        return "redis-server is not installed (Debian, Ubuntu: apt-get install redis-server)"
    try:
        import redis  # noqa: F401, PLC0415  # an extra of its own
    except ImportError:
        return "the redis package is not installed (pip install 'agent-stream-router[bench]')"
    return None


def has_hiredis() -> bool:
    """Whether the client's parser in C is there; plain `pip install redis` does not bring it."""
    from redis.utils import HIREDIS_AVAILABLE  # noqa: PLC0415  # an extra of its own

    return bool(HIREDIS_AVAILABLE)


def _client(port: int, *, hiredis: bool) -> Any:
    import redis  # noqa: PLC0415  # an extra of its own
    from redis._parsers import _HiredisParser, _RESP2Parser  # noqa: PLC0415

    parser = _HiredisParser if hiredis else _RESP2Parser
    return redis.Redis(connection_pool=redis.ConnectionPool(host="127.0.0.1", port=port, parser_class=parser))


@contextmanager
def redis_server() -> Iterator[int]:
    """Run a redis-server of our own; gives its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    command += ["--maxclients", "20000"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603  # a fixed command
    try:
        yield port
    finally:
        process.terminate()
        process.wait(10)


class RedisProducer:
    def run(self, port: int, keys: list[str], chunks: int, hiredis: bool) -> float:  # noqa: FBT001  # a Ray method
        client = _client(port, hiredis=hiredis)
        client.ping()
        start = time.monotonic()
        pipeline = client.pipeline(transaction=False)
        waiting = 0
        # All streams advance together, as those of many agents do.
        for chunk in stream_of(chunks):
            for key in keys:
                pipeline.xadd(key, {b"c": chunk})
                waiting += 1
                if waiting == PIPELINE:
                    pipeline.execute()
                    waiting = 0
        pipeline.execute()
        return start


class RedisConsumer:
    def read(self, port: int, keys: list[str], chunks: int, hiredis: bool) -> tuple[float, list[str]]:  # noqa: FBT001
        client = _client(port, hiredis=hiredis)
        cursors: dict[bytes, bytes | str] = {key.encode(): "0" for key in keys}
        readers = {key.encode(): MessageReader(key) for key in keys}
        left = len(keys) * chunks
        while left:
            for key, entries in client.xread(cursors, count=READ_COUNT, block=10_000):
                reader = readers[key]
                for _, fields in entries:
                    reader.chunk(fields[b"c"])
                cursors[key] = entries[-1][0]
                left -= len(entries)
        return time.monotonic(), [reader.text() for reader in readers.values()]


Carry = Callable[[int, int, bool], Awaitable[float]]
"""Carries so many chunks on each of so many streams, with hiredis or without; returns how many a second."""


@asynccontextmanager
async def pair() -> AsyncIterator[Carry]:
    """Start a producer and a consumer; gives what carries through them, each time through a server of its own."""
    # One thread each: with more, Ray starts thousands, which for a while keep everybody else from the cores.
    producer, consumer = (spawn(kind, max_concurrency=1) for kind in (RedisProducer, RedisConsumer))

    async def carry(streams: int, chunks: int, hiredis: bool) -> float:  # noqa: FBT001  # one of two clients
        with redis_server() as port:
            await asyncio.sleep(0.3)
            keys = [f"request-{n}" for n in range(streams)]
            reading = consumer.read.remote(port, keys, chunks, hiredis)
            start = await producer.run.remote(port, keys, chunks, hiredis)
            end, texts = await reading
        if any(text != text_of(chunks) for text in texts):
            raise RuntimeError("Redis did not carry every chunk")
        return float(streams * chunks / (end - start))

    yield carry
    ray.kill(producer)
    ray.kill(consumer)


async def chunks_per_s(streams: int, chunks: int, repeats: int, *, hiredis: bool) -> list[float]:
    """Carry `chunks` chunks on each of `streams` streams through, so many times; return the rates."""
    async with pair() as carry:
        return [await carry(streams, chunks, hiredis) for _ in range(repeats)]
