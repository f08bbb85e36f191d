"""All streams that are read here: which taps there are, who reads them, and what is sent while nothing is said."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from aiohttp import web

from actors.errors import LimitExceeded, StreamRouterError
from gateway.config import GatewayConfig
from gateway.figures import Figures
from gateway.formats.many import ManyForm
from gateway.serving.kept import Kept
from gateway.serving.many import LABEL, ManyReader
from gateway.serving.reader import Reader
from gateway.serving.rounds import Rounds
from gateway.serving.taking import Taken, head_of, is_chunked, take
from gateway.serving.tap import Interrupted, MakeForm, Tap
from gateway.serving.whose import Source, asking
from router import Subscription

log: logging.Logger = logging.getLogger("gateway.streams")

OPEN_WAIT_S = 30.0
HEADERS = {
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}
_DRAINING = Interrupted("draining", "this gateway is being stopped; connect again to go on elsewhere")

# A turn of the wheel: so many fit into a heartbeat, and what has said nothing for so much of one is due.
_TURNS = 32
_DUE = 0.8
_SHARE = 8  # of all readers, in one turn: else those that came together would hold up all others every time


class Streams:
    """Gives readers their streams. Use within one event loop."""

    def __init__(self, config: GatewayConfig, figures: Figures) -> None:
        self._config = config
        self._figures = figures
        self._taps: dict[tuple[Any, ...], Tap] = {}
        self._readers: set[Kept] = set()
        self._of_many: set[ManyReader] = set()  # those of them that read several streams
        self._rounds = Rounds()
        self._streams = 0  # that all of them read
        self._full: set[Kept] = set()
        self._wheel: asyncio.TimerHandle | None = None
        self._turn_s = min(config.heartbeat_s / _TURNS, config.write_timeout_s / 4)
        self._are_gone = asyncio.Event()
        self.is_draining: bool = False

    def check_room(self, streams: int = 1) -> None:
        """Raise LimitExceeded where so many streams more cannot be read."""
        if self._streams + streams > self._config.readers_max:
            raise LimitExceeded(
                f"{self._streams} streams are read here, and readers_max is {self._config.readers_max}; try again"
            )

    def readers_of(self, source: Source) -> list[dict[str, Any]]:
        """Return who reads a request here, and how far each is."""
        readers = [one.shown() for one in self._readers if isinstance(one, Reader) and one.source == source]
        return readers + [one.shown(source) for one in self._of_many if source in one.sources]

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

        The connection is taken from the server, and this returns as soon as the stream has begun. Raises
        LimitExceeded, and UnknownRequest for what the caller may not see, before anything is sent.
        """
        self.check_room()
        source = await asking.get().source(request_id)
        response = Taken(headers={**HEADERS, **(headers or {})})
        await request.app.on_response_prepare.send(request, response)
        form = make_form()  # a reader's own: how it begins depends on what the reader has had
        response.headers["Content-Type"] = form.content_type
        tap = self._tap((source, *key), make_form)
        reader = Reader(self, str(key[0]), tap, after, is_chunked=is_chunked(request))
        try:
            head = head_of(request, response)
            transport = take(request, reader)
        except BaseException:
            self.leave(tap)
            raise
        self._keep(reader, 1, is_resumed=after > 0)
        reader.begin(transport, head, form.opening)
        return response

    async def respond_many(
        self, request: web.Request, form: ManyForm, lost: Mapping[str, StreamRouterError], *, is_resumed: bool = False
    ) -> web.StreamResponse:
        """Answer with several streams, each from its place on. `lost`: what cannot be read. Raises as `respond`."""
        self.check_room(len(form.places))
        sources = [await asking.get().source(request_id) for request_id in form.places if request_id not in lost]
        response = Taken(headers={**HEADERS, "Content-Type": form.content_type})
        await request.app.on_response_prepare.send(request, response)
        count = self._figures.count("bytes", LABEL)
        reader = ManyReader(self, sources, form, self._batches_behind, count, is_chunked=is_chunked(request))
        head = head_of(request, response)
        transport = take(request, reader)
        self._of_many.add(reader)
        self._keep(reader, len(sources), is_resumed=is_resumed)
        reader.begin(transport, head, lost)
        return response

    def _keep(self, reader: Kept, streams: int, *, is_resumed: bool) -> None:
        self._readers.add(reader)
        self._streams += streams
        self._are_gone.clear()
        self._figures.add("readers", reader.label)
        self._figures.add("opened", reader.label)
        if is_resumed:
            self._figures.add("resumed", reader.label)
        if self._wheel is None:
            self._wheel = self._next_turn()

    def _tap(self, key: tuple[Any, ...], make_form: MakeForm) -> Tap:
        """Return a tap, held for one reader more."""
        tap = self._taps.get(key)
        if tap is None or tap.is_broken:
            count = self._figures.count("bytes", str(key[1]))
            tap = Tap(key, self._subscription(key[0]), make_form, self._config.window_bytes_max, count, self._rounds)
            self._taps[key] = tap
            tap.begin()
        tap.readers += 1
        return tap

    def _subscription(self, source: Source, after: int = 0, ping_s: float | None = None) -> Subscription:
        router, request_id = source
        return router.subscribe(
            request_id, after=after, format="dict", observer=True, wait_s=OPEN_WAIT_S, ping_s=ping_s
        )

    def _batches_behind(self, source: Source, after: int) -> AsyncIterator[Any]:
        return aiter(self._subscription(source, after))

    def _turn(self) -> None:
        """Turn the wheel: one timer for all readers."""
        now_s = asyncio.get_running_loop().time()
        for reader in [one for one in self._full if now_s - (one.full_at_s or now_s) > self._config.write_timeout_s]:
            reader.give_up()
        due_at_s = now_s - _DUE * self._config.heartbeat_s
        for several in list(self._of_many):
            if several.said_at_s <= due_at_s:
                _try(several.beat)
        left = max(len(self._readers) // _SHARE, 1)
        for tap in list(self._taps.values()):
            if tap.said_at_s <= due_at_s:
                _try(partial(tap.beat, now_s))
                left -= tap.readers
                if left <= 0:
                    break
        self._wheel = self._next_turn() if self._readers else None

    def _next_turn(self) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(self._turn_s, self._turn)

    async def drain(self) -> None:
        """Take no more readers, and give those there are an end from which they go on elsewhere."""
        self.is_draining = True
        for tap in list(self._taps.values()):
            tap.interrupt(_DRAINING)
        for reader in list(self._readers):
            reader.interrupt(_DRAINING)
        if self._readers:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._config.drain_s):
                    await self._are_gone.wait()

    def close(self) -> None:
        """Close all connections that there are still."""
        for reader in list(self._readers):
            reader.abort()
        if self._wheel is not None:
            self._wheel.cancel()

    # --- what readers say ---------------------------------------------------------------------------

    def batches_with_pings(self, tap: Tap) -> AsyncIterator[Any]:
        """See `TapKeeper`."""
        return aiter(self._subscription(tap.key[0], ping_s=self._config.heartbeat_s))

    def leave(self, tap: Tap) -> None:
        """See `TapKeeper`."""
        tap.readers -= 1
        if not tap.readers:
            if self._taps.get(tap.key) is tap:
                del self._taps[tap.key]
            tap.close()

    def is_full(self, reader: Kept, *, is_full: bool) -> None:
        """See `Keeper`."""
        (self._full.add if is_full else self._full.discard)(reader)

    def ends(self, reader: Kept, how: str) -> None:
        """See `Keeper`."""
        self._figures.add(how, reader.label)

    def lost(self, reader: Kept) -> None:
        """See `Keeper`."""
        self._readers.discard(reader)
        self._streams -= 1
        if isinstance(reader, ManyReader):
            self._of_many.discard(reader)
            self._streams -= len(reader.sources) - 1
        self._figures.add("readers", reader.label, -1)
        if not self._readers:
            self._are_gone.set()


def _try(beat: Callable[[], None]) -> None:
    """Let a stream send what it sends in a silence; where it cannot, the wheel turns on for the others."""
    try:
        beat()
    except Exception:
        log.exception("a stream could not send what it sends in a silence")
