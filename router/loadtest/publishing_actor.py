"""The publishing load generator: a Ray actor that publishes its share of the streams."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from actors.errors import RouterUnavailable, StreamRouterError
from actors.recording_format import read_recording
from actors.settings import StreamSettings
from actors.translator import Translator
from router.client.publishing.publisher import Publisher
from router.client.stream_router import StreamRouter
from router.loadtest.arrivals import planned_starts
from router.loadtest.measurements import Measurements
from router.loadtest.memory_source import play
from router.loadtest.plan import Planner, StreamPlan
from router.loadtest.stream_events import END, HANDED, START, StreamEnd, StreamEvents
from router.loadtest.verify import as_body, expected
from router.loadtest.workload import Workload
from router.runs.bodies import build_body, model_of
from router.runs.requests import Request
from router.runs.source import kind_of
from router.scripted_provider.library import Recording
from router.scripted_provider.script import SCRIPT_HEADER
from router.sources.http import HttpProviderError, HttpSource, HttpTimeouts, route

HANDED_EVERY_S = 0.25


@dataclass
class Setup:
    """What every load generator is told at its start; all else follows from it."""

    workload: Workload
    recordings: Sequence[Recording]
    requests: Sequence[Request]
    run_id: str
    router_name: str
    namespace: str
    gateways: Sequence[str] = ()
    """Where readers come over HTTP; none: they read from the router."""

    def request_id(self, number: int) -> str:
        """Return the request ID of a stream."""
        return f"{self.run_id}-{number:06d}"


@dataclass
class _Live:
    """A stream under way. `readers`: the processes that read it; `told`: how many of `handed_at` they know."""

    plan: StreamPlan
    readers: list[StreamEvents]
    asked_at: float
    handed_at: list[float] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)
    told: int = 0

    def tell(self) -> None:
        """Tell the readers' processes which chunks were handed over since the last time."""
        if self.told < len(self.handed_at):
            for events in self.readers:
                events.put(HANDED, self.plan.number, self.told, self.handed_at[self.told :])
            self.told = len(self.handed_at)


class PublishingActor:
    """One publishing process of a load test: every `count`-th stream from `number` on."""

    def __init__(self, setup: Setup, number: int, count: int) -> None:
        self._setup, self._number, self._count = setup, number, count
        self._planner = Planner(setup.workload, setup.recordings)
        self._measured = Measurements()
        self._open = AsyncExitStack()
        self._router: StreamRouter | None = None
        self._sources: list[HttpSource] = []
        self._readers: list[StreamEvents] = []
        self._live: dict[int, _Live] = {}
        self._whole: dict[str, list[bytes]] = {}
        self._zero = 0.0
        self._driving: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # --- called by the runner ---------------------------------------------------------------

    async def pid(self) -> int:
        """Return this process's number."""
        return os.getpid()

    async def connect(
        self, urls: Sequence[str], key: str | None, readers: Sequence[Any], token: str | None = None
    ) -> None:
        """Connect to the router, the providers and the readers' processes; harmless when called again."""
        if self._router is not None:
            return
        setup = self._setup
        entrance = StreamRouter.connect(setup.router_name, namespace=setup.namespace, token=token)
        router = await self._open.enter_async_context(entrance)
        endpoint = setup.workload.target.endpoint
        headers = endpoint.auth_headers(key) if endpoint is not None else {}
        timeouts = endpoint.timeouts.for_source() if endpoint is not None else HttpTimeouts()
        for url in urls:
            source = HttpSource(url, headers=headers, timeouts=timeouts)
            self._sources.append(await self._open.enter_async_context(source))
        self._readers = [StreamEvents(self._number, handle) for handle in readers]
        self._router = router

    async def begin(self, zero: float) -> None:
        """Start the load; `zero` is the run's start, as `time.time()` has it."""
        if self._driving is None:
            self._zero = zero
            self._driving = asyncio.create_task(self._drive())
            self._telling = asyncio.create_task(self._keep_telling())

    async def progress(self) -> dict[str, Any]:
        """Return all that was counted so far, and whether the load is over."""
        failure = None
        if self._driving is not None and self._driving.done() and not self._driving.cancelled():
            error = self._driving.exception()
            failure = None if error is None else f"{type(error).__name__}: {error}"
        return {
            "measurements": self._measured.dump(),
            "open": len(self._live),
            "done": self._driving is not None and self._driving.done(),
            "failure": failure,
        }

    async def stop(self) -> None:
        """Start no more streams and cancel those under way."""
        tasks = [task for task in (self._driving, *self._tasks) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for events in self._readers:
            await events.flush()

    async def close(self) -> None:
        """Disconnect from the router, the providers and the reading processes."""
        if self._telling is not None:
            self._telling.cancel()
        await self._open.aclose()

    # --- starting streams --------------------------------------------------------------------

    async def _drive(self) -> None:
        workload = self._setup.workload
        starts = planned_starts(workload)
        if starts is None:
            share, rest = divmod(workload.arrival.concurrency, self._count)
            numbers = itertools.count(self._number, self._count)
            workers = [self._worker(numbers) for _ in range(share + (self._number < rest))]
            await asyncio.gather(*workers)
        else:
            for number in range(self._number, len(starts), self._count):
                await asyncio.sleep(max(0.0, self._zero + starts[number] - time.time()))
                self._measured.time("arrival_lag_ms", self._now(), time.time() - self._zero - starts[number])
                task = asyncio.create_task(self._stream(number))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            while self._tasks:
                await asyncio.wait(self._tasks)
        for events in self._readers:
            await events.flush()

    async def _worker(self, numbers: Any) -> None:
        """Keep one stream open, one after the other."""
        workload = self._setup.workload
        for number in numbers:
            is_over = workload.duration_s is not None and self._now() >= workload.duration_s
            if is_over or (workload.streams is not None and number >= workload.streams):
                return
            await self._stream(number)

    def _now(self) -> float:
        return time.time() - self._zero

    async def _keep_telling(self) -> None:
        while True:
            await asyncio.sleep(HANDED_EVERY_S)
            for live in self._live.values():
                live.tell()

    # --- one stream -------------------------------------------------------------------------

    async def _stream(self, number: int) -> None:
        if self._router is None:
            raise RouterUnavailable("this generator is not connected yet; call connect() first")
        plan = self._planner.stream(number)
        processes = sorted({(number + reader) % len(self._readers) for reader in range(len(plan.readers))})
        live = self._live[number] = _Live(plan, [self._readers[index] for index in processes], time.time())
        for events in live.readers:
            events.put(START, number, live.asked_at)
        measured = self._measured
        measured.count("streams", self._now())
        end = StreamEnd(None)
        stream = self._router.publish(self._setup.request_id(number), self._planner.settings(plan))
        try:
            async with stream:
                opened_at = time.time()
                measured.time("open_ms", opened_at - self._zero, opened_at - live.asked_at)
                await self._publish(stream, live, opened_at)
        except HttpProviderError as error:
            end.provider_failed = True
            measured.error(f"provider: {kind_of(error)}")
            measured.count("provider_errors", self._now())
        except StreamRouterError as error:
            measured.error(f"router: {error.code}")
            measured.count("failed", self._now())
            measured.example(f"{stream.request_id}: {error} [{error.code}]")
        except asyncio.CancelledError:
            end.interrupted = True
            raise
        finally:
            end.stop_reason = stream.stop_reason or ("cancelled" if end.interrupted else None)
            self._conclude(live, end)

    async def _publish(self, stream: Publisher, live: _Live, opened_at: float) -> None:
        measured = self._measured
        async for chunk in self._source(live.plan):
            now = time.time()
            at_s = now - self._zero
            if not live.handed_at:
                measured.time("provider_first_event_ms", at_s, now - opened_at)
            live.handed_at.append(now)
            live.chunks.append(chunk)
            if stream.has_credit:
                await stream.chunk(chunk)
            else:
                await stream.chunk(chunk)
                measured.count("credit_waits", at_s)
                measured.time("credit_wait_ms", at_s, time.time() - now)
            measured.count("chunks", at_s)
            measured.counts["bytes"] += len(chunk)

    def _source(self, plan: StreamPlan) -> AsyncIterator[bytes]:
        """Return the stream's chunks as they come."""
        workload, number = self._setup.workload, plan.number
        if plan.recording is None:
            endpoint = workload.target.endpoint
            if endpoint is None:
                raise RouterUnavailable("a stream without a recording needs target.endpoint")
            request = self._setup.requests[number % len(self._setup.requests)]
            body = build_body(endpoint.api, request, endpoint.model)
            chunk_bytes_max = self._planner.settings(plan).chunk_bytes_max
            path = endpoint.path(model_of(request, endpoint.model))
            return self._sources[0].stream(path, body, chunk_bytes_max=chunk_bytes_max)
        if workload.target.kind == "memory":
            return play(plan.recording, plan.script, str(number))
        recording = plan.recording
        body = {"model": recording.name, "stream": True, "messages": [{"role": "user", "content": "Go on."}]}
        headers = {SCRIPT_HEADER: urlencode(plan.script), "x-script-key": str(number)}
        source = self._sources[number % len(self._sources)]
        return source.stream(route(recording.api, recording.name), body, headers=headers)

    def _conclude(self, live: _Live, end: StreamEnd) -> None:
        """Tell the readers' processes how the stream ended, and what was right where the recording does not say it."""
        self._complete_end(live, end)
        live.tell()
        for events in live.readers:
            events.put(END, live.plan.number, end)
        del self._live[live.plan.number]
        self._measured.count("ended", self._now())
        self._measured.ends[end.stop_reason or "not opened"] += 1
        if self._measured.streams.wants(live.plan.number):
            self._measured.streams.put(live.plan.number, self._timeline_row(live, end))

    def _complete_end(self, live: _Live, end: StreamEnd) -> None:
        """Say what was right where the provider broke off, or is a real one: what it did send."""
        recording = live.plan.recording
        is_whole = not end.provider_failed and recording is not None and self._is_whole(recording, live.chunks)
        if is_whole or end.stop_reason is None or end.interrupted:
            return
        settings = self._planner.settings(live.plan)
        end.right = expected(as_body(live.chunks), self._api(live.plan), settings)
        if recording is None:
            end.chunk_of = _completing(live.chunks, settings)
        else:
            end.provider_failed = True

    def _timeline_row(self, live: _Live, end: StreamEnd) -> list[Any]:
        """Return label, times (asked, first chunk, end; seconds after the run's start) and stop reason of a stream."""
        recording = live.plan.recording
        label = recording.name if recording is not None else self._api(live.plan)
        first_s = round(live.handed_at[0] - self._zero, 3) if live.handed_at else None
        return [label, round(live.asked_at - self._zero, 3), first_s, round(self._now(), 3), end.stop_reason]

    def _api(self, plan: StreamPlan) -> str:
        if plan.recording is not None:
            return plan.recording.api
        endpoint = self._setup.workload.target.endpoint
        return endpoint.api if endpoint is not None else "openai-chat"

    def _is_whole(self, recording: Recording, chunks: list[bytes]) -> bool:
        """Whether the provider has sent all of a recording; its end marker may be missing."""
        if recording.name not in self._whole:
            self._whole[recording.name] = _without_marker(read_recording(recording.body))
        return _without_marker(chunks) == self._whole[recording.name]


def _without_marker(chunks: Sequence[bytes]) -> list[bytes]:
    return [chunk for chunk in chunks if chunk != b"[DONE]" and b'"message_stop"' not in chunk]


def _completing(chunks: Sequence[bytes], settings: StreamSettings) -> list[int]:
    """Return for each message, from the first on, the index of the chunk that completes it."""
    translator = Translator(settings, run_id="loadtest")
    return [index for index, chunk in enumerate(chunks) for _ in translator.chunk(chunk)]
