"""A run: requests to a provider through a router, their messages to a file as they come."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import ray
from ray.exceptions import RayError

from actors.errors import StreamRouterError, first_line
from actors.stop_reasons import StopReason
from actors.tenants import TOKEN_VARIABLE
from router.client.entrance import Entrance
from router.client.stream_router import StreamRouter
from router.config import load_config
from router.runs.bodies import build_body, model_of
from router.runs.config import RunConfig
from router.runs.output import Output, is_complete
from router.runs.requests import Request
from router.runs.source import Outcome, Source

CONNECT_TIMEOUT_S = 60.0
READ_REST_S = 60.0
CANCEL_DEADLINE_S = 10.0
SHOW_EVERY_S = 0.2
CONCURRENCY_MAX = 100_000


@dataclass
class Totals:
    """What a run comes to; grows while it runs."""

    requests: int = 0
    skipped: int = 0
    running: int = 0
    complete: int = 0
    failed: int = 0
    messages: int = 0
    chunks: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    stop_reasons: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    wall_s: float = 0.0
    interrupted: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the totals as they are written to a file."""
        return {
            "requests": self.requests,
            "skipped": self.skipped,
            "complete": self.complete,
            "failed": self.failed,
            "messages": self.messages,
            "chunks": self.chunks,
            "retries": self.retries,
            "tokens": {"prompt": self.prompt_tokens, "completion": self.completion_tokens},
            "stop_reasons": dict(self.stop_reasons),
            "errors": {
                kind: {"count": count, "example": self.examples.get(kind)} for kind, count in self.errors.items()
            },
            "wall_s": round(self.wall_s, 2),
            "interrupted": self.interrupted,
        }


class Asks(Protocol):
    """Asks one request: a source of this process, or a handle of one elsewhere."""

    async def __call__(self, request_id: str, settings: dict[str, Any], path: str, body: dict[str, Any]) -> Outcome:
        """See `Source.ask`."""
        ...


async def run(config: RunConfig, requests: Sequence[Request], output: Output, show: Callable[[Totals], None]) -> Totals:
    """Ask all requests that are not complete in the output; `show` is called several times a second.

    Ctrl-C breaks off what is under way: each request gets its terminal (`cancelled`), which is written
    too, and a second run asks it again. Raises StreamRouterError where the run cannot be made at all.
    """
    key = config.endpoint.key()
    prepared = [_Prepared(config, request) for request in requests if request.name not in output.complete]
    totals = Totals(requests=len(requests), skipped=len(requests) - len(prepared))
    if not prepared:
        return totals
    started = time.perf_counter()
    async with _entrance(config) as router, _sources(config, router, key) as asks:
        work = _Work(config, router, output, totals, asks)
        await work.all(prepared, show)
    totals.wall_s = time.perf_counter() - started
    return totals


class _Prepared:
    """A request as it is sent; made for all of them first, so that none is found impossible later on."""

    def __init__(self, config: RunConfig, request: Request) -> None:
        endpoint = config.endpoint
        self.name = request.name
        self.settings = (
            {"dialect": "chat", **request.settings} if request.settings else config.streams.model_dump(mode="json")
        )
        if self.settings.get("provider", "auto") == "auto":
            # Whose events they are is known: nothing that comes first, a keepalive say, has to tell.
            self.settings["provider"] = endpoint.api
        self.body = build_body(endpoint.api, request, endpoint.model)
        self.path = endpoint.path(model_of(request, endpoint.model))


class _Work:
    def __init__(
        self, config: RunConfig, router: StreamRouter, output: Output, totals: Totals, asks: Sequence[Asks]
    ) -> None:
        self._config, self._router, self._output, self._totals, self._asks = config, router, output, totals, asks
        # A router that runs on may remember a request of this name from the run before.
        self._run = f"{time.time_ns():x}"

    async def all(self, prepared: Sequence[_Prepared], show: Callable[[Totals], None]) -> None:
        """Run everything; an interrupt ends it early, in order. Raises OSError where the output cannot be written."""
        waiting = iter(enumerate(prepared))
        workers = [
            asyncio.create_task(self._worker(waiting)) for _ in range(min(self._config.concurrency, len(prepared)))
        ]
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for sign in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(sign, stop.set)
        try:
            under_way = set(workers)
            while under_way and not stop.is_set():
                done, under_way = await asyncio.wait(
                    under_way, timeout=SHOW_EVERY_S, return_when=asyncio.FIRST_COMPLETED
                )
                show(self._totals)
                for worker in done:
                    worker.result()  # raises what ended it
            self._totals.interrupted = bool(under_way)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.wait(workers, timeout=READ_REST_S)
            for sign in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(sign)
            show(self._totals)

    async def _worker(self, waiting: Any) -> None:
        for number, request in waiting:
            self._totals.running += 1
            try:
                await self._one(request, self._asks[number % len(self._asks)])
            finally:
                self._totals.running -= 1

    async def _one(self, request: _Prepared, ask: Asks) -> None:
        request_id = f"{request.name}@{self._run}"
        asking = asyncio.ensure_future(ask(request_id, request.settings, request.path, request.body))
        reading = asyncio.create_task(self._read(request_id, request.name))
        try:
            await asyncio.wait([asking, reading], return_when=asyncio.FIRST_COMPLETED)
            if reading.done() and reading.exception() is not None:
                await self._router.cancel(request_id)
            outcome = await asking
        except asyncio.CancelledError:
            # Interrupted: the router tells the source, and the reader gets its terminal.
            with suppress(StreamRouterError, TimeoutError):
                await asyncio.wait_for(
                    self._router.cancel(request_id, detail="the run was interrupted"), CANCEL_DEADLINE_S
                )
            await asyncio.wait([reading], timeout=CANCEL_DEADLINE_S)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            raise
        except RayError as error:
            outcome = Outcome(error=f"the source actor failed: {first_line(error)}", error_kind="source")
        if outcome.stop_reason is None:
            reading.cancel()  # it was never opened, so there is nothing to read
        await self._rest_of(reading)
        if reading.cancelled() and outcome.error is None:
            outcome.error = f"its messages did not come to their end within {READ_REST_S:g} s of the stream's"
            outcome.error_kind = "unread"
        self._count(outcome, reading)

    async def _rest_of(self, reading: asyncio.Task[str | None]) -> None:
        await asyncio.wait([reading], timeout=READ_REST_S)
        if not reading.done():
            reading.cancel()
            await asyncio.wait([reading])

    async def _read(self, request_id: str, name: str) -> str | None:
        """Write a request's messages as they come; return what its stream itself said was wrong."""
        wrong = None
        subscription = self._router.subscribe(
            request_id, format="dict", coalesce=self._config.coalesce, wait_s=CONNECT_TIMEOUT_S
        )
        async for batch in subscription:
            for message in batch:
                message["run_id"] = name
                self._totals.messages += 1
                if message["message_type"] == "usage_statistics":
                    self._totals.prompt_tokens += message.get("prompt_tokens") or 0
                    self._totals.completion_tokens += message.get("completion_tokens") or 0
                elif message["message_type"] == "error_message":
                    wrong = message["message"]
            self._output.write(batch.messages)
        return wrong

    def _count(self, outcome: Outcome, reading: asyncio.Task[str | None]) -> None:
        totals = self._totals
        failed_reading = None if reading.cancelled() else reading.exception()
        if isinstance(failed_reading, OSError):
            raise failed_reading  # the disk is full, say: nothing that follows could be kept
        if failed_reading is not None and outcome.error is None:
            code = (
                failed_reading.code if isinstance(failed_reading, StreamRouterError) else type(failed_reading).__name__
            )
            outcome.error, outcome.error_kind = str(failed_reading), code
        totals.chunks += outcome.chunks
        totals.retries += max(outcome.attempts - 1, 0)
        totals.stop_reasons[outcome.stop_reason or "none"] += 1
        if outcome.error is None and is_complete(outcome.stop_reason):
            totals.complete += 1
            return
        totals.failed += 1
        kind = outcome.error_kind or f"ended: {outcome.stop_reason}"
        totals.errors[kind] += 1
        totals.examples.setdefault(kind, outcome.error or _ended_badly(outcome.stop_reason, reading))


def _ended_badly(stop_reason: str | None, reading: asyncio.Task[str | None]) -> str:
    """Return why a request is not complete whose publisher saw nothing wrong."""
    if stop_reason == StopReason.INCOMPLETE:
        return "the provider's stream ended without saying why: no finish reason came"
    wrong = None if reading.cancelled() else reading.result()
    return wrong or f"the stream ended with {stop_reason}"


def _entrance(config: RunConfig) -> Entrance:
    if config.connect is not None:
        return StreamRouter.connect(config.connect, namespace=config.namespace, address=config.address)
    # A router of a run's own goes with it, also where its configuration is that of a service.
    return StreamRouter.start(load_config(config.router).model_copy(update={"detached": False}))


@asynccontextmanager
async def _sources(config: RunConfig, router: StreamRouter, key: str | None) -> AsyncIterator[list[Asks]]:
    """Give what asks: this process, or so many source actors on the cluster."""
    if config.sources == 0:
        source = Source(config.endpoint, config.retries, router)
        await source.connect(key)
        try:
            yield [source.ask]
        finally:
            await source.close()
        return
    make: Any = ray.remote(Source)  # Ray's types do not know `options` of a class that is given so
    actors = [
        make.options(num_cpus=0, max_concurrency=CONCURRENCY_MAX, scheduling_strategy="SPREAD").remote(
            config.endpoint, config.retries
        )
        for _ in range(config.sources)
    ]
    try:
        # Key and token go as arguments of a call: what an actor is made with is kept by the cluster.
        told = (key, router.config.name, router.config.namespace, os.environ.get(TOKEN_VARIABLE))
        calls = [actor.connect.remote(*told) for actor in actors]
        await asyncio.wait_for(asyncio.gather(*calls), CONNECT_TIMEOUT_S)
        yield [_asking(actor) for actor in actors]
        await asyncio.wait_for(asyncio.gather(*(actor.close.remote() for actor in actors)), CONNECT_TIMEOUT_S)
    finally:
        for actor in actors:
            ray.kill(actor)


def _asking(actor: Any) -> Asks:
    async def ask(request_id: str, settings: dict[str, Any], path: str, body: dict[str, Any]) -> Outcome:
        outcome: Outcome = await actor.ask.remote(request_id, settings, path, body)
        return outcome

    return ask
