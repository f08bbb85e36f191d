"""What publishing generators tell reading ones: starts, the times at which chunks were handed over, ends.

A note is a row of events `(kind, stream number, ...)`:

    START   asked_at                    the stream begins; its readers may come
    HANDED  first chunk's index, times  chunks that were handed to `publish` since the last note
    END     a `StreamEnd`               the publisher has done with it

One note is under way at a time, and its number makes a second arrival harmless, so calls that fail
are simply made again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayError

from router.demo.verify import Content

START, HANDED, END = "start", "handed", "end"
NOTE_DEADLINE_S = 10.0
BACKOFF_S = 0.05


@dataclass
class StreamEnd:
    """What the publisher knows when a stream has ended.

    `stop_reason` None: it was never opened. `right`: what its readers should have got, where that is not
    the whole recording. `chunk_of`: which chunk completes which message, where no recording says it.
    """

    stop_reason: str | None
    provider_failed: bool = False
    interrupted: bool = False
    right: Content | None = None
    chunk_of: list[int] | None = None


class Notes:
    """The notes of one publishing process to one reading process."""

    def __init__(self, publisher: int, handle: Any) -> None:
        self._publisher, self._handle = publisher, handle
        self._events: list[tuple[Any, ...]] = []
        self._number = 0
        self._sending: asyncio.Task[None] | None = None

    def put(self, *event: Any) -> None:
        """Send an event, with what else comes while a note is under way."""
        self._events.append(event)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send())

    async def _send(self) -> None:
        await asyncio.sleep(0)
        while self._events:
            events, self._events = self._events, []
            self._number += 1
            while True:
                try:
                    call = self._handle.note.remote(self._publisher, self._number, events)
                    await asyncio.wait_for(call, NOTE_DEADLINE_S)
                    break
                except (RayError, TimeoutError):
                    await asyncio.sleep(BACKOFF_S)

    async def flush(self) -> None:
        """Wait until all has arrived."""
        if self._sending is not None:
            await self._sending
