"""The publishing and the reading process of our own benchmarks: Ray actors, as users would write them.

Each has its own door to the router (`StreamRouter.connect`) and uses nothing but the front door.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import time
import zlib
from collections.abc import Sequence
from typing import Any

from actors.errors import StreamRouterError
from benchmarks.chunks import CHUNK_BYTES, FINISH, WORDS, stamped, stamps_of, stream_of
from router import StreamRouter, StreamSettings
from router.client.reading.batch import Batch, Format, unpack_batch

SETTINGS = StreamSettings(dialect="chat", provider="openai-chat", stall_timeout_s=None, sealed_ttl_s=20.0)
# Of the chunks of a paced load, each so many bears the time at which it was due.
STAMP_EVERY = 8
TICK_S = 0.001


class Door:
    """A process that is connected to a router."""

    def __init__(self) -> None:
        self._entrance: Any = None
        self.router: Any = None

    async def pid(self) -> int:
        return os.getpid()

    async def cpu_s(self) -> float:
        return time.process_time()

    async def connect(self, name: str) -> int:
        """Connect; return the pid."""
        if self._entrance is not None:
            await self._entrance.__aexit__(None, None, None)
        self._entrance = StreamRouter.connect(name)
        self.router = await self._entrance.__aenter__()
        # What is loaded by now stays. Else each full collection of Python's looks through all of it, some 200,000
        # objects of Ray's and of others: a pause of 50 to 250 ms in whoever reads 50,000 messages a second.
        gc.collect()
        gc.freeze()
        return os.getpid()

    async def call_s(self, handle: Any, calls: int, payload: bytes, gap_s: float) -> list[float]:
        """Return how long each of these bare Ray calls took, one after the other, with a gap between them."""
        took = []
        for _ in range(calls):
            start = time.perf_counter()
            await handle.ping.remote(payload)
            took.append(time.perf_counter() - start)
            if gap_s:
                await asyncio.sleep(gap_s)
        return took


class Producer(Door):
    """Publishes many streams."""

    def __init__(self) -> None:
        super().__init__()
        self._streams: dict[str, Any] = {}

    async def open(self, request_ids: list[str], settings: dict[str, Any] | None = None) -> float:
        """Open these; return the seconds it took."""
        start = time.monotonic()
        chosen = SETTINGS if settings is None else SETTINGS.model_copy(update=settings)
        streams = [self.router.publish(request_id, chosen) for request_id in request_ids]
        await asyncio.gather(*(stream.open() for stream in streams))
        self._streams.update(zip(request_ids, streams, strict=True))
        return time.monotonic() - start

    async def run(self, request_ids: list[str], chunks: int, chunk_bytes: int = CHUNK_BYTES) -> float:
        """Send so many chunks on each stream, all at once; return when the first was sent. `end` ends them."""
        sent = stream_of(chunks, chunk_bytes)

        async def one(request_id: str) -> None:
            stream = self._streams[request_id]
            for chunk in sent:
                await stream.chunk(chunk)

        gc.collect()
        start = time.monotonic()
        await asyncio.gather(*(one(request_id) for request_id in request_ids))
        return start

    async def alternate(self, request_ids: list[str], chunks: int, chunk_bytes: int = CHUNK_BYTES) -> float:
        """Send so many chunks on each stream, every chunk on another stream than the one before, as fast as it goes."""
        sent = stream_of(chunks, chunk_bytes)
        streams = [self._streams[request_id] for request_id in request_ids]
        gc.collect()
        start = time.monotonic()
        for chunk in sent:
            for stream in streams:
                await stream.chunk(chunk)
            # Chunks come from the network: between them the event loop has its turn.
            await asyncio.sleep(0)
        return start

    async def pace(
        self, request_ids: list[str], chunks_per_s: float, seconds: float, drop_s: float = 0.0
    ) -> dict[str, float]:
        """Send chunks in turn over these streams at a given rate, whether or not they are read.

        Stamps begin after `drop_s`. At more than a thousand chunks a second they say when a chunk was due: one
        that leaves late because the machine is busy counts from then.
        """
        streams = [self._streams[request_id] for request_id in request_ids]
        total = int(chunks_per_s * seconds)
        stamps_from = int(chunks_per_s * drop_s)
        every = STAMP_EVERY if chunks_per_s > 1000 else 1
        sent = 0
        late_s = 0.0
        start = time.monotonic()
        while sent < total:
            now = time.monotonic()
            due = min(int((now - start) * chunks_per_s) + 1, total)
            while sent < due:
                stream = streams[sent % len(streams)]
                # A stride over the rounds, or always the same streams would bear the stamps.
                if sent >= stamps_from and (sent + sent // len(streams)) % every == 0:
                    # A light load asks for the way alone; under a heavy one, being late is part of it.
                    at_s = start + sent / chunks_per_s if every > 1 else time.monotonic()
                    late_s = max(late_s, now - at_s)
                    await stream.chunk(stamped(int(at_s * 1e9)))
                else:
                    await stream.chunk(WORDS[sent % len(WORDS)])
                sent += 1
            await asyncio.sleep(max(TICK_S, start + sent / chunks_per_s - time.monotonic()))
        return {"sent": sent, "seconds": time.monotonic() - start, "late_s": late_s}

    async def first_chunks(self, request_ids: list[str], gap_s: float) -> None:
        """Send one stamped chunk on each stream, one after the other."""
        for request_id in request_ids:
            await self._streams[request_id].chunk(stamped(time.monotonic_ns()))
            await asyncio.sleep(gap_s)

    async def flood(self, request_id: str, seconds: float) -> int:
        """Send on one stream as fast as it takes; return how many chunks."""
        stream = self._streams[request_id]
        sent = 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for chunk in WORDS:
                await stream.chunk(chunk)
            sent += len(WORDS)
            # The other streams of this process are its neighbours in the event loop.
            await asyncio.sleep(0)
        return sent

    async def open_and_say(self, request_id: str) -> float:
        """Open a request and send its first chunk; return when that began."""
        start = time.monotonic()
        stream = self.router.publish(request_id, SETTINGS)
        await stream.open()
        await stream.chunk(stamped(int(start * 1e9)))
        self._streams[request_id] = stream
        return start

    async def say(self, request_ids: list[str]) -> None:
        """Send one chunk on each stream."""
        for request_id in request_ids:
            await self._streams[request_id].chunk(WORDS[0])

    async def misbehave(self, request_ids: list[str], seconds: float) -> dict[str, Any]:
        """Misbehave in ways that must not harm other streams; return what each attempt was answered.

        A publisher at full speed whose reader never acknowledges; a chunk of a million bytes; request IDs of
        odd characters and of ten kilobytes.
        """
        told: dict[str, Any] = {}
        for name, request_id in (("odd_id", "a\x00b\nc"), ("long_id", "x" * 10_240)):
            try:
                async with self.router.publish(request_id, SETTINGS):
                    told[name] = "taken"
            except StreamRouterError as error:
                told[name] = type(error).__name__
        unread, flooded, huge, _ = request_ids
        async with self.router.publish(huge, SETTINGS) as stream:
            await stream.chunk(b'{"choices":[{"index":0,"delta":{"content":"%s"}}]}' % (b"y" * 1_000_000))
        told["million_byte_chunk"] = stream.stop_reason
        reader = self.router.subscribe(flooded)
        sent = {unread: 0, flooded: 0}

        async def publish(request_id: str) -> None:
            async with self.router.publish(request_id, SETTINGS) as stream:
                while True:
                    await stream.chunk(WORDS[0])
                    sent[request_id] += 1

        tasks = [asyncio.create_task(publish(request_id)) for request_id in (unread, flooded)]
        # It takes one batch and never comes back for more.
        await anext(aiter(reader))
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await reader.aclose()
        told["chunks_taken_without_a_reader"] = sent[unread]
        told["chunks_taken_with_a_stopped_reader"] = sent[flooded]
        return told

    async def end(self, request_ids: list[str]) -> float:
        """End these streams, as their provider would; return the seconds it took."""
        start = time.monotonic()
        for request_id in request_ids:
            await self._streams[request_id].chunk(FINISH)
        await asyncio.gather(*(self._streams.pop(request_id).finish() for request_id in request_ids))
        return time.monotonic() - start


class Reading:
    """What one stream's reader keeps of what it has read."""

    __slots__ = ("checksum", "count", "in_order", "last_at", "last_seq_id", "stop_reason")

    def __init__(self) -> None:
        self.count = self.checksum = self.last_seq_id = 0
        self.last_at = 0.0
        self.in_order = True
        self.stop_reason: str | None = None

    def take(self, batch: Batch[Any], fmt: Format, delays_s: list[float]) -> int:
        """Look at every message of a batch; return how many had content."""
        if fmt == "model":
            texts = self._take_models(batch.messages)
        elif fmt == "struct":
            texts = self._take_structs(batch.messages)
        else:
            texts = self._take_dicts(unpack_batch(batch.packed) if fmt == "packed" else batch.messages)
        self.stop_reason = batch.stop_reason
        if texts:
            self.last_at = time.monotonic()
            self.count += len(texts)
            self.checksum = zlib.crc32("".join(texts).encode(), self.checksum)
            delays_s += [self.last_at - stamp / 1e9 for stamp in stamps_of(texts)]
        return len(texts)

    def _take_models(self, messages: Sequence[Any]) -> list[str]:
        self._take_seq_ids([message.seq_id for message in messages])
        return [message.content for message in messages if message.message_type == "assistant_message"]

    def _take_structs(self, messages: Sequence[Any]) -> list[str]:
        self._take_seq_ids([message.seq_id for message in messages])
        return [message.text for message in messages if message.message_type == "assistant_message"]

    def _take_dicts(self, messages: Sequence[Any]) -> list[str]:
        self._take_seq_ids([message["seq_id"] for message in messages])
        return [message["content"] for message in messages if message["message_type"] == "assistant_message"]

    def _take_seq_ids(self, seq_ids: list[int]) -> None:
        if seq_ids != [*range(self.last_seq_id + 1, self.last_seq_id + 1 + len(seq_ids))]:
            self.in_order = False
        self.last_seq_id = seq_ids[-1] if seq_ids else self.last_seq_id

    def result(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        return {name: getattr(self, name) for name in self.__slots__}


class Consumer(Door):
    """Reads many streams."""

    def __init__(self) -> None:
        super().__init__()
        self._tasks: list[asyncio.Task[Any]] = []
        self._delays_s: list[float] = []
        self._ready = 0
        self._read = 0
        self._wanted = 1 << 62
        self._all_read: asyncio.Future[None] | None = None

    async def read(self, request_ids: list[str], fmt: Format = "model") -> None:
        """Begin to read these to their ends."""
        self._begin()
        self._tasks = [asyncio.create_task(self._one(request_id, fmt)) for request_id in request_ids]
        gc.collect()

    async def listen(self, request_ids: list[str]) -> None:
        """Begin to read these to their ends without a task for each, as `Subscription.listen` does."""
        self._begin()
        self._tasks = [asyncio.create_task(self._listen(request_ids))]
        gc.collect()

    def _begin(self) -> None:
        self._delays_s = []
        self._ready = self._read = 0
        self._wanted = 1 << 62

    async def _listen(self, request_ids: list[str]) -> dict[str, Any]:
        left = len(request_ids)
        all_ended = asyncio.get_running_loop().create_future()

        def ended(_error: StreamRouterError | None) -> None:
            nonlocal left
            left -= 1
            if not left:
                all_ended.set_result(None)

        hear = self._hear
        subscriptions = [self.router.subscribe(request_id, wait_s=120.0) for request_id in request_ids]
        for subscription in subscriptions:
            subscription.listen(functools.partial(hear, Reading()), ended)
        await all_ended
        return {}

    def _hear(self, reading: Reading, batch: Batch[Any], fmt: Format = "model") -> None:
        is_first = reading.count == 0
        self._read += reading.take(batch, fmt, self._delays_s)
        if is_first and reading.count:
            self._ready += 1
        if self._read >= self._wanted and self._all_read is not None and not self._all_read.done():
            self._all_read.set_result(None)

    async def _one(self, request_id: str, fmt: Format) -> dict[str, Any]:
        reading = Reading()
        async for batch in self.router.subscribe(request_id, format=fmt, wait_s=120.0):
            self._hear(reading, batch, fmt)
            # Or the name would keep the last batch of each of ten thousand streams alive until its next.
            del batch
        return reading.result()

    async def wait(self, timeout_s: float = 300.0) -> list[dict[str, Any]]:
        """Return what was read, one dict a stream, when all have ended."""
        return await asyncio.wait_for(asyncio.gather(*self._tasks), timeout_s)

    async def wait_for(self, chunks: int, timeout_s: float = 300.0) -> None:
        """Return when so many content messages have been read in all."""
        self._wanted = chunks
        if self._read < chunks:
            self._all_read = asyncio.get_running_loop().create_future()
            await asyncio.wait_for(self._all_read, timeout_s)

    async def wait_for_first(self, count: int, timeout_s: float = 120.0) -> None:
        """Return when so many streams have had a message."""
        async with asyncio.timeout(timeout_s):
            while self._ready < count:  # noqa: ASYNC110  # a measurement's own bookkeeping, outside what is timed
                await asyncio.sleep(0.02)

    async def delays_s(self) -> list[float]:
        """Return how long the stamped chunks took to become messages here, and forget them."""
        taken, self._delays_s[:] = list(self._delays_s), []
        return taken


class Ping:
    """The other end of a bare Ray call."""

    async def pid(self) -> int:
        return os.getpid()

    async def ping(self, payload: bytes) -> bytes:
        return payload
