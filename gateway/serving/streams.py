"""All streams that are read here: which taps there are, and how one reader is answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from actors.errors import LimitExceeded
from gateway.config import WRITE_BYTES_MAX, GatewayConfig
from gateway.figures import Figures
from gateway.formats.form import Form
from gateway.serving.tap import Behind, Interrupted, Tap, Write, follow_alone
from router import StreamRouter

log: logging.Logger = logging.getLogger("gateway.streams")

OPEN_WAIT_S = 30.0
HEADERS = {
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}
_SLOW = "this reader took less than it was sent for too long; connect again to go on"
_DRAINING = "this gateway is being stopped; connect again to go on elsewhere"

MakeForm = Callable[[], Form]


class Streams:
    """Gives readers their streams. Use within one event loop."""

    def __init__(self, router: StreamRouter, config: GatewayConfig, figures: Figures) -> None:
        self._router = router
        self._config = config
        self._figures = figures
        self._taps: dict[tuple[Any, ...], Tap] = {}
        self._readers: set[asyncio.Task[Any]] = set()
        self.is_draining: bool = False

    def check_room(self) -> None:
        """Raise LimitExceeded where nobody more can read."""
        if len(self._readers) >= self._config.readers_max:
            raise LimitExceeded(
                f"{len(self._readers)} streams are read here, and readers_max is {self._config.readers_max}; try again"
            )

    async def respond(
        self,
        request: web.Request,
        request_id: str,
        key: tuple[Any, ...],
        make_form: MakeForm,
        *,
        after: int = 0,
        headers: dict[str, str] | None = None,
    ) -> web.StreamResponse:
        """Answer with a stream, from a cursor to its end. `key`: the format, and what of it the reader chose.

        Raises LimitExceeded before anything is sent.
        """
        self.check_room()
        form = make_form()
        response = web.StreamResponse(headers={**HEADERS, **(headers or {})})
        response.headers["Content-Type"] = form.content_type
        reader = asyncio.current_task()
        if reader is not None:
            self._readers.add(reader)
        label = str(key[0])
        self._figures.add("readers", label)
        self._figures.add("opened", label)
        if after:
            self._figures.add("resumed", label)
        try:
            await response.prepare(request)
            write = self._writing(response, label)
            await write(form.opening)
            await self._send(request_id, key, make_form, after, write)
            await response.write_eof()
        except TimeoutError:
            self._figures.add("slow", label)
            if request.transport is not None:
                request.transport.abort()  # to say anything would have to wait for it too
        except ConnectionError:
            log.debug("a reader of %r has left", request_id)
        finally:
            self._figures.add("readers", label, -1)
            if reader is not None:
                self._readers.discard(reader)
        return response

    def _writing(self, response: web.StreamResponse, label: str) -> Write:
        async def write(data: bytes) -> None:
            # In parts, so that what waits in a connection is bounded: aiohttp waits behind each 64 kB.
            for start in range(0, len(data), WRITE_BYTES_MAX):
                async with asyncio.timeout(self._config.write_timeout_s):
                    await response.write(data[start : start + WRITE_BYTES_MAX])
            self._figures.add("bytes", label, len(data))

        return write

    async def _send(self, request_id: str, key: tuple[Any, ...], make_form: MakeForm, after: int, write: Write) -> None:
        """Write a stream from a cursor; where it cannot go on, say so in its format and stop."""
        label = str(key[0])
        try:
            async with self._tap((request_id, *key), request_id, make_form) as tap:
                try:
                    await tap.follow(after, write)
                except Behind as behind:
                    if behind.had_all:
                        raise
                    after = behind.after
                else:
                    self._figures.add("ended", label)
                    return
            await follow_alone(self._batches(request_id), make_form(), after, write)
        except Behind:
            self._figures.add("slow", label)
            await write(make_form().broken("slow_reader", _SLOW))
        except Interrupted as error:
            self._figures.add("interrupted", label)
            await write(make_form().broken(error.code, error.text))
        else:
            self._figures.add("ended", label)

    @asynccontextmanager
    async def _tap(self, key: tuple[Any, ...], request_id: str, make_form: MakeForm) -> AsyncIterator[Tap]:
        tap = self._taps.get(key)
        if tap is None or tap.is_broken:
            tap = self._taps[key] = Tap(
                lambda: self._batches(request_id),
                make_form(),
                self._config.window_bytes_max,
                self._config.heartbeat_s,
            )
            tap.begin()
        tap.readers += 1
        try:
            yield tap
        finally:
            tap.readers -= 1
            if not tap.readers:
                if self._taps.get(key) is tap:
                    del self._taps[key]
                await tap.close()

    def _batches(self, request_id: str) -> AsyncIterator[Any]:
        return aiter(
            self._router.subscribe(
                request_id, format="dict", observer=True, wait_s=OPEN_WAIT_S, ping_s=self._config.heartbeat_s
            )
        )

    async def drain(self) -> None:
        """Take no more readers, and give those there are an end from which they go on elsewhere."""
        self.is_draining = True
        for tap in self._taps.values():
            tap.interrupt("draining", _DRAINING)
        if self._readers:
            await asyncio.wait(self._readers, timeout=self._config.drain_s)
