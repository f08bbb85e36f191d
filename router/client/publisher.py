"""The producing end: what a user holds while a request is open.

    async with router.publish("req-1") as stream:
        async for chunk in provider:
            await stream.chunk(chunk)

A publisher keeps all it has sent until the request has ended, and sends it again where a crash has
lost it; the user notices nothing. What the user may notice is named: `chunk` waits while the
stream has no credit (its readers are behind), and a cancel, or an end from outside, interrupts the
body of the `async with` at whatever it awaits.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_json

from actors.errors import (
    BufferFull,
    ChunkTooLarge,
    MalformedChunk,
    RequestCancelled,
    RequestEnded,
    RouterUnavailable,
    StreamRouterError,
)
from actors.protocol.calls import Registration
from actors.protocol.items import cut_record, pack_body
from actors.protocol.states import PublisherState, Role
from actors.records import check_record
from actors.settings import StreamSettings, packed
from router.client.outgoing import FAILED, OPENING, SEALED, PublishedStream
from router.client.replay_store import ReplayBudget

if TYPE_CHECKING:
    from router.client.agent_claim import AgentClaim
    from router.client.link import Link
    from router.client.recorder import Recording

# How long a publisher that has said all waits for the log to be safe in two processes.
SEAL_DEADLINE_S = 60.0
ERROR_TEXT_CHARACTERS_MAX = 2_000

_SECRET = re.compile(
    r"(?i:(authorization|api[-_ ]?key|x-api-key|token|secret|password)(\"?\s*[:=]\s*\"?)(?:bearer\s+|basic\s+)?)"
    r"[^\s\"',;}]+"
    r"|\b(?:sk|pk|rk|xai|gsk|hf|AIza)[-_A-Za-z0-9]{12,}"
    r"|(?i:bearer)\s+[A-Za-z0-9._~+/=-]{8,}"
)


class HasModelDump(Protocol):
    """A pydantic-like object of a provider's SDK."""

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """Return the object as plain data."""
        ...


Chunk = bytes | bytearray | memoryview | str | Mapping[str, Any] | HasModelDump


def to_payload(chunk: Chunk) -> bytes:
    """Return a chunk as the bytes of one SSE `data:` payload.

    Bytes and text are taken as they are (a leading `data:` is dropped); mappings and SDK objects
    become JSON. Raises MalformedChunk for anything else.
    """
    if isinstance(chunk, bytes):
        payload = chunk
    elif isinstance(chunk, str):
        payload = chunk.encode("utf-8", "surrogatepass")
    elif isinstance(chunk, (bytearray, memoryview)):
        payload = bytes(chunk)
    else:
        return _to_json(chunk)
    return payload[5:].strip() if payload.startswith(b"data:") else payload


def _to_json(chunk: Any) -> bytes:
    try:
        if isinstance(chunk, Mapping):
            return to_json(dict(chunk))
        dump = getattr(chunk, "model_dump", None)
        if callable(dump):
            return to_json(dump(mode="json", exclude_unset=True, warnings=False))
    except (PydanticSerializationError, TypeError, ValueError) as error:
        raise MalformedChunk(f"a chunk of type {type(chunk).__name__} cannot be written as JSON: {error}") from error
    raise MalformedChunk(
        f"a chunk is bytes, text, a mapping or an object with model_dump(), not {type(chunk).__name__}"
    )


def clean(text: str) -> str:
    """Return an error text without keys and authorization headers, and of bounded length."""
    shown = _SECRET.sub(lambda found: (found[1] + found[2] if found[1] else "") + "[removed]", text)
    return shown if len(shown) <= ERROR_TEXT_CHARACTERS_MAX else shown[:ERROR_TEXT_CHARACTERS_MAX] + " [cut]"


class Publisher:
    """One request's producing end. Made by `StreamRouter.publish`; use it as an async context manager."""

    __slots__ = (
        "_agent_id",
        "_changed",
        "_claim",
        "_date",
        "_finished",
        "_interrupted",
        "_link",
        "_open_timeout_s",
        "_owner",
        "_owner_cancelling",
        "_recording",
        "_settings_packed",
        "_stream",
        "_take_over",
        "request_id",
        "settings",
    )

    def __init__(
        self,
        link: Link,
        request_id: str,
        settings: StreamSettings,
        budget: ReplayBudget,
        *,
        date: str,
        agent_id: str | None = None,
        claim: AgentClaim | None = None,
        open_timeout_s: float = 30.0,
        take_over: bool = False,
        recording: Recording | None = None,
    ) -> None:
        self.request_id = request_id
        self.settings = settings
        self._link = link
        self._settings_packed = packed(settings)
        self._date = date
        self._agent_id = agent_id
        self._claim = claim
        self._open_timeout_s = open_timeout_s
        self._take_over = take_over
        self._recording = recording
        self._stream = PublishedStream(request_id, budget)
        self._changed: asyncio.Future[None] | None = None
        self._owner: asyncio.Task[Any] | None = None
        self._owner_cancelling = 0
        self._interrupted = False
        self._finished = False

    # --- life -------------------------------------------------------------------------------

    async def open(self) -> Self:
        """Open the request; return when a stream actor has been chosen for it.

        Raises DuplicateRequest, RequestEnded, InvalidRequestId, LimitExceeded, PoolFull, AgentBusy,
        Draining, UnknownRequest (taking over what is not open), RouterUnavailable.
        """
        if self._claim is not None:
            await self._claim.hold(self._open_timeout_s)
        opening = asyncio.ensure_future(self._link.open(self, self._registration()))
        try:
            await asyncio.shield(opening)
            self._stream.is_accepted = True
            while self._stream.phase == OPENING and not self._stream.is_over:
                await self._wait_for_change()
        except StreamRouterError:
            self._leave()
            raise
        except BaseException:
            # Whoever opens has given up, but the router may have opened it or may yet: then it must also end.
            opening.add_done_callback(self._end_unwanted)
            raise
        if self._stream.phase == FAILED:
            self._leave()
            raise self._failure()
        return self

    def _end_unwanted(self, opening: asyncio.Future[None]) -> None:
        if opening.cancelled() or opening.exception() is not None:
            self._leave()
            return
        if not self._stream.is_over:
            self._end("finish", {"stop_reason": "cancelled", "detail": "given up while it was being opened"})
        self._leave_when_over()

    async def __aenter__(self) -> Self:
        await self.open()
        self._owner = asyncio.current_task()
        if self._owner is not None:
            self._owner_cancelling = self._owner.cancelling()
        self._interrupt_if_over()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        owner, self._owner = self._owner, None
        if self._interrupted and owner is not None and kind is asyncio.CancelledError:
            owner.uncancel()
            if owner.cancelling() <= self._owner_cancelling:
                self._leave_when_over()
                raise self._failure() from None
        if error is None:
            await self.finish()
            return
        if not self._finished and not self._stream.is_over:
            if isinstance(error, (asyncio.CancelledError, KeyboardInterrupt)):
                self._end("finish", {"stop_reason": "cancelled", "detail": "the publisher's task was cancelled"})
            elif not isinstance(error, StreamRouterError) or not self._stream.is_over:
                text = clean(str(error) or repr(error))
                self._end("fail", {"error_type": type(error).__name__, "message": text})
        if isinstance(error, Exception):
            await self._wait_for_seal()
        else:
            # Being cancelled: the end is on its way, but nothing more is awaited.
            self._leave_when_over()

    # --- saying things ----------------------------------------------------------------------

    async def chunk(self, chunk: Chunk) -> None:
        """Send one provider chunk; waits only when the stream has no credit.

        Raises MalformedChunk (not bytes, text, mapping or SDK object), ChunkTooLarge,
        RequestCancelled, RequestEnded, BufferFull (`when_full="fail"`), LimitExceeded (what is kept for
        replay is over its bound and the disk refuses), RouterUnavailable. Bytes that are not JSON are
        not looked at here: they become an `error_message` in the stream.
        """
        # The commonest form first: this is paid for every chunk.
        payload = chunk if chunk.__class__ is bytes and chunk[:1] == b"{" else to_payload(chunk)
        if len(payload) > self.settings.chunk_bytes_max:
            raise ChunkTooLarge(
                f"a chunk of {len(payload)} bytes; chunk_bytes_max is {self.settings.chunk_bytes_max}. "
                "It was not sent; the request stays open"
            )
        stream = self._stream
        if stream.is_over or self._finished:
            raise self._failure()
        if not stream.has_credit:
            await self._wait_for_credit()
        stream.accept(payload)
        if self._recording is not None:
            self._recording.keep(payload)
        self._link.has_items(self.request_id, stream)

    async def chunks(self, chunks: Iterable[Chunk]) -> None:
        """Send several chunks in order."""
        for chunk in chunks:
            await self.chunk(chunk)

    async def step_start(
        self, *, message_id: str | None = None, date: str | None = None, name: str | None = None
    ) -> None:
        """Begin a step: what follows bears this message ID, date (ISO 8601) and agent name."""
        self._record("step_start", {"message_id": message_id, "date": date, "name": name})

    async def step_end(self) -> None:
        """End a step; with `multi_step=False` that ends the request."""
        self._record("step_end", {})

    async def message(self, message: Mapping[str, Any] | BaseModel) -> None:
        """Send a whole message (reasoning, tool call, tool return, assistant, …). Raises InvalidRecord."""
        body = message.model_dump(mode="json") if isinstance(message, BaseModel) else dict(message)
        self._record("message", body)

    @asynccontextmanager
    async def tool_running(self) -> AsyncIterator[None]:
        """While inside, the provider's silence is a tool at work and no stall."""
        self._send_record("tool_running", {"running": True})
        try:
            yield
        finally:
            if not self._finished and not self._stream.is_over:
                self._send_record("tool_running", {"running": False})

    async def finish(self, stop_reason: str | None = None, usage: Mapping[str, Any] | None = None) -> None:
        """End the request; return when its log is safe in two processes.

        `stop_reason` None: the provider's own finish reason; `incomplete` where it gave none.
        """
        if not self._finished and not self._stream.is_over:
            self._end("finish", {"stop_reason": stop_reason, "usage": dict(usage) if usage else None})
        await self._wait_for_seal()

    async def fail(self, error_type: str, message: str, detail: str | None = None) -> None:
        """End the request with an `error_message` and the stop reason `error`."""
        if not self._finished and not self._stream.is_over:
            detail = clean(detail) if detail else None
            self._end("fail", {"error_type": error_type, "message": clean(message), "detail": detail})
        await self._wait_for_seal()

    def _record(self, kind: str, body: dict[str, Any]) -> None:
        """Check what a user says of the agent loop, then send it."""
        self._send_record(kind, check_record(kind, body))

    def _send_record(self, kind: str, body: dict[str, Any]) -> None:
        if self._stream.is_over or self._finished:
            raise self._failure()
        for item in cut_record(kind, pack_body(kind, body)):
            self._stream.accept(item)
        if self._recording is not None:
            self._recording.keep([kind, body])
        self._link.has_items(self.request_id, self._stream)

    def _end(self, kind: str, body: dict[str, Any]) -> None:
        self._send_record(kind, body)
        self._finished = True

    # --- what is known ----------------------------------------------------------------------

    @property
    def next_seq(self) -> int:
        """The number that the next item will have; after a take-over, the first one wanted."""
        return self._stream.next_seq

    @property
    def has_credit(self) -> bool:
        """Whether the next chunk would be taken at once; False: `chunk` would wait for the readers."""
        return self._stream.has_credit

    @property
    def stop_reason(self) -> str | None:
        """Why the request ended; None while it is open."""
        return self._stream.stop_reason

    @property
    def cancel_requested(self) -> Literal["now", "after_step"] | None:
        """Whether someone asked to cancel; `after_step` lets the step under way end first."""
        cancel = self._stream.cancel
        return cancel if cancel in ("now", "after_step") else None  # type: ignore[return-value]

    def _failure(self) -> StreamRouterError:
        stream = self._stream
        if stream.error is not None:
            return stream.error
        if stream.cancel == "now" or stream.stop_reason == "cancelled":
            return RequestCancelled(f"request {self.request_id!r} was cancelled; stop its provider")
        if stream.stop_reason is not None:
            return RequestEnded(f"request {self.request_id!r} has ended ({stream.stop_reason}); open a new one")
        return RequestEnded(f"request {self.request_id!r} was finished by this publisher; nothing can follow")

    # --- waiting ----------------------------------------------------------------------------

    async def _wait_for_credit(self) -> None:
        stream = self._stream
        while not stream.has_credit:
            if stream.is_over:
                raise self._failure()
            if self.settings.when_full == "fail" and stream.is_placed and stream.phase != OPENING:
                full = BufferFull(
                    f"request {self.request_id!r}: its readers are {stream.accepted_bytes} bytes behind, "
                    f"buffer_bytes_max is {self.settings.buffer_bytes_max} and when_full is 'fail'"
                )
                await self.fail("buffer_full", str(full))
                raise full
            await self._wait_for_change()
        if stream.is_over:
            raise self._failure()

    async def _wait_for_seal(self) -> None:
        stream = self._stream
        try:
            async with asyncio.timeout(SEAL_DEADLINE_S):
                while not stream.is_over:
                    await self._wait_for_change()
        except TimeoutError:
            raise RouterUnavailable(
                f"request {self.request_id!r} was finished, but its end was not confirmed within {SEAL_DEADLINE_S:g} s"
            ) from None
        finally:
            self._leave_when_over()
        if stream.phase == FAILED:
            raise self._failure()

    async def _wait_for_change(self) -> None:
        if self._changed is None or self._changed.done():
            self._changed = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._changed)

    def _leave(self) -> None:
        self._link.lose_interest((Role.PUBLISHER, self.request_id), self)
        if self._claim is not None:
            self._claim.release()
        if self._recording is not None:
            self._recording.close()

    def _leave_when_over(self) -> None:
        # Until its end is safe a crash may yet lose what was sent, and nobody else can send it again.
        self._finished = True
        if self._stream.is_over:
            self._leave()

    # --- as the link's listener -------------------------------------------------------------

    def on_state(self, state: PublisherState) -> None:
        """See `StateListener`."""
        stream = self._stream
        if stream.update(state):
            self._link.open_again(self, self._registration())
        if stream.has_items():
            self._link.has_items(self.request_id, stream)
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)
        if stream.is_over and self._finished:
            self._leave()
        self._interrupt_if_over()

    def on_unreachable(self, error: RouterUnavailable) -> None:
        """See `StateListener`."""
        self._stream.fail(error)
        if self._finished:
            self._leave()
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)
        self._interrupt_if_over()

    def _interrupt_if_over(self) -> None:
        stream = self._stream
        cut_off = stream.cancel == "now" or stream.phase == FAILED or (stream.phase == SEALED and not self._finished)
        if cut_off and self._owner is not None and not self._interrupted and not self._finished:
            self._interrupted = True
            self._owner.cancel()

    def _registration(self) -> Registration:
        stream = self._stream
        return Registration(
            self.request_id,
            self._settings_packed,
            self._date,
            self._agent_id,
            self._take_over,
            stream.epoch,
            stream.sent_seq,
            stream.replay.first_seq,
            stream.cancel,
        )

    def on_router_restart(self) -> None:
        """See `StateListener`."""
        if not self._stream.is_over:
            self._link.open_again(self, self._registration())
