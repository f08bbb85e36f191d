"""One subscription of a request in one format, whose bytes are shared by all that read it here.

Theory. A tap reads a request from its first message on, as an observer, so it holds up no producer, and feeds a form.
What the form gives is kept as blocks of bytes, the newest `window_bytes_max` of them. A reader is a cursor into the
blocks and nothing else: what it has not taken yet is in the window, which is there once for all of them, and the little
that its connection holds. Who was up to date and falls out of the window is too slow (`Behind`); it comes back with its
cursor. Who has yet to catch up reads by itself (`follow_alone`), no faster than it takes what there is.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple

from actors.errors import StreamRouterError
from gateway.config import WRITE_BYTES_MAX
from gateway.formats.form import Form, Frame

log: logging.Logger = logging.getLogger("gateway.tap")

Batches = Callable[[], AsyncIterator[Any]]
"""Begins to read a request from its first message on; gives batches of dicts, one of a `ping` after a silence."""

Write = Callable[[bytes], Awaitable[None]]


class Behind(Exception):  # it never leaves this package
    """A reader wants bytes that the window does not hold any more.

    `after`: its cursor. `had_all`: it had had all that there was, and has fallen back since.
    """

    def __init__(self, after: int, *, had_all: bool = False) -> None:
        super().__init__(after)
        self.after = after
        self.had_all = had_all


class Interrupted(Exception):  # nor does this
    """The stream ends here, without its terminal. `code`, `text`: why."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Block(NamedTuple):
    """Frames that came together. `numbers` and `offsets`: of each frame its number, and where its bytes begin."""

    data: bytes
    numbers: list[int]
    offsets: list[int]

    @classmethod
    def of(cls, frames: list[Frame]) -> Block:
        """Join frames."""
        offsets, offset = [], 0
        for frame in frames:
            offsets.append(offset)
            offset += len(frame.data)
        return cls(b"".join([frame.data for frame in frames]), [frame.number for frame in frames], offsets)

    def after(self, number: int) -> bytes:
        """Return the bytes of the frames after a cursor."""
        first = bisect_right(self.numbers, number)
        if first == 0:
            return self.data
        return self.data[self.offsets[first] :] if first < len(self.numbers) else b""


class Window:
    """The newest blocks of one stream in one format. Pure."""

    __slots__ = ("_blocks", "_bytes", "_bytes_max", "_lasts", "dropped_through", "last_number")

    def __init__(self, bytes_max: int) -> None:
        self._blocks: list[Block] = []
        self._lasts: list[int] = []  # the last number of each, to be searched
        self._bytes = 0
        self._bytes_max = bytes_max
        self.dropped_through: int = 0
        self.last_number: int = 0

    def add(self, block: Block) -> None:
        """Take a block; the oldest ones go where there are too many bytes."""
        self._blocks.append(block)
        self._lasts.append(block.numbers[-1])
        self._bytes += len(block.data)
        self.last_number = block.numbers[-1]
        gone = 0
        while self._bytes > self._bytes_max and gone < len(self._blocks) - 1:
            self._bytes -= len(self._blocks[gone].data)
            gone += 1
        if gone:
            self.dropped_through = self._lasts[gone - 1]
            del self._blocks[:gone], self._lasts[:gone]

    def after(self, number: int) -> tuple[bytes, int]:
        """Return bytes after a cursor, some blocks at a time, and the cursor behind them. Raises Behind."""
        if number < self.dropped_through:
            raise Behind(number)
        first = bisect_right(self._lasts, number)
        if first == len(self._blocks):
            return b"", number
        data = self._blocks[first].after(number)
        if first == len(self._blocks) - 1:
            return data, self.last_number  # what most readers wait for
        parts, size, next_one = [data], len(data), first + 1
        while next_one < len(self._blocks) and size + len(self._blocks[next_one].data) <= WRITE_BYTES_MAX:
            parts.append(self._blocks[next_one].data)
            size += len(self._blocks[next_one].data)
            next_one += 1
        return b"".join(parts), self._lasts[next_one - 1]


class Tap:
    """Reads one request for all its readers of one format. Use within one event loop."""

    def __init__(self, batches: Batches, form: Form, window_bytes_max: int, heartbeat_s: float) -> None:
        self.form = form
        self.readers: int = 0
        self.window: Window = Window(window_bytes_max)
        self._batches = batches
        self._heartbeat_s = heartbeat_s
        self._news = asyncio.Event()
        self._has_ended = False
        self._error: Interrupted | None = None
        self._ping = b""
        self._pings = 0
        self._said_at = 0.0
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Begin to read."""
        self._said_at = asyncio.get_running_loop().time()
        self._task = asyncio.ensure_future(self._read())

    async def close(self) -> None:
        """Read no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    @property
    def is_broken(self) -> bool:
        """Whether it ends without a terminal; whoever comes now is to have another."""
        return self._error is not None

    def interrupt(self, code: str, text: str) -> None:
        """End the stream for all its readers, here; each may go on elsewhere."""
        if not self._has_ended:
            self._fail(Interrupted(code, text))

    async def follow(self, after: int, write: Write) -> None:
        """Write what comes after a cursor, to the end. Raises Behind, Interrupted, and what `write` raises."""
        pings = self._pings
        had_all = False
        while True:
            news = self._news
            try:
                data, after = self.window.after(after)
            except Behind:
                raise Behind(after, had_all=had_all) from None
            if data:
                await write(data)
                pings = self._pings
            elif after < self.window.last_number:
                continue  # of these frames none has bytes
            elif self._error is not None:
                raise self._error
            elif self._has_ended:
                return
            elif self._pings != pings:
                pings = self._pings
                await write(self._ping)
            else:
                had_all = True
                await news.wait()

    async def _read(self) -> None:
        try:
            async for batch in self._batches():
                frames = frames_of(self.form, batch)
                self._has_ended = batch.end
                self._take(frames)
            if not self._has_ended:  # all that there was had been read before
                self._has_ended = True
                self._take(self.form.end())
        except StreamRouterError as error:
            self._fail(Interrupted(error.code, str(error)))
        except Exception:
            log.exception("a stream could not be put into its format")
            self._fail(Interrupted("internal_error", "the gateway failed on this stream; its log says more"))

    def _take(self, frames: list[Frame]) -> None:
        now_s = asyncio.get_running_loop().time()
        block = Block.of(frames) if frames else None
        if block is not None:
            self.window.add(block)
        if block is not None and block.data:
            self._said_at = now_s
        elif now_s - self._said_at >= self._heartbeat_s * 0.9:  # silence, or frames of which nothing is seen
            self._said_at = now_s
            self._ping = self.form.ping()
            self._pings += 1
        self._tell()

    def _fail(self, error: Interrupted) -> None:
        self._error = error
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def frames_of(form: Form, batch: Any) -> list[Frame]:
    """Return the frames of a batch of dicts; none for a keepalive."""
    frames: list[Frame] = []
    if batch.gap is not None:
        frames += form.gap(*batch.gap)
    for message in batch.messages:
        if message["message_type"] != "ping":
            frames += form.feed(message)
    if batch.end:
        frames += form.end()
    return frames


async def follow_alone(batches: AsyncIterator[Any], form: Form, after: int, write: Write) -> None:
    """Write what comes after a cursor of a stream that nobody else reads from there, no faster than it is taken.

    Raises Interrupted, and what `write` raises.
    """
    try:
        async for batch in batches:
            frames = frames_of(form, batch)
            if not frames:
                await write(form.ping())
            elif data := Block.of(frames).after(after):
                await write(data)
    except StreamRouterError as error:
        raise Interrupted(error.code, str(error)) from None
