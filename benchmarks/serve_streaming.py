"""Ray Serve streaming: a request is a streaming call of a deployment's handle, a message an item of its generator.

Serve has no publisher beside its replica, so the replica plays the provider too: it has the chunks, translates each and
yields the message. Two replicas, as we have two stream actors; a reading process calls them through handles, without
the HTTP proxy.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import ray

from actors.message_factory import MessageFactory
from actors.messages import LettaMessage
from actors.translator import Translator
from benchmarks.chunks import stream_of, text_of
from benchmarks.processes import SETTINGS
from benchmarks.spawn import spawn

APPLICATION = "streams"
REPLICAS = 2
ONGOING_MAX = 1_000


def missing() -> str | None:
    """Return why this cannot be measured here, or None."""
    try:
        from ray import serve  # noqa: F401, PLC0415  # an extra of its own
    except ImportError as error:
        return f"Ray Serve is not installed (pip install 'agent-stream-router[bench]'): {error}"
    return None


class ServedStreams:
    """A replica."""

    async def stream(self, request_id: str, chunks: int) -> AsyncIterator[LettaMessage]:
        translator = Translator(SETTINGS, run_id=request_id)
        seq_id = 0
        for chunk in stream_of(chunks):
            for head, text, extra in translator.chunk(chunk):
                seq_id += 1
                yield MessageFactory(head.fields).make(text, extra, seq_id)


class ServeConsumer:
    async def read(self, request_ids: list[str], chunks: int) -> tuple[float, float, list[str]]:
        """Return when the first request was made, when the last message came, and the texts."""
        from ray import serve  # noqa: PLC0415  # an extra of its own

        handle: Any = serve.get_app_handle(APPLICATION).options(stream=True)

        async def one(request_id: str) -> str:
            return "".join([message.content async for message in handle.stream.remote(request_id, chunks)])

        start = time.monotonic()
        texts = await asyncio.gather(*map(one, request_ids))
        return start, time.monotonic(), texts


async def chunks_per_s(streams: int, chunks: int, repeats: int) -> list[float]:
    """Carry `chunks` chunks on each of `streams` streams through, so many times; return the rates."""
    from ray import serve  # noqa: PLC0415  # an extra of its own

    deployment = serve.deployment(
        num_replicas=REPLICAS, max_ongoing_requests=ONGOING_MAX, ray_actor_options={"num_cpus": 0}
    )(ServedStreams)
    await asyncio.to_thread(_start, deployment)
    consumer: Any = spawn(ServeConsumer)
    try:
        await consumer.read.remote(["warm"] * REPLICAS, 4)
        rates = []
        for _ in range(repeats):
            start, end, texts = await consumer.read.remote([f"serve-{n}" for n in range(streams)], chunks)
            if any(text != text_of(chunks) for text in texts):
                raise RuntimeError("Ray Serve did not carry every chunk")
            rates.append(streams * chunks / (end - start))
    finally:
        ray.kill(consumer)
        await asyncio.to_thread(serve.shutdown)
    return rates


def _start(deployment: Any) -> None:
    from ray import serve  # noqa: PLC0415  # an extra of its own

    serve.start(proxy_location="Disabled", logging_config={"log_level": "ERROR"})
    serve.run(deployment.bind(), name=APPLICATION, route_prefix=None)
