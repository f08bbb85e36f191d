"""The reading load generator: a Ray actor that reads its share of the streams, times them and checks them.

A reader is *prompt* when it comes at once and reads as fast as it can. Only prompt readers, of
streams that no slow reader holds back, count for added latency, first messages and gaps: a slow or late
reader causes its own waits. All readers count for order and content.
"""

from __future__ import annotations

import asyncio
import os
import time
from array import array
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from actors.errors import RouterUnavailable, StreamRouterError
from actors.recording_format import read_recording
from actors.settings import StreamSettings
from actors.translator import Translator
from router.client.reading.batch import Batch
from router.client.stream_router import StreamRouter
from router.demo.recorded_content import Content
from router.loadtest.format_readers import COUNT_AS_WE_DO
from router.loadtest.measurements import Measurements
from router.loadtest.plan import Planner, ReaderPlan, StreamPlan
from router.loadtest.publishing_actor import Setup
from router.loadtest.sse_reader import SseReader
from router.loadtest.stream_events import END, HANDED, START, StreamEnd
from router.loadtest.verify import Assembly, Expectations, content_faults, faults_of_end
from router.scripted_provider.library import Recording

OPEN_WAIT_S = 120.0
# Messages of one stream whose chunks' times are not known yet; beyond it they are read, but not timed.
PENDING_MAX = 100_000


@dataclass
class _Reading:
    """One reader of one stream, from its start to its check."""

    plan: ReaderPlan
    assembly: Assembly = field(default_factory=Assembly)
    task: asyncio.Task[None] | None = None
    done: bool = False
    error: str | None = None
    started_at: float = 0.0


@dataclass
class _Stream:
    """A stream as its readers' process sees it. `pending`: messages seen whose chunk's time is not known yet."""

    plan: StreamPlan
    asked_at: float
    chunk_of: Sequence[int] | None
    readings: list[_Reading]
    handed_at: array[float] = field(default_factory=lambda: array("d"))
    pending: list[tuple[int, float]] = field(default_factory=list)
    end: StreamEnd | None = None


class ReadingActor:
    """One reading process of a load test."""

    def __init__(self, setup: Setup, number: int, count: int) -> None:
        self._setup, self._number, self._count = setup, number, count
        self._planner = Planner(setup.workload, setup.recordings)
        self._measured = Measurements()
        self._expectations = Expectations()
        self._oracle: dict[tuple[str, int], tuple[list[int], int]] = {}
        self._open = AsyncExitStack()
        self._router: StreamRouter | None = None
        self._sse: SseReader | None = None
        self._streams: dict[int, _Stream] = {}
        self._last_call: dict[int, int] = {}
        self._readings = 0
        self._zero = 0.0

    # --- called by the runner ---------------------------------------------------------------

    async def pid(self) -> int:
        """Return this process's number."""
        return os.getpid()

    async def connect(self, token: str | None = None) -> None:
        """Connect to the router; harmless when called again."""
        if self._router is None:
            setup = self._setup
            entrance = StreamRouter.connect(setup.router_name, namespace=setup.namespace, token=token)
            self._router = await self._open.enter_async_context(entrance)
            if setup.gateways:
                sse = SseReader(setup.gateways, setup.workload.readers.format)
                self._sse = await self._open.enter_async_context(sse)

    async def begin(self, zero: float) -> None:
        """Take the run's start, as `time.time()` has it."""
        self._zero = zero

    async def progress(self) -> dict[str, Any]:
        """Return all that was counted so far, and how many readers are under way."""
        return {"measurements": self._measured.dump(), "reading": self._readings}

    async def give_up(self) -> None:
        """Stop reading: what has not ended by now counts as unfinished, and what is missing as lost."""
        tasks = [reading.task for stream in self._streams.values() for reading in stream.readings if reading.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for stream in list(self._streams.values()):
            for reading in stream.readings:
                if not reading.done:
                    self._measured.count("unfinished", self._now())
                    reading.error = reading.error or "time was up"
                    reading.done = True
            stream.end = stream.end or StreamEnd("unfinished")
            self._settle(stream)

    async def close(self) -> None:
        """Disconnect from the router."""
        await self._open.aclose()

    # --- called by the publishing processes ---------------------------------------------------

    async def take_events(self, publisher: int, number: int, events: Sequence[tuple[Any, ...]]) -> None:
        """Take a call's events; see `stream_events`. A call that was made before is ignored."""
        if number <= self._last_call.get(publisher, 0):
            return
        self._last_call[publisher] = number
        for event in events:
            if event[0] == START:
                self._start(event[1], event[2])
                continue
            stream = self._streams.get(event[1])
            if stream is None:
                continue
            if event[0] == HANDED:
                del stream.handed_at[event[2] :]
                stream.handed_at.extend(event[3])
                self._match(stream)
            elif event[0] == END:
                self._ended(stream, event[2])

    def _start(self, number: int, asked_at: float) -> None:
        plan = self._planner.stream(number)
        settings = self._planner.settings(plan)
        mine = [
            _Reading(reader)
            for index, reader in enumerate(plan.readers)
            if (number + index) % self._count == self._number
        ]
        chunk_of = None if plan.recording is None else self._right(plan.recording, plan.kind, settings)[0]
        stream = self._streams[number] = _Stream(plan, asked_at, chunk_of, mine)
        for reading in mine:
            self._readings += 1
            self._measured.count("readings", self._now())
            reading.task = asyncio.create_task(self._read(stream, reading))

    def _ended(self, stream: _Stream, end: StreamEnd) -> None:
        stream.end = end
        if end.chunk_of is not None:
            stream.chunk_of = end.chunk_of
            self._match(stream)
        if end.stop_reason is None:
            # It was never opened, so there is nothing to wait for.
            for reading in stream.readings:
                if reading.task is not None and not reading.done:
                    reading.task.cancel()
        self._settle(stream)

    # --- reading ----------------------------------------------------------------------------

    async def _read(self, stream: _Stream, reading: _Reading) -> None:
        try:
            await self._follow(stream, reading)
        except StreamRouterError as error:
            reading.error = f"{error} [{error.code}]"
        except asyncio.CancelledError:
            if stream.end is None or stream.end.stop_reason is not None:
                return  # given up; `give_up` says what that means
        finally:
            self._readings -= 1
        reading.done = True
        self._settle(stream)

    async def _follow(self, stream: _Stream, reading: _Reading) -> None:
        if self._router is None:
            raise RouterUnavailable("these readers are not connected yet; call connect() first")
        plan = reading.plan
        if plan.late_s:
            await asyncio.sleep(max(0.0, stream.asked_at + plan.late_s - time.time()))
        last_at = 0.0
        request_id = self._setup.request_id(stream.plan.number)
        async for batch in self._batches(self._router, request_id):
            now = time.time()
            if batch.gap is not None:
                reading.assembly.gap(*batch.gap)
            for message in batch:
                reading.assembly.feed(message)
            if len(batch):
                last_at = self._count_batch(stream, reading, batch, now, last_at)
            if plan.messages_per_s is not None and not batch.end:
                await asyncio.sleep(len(batch) / plan.messages_per_s)

    def _batches(self, router: StreamRouter, request_id: str) -> AsyncIterator[Batch[Any]]:
        if self._sse is None:
            return aiter(router.subscribe(request_id, format="dict", wait_s=OPEN_WAIT_S))
        return self._sse.read(request_id, OPEN_WAIT_S)

    def _count_batch(
        self, stream: _Stream, reading: _Reading, batch: Sequence[Mapping[str, Any]], now: float, last_at: float
    ) -> float:
        """Count a batch, and time it where its reader is prompt; return `now` as the next batch's `last_at`."""
        self._measured.count("messages", now - self._zero, len(batch))
        self._measured.count("batches", now - self._zero)
        if reading.plan.late_s == 0 and not stream.plan.has_slow_readers:
            self._time(stream, batch, now, last_at)
        return now

    def _time(self, stream: _Stream, batch: Sequence[Mapping[str, Any]], now: float, last_at: float) -> None:
        """Time a batch that a prompt reader was given; `last_at` is when it had the one before, 0 for the first."""
        if last_at:
            self._measured.time("inter_message_gap_ms", now - self._zero, now - last_at)
        else:
            self._measured.time("time_to_first_message_ms", now - self._zero, now - stream.asked_at)
        if len(stream.pending) < PENDING_MAX:
            numbers = (message.get("of_seq_id", message["seq_id"]) for message in batch)
            stream.pending.extend((number, now) for number in numbers if number)
        self._match(stream)

    def _match(self, stream: _Stream) -> None:
        """Measure the added latency of messages whose chunk's time is known by now."""
        chunk_of, handed_at = stream.chunk_of, stream.handed_at
        if chunk_of is None or not stream.pending:
            return
        waiting = []
        for seq_id, seen_at in stream.pending:
            if seq_id > len(chunk_of):
                continue  # the end's own messages: no chunk completes them
            index = chunk_of[seq_id - 1]
            if index < len(handed_at):
                self._measured.time("added_latency_ms", seen_at - self._zero, seen_at - handed_at[index])
            else:
                waiting.append((seq_id, seen_at))
        stream.pending = waiting

    # --- checking ---------------------------------------------------------------------------

    def _settle(self, stream: _Stream) -> None:
        """When all readers and the publisher have done, check what was read, and forget the stream."""
        if stream.end is None or not all(reading.done for reading in stream.readings):
            return
        if self._streams.pop(stream.plan.number, None) is None:
            return
        for reading in stream.readings:
            if stream.end.stop_reason is not None:
                self._check(stream, stream.end, reading)

    def _check(self, stream: _Stream, end: StreamEnd, reading: _Reading) -> None:
        measured, assembly, now_s = self._measured, reading.assembly, self._now()
        settings = self._planner.settings(stream.plan)
        faults = [] if reading.error is None else [reading.error]
        lost = assembly.lost
        is_counted = self._sse is None or self._setup.workload.readers.format in COUNT_AS_WE_DO
        if is_counted and stream.plan.recording is not None and end.right is None and not end.interrupted:
            last_seq = self._right(stream.plan.recording, stream.plan.kind, settings)[1]
            lost += max(0, last_seq - assembly.last_seq)
        elif not assembly.terminals:
            lost += 1  # at the least its end
        for name, count in (
            ("lost", lost),
            ("duplicated", assembly.duplicated),
            ("reordered", assembly.reordered),
            ("dropped", assembly.dropped),
        ):
            if count:
                measured.count(name, now_s, count)
                faults.append(f"{count} messages {name}")
        if end.interrupted:
            return
        faults += faults_of_end(assembly, end.stop_reason or "", provider_failed=end.provider_failed)
        if not assembly.dropped:
            right = end.right or self._recorded(stream.plan.recording, settings)
            faults += content_faults(right, assembly)
        measured.count("unverified" if faults else "verified", now_s)
        if faults:
            measured.example(f"{self._setup.request_id(stream.plan.number)}: {'; '.join(faults)}")

    def _recorded(self, recording: Recording | None, settings: StreamSettings) -> Content:
        if recording is None:
            return Content()
        return self._expectations.of_recording(recording.name, recording.body, recording.api, settings)

    def _right(self, recording: Recording, kind: int, settings: StreamSettings) -> tuple[list[int], int]:
        """Return which chunk completes each message of a recording, and the last message's number."""
        key = (recording.name, kind)
        if key not in self._oracle:
            translator = Translator(settings, run_id="loadtest")
            chunks = read_recording(recording.body)
            chunk_of = [index for index, chunk in enumerate(chunks) for _ in translator.chunk(chunk)]
            self._oracle[key] = (chunk_of, len(chunk_of) + len(translator.end()))
        return self._oracle[key]

    def _now(self) -> float:
        return time.time() - self._zero
