"""The producing end: what a user holds while a request is open.

    async with router.publish("req-1") as stream:
        async for chunk in provider:
            await stream.chunk(chunk)

A publisher keeps all it has sent until the request has ended, and sends it again where a crash has
lost it; the user notices nothing. What the user may notice is named: `chunk` waits while the
stream has no credit (its readers are behind), and a cancel, or an end from outside, interrupts the
body of the `async with` at whatever it awaits.

One task may publish several requests, one `async with` inside the other. Where the end of the outer one
interrupts the body, the inner one has not ended: it stays open, and its publisher can go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from actors.errors import (
    BufferFull,
    ChunkTooLarge,
    NotOpened,
    Recovering,
    RequestEnded,
    RouterUnavailable,
    StreamRouterError,
)
from actors.protocol.calls import Registration
from actors.protocol.items import cut_record, pack_body
from actors.protocol.states import PublisherState, Role
from actors.records import check_record
from actors.settings import StreamSettings
from router.client.arguments import check
from router.client.finding.listing import moment_of
from router.client.links.caller import fresh
from router.client.links.patience import Patience
from router.client.publishing.encoding import Chunk, clean, each_chunk, pack_record, to_bytes, to_mapping
from router.client.publishing.interruption import Body, end_of
from router.client.publishing.outgoing import FAILED, OPEN, OPENING, SEALED, PublishedStream, without_id
from router.client.publishing.pumping import Pumping
from router.client.publishing.replay_store import ReplayBudget

if TYPE_CHECKING:
    from router.client.links.link import Link
    from router.client.publishing.agent_claim import AgentClaim
    from router.client.publishing.recorder import Recording

# How long a publisher that has said all waits for the log to be safe in two processes.
SEAL_DEADLINE_S = 60.0
# It looks so often whether this process has been stopped meanwhile.
SEAL_WAIT_S = 5.0


class Publisher(Pumping):
    """One request's producing end. Made by `StreamRouter.publish`; use it as an async context manager."""

    __slots__ = (
        "_body", "_claim", "_fault", "_finished", "_has_begun", "_link", "_open_timeout_s",
        "_recording", "_registered", "_stream", "_takes_items", "request_id", "settings",
    )  # fmt: skip

    def __init__(
        self,
        link: Link,
        wanted: Registration,  # what it is opened with
        settings: StreamSettings,
        budget: ReplayBudget,
        *,
        claim: AgentClaim | None = None,
        open_timeout_s: float = 30.0,
        recording: Recording | None = None,
    ) -> None:
        self.request_id: str = wanted.request_id
        self.settings: StreamSettings = settings
        self._link = link
        self._registered = without_id(wanted)  # kept for as long as it is open
        self._claim = claim
        self._open_timeout_s = open_timeout_s
        self._recording = recording
        self._stream = PublishedStream(wanted.request_id, budget)
        self._changed = None
        self._body: Body | None = None
        self._pumps: tuple[Body, ...] = ()
        self._pumped_end: tuple[int, str] | None = None
        self._has_begun = False
        # Opened, and no end said yet.
        self._takes_items = False
        self._finished = False
        self._fault: StreamRouterError | None = None

    # --- life -------------------------------------------------------------------------------

    async def open(self) -> Self:
        """Open the request; return when a stream actor has been chosen for it. Of an open one this does nothing.

        Raises DuplicateRequest, RequestEnded, InvalidRequestId, LimitExceeded, PoolFull, AgentBusy,
        Draining, UnknownRequest (taking over what is not open), RouterUnavailable, RouterClosed.
        """
        if self._takes_items and not self._stream.is_over:
            return self
        if self._has_begun:
            raise self._failure()
        self._link.enter(self.request_id, self)
        self._has_begun = True
        try:
            if self._claim is not None:
                await self._claim.hold(self._open_timeout_s)
            opening = self._link.ask_to_open(self.request_id, self._registration, self._stream.is_taken_in)
        except BaseException:
            self._has_begun = False
            self._leave()
            raise
        await self._open(opening)
        return self

    async def _open(self, opening: asyncio.Future[None]) -> None:
        try:
            try:
                await asyncio.shield(opening)
            except Recovering:
                self._stream.forget_place()  # see `on_router_restart`
                opened = self._link.open(self.request_id, self._registration, self._stream.is_taken_in)
                opening = asyncio.ensure_future(opened)
                await asyncio.shield(opening)
            self._stream.is_accepted = True
            while self._stream.phase == OPENING and not self._stream.is_over:
                await self._change()
        except StreamRouterError as error:
            self._stream.fail(error)
            self._leave()
            raise
        except BaseException:
            # Whoever opens has given up, but the router may have opened it or may yet: then it must also end.
            opening.add_done_callback(self._end_unwanted)
            raise
        if self._stream.phase == FAILED:
            self._leave()
            raise self._failure()
        self._takes_items = True

    def _end_unwanted(self, opening: asyncio.Future[None]) -> None:
        if opening.cancelled() or opening.exception() is not None:
            self._leave()
            return
        if not self._stream.is_over:
            self._end("finish", {"stop_reason": "cancelled", "detail": "given up while it was being opened"})
        self._leave_when_over()

    async def __aenter__(self) -> Self:
        await self.open()
        self._body = Body().enter()
        self._interrupt_if_over()
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        body = self._body or Body()
        left_by = await body.left_by(error)
        if body.leave(left_by):
            self._leave_when_over()
            raise self._failure() from None
        await self._left(left_by, body)
        if left_by is not None and left_by is not error:
            raise left_by

    async def _left(self, error: BaseException | None, body: Body) -> None:
        """The body has been left, and not by the end of its own request."""
        if error is None:
            await self.finish()
            return
        if body.was_left_for_another(error) and self._takes_items and not self._stream.is_over:
            return  # another request of this task has ended, and not this one
        if not self._finished and not self._stream.is_over:
            self._end(*end_of(error))
        if isinstance(error, Exception):
            await self._wait_for_seal()
        else:
            # Being cancelled: the end is on its way, but nothing more is awaited.
            self._leave_when_over()

    # --- saying things ----------------------------------------------------------------------

    async def chunk(self, chunk: Chunk) -> None:
        """Send one provider chunk; waits only when the stream has no credit.

        Raises MalformedChunk (not bytes, text, mapping or SDK object), ChunkTooLarge, NotOpened,
        RequestCancelled, RequestEnded, BufferFull (`when_full="fail"`), LimitExceeded (what is kept for
        replay is over its bound and the disk refuses), RouterUnavailable, RouterClosed. Bytes that are not
        JSON are not looked at here: they become an `error_message` in the stream.
        """
        # The commonest form first: this is paid for every chunk.
        raw = chunk if chunk.__class__ is bytes and chunk[:1] == b"{" else to_bytes(chunk)
        if len(raw) > self.settings.chunk_bytes_max:
            raise ChunkTooLarge(
                f"a chunk of {len(raw)} bytes; chunk_bytes_max is {self.settings.chunk_bytes_max}. "
                "It was not sent; the request stays open"
            )
        stream = self._stream
        if not self._takes_items or stream.phase != OPEN:  # (`is_over`, and below `has_credit`, without a call)
            raise self._failure()
        if stream.accepted_bytes >= stream.credit_bytes:
            await self._wait_for_credit()
        has_credit = stream.accept(raw)
        if self._recording is not None:
            self._recording.keep(raw)
        # A request's first chunk waits for no others, nor does one after which it has no credit.
        self._link.has_items(self.request_id, stream, at_once=not stream.sent_seq or not has_credit)

    async def chunks(self, chunks: Iterable[Chunk]) -> None:
        """Send several chunks in order. Raises InvalidArgument for what is not an iterable of chunks."""
        for chunk in each_chunk(chunks):
            await self.chunk(chunk)

    async def step_start(
        self,
        *,
        message_id: str | None = None,
        date: str | None = None,
        name: str | None = None,
        step_id: str | None = None,
    ) -> None:
        """Begin a step: what follows bears this message ID, date (ISO 8601), name and step ID. Raises InvalidRecord."""
        self._record("step_start", {"message_id": message_id, "date": date, "name": name, "step_id": step_id})

    async def step_end(self) -> None:
        """End a step; with `multi_step=False` that ends the request."""
        self._record("step_end", {})

    async def message(self, message: Mapping[str, Any] | Any) -> None:
        """Send a whole message; waits as `chunk` does. Raises InvalidRecord, MessageTooLarge, and as `chunk`."""
        body = check_record("message", to_mapping(message, "message"))
        packed_body = pack_record("message", body, self.settings.message_bytes_max)
        if not self._takes_items or self._stream.is_over:
            raise self._failure()
        if not self._stream.has_credit:
            await self._wait_for_credit()
        # All parts at once: what others say of the request meanwhile must not come between them.
        self._accept_record("message", packed_body, body)

    @asynccontextmanager
    async def tool_running(self) -> AsyncIterator[None]:
        """While inside, the provider's silence is a tool at work and no stall."""
        self._send_record("tool_running", {"running": True})
        try:
            yield
        finally:
            if self._takes_items and not self._stream.is_over:
                self._send_record("tool_running", {"running": False})

    async def finish(self, stop_reason: str | None = None, usage: Mapping[str, Any] | Any | None = None) -> None:
        """End the request; return when its log is safe in two processes.

        `stop_reason` None: that of a pumped framework's run, else the provider's own finish reason; `incomplete`
        where it gave none. `usage`: a mapping, or an SDK's object, of token counts. Raises InvalidArgument and
        InvalidRecord (the request stays open), NotOpened, RouterUnavailable, RouterClosed.
        """
        (stop_reason,) = check("Publisher.finish", stop_reason=stop_reason)
        counts = to_mapping(usage, "usage") if usage is not None else None
        self._check_opened()
        if not self._finished and not self._stream.is_over:
            reason = self._reason_of_pump() if stop_reason is None else stop_reason
            self._end("finish", {"stop_reason": reason, "usage": counts or None})
        await self._wait_for_seal()

    async def fail(self, error_type: str, message: str, detail: str | None = None) -> None:
        """End the request with an `error_message` and the stop reason `error`. Raises as `finish`."""
        error_type, message, detail = check("Publisher.fail", error_type=error_type, message=message, detail=detail)
        self._check_opened()
        if not self._finished and not self._stream.is_over:
            cleaned = clean(detail) if detail else None
            self._end("fail", {"error_type": error_type, "message": clean(message), "detail": cleaned})
        await self._wait_for_seal()

    def _record(self, kind: str, body: Any) -> None:
        """Check what a user says of the agent loop, then send it."""
        self._send_record(kind, check_record(kind, to_mapping(body, kind)))

    def _send_record(self, kind: str, body: dict[str, Any]) -> None:
        if not self._takes_items or self._stream.is_over:
            raise self._failure()
        self._accept_record(kind, pack_record(kind, body, self.settings.message_bytes_max), body)

    def _accept_record(self, kind: str, packed_body: bytes, body: dict[str, Any], *, is_end: bool = False) -> None:
        for item in cut_record(kind, packed_body):
            self._stream.accept(item, is_end=is_end)
        if self._recording is not None:
            self._recording.keep([kind, body])
        self._link.has_items(self.request_id, self._stream)

    def _end(self, kind: str, body: dict[str, Any]) -> None:
        self._accept_record(kind, pack_record(kind, body, self.settings.message_bytes_max), body, is_end=True)
        self._finished = True
        self._takes_items = False

    # --- what is known ----------------------------------------------------------------------

    @property
    def next_seq(self) -> int:
        """The number that the next item will have; after a take-over, the first one wanted."""
        return self._stream.next_seq

    @property
    def created_at(self) -> datetime | None:
        """When its router created the request; None until it is open."""
        return moment_of(self._stream.created) if self._stream.created else None

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

    def _check_opened(self) -> None:
        if not self._has_begun or (self._stream.phase == OPENING and not self._takes_items):
            raise self._failure()

    def _failure(self) -> StreamRouterError:
        known = self._fault or self._stream.error or (None if self._stream.is_over else self._link.error)
        if known is not None:
            return fresh(known)
        why = self._stream.why_over()
        if why is not None:
            return why
        if self._finished:
            return RequestEnded(f"request {self.request_id!r} was finished by this publisher; nothing can follow")
        state = "is still being opened" if self._has_begun else "was never opened"
        return NotOpened(
            f"request {self.request_id!r} {state}, so nothing can be published to it; use "
            "`async with router.publish(...) as stream`, or await its `open()` first"
        )

    # --- waiting ----------------------------------------------------------------------------

    async def _wait_for_credit(self) -> None:
        stream = self._stream
        while not stream.has_credit:
            if not self._takes_items or stream.is_over:
                raise self._failure()
            if self.settings.when_full == "fail" and stream.is_placed and stream.phase != OPENING:
                full = BufferFull(
                    f"request {self.request_id!r}: its readers are {stream.accepted_bytes} bytes behind, "
                    f"buffer_bytes_max is {self.settings.buffer_bytes_max} and when_full is 'fail'"
                )
                await self.fail("buffer_full", str(full))
                raise full
            await self._change()
        if not self._takes_items or stream.is_over:
            raise self._failure()

    async def _wait_for_seal(self) -> None:
        stream = self._stream
        loop = asyncio.get_running_loop()
        patience, sent_seq = Patience(SEAL_DEADLINE_S), stream.sent_seq
        try:
            while not stream.is_over:
                began = loop.time()
                await self._change(SEAL_WAIT_S)
                if stream.sent_seq != sent_seq:  # it goes on, as slowly as its readers let it
                    patience, sent_seq = Patience(SEAL_DEADLINE_S), stream.sent_seq
                elif not stream.waits_for_others:  # as `chunk` would, for as long as it takes
                    patience.spend(loop.time() - began, SEAL_WAIT_S)
                if patience.is_over and not stream.is_over:
                    raise RouterUnavailable(
                        f"request {self.request_id!r} was finished, but its end was not confirmed within "
                        f"{SEAL_DEADLINE_S:g} s"
                    )
        finally:
            self._leave_when_over()
        if stream.phase == FAILED or self._fault is not None:
            raise self._failure()

    def _leave(self) -> None:
        self._link.lose_interest((Role.PUBLISHER, self.request_id), self)
        if self._claim is not None:
            self._claim.release(has_ended=self._stream.phase == SEALED, error=self._stream.error)
        if self._recording is not None:
            self._recording.close()

    def _leave_when_over(self) -> None:
        # Until its end is safe a crash may yet lose what was sent, and nobody else can send it again.
        self._finished = True
        self._takes_items = False
        if self._stream.is_over:
            self._leave()

    # --- as the link's listener -------------------------------------------------------------

    def on_state(self, state: PublisherState) -> None:
        """See `StateListener`."""
        stream = self._stream
        if stream.update(state):
            self._link.open_again(self, self.request_id, self._registration, self._stream.is_taken_in)
        if stream.has_items():
            self._link.has_items(self.request_id, stream)
        self._after_change()

    def on_unreachable(self, error: StreamRouterError) -> None:
        """See `StateListener`."""
        self._stream.fail(error)
        self._after_change()

    def on_fault(self, error: StreamRouterError) -> None:
        """See `StateListener`: end the request where its items can no longer be sent."""
        stream = self._stream
        if stream.is_over:
            return
        self._finished = True
        self._takes_items = False
        self._fault = self._fault or error
        body = {"error_type": error.code, "message": clean(str(error)), "detail": None}
        if stream.break_off(cut_record("fail", pack_body("fail", body))[0]):
            self._link.has_items(self.request_id, stream)
        else:
            self._link.say("disown", self._link.client_id, self.request_id)
            stream.fail(error)
        self._after_change()

    def on_router_restart(self) -> None:
        """See `StateListener`."""
        # One that waits for its agent has not asked to be opened; one that waits for an answer asks until it has it.
        if self._stream.created and not self._stream.is_over:
            self._stream.forget_place()  # nothing is sent to a router that does not know it yet
            self._link.open_again(self, self.request_id, self._registration, self._stream.is_taken_in)

    def _after_change(self) -> None:
        self._tell_change()
        self._interrupt_if_over()
        if self._stream.is_over:
            self._leave()

    def _registration(self) -> Registration:
        return self._stream.register(self._registered, 0 if self._claim is None else self._claim.number)
