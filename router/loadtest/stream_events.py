"""What publishing processes tell reading ones: starts, the times at which chunks were handed over, ends.

One call carries a row of events `(kind, stream number, ...)`:

    START   asked_at                    the stream begins; its readers may come
    HANDED  first chunk's index, times  chunks that were handed to `publish` since the last such event
    END     a `StreamEnd`               the publisher has done with it

One call is in flight at a time. Calls are numbered, and the reading process ignores a number that it
has had, so a call that fails is made again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayError

from router.demo.recorded_content import Content

START, HANDED, END = "start", "handed", "end"
CALL_DEADLINE_S = 10.0
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


class StreamEvents:
    """The events that one publishing process sends to one reading process, in order."""

    def __init__(self, publisher: int, reading_actor: Any) -> None:
        self._publisher, self._reading_actor = publisher, reading_actor
        self._waiting: list[tuple[Any, ...]] = []
        self._number = 0
        self._sending: asyncio.Task[None] | None = None

    def put(self, *event: Any) -> None:
        """Send an event; events that come while a call is in flight go together in the next."""
        self._waiting.append(event)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send())

    async def _send(self) -> None:
        await asyncio.sleep(0)
        while self._waiting:
            events, self._waiting = self._waiting, []
            self._number += 1
            while True:
                try:
                    call = self._reading_actor.take_events.remote(self._publisher, self._number, events)
                    await asyncio.wait_for(call, CALL_DEADLINE_S)
                    break
                except (RayError, TimeoutError):
                    await asyncio.sleep(BACKOFF_S)

    async def flush(self) -> None:
        """Wait until all has arrived."""
        if self._sending is not None:
            await self._sending
