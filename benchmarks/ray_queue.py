"""A `ray.util.queue.Queue` per request: what many put between two Ray processes.

The publisher puts each chunk, the reader takes each chunk and makes the messages itself.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import ray
from ray.util.queue import Queue

from actors.message_factory import MessageFactory
from actors.translator import Translator
from benchmarks.chunks import stream_of, text_of
from benchmarks.processes import SETTINGS
from benchmarks.spawn import spawn


class QueueProducer:
    async def run(self, queues: dict[str, Any], chunks: int) -> float:
        sent = stream_of(chunks)

        async def one(queue: Any) -> None:
            for chunk in sent:
                await queue.put_async(chunk)

        start = time.monotonic()
        await asyncio.gather(*(one(queue) for queue in queues.values()))
        return start


class QueueConsumer:
    async def read(self, queues: dict[str, Any], chunks: int) -> tuple[float, list[str]]:
        async def one(request_id: str, queue: Any) -> str:
            reader = MessageReader(request_id)
            for _ in range(chunks):
                reader.chunk(await queue.get_async())
            return reader.text()

        texts = await asyncio.gather(*(one(request_id, queue) for request_id, queue in queues.items()))
        return time.monotonic(), texts


class MessageReader:
    """Makes messages of raw chunks in the reader, where what carries them cannot."""

    def __init__(self, request_id: str) -> None:
        self._translator = Translator(SETTINGS, run_id=request_id)
        self._head: Any = None
        self._factory: Any = None
        self._texts: list[str] = []
        self.count = 0

    def chunk(self, chunk: bytes) -> None:
        for head, text, extra in self._translator.chunk(chunk):
            if head is not self._head:
                self._head, self._factory = head, MessageFactory(head.fields)
            self.count += 1
            message = self._factory.make(text, extra, self.count)
            self._texts.append(message.content)

    def text(self) -> str:
        return "".join(self._texts)


async def chunks_per_s(streams: int, chunks: int, repeats: int) -> list[float]:
    """Carry `chunks` chunks on each of `streams` streams through, so many times; return the rates."""
    producer, consumer = (spawn(kind) for kind in (QueueProducer, QueueConsumer))
    queues = {f"queue-{n}": Queue(actor_options={"num_cpus": 0}) for n in range(streams)}
    for queue in queues.values():
        await queue.put_async(b"")
        await queue.get_async()
    rates = []
    for _ in range(repeats):
        reading = consumer.read.remote(queues, chunks)
        start = await producer.run.remote(queues, chunks)
        end, texts = await reading
        if any(text != text_of(chunks) for text in texts):
            raise RuntimeError("the queues did not carry every chunk")
        rates.append(streams * chunks / (end - start))
    for queue in queues.values():
        queue.shutdown(force=True)
    ray.kill(producer)
    ray.kill(consumer)
    return rates
