"""What all connections of readers are: written to in chunks, full at times, and ended once."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Protocol

from gateway.figures import Count
from gateway.serving.tap import Interrupted, chunk_of

LAST_CHUNK: bytes = b"0\r\n\r\n"


class Keeper(Protocol):
    """What keeps readers."""

    def is_full(self, reader: Kept, *, is_full: bool) -> None:
        """Hear whether a connection takes nothing more for now."""
        ...

    def ends(self, reader: Kept, how: str) -> None:
        """Hear how a stream ends: ended, slow or interrupted."""
        ...

    def lost(self, reader: Kept) -> None:
        """Forget a reader, whose connection has ended."""
        ...


class Kept(asyncio.Protocol, ABC):
    """A connection that was taken from the server.

    `label`: what it is counted under; `count`: of the bytes that are written; `is_chunked`: as of HTTP/1.1.
    """

    __slots__ = ("_count", "_is_chunked", "_is_over", "_keeper", "_transport", "full_at_s", "label")

    def __init__(self, keeper: Keeper, label: str, count: Count, *, is_chunked: bool) -> None:
        self.label: str = label
        self.full_at_s: float | None = None
        """Since when its connection takes nothing; None: it does."""
        self._keeper = keeper
        self._count = count
        self._is_chunked = is_chunked
        self._is_over = False
        self._transport: asyncio.Transport

    # --- what a kind of reader says -----------------------------------------------------------------

    @abstractmethod
    def interrupt(self, error: Interrupted) -> None:
        """End the answer, here; it may go on elsewhere."""
        ...

    @abstractmethod
    def _stop(self) -> None:
        """Read nothing more; it may be said twice."""
        ...

    @abstractmethod
    def _has_room(self) -> None:
        """Go on: the connection takes something again."""
        ...

    # --- the connection -----------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        if data:
            self._count.amount += len(data)
            self._transport.write(chunk_of(data) if self._is_chunked else data)

    def _end(self, how: str, data: bytes = b"") -> None:
        """Write the last bytes, and close behind them; where it breaks off without a word, as one that is cut."""
        if self._is_over:
            return
        self._is_over = True
        self._keeper.ends(self, how)
        self._stop()
        self._write(data)
        if self._is_chunked and (data or how == "ended"):
            self._transport.write(LAST_CHUNK)
        if self._transport.get_write_buffer_size():
            self._fills()  # so that it is closed where it takes nothing more
        self._transport.close()

    def give_up(self) -> None:
        """Close the connection, which has taken nothing for too long."""
        if not self._is_over:
            self._keeper.ends(self, "slow")
        self.abort()

    def fail(self) -> None:
        """Close the connection, which cannot be written to."""
        if not self._is_over:
            self._keeper.ends(self, "interrupted")
        self.abort()

    def abort(self) -> None:
        """Close the connection, whatever it holds."""
        self._is_over = True
        self._transport.abort()

    def pause_writing(self) -> None:
        """See `asyncio.BaseProtocol`."""
        self._fills()

    def resume_writing(self) -> None:
        """See `asyncio.BaseProtocol`."""
        self._drains()
        self._has_room()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's
        """See `asyncio.BaseProtocol`."""
        self._is_over = True
        self._stop()
        self._drains()
        self._keeper.lost(self)

    def _fills(self) -> None:
        if self.full_at_s is None:
            self.full_at_s = asyncio.get_running_loop().time()
            self._keeper.is_full(self, is_full=True)

    def _drains(self) -> None:
        if self.full_at_s is not None:
            self.full_at_s = None
            self._keeper.is_full(self, is_full=False)
