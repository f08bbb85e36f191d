"""A connection over which several streams are read.

Each is read by a task of its own, from its cursor on, and no faster than the connection takes what there is; nothing is
shared with other readers, since each event bears this reader's cursor over all its streams.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from actors.errors import StreamRouterError
from gateway.figures import Count
from gateway.formats.many import ManyForm
from gateway.serving.answers import status_of
from gateway.serving.kept import Keeper, Kept
from gateway.serving.tap import FAILED, Interrupted
from gateway.serving.whose import Source

log: logging.Logger = logging.getLogger("gateway.many")

Batches = Callable[[Source, int], AsyncIterator[Any]]
"""Begins to read a request behind a message."""

LABEL = "native"
_PASSES = frozenset({429, 503})


class ManyReader(Kept):
    """One reader of several streams."""

    def __init__(
        self,
        keeper: Keeper,
        sources: Sequence[Source],
        form: ManyForm,
        batches: Batches,
        count: Count,
        *,
        is_chunked: bool,
    ) -> None:
        super().__init__(keeper, LABEL, count, is_chunked=is_chunked)
        self.sources: Sequence[Source] = sources
        self.said_at_s: float = asyncio.get_running_loop().time()
        """When it was last sent something."""
        self._form = form
        self._batches = batches
        self._room = asyncio.Event()
        self._room.set()
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self, transport: asyncio.Transport, head: bytes, lost: Mapping[str, StreamRouterError]) -> None:
        """Answer on a connection, which is this reader's from now on. `lost`: what cannot be read."""
        self._transport = transport
        transport.write(head)
        self._write(self._form.opening)
        for name, error in lost.items():
            self._write(self._lost(name, error))
        left = [source for source in self.sources if not self._form.places[source.request_id].has_ended]
        self._tasks = [asyncio.ensure_future(self._read(source)) for source in left]
        if not left:
            self._end("ended")

    def shown(self, source: Source) -> dict[str, Any]:
        """Return how far it is with one of its streams."""
        at = self._form.places[source.request_id].seq_id
        waiting = self._transport.get_write_buffer_size()
        return {"format": self.label, "at": at, "behind": None, "unsent_bytes": waiting}

    async def _read(self, source: Source) -> None:
        name = source.request_id
        try:
            async for batch in self._batches(source, self._form.places[name].seq_id):
                await self._room.wait()
                self._write(self._bytes_of(name, batch))
            reason = self._form.reason(name) or (await source.router.request(name)).stop_reason
            self._write(self._form.end(name, reason))
        except StreamRouterError as error:
            if status_of(error) in _PASSES:
                self.interrupt(Interrupted(error.code, str(error)))
                return
            self._write(self._lost(name, error))
        except Exception:
            log.exception("a stream could not be put into its format")
            self.interrupt(FAILED)
            return
        if self._form.have_all_ended:
            self._end("ended")

    def _lost(self, name: str, error: StreamRouterError) -> bytes:
        return self._form.end(name, None, {"code": error.code, "message": str(error)})

    def _bytes_of(self, name: str, batch: Any) -> bytes:
        parts = [] if batch.gap is None else [self._form.gap(name, *batch.gap)]
        return b"".join([*parts, *(self._form.feed(name, message) for message in batch.messages)])

    def beat(self) -> None:
        """Send what is sent while nothing else is."""
        if self.full_at_s is None and not self._is_over:
            self._write(self._form.ping())

    def interrupt(self, error: Interrupted) -> None:
        """End its answer, here; it may go on elsewhere."""
        self._end("interrupted", self._form.broken(error.code, error.text))

    # --- the connection -----------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        if data:
            self.said_at_s = asyncio.get_running_loop().time()
        super()._write(data)

    def _stop(self) -> None:
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()

    def pause_writing(self) -> None:
        """See `asyncio.BaseProtocol`."""
        self._room.clear()
        super().pause_writing()

    def _has_room(self) -> None:
        self._room.set()
