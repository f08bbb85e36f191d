"""A reader's connection, from the head of its answer on.

Theory. An HTTP server keeps two tasks, a parser and the request for each connection, and a stream needs none of them.
So once a reader is let in, its connection is taken from the server, and this is all that is left of it: a protocol
with a cursor, which the tap calls. It writes until its transport says that it is full, and goes on where it stood when
there is room again. Who was up to date and falls out of the window is too slow; it comes back with its cursor. Who has
yet to catch up reads by itself, in a task of its own, no faster than it takes what there is.

Its connection is closed behind the answer: what the client may have sent behind its request is not looked at.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any, Protocol

from gateway.config import WRITE_BYTES_MAX
from gateway.serving.tap import Interrupted, Tap, chunk_of, follow_alone
from gateway.serving.window import Behind

log: logging.Logger = logging.getLogger("gateway.reader")

LAST_CHUNK: bytes = b"0\r\n\r\n"
_SLOW = "this reader took less than it was sent for too long; connect again to go on"
_FAILED = "the gateway failed on this stream; its log says more"


class Kept(Protocol):
    """A reader, to its keeper."""

    label: str
    full_at_s: float | None

    def interrupt(self, error: Interrupted) -> None:
        """End the answer, here."""
        ...

    def give_up(self) -> None:
        """Close the connection, which has taken nothing for too long."""
        ...

    def abort(self) -> None:
        """Close the connection, whatever it holds."""
        ...


class Keeper(Protocol):
    """What keeps readers."""

    def batches_with_pings(self, tap: Tap) -> AsyncIterator[Any]:
        """Begin to read a tap's request anew; after each silence comes a batch of a ping."""
        ...

    def leave(self, tap: Tap) -> None:
        """Let go of a tap, for one of its readers."""
        ...

    def is_full(self, reader: Kept, *, is_full: bool) -> None:
        """Hear whether a connection takes nothing more for now."""
        ...

    def ends(self, reader: Kept, how: str) -> None:
        """Hear how a stream ends: ended, slow or interrupted."""
        ...

    def lost(self, reader: Kept) -> None:
        """Forget a reader, whose connection has ended."""
        ...


class Reader(asyncio.Protocol):
    """One reader. `label`: what it is counted under; `after`: its cursor; `is_chunked`: as of HTTP/1.1."""

    __slots__ = (
        "_after",
        "_alone",
        "_had_all",
        "_has_room",
        "_holds_tap",
        "_is_chunked",
        "_is_over",
        "_keeper",
        "_tap",
        "_transport",
        "full_at_s",
        "label",
    )

    def __init__(self, keeper: Keeper, label: str, tap: Tap, after: int, *, is_chunked: bool) -> None:
        self.label: str = label
        self.full_at_s: float | None = None
        """Since when its connection takes nothing; None: it does."""
        self._keeper = keeper
        self._tap = tap
        self._holds_tap = True
        self._after = after
        self._is_chunked = is_chunked
        self._had_all = False
        self._is_over = False
        self._has_room: asyncio.Future[None] | None = None
        self._alone: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport

    def begin(self, transport: asyncio.Transport, head: bytes, opening: bytes) -> None:
        """Answer on a connection, which is this reader's from now on."""
        self._transport = transport
        transport.write(head + (chunk_of(opening) if self._is_chunked else opening))
        self.go_on()

    @property
    def source(self) -> Any:
        """Whose messages it reads."""
        return self._tap.key[0]

    def shown(self) -> dict[str, Any]:
        """Return how far it is: its cursor, and how much there is behind it. None: it reads by itself, catching up."""
        last = self._tap.window.last_number
        at = None if not self._holds_tap else last if self in self._tap.listeners else self._after
        behind = None if at is None else max(last - at, 0)
        waiting = self._transport.get_write_buffer_size()
        return {"format": self.label, "at": at, "behind": behind, "unsent_bytes": waiting}

    # --- what its tap says --------------------------------------------------------------------------

    def hear(self, data: bytes, chunk: bytes) -> None:
        """See `Listener`."""
        self._transport.write(chunk if self._is_chunked else data)

    def go_on(self) -> None:
        """See `Listener`: write until the connection is full, or nothing is left."""
        tap = self._tap
        self._stop_listening()
        while self._holds_tap and self.full_at_s is None:
            try:
                data, after = tap.window.after(self._after)
            except Behind:
                self._fall_behind()
                return
            if after == self._after:
                self._has_had_all()
                return
            self._after = after
            self._write(data)

    def _has_had_all(self) -> None:
        tap = self._tap
        if tap.error is not None:
            self._break_off(tap.error)
        elif tap.has_ended:
            self._end("ended")
        elif self._after > tap.window.last_number:
            tap.ahead.add(self)
        else:
            self._had_all = True
            tap.listeners.add(self)

    def _fall_behind(self) -> None:
        if self._had_all:
            self._end("slow", self._tap.make_form().broken("slow_reader", _SLOW))
        else:
            self._let_go()
            self._alone = asyncio.ensure_future(self._follow_alone())

    def _let_go(self) -> None:
        """Leave the tap, once."""
        if self._holds_tap:
            self._holds_tap = False
            self._stop_listening()
            self._keeper.leave(self._tap)

    def _stop_listening(self) -> None:
        tap = self._tap
        if self in tap.listeners:  # it has heard all
            tap.listeners.discard(self)
            self._after = tap.window.last_number
        else:
            tap.ahead.discard(self)

    # --- reading by itself --------------------------------------------------------------------------

    async def _follow_alone(self) -> None:
        tap = self._tap
        try:
            await follow_alone(self._keeper.batches_with_pings(tap), tap.make_form(), self._after, self._write_slowly)
        except Interrupted as error:
            self._break_off(error)
        except Exception:
            log.exception("a stream could not be put into its format")
            self._break_off(Interrupted("internal_error", _FAILED))
        else:
            self._end("ended")

    async def _write_slowly(self, data: bytes) -> None:
        for start in range(0, len(data), WRITE_BYTES_MAX):
            self._write(data[start : start + WRITE_BYTES_MAX])
            if self.full_at_s is not None:
                self._has_room = asyncio.get_running_loop().create_future()
                await self._has_room

    def interrupt(self, error: Interrupted) -> None:
        """End its answer, here, if it reads by itself."""
        if self._alone is not None and not self._is_over:
            self._alone.cancel()
            self._break_off(error)

    # --- the connection -----------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        if data:
            self._tap.count(len(data))
            self._transport.write(chunk_of(data) if self._is_chunked else data)

    def _break_off(self, error: Interrupted) -> None:
        self._end("interrupted", self._tap.make_form().broken(error.code, error.text))

    def _end(self, how: str, data: bytes = b"") -> None:
        """Write the last bytes, and close behind them; where it breaks off without a word, as one that is cut."""
        if self._is_over:
            return
        self._is_over = True
        self._keeper.ends(self, how)
        self._let_go()
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

    def abort(self) -> None:
        """Close the connection, whatever it holds."""
        self._is_over = True
        self._transport.abort()

    def pause_writing(self) -> None:
        """See `asyncio.BaseProtocol`."""
        self._fills()
        self._stop_listening()

    def resume_writing(self) -> None:
        """See `asyncio.BaseProtocol`."""
        self.full_at_s = None
        self._keeper.is_full(self, is_full=False)
        if self._has_room is not None and not self._has_room.done():
            self._has_room.set_result(None)
        self.go_on()

    def _fills(self) -> None:
        if self.full_at_s is None:
            self.full_at_s = asyncio.get_running_loop().time()
            self._keeper.is_full(self, is_full=True)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's
        """See `asyncio.BaseProtocol`."""
        self._is_over = True
        self._let_go()
        if self._alone is not None:
            self._alone.cancel()
        if self.full_at_s is not None:
            self._keeper.is_full(self, is_full=False)
        self._keeper.lost(self)
