"""One subscription of a request in one format, whose bytes are shared by all that read it here.

Theory. A tap reads a request from its first message on, as an observer, so it holds up no producer, and feeds a form.
What the form gives is kept in a window, the newest `window_bytes_max` of it. A reader (reader.py) is a cursor into the
window and nothing else: what it has not taken yet is there, once for all of them, and the little that its connection
holds. Those that have had everything are told what is new as it comes, all of them the same bytes object.

Neither waits in a task of its own: the subscription calls the tap, and the tap its readers, in rounds (rounds.py), or
at once where nothing else has come. What one reader raises ends its own answer and no other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

from actors.errors import StreamRouterError
from gateway.figures import Count
from gateway.formats.form import Form, Frame
from gateway.serving.rounds import Rounds
from gateway.serving.window import Window

log: logging.Logger = logging.getLogger("gateway.tap")

Write = Callable[[bytes], Awaitable[None]]
MakeForm = Callable[[], Form]


class Interrupted(Exception):  # it never leaves this package
    """The stream ends here, without its terminal. `code`, `text`: why."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


_NO_FORM = "a stream could not be put into its format"
_NOT_WRITTEN = "a reader could not be written to, and its answer ends here; others of its stream go on"
FAILED = Interrupted("internal_error", "the gateway failed on this stream; its log says more")


class Subscribed(Protocol):
    """What gives the batches of a request from its first message on, of dicts."""

    def listen(self, hear: Callable[[Any], None], ended: Callable[[StreamRouterError | None], None]) -> None:
        """Begin to read; see `Subscription.listen`."""
        ...

    def close(self) -> None:
        """Stop reading."""
        ...


class Listener(Protocol):
    """A reader, to its tap."""

    def hear(self, data: bytes, chunk: bytes) -> None:
        """Take new bytes, given also as one chunk of HTTP."""
        ...

    def go_on(self) -> None:
        """Look at what there is, and how the tap stands."""
        ...

    def fail(self) -> None:
        """End here: it has raised where it was told something."""
        ...


class Tap:
    """Reads one request for all its readers of one format. Use within one event loop."""

    def __init__(
        self,
        key: tuple[Any, ...],
        subscribed: Subscribed,
        make_form: MakeForm,
        window_bytes_max: int,
        count: Count,
        rounds: Rounds,
    ) -> None:
        """`key`: the request, its format, and what of it its readers chose; `count`: of the bytes that are written."""
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
        self._subscribed = subscribed
        self._rounds = rounds
        self._news: list[Frame] = []  # of which the window, and so no reader, knows yet

    def begin(self) -> None:
        """Begin to read."""
        self.said_at_s = asyncio.get_running_loop().time()
        try:
            self._subscribed.listen(self._hear, self._have_read)
        except StreamRouterError as error:
            self._have_read(error)

    def close(self) -> None:
        """Read no more."""
        self._subscribed.close()

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
        self.write(now_s)  # a ping may bear the number of what the form was fed last
        self.said_at_s = now_s
        self._tell([*self.listeners, *self.ahead], self.form.ping())

    # --- what comes ---------------------------------------------------------------------------------

    def _hear(self, batch: Any) -> None:
        try:
            if len(batch.messages) == 1 and batch.gap is None and not batch.end:
                frames = self.form.feed(batch.messages[0])  # as most that comes; who listens is given no pings
            else:
                frames = frames_of(self.form, batch)
        except Exception:
            log.exception(_NO_FORM)
            self.close()
            self._fail(FAILED)
            return
        if batch.is_lone and not self._news and not batch.end:
            if frames:
                self._news = frames
                self._rounds.write_now(self)
            return
        if frames and not self._news:
            self._rounds.join(self)
        self._news += frames
        if batch.end:
            self._end()

    def _have_read(self, error: StreamRouterError | None) -> None:
        if error is not None:
            self._fail(Interrupted(error.code, str(error)))
        elif not self.has_ended:  # all that there was had been read before
            try:
                self._news += self.form.end()
            except Exception:
                log.exception(_NO_FORM)
                self._fail(FAILED)
            else:
                self._end()

    def write(self, now_s: float) -> None:
        """Give readers what is new: see `Member`."""
        if not self._news:
            return  # it has ended since
        data = self.window.add(self._news)
        self._news = []
        if data:
            self.said_at_s = now_s
            self._tell(list(self.listeners), data)  # one whose connection is full leaves while it is told
        if self.ahead:
            self._have_look(list(self.ahead))

    def break_off(self) -> None:
        """See `Member`."""
        self.close()
        self._news = []
        self._fail(FAILED)

    def _end(self) -> None:
        self.write(asyncio.get_running_loop().time())
        self.has_ended = True
        self._have_look([*self.listeners, *self.ahead])

    def _fail(self, error: Interrupted) -> None:
        self.write(asyncio.get_running_loop().time())
        self.error = error
        self._have_look([*self.listeners, *self.ahead])

    # --- readers ------------------------------------------------------------------------------------

    def _tell(self, listeners: list[Listener], data: bytes) -> None:
        chunk = chunk_of(data)
        self.count.amount += len(listeners) * len(data)
        for listener in listeners:
            try:
                listener.hear(data, chunk)
            except Exception:
                log.exception(_NOT_WRITTEN)
                self._cut(listener)

    def _have_look(self, listeners: list[Listener]) -> None:
        for listener in listeners:
            try:
                listener.go_on()
            except Exception:
                log.exception(_NOT_WRITTEN)
                self._cut(listener)

    def _cut(self, listener: Listener) -> None:
        self.listeners.discard(listener)
        self.ahead.discard(listener)
        try:
            listener.fail()
        except Exception:
            log.exception("the connection of a reader that could not be written to could not be closed either")


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
            elif data := b"".join(frame.data for frame in frames if frame.number > after):
                await write(data)
    except StreamRouterError as error:
        raise Interrupted(error.code, str(error)) from None
