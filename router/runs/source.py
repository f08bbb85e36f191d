"""Asks a provider and publishes what it says; runs in the driver, or as a Ray actor beside others.

What goes wrong at the provider ends the request with an `error_message` and the stop reason `error`
that its readers see, and comes back as the outcome's `error`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from actors.errors import RouterUnavailable, StreamRouterError
from actors.settings import StreamSettings
from router.client.publishing.publisher import Publisher
from router.client.stream_router import StreamRouter
from router.runs.endpoint import Endpoint
from router.runs.retries import Retries
from router.sources.http import HttpProviderError, HttpSource


@dataclass
class Outcome:
    """What became of a request at its publishing end. `error_kind`: unreachable, status 429, cut, ..."""

    stop_reason: str | None = None
    error: str | None = None
    error_kind: str | None = None
    attempts: int = 0
    chunks: int = 0
    first_chunk_s: float | None = None
    wall_s: float = 0.0


class Source:
    """Asks requests side by side, over one set of connections."""

    def __init__(self, endpoint: Endpoint, retries: Retries, router: StreamRouter | None = None) -> None:
        self._endpoint, self._retries, self._router = endpoint, retries, router
        self._open = AsyncExitStack()
        self._http: HttpSource | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._rng = random.Random()

    async def connect(
        self, key: str | None, router_name: str | None = None, namespace: str = "", token: str | None = None
    ) -> None:
        """Connect to the router (by name, where it was not given) and make ready for the provider."""
        if router_name is not None:
            entrance = StreamRouter.connect(router_name, namespace=namespace, token=token)
            self._router = await self._open.enter_async_context(entrance)
        headers = self._endpoint.auth_headers(key)
        http = HttpSource(self._endpoint.base_url, headers=headers, timeouts=self._endpoint.timeouts.for_source())
        self._http = await self._open.enter_async_context(http)

    async def close(self) -> None:
        """Break off what is under way, ending each request as cancelled, and let go of everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._open.aclose()

    async def ask(self, request_id: str, settings: Mapping[str, Any], path: str, body: Mapping[str, Any]) -> Outcome:
        """Ask for one stream and publish it. Never raises for what goes wrong with this one request."""
        if self._router is None or self._http is None:
            raise RouterUnavailable("this source is not connected yet; call connect() first")
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        outcome = Outcome()
        started = time.perf_counter()
        loaded = StreamSettings.load(settings)
        stream = self._router.publish(request_id, loaded)
        try:
            async with stream:
                chunks = partial(self._http.stream, path, body, chunk_bytes_max=loaded.chunk_bytes_max)
                await self._stream(stream, chunks, outcome)
        except HttpProviderError as error:
            outcome.error, outcome.error_kind = str(error), kind_of(error)
        except StreamRouterError as error:
            outcome.error, outcome.error_kind = str(error), error.code
        except asyncio.CancelledError:
            outcome.error, outcome.error_kind = "the run was interrupted", "cancelled"
        finally:
            if task is not None:
                self._tasks.discard(task)
        outcome.stop_reason = stream.stop_reason
        outcome.wall_s = time.perf_counter() - started
        return outcome

    async def _stream(self, stream: Publisher, chunks: Callable[[], AsyncIterator[bytes]], outcome: Outcome) -> None:
        """Publish the answer; before its first chunk, ask again where that makes sense."""
        started = time.perf_counter()
        while True:
            outcome.attempts += 1
            try:
                async for chunk in chunks():
                    if outcome.first_chunk_s is None:
                        outcome.first_chunk_s = time.perf_counter() - started
                    outcome.chunks += 1
                    await stream.chunk(chunk)
            except HttpProviderError as error:
                wait_s = None if outcome.chunks else self._retries.wait_s(outcome.attempts, error, self._rng)
                if wait_s is None:
                    raise
                await asyncio.sleep(wait_s)
            else:
                return


def kind_of(error: HttpProviderError) -> str:
    """Return an error's kind, with the status where it is one."""
    return f"status {error.status}" if error.kind == "status" else error.kind
