"""A source's whole stream into one request: `await stream.pump(source)`.

What the source gives is translated (`router/sources/frameworks`) and sent as `chunk` and `message` would send it, so
that a request without credit makes its source wait. Each side's end reaches the other:

    the request is over (cancelled, timed out, lost)   the source is closed; the publisher's named error is raised
    the task is cancelled                              the source is closed; the request ends as `cancelled`
    the source raises                                  the request ends as `error` with that error, which is raised
    the source ends                                    the request stays open: more may follow, then `finish`
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from actors.errors import InvalidArgument, StreamRouterError
from router.client.publishing.encoding import safe_text
from router.client.publishing.interruption import Body, Changing, end_of
from router.sources.frameworks import (
    BeginStep,
    Ended,
    Instruction,
    SendChunk,
    SendMessage,
    SetToolRunning,
    Translation,
    translation_of,
)

if TYPE_CHECKING:
    from actors.settings import StreamSettings
    from router.client.publishing.outgoing import PublishedStream

# How long a source may take to close; its request does not wait for it any longer.
CLOSE_DEADLINE_S = 10.0
_UNWRAPPED_MAX = 4
_CLOSES = ("aclose", "close", "cancel")
_END = object()
_log = logging.getLogger("router.pump")


class Pumping(Changing):
    """What of a publisher concerns sources."""

    __slots__ = ("_pumped_end", "_pumps")

    if TYPE_CHECKING:
        settings: StreamSettings
        _body: Body | None
        _fault: StreamRouterError | None
        _finished: bool
        _pumped_end: tuple[int, str] | None
        _pumps: tuple[Body, ...]
        _stream: PublishedStream
        _takes_items: bool

        async def chunk(self, chunk: Any) -> None: ...  # noqa: D102
        async def message(self, message: Any) -> None: ...  # noqa: D102
        async def step_start(self, *, name: str | None = None) -> None: ...  # noqa: D102
        def _end(self, kind: str, body: dict[str, Any]) -> None: ...
        def _failure(self) -> StreamRouterError: ...
        def _leave_when_over(self) -> None: ...
        def _send_record(self, kind: str, body: dict[str, Any]) -> None: ...
        async def _wait_for_seal(self) -> None: ...

    async def pump(self, source: Any) -> Any:
        """Send all that a source gives; return what its framework calls the result, or None.

        `source`: the stream of an SDK or an agent framework (docs/sources.md names them), or any asynchronous
        iterator of chunks; also what gives one, when awaited or entered. Waits as `chunk` does. The request stays
        open when the source has ended. Where the source raises, the request ends as `error` and the error is
        raised here; where the request ends or the task is cancelled, the source is closed.

        Raises whatever the source raises, InvalidArgument (no such source; a framework's events to a request
        whose `provider` is another; the request stays open), and as `chunk` and `message`.
        """
        if not self._takes_items or self._stream.is_over:
            if inspect.iscoroutine(source):
                source.close()  # nobody will await it
            raise self._failure()
        # The body of an `async with` is interrupted when the request is over; in any other task this does it.
        own = None if self._body is not None and self._body.is_entered_here else Body().enter()
        if own is not None:
            self._pumps = (*self._pumps, own)
        try:
            self._interrupt_if_over()
            result = await self._pump(source)
            if own is not None and own.is_interrupted:
                await asyncio.sleep(0)  # the interruption is on its way, and may not reach what comes after this
        except BaseException as error:  # noqa: BLE001  # raised again, unless a cancel that came with it counts more
            left_by = error if own is None else await own.left_by(error) or error
            if own is not None and own.leave(left_by):
                raise self._failure() from None
            if not isinstance(left_by, InvalidArgument):
                await self._break_off(left_by, own)
            raise left_by from left_by.__cause__
        finally:
            if own is not None:
                self._pumps = tuple(pump for pump in self._pumps if pump is not own)
        return result

    async def _pump(self, source: Any) -> Any:
        translation: Translation | None = None
        fault: BaseException | None = None
        async with opened(source) as events:
            try:
                async for event in events:
                    if translation is None:
                        translation = translation_of(event)
                        self._check_provider(translation)
                    for instruction in translation.feed(event):
                        await self._carry_out(instruction)
            except BaseException as error:
                fault = error
                raise
        if fault is not None:
            raise fault  # what the source was entered with has swallowed it
        if translation is None:
            return None
        for instruction in translation.close():
            await self._carry_out(instruction)
        return translation.result

    def _check_provider(self, translation: Translation) -> None:
        wanted = self.settings.provider
        if translation.provider is not None and wanted not in ("auto", translation.provider):
            raise InvalidArgument(
                f"Publisher.pump: what this source gives is sent as events of {translation.provider}, whatever is "
                f"behind it, and this request has provider={wanted!r}; publish it with provider='auto'"
            )

    async def _carry_out(self, instruction: Instruction) -> None:
        match instruction:
            case SendChunk(chunk):
                await self.chunk(chunk)
            case SendMessage(body):
                await self.message(body)
            case BeginStep(name):
                await self.step_start(name=name)
            case SetToolRunning(is_running):
                self._send_record("tool_running", {"running": is_running})
            case Ended(stop_reason):
                self._pumped_end = (self._stream.next_seq, stop_reason)

    def _interrupt_if_over(self) -> None:
        stream = self._stream
        cut_off = self._fault is not None or (not self._finished and (stream.cancel == "now" or stream.is_over))
        if cut_off:
            for body in (self._body, *self._pumps):
                if body is not None:
                    body.interrupt()

    def _reason_of_pump(self) -> str | None:
        """Return why the framework's run ended, where nothing has been sent since."""
        end = self._pumped_end
        return end[1] if end is not None and end[0] == self._stream.next_seq else None

    async def _break_off(self, error: BaseException, own: Body | None) -> None:
        """End the request whose source was left by an error, where its own end has not caused that."""
        if self._finished or self._stream.is_over:
            return
        if not isinstance(error, Exception) and (own is None or own.was_left_for_another(error)):
            return  # `async with` ends it, which knows whose interruption this is; or another request has ended
        self._end(*end_of(error))
        if not isinstance(error, Exception):
            self._leave_when_over()
            return
        try:
            await self._wait_for_seal()
        except StreamRouterError as unsafe:
            error.add_note(f"and the end of its request: {unsafe}")


# --- sources ----------------------------------------------------------------------------------------


@asynccontextmanager
async def opened(source: Any) -> AsyncIterator[AsyncIterator[Any]]:
    """Give the events of a source; close it where they were left before their end. Raises InvalidArgument."""
    async with AsyncExitStack() as stack:
        for _ in range(_UNWRAPPED_MAX):
            if hasattr(source, "__aiter__"):
                break
            if inspect.isawaitable(source):
                source = await source
            elif hasattr(source, "__aenter__"):
                source = await stack.enter_async_context(source)
        events = _events_of(source)
        try:
            yield events
        except BaseException:
            await _close(events)
            if events is not source:
                await _close(source)
            raise


def _events_of(source: Any) -> AsyncIterator[Any]:
    stream_events = getattr(source, "stream_events", None)  # openai-agents
    if callable(stream_events):
        source = stream_events()
    if hasattr(source, "__aiter__"):
        events: AsyncIterator[Any] = source.__aiter__()
        return events
    if isinstance(source, (list, tuple)):
        return _listed(source)
    hint = ""
    if hasattr(source, "__iter__") and not isinstance(source, (str, bytes)):
        hint = (
            "; to iterate over it without `await` would stop every other stream of this process: use the SDK's "
            "asynchronous client, or the synchronous face (SyncStreamRouter)"
        )
    raise InvalidArgument(
        "Publisher.pump: expected an asynchronous iterator, or what gives one when awaited or entered, got "
        f"{type(source).__name__}{hint}"
    )


async def _listed(events: Iterable[Any]) -> AsyncIterator[Any]:
    for event in events:
        yield event


async def threaded(events: Iterable[Any]) -> AsyncIterator[Any]:
    """Iterate in another thread over what is iterated without `await`, one event at a time."""
    iterator = iter(events)
    try:
        while (event := await asyncio.to_thread(next, iterator, _END)) is not _END:
            yield event
    except BaseException:
        await _close(events)
        raise


async def _close(source: Any) -> None:
    """Stop a source, by whichever of the usual names it has for that. What it says of that is logged."""
    close = next((found for name in _CLOSES if callable(found := getattr(source, name, None))), None)
    if close is None:
        return
    try:
        async with asyncio.timeout(CLOSE_DEADLINE_S):
            closing = close()
            if inspect.isawaitable(closing):
                await closing
    except Exception as error:  # noqa: BLE001  # of the source's own making
        _log.warning("a source could not be closed: %s: %s", type(error).__name__, safe_text(error))
