"""The same job with one Ray call per chunk per hop and one actor per request.

    publisher --chunk--> router actor --chunk--> stream actor <--next message-- reader

Each publisher and each reader waits for its call before it makes the next, as a plain `await` in a
plain loop does. The same translator reads the chunks, and the reader gets the same pydantic message.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import ray

from actors.message_factory import MessageFactory
from actors.messages import LettaMessage
from actors.translator import Translator
from benchmarks.chunks import stream_of, text_of
from benchmarks.processes import SETTINGS
from benchmarks.spawn import spawn


class NaiveStream:
    """One request."""

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self._arrived = asyncio.Event()
        self._begin()

    def _begin(self) -> None:
        self._translator = Translator(SETTINGS, run_id=self._request_id)
        self._messages: list[LettaMessage] = []

    async def begin(self) -> None:
        """Reset for another request, so that no actor need be started for each repeat."""
        self._begin()

    async def chunk(self, chunk: bytes) -> None:
        for head, text, extra in self._translator.chunk(chunk):
            self._messages.append(MessageFactory(head.fields).make(text, extra, len(self._messages) + 1))
        self._arrived.set()

    async def next(self, after: int) -> LettaMessage:
        while len(self._messages) <= after:
            self._arrived.clear()
            await self._arrived.wait()
        return self._messages[after]


class NaiveRouter:
    """Passes each chunk on."""

    def __init__(self, streams: dict[str, Any]) -> None:
        self._streams = streams

    async def chunk(self, request_id: str, chunk: bytes) -> None:
        await self._streams[request_id].chunk.remote(chunk)


class NaiveProducer:
    async def run(self, router: Any, request_ids: list[str], chunks: int) -> float:
        sent = stream_of(chunks)

        async def one(request_id: str) -> None:
            for chunk in sent:
                await router.chunk.remote(request_id, chunk)

        start = time.monotonic()
        await asyncio.gather(*(one(request_id) for request_id in request_ids))
        return start


class NaiveConsumer:
    async def read(self, streams: dict[str, Any], chunks: int) -> tuple[float, list[str]]:
        async def one(stream: Any) -> str:
            texts = []
            for after in range(chunks):
                message = await stream.next.remote(after)
                texts.append(message.content)
            return "".join(texts)

        texts = await asyncio.gather(*(one(stream) for stream in streams.values()))
        return time.monotonic(), texts


async def chunks_per_s(streams: int, chunks: int, repeats: int) -> list[float]:
    """Carry `chunks` chunks on each of `streams` streams through, so many times; return the rates."""
    ids = [f"naive-{n}" for n in range(streams)]
    actors = {request_id: spawn(NaiveStream, request_id) for request_id in ids}
    router, producer, consumer = spawn(NaiveRouter, actors), spawn(NaiveProducer), spawn(NaiveConsumer)
    everyone = [*actors.values(), router, producer, consumer]
    # Started before the clock runs.
    await asyncio.gather(*(actor.__ray_ready__.remote() for actor in everyone))
    rates = []
    for _ in range(repeats):
        await asyncio.gather(*(actor.begin.remote() for actor in actors.values()))
        reading = consumer.read.remote(actors, chunks)
        start = await producer.run.remote(router, ids, chunks)
        end, texts = await reading
        if any(text != text_of(chunks) for text in texts):
            raise RuntimeError("the naive way did not carry every chunk")
        rates.append(streams * chunks / (end - start))
    for actor in everyone:
        ray.kill(actor)
    return rates
