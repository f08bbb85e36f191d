"""One subscription of a request in one format, whose bytes are shared by all that read it here.

Theory. A tap reads a request from its first message on, as an observer, so it holds up no producer, and feeds a form.
What the form gives is kept as blocks of bytes, the newest `window_bytes_max` of them. A reader (reader.py) is a cursor
into the blocks and nothing else: what it has not taken yet is in the window, which is there once for all of them, and
the little that its connection holds. Those that have had everything are told each block as it comes, all of them the
same bytes object, and wait in no task of their own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

from actors.errors import StreamRouterError
from gateway.formats.form import Form, Frame
from gateway.serving.window import Block, Window

log: logging.Logger = logging.getLogger("gateway.tap")

Batches = Callable[[], AsyncIterator[Any]]
"""Begins to read a request from its first message on; gives batches of dicts."""

Count = Callable[[int], None]
Write = Callable[[bytes], Awaitable[None]]
MakeForm = Callable[[], Form]


class Interrupted(Exception):  # it never leaves this package
    """The stream ends here, without its terminal. `code`, `text`: why."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


FAILED = Interrupted("internal_error", "the gateway failed on this stream; its log says more")


class Listener(Protocol):
    """A reader, to its tap."""

    def hear(self, data: bytes, chunk: bytes) -> None:
        """Take new bytes, given also as one chunk of HTTP."""
        ...

    def go_on(self) -> None:
        """Look at what there is, and how the tap stands."""
        ...


class Tap:
    """Reads one request for all its readers of one format. Use within one event loop."""

    def __init__(
        self, key: tuple[Any, ...], batches: Batches, make_form: MakeForm, window_bytes_max: int, count: Count
    ) -> None:
        """`key`: the request, its format, and what of it its readers chose; `count`: told how much is written."""
        self.key = key
        self.make_form = make_form
        self.count = count
        self.form: Form = make_form()
        self.readers: int = 0
        self.listeners: set[Listener] = set()
        """Those that have had everything."""
        self.ahead: set[Listener] = set()
        """Those that have come with a cursor which this has yet to reach."""
        self.window: Window = Window(window_bytes_max)
        self.has_ended: bool = False
        self.error: Interrupted | None = None
        self.said_at_s: float = 0.0
        """When its listeners were last sent something."""
        self._batches = batches
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Begin to read."""
        self.said_at_s = asyncio.get_running_loop().time()
        self._task = asyncio.ensure_future(self._read())

    def close(self) -> None:
        """Read no more."""
        if self._task is not None:
            self._task.cancel()

    @property
    def is_broken(self) -> bool:
        """Whether it ends without a terminal; whoever comes now is to have another."""
        return self.error is not None

    def interrupt(self, error: Interrupted) -> None:
        """End the stream for all its readers, here; each may go on elsewhere."""
        if not self.has_ended:
            self._fail(error)

    def beat(self, now_s: float) -> None:
        """Send what is sent while nothing else is."""
        self.said_at_s = now_s
        self._tell([*self.listeners, *self.ahead], self.form.ping())

    async def _read(self) -> None:
        try:
            async for batch in self._batches():
                self._take(frames_of(self.form, batch), end=batch.end)
            if not self.has_ended:  # all that there was had been read before
                self._take(self.form.end(), end=True)
        except StreamRouterError as error:
            self._fail(Interrupted(error.code, str(error)))
        except Exception:
            log.exception("a stream could not be put into its format")
            self._fail(FAILED)

    def _take(self, frames: list[Frame], *, end: bool) -> None:
        self.has_ended = end
        if frames:
            block = Block.of(frames)
            self.window.add(block)
            if block.data:
                self.said_at_s = asyncio.get_running_loop().time()
                self._tell(list(self.listeners), block.data)  # one whose connection is full leaves while it is told
            for listener in list(self.ahead):
                listener.go_on()
        if end:
            self._have_them_look()

    def _fail(self, error: Interrupted) -> None:
        self.error = error
        self._have_them_look()

    def _tell(self, listeners: list[Listener], data: bytes) -> None:
        chunk = chunk_of(data)
        self.count(len(listeners) * len(data))
        for listener in listeners:
            listener.hear(data, chunk)

    def _have_them_look(self) -> None:
        for listener in [*self.listeners, *self.ahead]:
            listener.go_on()


def chunk_of(data: bytes) -> bytes:
    """Return bytes as one chunk of HTTP's chunked coding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


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
