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
from gateway.serving.kept import Keeper, Kept
from gateway.serving.tap import FAILED, Interrupted, Tap, chunk_of, follow_alone
from gateway.serving.window import Behind

log: logging.Logger = logging.getLogger("gateway.reader")

_SLOW = "this reader took less than it was sent for too long; connect again to go on"


class TapKeeper(Keeper, Protocol):
    """What keeps readers of taps."""

    def batches_with_pings(self, tap: Tap) -> AsyncIterator[Any]:
        """Begin to read a tap's request anew; after each silence comes a batch of a ping."""
        ...

    def leave(self, tap: Tap) -> None:
        """Let go of a tap, for one of its readers."""
        ...


class Reader(Kept):
    """One reader. `after`: its cursor."""

    __slots__ = ("_after", "_alone", "_had_all", "_holds_tap", "_room", "_tap")

    def __init__(self, keeper: TapKeeper, label: str, tap: Tap, after: int, *, is_chunked: bool) -> None:
        super().__init__(keeper, label, tap.count, is_chunked=is_chunked)
        self._keeper: TapKeeper
        self._tap = tap
        self._holds_tap = True
        self._after = after
        self._had_all = False
        self._room: asyncio.Future[None] | None = None
        self._alone: asyncio.Task[None] | None = None

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
            self._break_off(FAILED)
        else:
            self._end("ended")

    async def _write_slowly(self, data: bytes) -> None:
        for start in range(0, len(data), WRITE_BYTES_MAX):
            self._write(data[start : start + WRITE_BYTES_MAX])
            if self.full_at_s is not None:
                self._room = asyncio.get_running_loop().create_future()
                await self._room

    def interrupt(self, error: Interrupted) -> None:
        """End its answer, here, if it reads by itself."""
        if self._alone is not None:
            self._break_off(error)

    # --- the connection -----------------------------------------------------------------------------

    def _break_off(self, error: Interrupted) -> None:
        self._end("interrupted", self._tap.make_form().broken(error.code, error.text))

    def _stop(self) -> None:
        self._let_go()
        if self._alone is not None and self._alone is not asyncio.current_task():
            self._alone.cancel()

    def pause_writing(self) -> None:
        """See `asyncio.BaseProtocol`."""
        super().pause_writing()
        self._stop_listening()

    def _has_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self.go_on()
