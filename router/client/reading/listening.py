"""Reading without a task: whoever reads is called when something has come.

A task for each request that is read costs a wake-up for each batch, and memory while it waits. Who reads thousands of
requests in one loop, as a server does, is called instead, all of them in the turn in which a poll's answer has come.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from actors.errors import StreamRouterError
from router.client.links.caller import as_named
from router.client.reading.batch import Batch
from router.client.reading.reader import Reader

log: logging.Logger = logging.getLogger("router.subscriber")

Hear = Callable[[Batch[Any]], None]
Ended = Callable[[StreamRouterError | None], None]


class Listening:
    """Hands out what comes for a reader."""

    __slots__ = ("_ended", "_hear", "_reader")

    def __init__(self, reader: Reader, hear: Hear, ended: Ended) -> None:
        self._reader = reader
        self._hear = hear
        self._ended = ended

    def begin(self) -> None:
        """Begin to read. Raises as `Reader.begin`."""
        self._reader.begin(self._changed)

    def _changed(self) -> None:
        # Here a poll's answer is handed out to all who read there: what one of them raises stays with it.
        reader = self._reader
        try:
            while (batch := reader.take()) is not None:
                self._hear(batch)
                if batch.end:
                    self._tell_end(None)
                if reader.has_left:
                    return
                if not reader.acknowledge():
                    break
        except StopAsyncIteration:
            self._tell_end(None)
        except StreamRouterError as error:
            self._tell_end(error)
        except Exception as error:
            log.exception("request %r: whoever listens failed", reader.request_id)
            reader.leave()
            self._tell_end(as_named(error, "whoever listens failed"))

    def _tell_end(self, error: StreamRouterError | None) -> None:
        try:
            self._ended(error)
        except Exception:
            log.exception("request %r: whoever listens failed at its end", self._reader.request_id)
