"""The pure part of a stream actor: its sessions and its readers; events in, instructions out.

Events are envelopes from the router, operations of readers, and the time. What a shell must then
do is named, not done: `take_reports` gives what the router should hear, `take_wakes` which readers'
long polls now have an answer, `due_at` when `tick` is wanted. Nothing here waits, polls or knows Ray.

Work follows what happens: an envelope touches its session and that session's subscriptions; an
open, silent stream costs nothing but one place in the heap of deadlines, which is looked at again
only when that deadline comes, however often it has moved meanwhile.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from actors.errors import ProtocolViolation, StreamRouterError, UnknownRequest
from actors.logging_setup import is_telling
from actors.protocol.deadlines import NEVER, Deadlines
from actors.protocol.envelopes import (
    ENVELOPES,
    DataEnvelope,
    EndEnvelope,
    Envelope,
    OpenEnvelope,
    Order,
    RestoreEnvelope,
)
from actors.protocol.frames import pack, unpack_list
from actors.protocol.reads import NOTHING, OPERATIONS, Consumed, Subscribe
from actors.protocol.states import Inventory, Report, SessionPhase
from actors.settings import unpacked
from actors.stream.log import Log, Reading
from actors.stream.measures import Measures
from actors.stream.readers import Reader, Subscription
from actors.stream.session import Session

logger = logging.getLogger("actors.stream_host")

# What may be on the way to this actor, all its streams together, and the share of one stream.
IN_FLIGHT_BYTES_MAX = 64 * 1024 * 1024
WINDOW_BYTES_MIN = 4 * 1024
WINDOW_BYTES_MAX = 256 * 1024

# How many incarnations of the router are remembered as former ones.
FORMER_ROUTERS_MAX = 64

# Names of unknown events that are counted apart.
UNKNOWN_EVENTS_MAX = 256

# A reading process that has not polled for so long is gone; its cursors no longer hold anything back.
READER_TIMEOUT_S = 25.0

NOT_MY_ROUTER = pack(None)
"""The answer to a frame of a router that has not begun here, or that another one has followed."""

NOT_HERE, OTHER_EPOCH, AHEAD, CONSUMED_AHEAD = "not_here", "other_epoch", "ahead", "consumed_ahead"
"""Why something was ignored: no such session here, an epoch that is over, a hole before it, an acknowledgement of
what was never sent."""


class StreamHost:
    """All sessions and readers of one stream actor."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.readers: dict[str, Reader] = {}
        self.requests_served = 0
        self.chunks = 0
        self._unknown_of_gone: dict[str, int] = {}
        self.measures = Measures()
        self.refused: dict[str, int] = {}
        self.ignored: dict[str, int] = {}
        self._router = ""
        # Incarnations that another one has followed, the latest last.
        self._former_routers: deque[str] = deque(maxlen=FORMER_ROUTERS_MAX)
        self._frame_no = 0
        self._answer = NOT_MY_ROUTER
        self._subscriptions: dict[str, dict[Subscription, None]] = {}
        # Subscriptions to sessions that the router has promised but whose OPEN is still on its way.
        self._parked: dict[str, dict[tuple[str, int], tuple[int, bool]]] = {}
        self._reports: dict[str, Report | None] = {}
        self._wakes: dict[str, None] = {}
        self._awaited: dict[str, int] = {}
        self._deadlines: Deadlines[str] = Deadlines()
        self._scheduled: dict[str, float] = {}
        self._window_bytes = WINDOW_BYTES_MAX

    # --- from the router --------------------------------------------------------------------

    def begin(self, router: str) -> bool:
        """Take frames of this incarnation of the router from now on, and of no other.

        False for one that another has followed: its word was on its way when it died, or it lives on where
        nobody sees it. Obeying it would let its late frames in, and what they did nobody would ever undo.
        """
        if router in self._former_routers:
            self.refuse("router", f"a start by router {router[:40]!r}, which another one has followed")
            return False
        if router != self._router:
            if self._router:
                self._former_routers.append(self._router)
            self._router = router
            self._frame_no = 0
            self._answer = NOT_MY_ROUTER
        return True

    def feed(self, router: str, frame_no: int, frames: Iterable[bytes], now: float) -> bytes:
        """Take frames of envelopes under their number; return the reports, packed.

        The same number again gives the same answer again, so that reports can ride in an answer that
        may be lost. A lower one is a call that was given up and comes late. `NOT_MY_ROUTER`: this
        incarnation of the router has to `begin` first.
        """
        if router != self._router:
            self.refuse("router", f"a frame of router {router[:40]!r}, which is not the one that began last")
            return NOT_MY_ROUTER
        if frame_no < self._frame_no:
            return NOTHING
        if frame_no > self._frame_no:
            self._frame_no = frame_no
            for frame in frames:
                try:
                    self.handle(unpack_list(frame), now)
                except ProtocolViolation as error:
                    self.refuse("frame", str(error))
            self._answer = pack(self.take_reports())
        return self._answer

    def handle(self, envelopes: Iterable[Sequence[Any]], now: float) -> None:
        """Take envelopes in order.

        One that cannot be read is counted in `refused` and left out: it must not take those of other
        requests with it.
        """
        for envelope in envelopes:
            try:
                kind = envelope[0]
                self._HANDLERS[kind](self, ENVELOPES[kind](*envelope), now)
            except (LookupError, TypeError, ValueError, AttributeError, StreamRouterError) as error:
                self.refuse("envelope", f"an envelope that cannot be read: {str(envelope)[:80]!r}: {error}")

    def refuse(self, what: str, why: str) -> None:
        """Count what another process sent and the protocol does not allow."""
        count = self.refused[what] = self.refused.get(what, 0) + 1
        if is_telling(count):
            logger.warning("refused (%s, the %d. time): %s", what, count, why[:300])

    def _ignore(self, why: str) -> None:
        """Count what came at the wrong time, as it may after a crash: its sender hears how things stand."""
        self.ignored[why] = self.ignored.get(why, 0) + 1

    def _open(self, envelope: OpenEnvelope, now: float) -> None:
        session = self.sessions.get(envelope.request_id)
        if session is not None and session.epoch >= envelope.epoch:
            self._report(session)  # opened already: the answer to the first time was lost
            return
        settings, packed = unpacked(envelope.settings)
        session = Session(
            envelope.request_id,
            envelope.epoch,
            settings,
            now,
            settings_packed=packed,
            publisher_id=envelope.publisher_id,
            date=envelope.date,
            age_s=envelope.age_s,
            released=envelope.released,
            start_seq=envelope.start_seq,
            replay_through=envelope.replay_through,
        )
        self._adopt(session, now)
        self.requests_served += 1
        session.grant(self._window_bytes)
        self._report(session)

    def _adopt(self, session: Session, now: float) -> None:
        """Put a session in the place of an older incarnation, whose subscriptions go on with it."""
        request_id = session.request_id
        waiting = self._parked.pop(request_id, {})
        old = self.sessions.get(request_id)
        if old is not None:
            for subscription in self._subscriptions.pop(request_id, ()):
                subscription.reader.forget(subscription)
                key = (subscription.reader.reader_id, subscription.number)
                waiting[key] = old.cursors.get(subscription), True
            self._scheduled.pop(request_id, None)
        self.sessions[request_id] = session
        for (reader_id, number), (after, is_moving) in waiting.items():
            reader = self.readers.get(reader_id)
            if reader is not None:
                reader.parked.pop(number, None)
                self._attach(reader, number, session, after, now, is_moving=is_moving)
        self._window_bytes = max(WINDOW_BYTES_MIN, min(WINDOW_BYTES_MAX, IN_FLIGHT_BYTES_MAX // len(self.sessions)))
        self._schedule(session, now)

    def _data(self, envelope: DataEnvelope, now: float) -> None:
        _, request_id, epoch, first_seq, blob = envelope
        session = self.sessions.get(request_id)
        if session is None or session.epoch < epoch:
            self._ignore(NOT_HERE)
            self._reports[request_id] = Report(request_id, epoch, SessionPhase.UNKNOWN)
            return
        if session.epoch > epoch:
            self._ignore(OTHER_EPOCH)
            self._report(session)  # of an incarnation that is over
            return
        try:
            items = unpack_list(blob)
        except ProtocolViolation as error:
            # Whoever publishes this request does not speak the protocol; it ends, and nothing else does.
            self.refuse("items", f"items of {request_id!r}: {error}")
            session.fail(error, now)
            items = []
        self.chunks += len(items)
        was_sealed = session.sealed
        had_before = first_seq < session.next_seq
        gained = self._take(session, first_seq, items, now)
        if session.gap:
            self._ignore(AHEAD)
        if session.sealed:
            self._report(session)
            if not was_sealed:
                self._schedule(session, now)
        elif session.grant(self._window_bytes) or session.gap or had_before:
            # Had before: the answer to the first time was lost, and with it perhaps a report.
            self._report(session)
        if gained:
            self._news(session)
        if session.credit_bytes <= session.received_bytes and not session.sealed:
            self.measures.credit_waits += 1  # its publisher must wait until readers have come further

    def _take(self, session: Session, first_seq: int, items: list[Any], now: float) -> int:
        """Feed items of the session's own epoch, and count what that was; return the messages gained."""
        translator = session.translator
        next_seq, received_bytes, last_seq_id = session.next_seq, session.received_bytes, session.log.last_seq
        gained = session.feed(session.epoch, first_seq, items, now)
        if translator is None:
            return gained
        of = self.measures.of(translator.provider)
        of.chunks += session.next_seq - next_seq
        of.chunk_bytes += session.received_bytes - received_bytes
        of.messages += gained
        if gained and not last_seq_id and session.epoch == 1:
            # In a later epoch the first message is an old one, sent again.
            of.first_message_s.observe(session.age_s(now))
        return gained

    def _end(self, envelope: EndEnvelope, now: float) -> None:
        session = self._current(envelope)
        if session is not None:
            session.end(envelope.stop_reason, envelope.detail, envelope.after_seq, now)
            self._report(session)
            self._schedule(session, now)
            self._news(session)

    def _cancel_after_step(self, envelope: Envelope, _now: float) -> None:
        session = self._current(envelope)
        if session is not None:
            session.cancel_after_step()

    def _stored(self, envelope: Envelope, _now: float) -> None:
        session = self.sessions.get(envelope.request_id)
        if session is not None and session.epoch == envelope.epoch and session.sealed:
            session.confirm_stored()
            self._news(session)

    def _restore(self, envelope: RestoreEnvelope, now: float) -> None:
        session = self.sessions.get(envelope.request_id)
        if session is None or session.epoch < envelope.epoch:
            log = Log.unpack(envelope.log)
            reason = envelope.stop_reason or "error"
            restored = Session.restored(envelope.request_id, envelope.epoch, reason, log, now + envelope.ttl_s)
            self._adopt(restored, now)
        self._report(self.sessions[envelope.request_id])

    def _forget_request(self, envelope: Envelope, _now: float) -> None:
        session = self.sessions.get(envelope.request_id)
        if session is not None and session.epoch <= envelope.epoch:
            self._forget(session)

    _HANDLERS: ClassVar[dict[int, Callable[[StreamHost, Any, float], None]]] = {
        Order.DATA: _data,
        Order.OPEN: _open,
        Order.END: _end,
        Order.CANCEL_AFTER_STEP: _cancel_after_step,
        Order.STORED: _stored,
        Order.RESTORE: _restore,
        Order.FORGET: _forget_request,
    }

    def _current(self, envelope: Envelope) -> Session | None:
        session = self.sessions.get(envelope.request_id)
        if session is None or session.epoch < envelope.epoch:
            self._reports[envelope.request_id] = Report(envelope.request_id, envelope.epoch, SessionPhase.UNKNOWN)
            return None
        return session if session.epoch == envelope.epoch else None

    def _forget(self, session: Session) -> None:
        """Drop a session; its subscriptions are told that it is not here."""
        self._count_unknown(session, self._unknown_of_gone)
        self.sessions.pop(session.request_id, None)
        self._scheduled.pop(session.request_id, None)
        for subscription in list(self._subscriptions.pop(session.request_id, ())):
            reader = subscription.reader
            reader.forget(subscription)
            if not subscription.ended:
                reader.mark_unknown(subscription.number)
                self._wakes[reader.reader_id] = None

    @staticmethod
    def _count_unknown(session: Session, counts: dict[str, int]) -> None:
        for name, count in session.unknown_events.items():
            if name in counts or len(counts) < UNKNOWN_EVENTS_MAX:
                counts[name] = counts.get(name, 0) + count

    def unknown_events(self) -> dict[str, int]:
        """What providers sent that no adapter knows, all requests so far together, by name."""
        counts = dict(self._unknown_of_gone)
        for session in self.sessions.values():
            self._count_unknown(session, counts)
        return counts

    # --- from readers -----------------------------------------------------------------------

    def reader(self, reader_id: str, now: float) -> Reader:
        """Return a reading process, made known at its first word."""
        found = self.readers.get(reader_id)
        if found is None:
            found = self.readers[reader_id] = Reader(reader_id, now)
            self._deadlines.set(now + READER_TIMEOUT_S, "\0" + reader_id)
        found.last_seen = now
        return found

    def operate(self, reader_id: str, settled: int, operations: Iterable[Sequence[Any]], now: float) -> None:
        """Apply a reader's operations; see `Reader.settle` for `settled`.

        A wrong one is counted in `refused` and raises ProtocolViolation; those before it hold.
        """
        reader = self.reader(reader_id, now)
        try:
            reader.settle(settled)
            if reader.is_forgotten:
                return
            for operation in operations:
                self._operate(reader, operation, now)
        except (LookupError, TypeError, AttributeError, ValueError, ProtocolViolation) as error:
            self.refuse("operation", f"operations of reader {reader_id!r}: {error}")
            raise ProtocolViolation(f"a reader's operations cannot be read: {str(operations)[:80]!r}") from error

    def _operate(self, reader: Reader, operation: Sequence[Any], now: float) -> None:
        kind = operation[1]
        if kind not in OPERATIONS:
            raise ProtocolViolation(f"an operation of unknown kind {kind!r}")
        shaped = OPERATIONS[kind](*operation)
        if isinstance(shaped, Consumed):
            self._consumed(reader, shaped.number, shaped.cursor, now)
        elif reader.begin(shaped.operation_no, shaped.number):
            self._drop(reader, shaped.number)
            if isinstance(shaped, Subscribe):
                self._subscribe(reader, shaped, now)

    def _subscribe(self, reader: Reader, wanted: Subscribe, now: float) -> None:
        session = self.sessions.get(wanted.request_id)
        if session is None or session.epoch < wanted.epoch:
            parked = self._parked.setdefault(wanted.request_id, {})
            parked[reader.reader_id, wanted.number] = wanted.after, wanted.is_moving
            reader.parked[wanted.number] = wanted.request_id
            return
        self._attach(reader, wanted.number, session, wanted.after, now, is_moving=wanted.is_moving)

    def _unpark(self, reader: Reader, number: int) -> None:
        request_id = reader.parked.pop(number, None)
        if request_id is not None:
            parked = self._parked[request_id]
            del parked[reader.reader_id, number]
            if not parked:
                del self._parked[request_id]

    def _attach(
        self, reader: Reader, number: int, session: Session, after: int, now: float, *, is_moving: bool
    ) -> None:
        # A lost request ends where its survivors believed it stood; whoever had more still sees the end.
        sent = min(after, session.content_through) if session.stop_reason == "lost" else after
        subscription = Subscription(reader, number, session, max(sent, 0), is_moving=is_moving)
        reader.subscriptions[number] = subscription
        self._subscriptions.setdefault(session.request_id, {})[subscription] = None
        self._note_consumed(session, subscription, after, now)
        if reader.mark_ready(subscription):
            self._wakes[reader.reader_id] = None

    def _consumed(self, reader: Reader, number: int, cursor: int, now: float) -> None:
        subscription = reader.subscriptions.get(number)
        if subscription is None:
            return
        # Nobody can have consumed what was not sent: such an acknowledgement is clipped, not believed.
        if cursor > subscription.sent:
            self._ignore(CONSUMED_AHEAD)
            cursor = subscription.sent
        subscription.consumed(cursor)
        self._note_consumed(subscription.session, subscription, cursor, now)
        if reader.mark_ready(subscription):
            self._wakes[reader.reader_id] = None

    def _note_consumed(self, session: Session, key: object, cursor: int, now: float) -> None:
        session.consume(key, cursor, now)
        if not session.sealed and session.grant(self._window_bytes):
            self._report(session)

    def _drop(self, reader: Reader, number: int) -> None:
        self._unpark(reader, number)
        subscription = reader.subscriptions.get(number)
        if subscription is None:
            return
        reader.forget(subscription)
        session = subscription.session
        of_request = self._subscriptions.get(session.request_id)
        if of_request is not None:
            of_request.pop(subscription, None)
        session.detach(subscription)
        if not session.sealed and session.grant(self._window_bytes):
            self._report(session)

    def peek(self, request_id: str, reader_id: str, after: int, pieces_max: int, now: float) -> Reading:
        """Read one request without a subscription: `after` is this reader's cumulative acknowledgement.

        Raises UnknownRequest.
        """
        session = self.sessions.get(request_id)
        if session is None:
            raise UnknownRequest(
                f"no request {request_id!r} on this stream actor: never opened, its time-to-live is over, or it has "
                "moved to another actor; ask the router again (locate)"
            )
        key = f"{request_id}\0{reader_id}"
        self.reader(key, now)
        self._note_consumed(session, key, min(after, session.log.last_seq), now)
        return session.read(after, pieces_max=pieces_max)

    def expect(self, request_id: str, waiting: int) -> None:
        """Note that `waiting` (1 or -1) bare pulls more wait for news of a request."""
        count = self._awaited.get(request_id, 0) + waiting
        if count > 0:
            self._awaited[request_id] = count
        else:
            self._awaited.pop(request_id, None)

    def _news(self, session: Session) -> None:
        for subscription in self._subscriptions.get(session.request_id, ()):
            if subscription.reader.mark_ready(subscription):
                self._wakes[subscription.reader.reader_id] = None
        if session.request_id in self._awaited:
            self._wakes[session.request_id] = None

    # --- instructions to the shell ----------------------------------------------------------

    def _report(self, session: Session) -> None:
        self._reports[session.request_id] = None

    @property
    def has_reports(self) -> bool:
        """Whether the router should hear something."""
        return bool(self._reports)

    def take_reports(self) -> list[Report]:
        """Return what the router should hear, and regard it as told."""
        taken = [
            report or self.sessions[request_id].report()
            for request_id, report in self._reports.items()
            if report is not None or request_id in self.sessions
        ]
        self._reports.clear()
        return taken

    def untold(self, reports: Iterable[Report]) -> None:
        """Take reports back that could not be delivered: their sessions report again."""
        for report in reports:
            self._reports.setdefault(report.request_id, report if report.phase == SessionPhase.UNKNOWN else None)

    def inventory(self, now: float) -> list[Inventory]:
        """Return all that a router without memory must know of each session.

        The logs of ended requests are reported again afterwards, as if they had never been stored.
        """
        for session in self.sessions.values():
            if session.sealed:
                session.log_is_safe = False
                self._report(session)
        return [
            Inventory(list(session.state(with_log=False)), session.record(now)._asdict())
            for session in self.sessions.values()
        ]

    def take_wakes(self) -> list[str]:
        """Return the reader IDs that have news, and the request IDs that `expect` named."""
        taken = list(self._wakes)
        self._wakes.clear()
        return taken

    # --- time -------------------------------------------------------------------------------

    def _schedule(self, session: Session, now: float) -> None:
        due_at = max(session.due_at(), now)
        known = self._scheduled.get(session.request_id, NEVER)
        if due_at < known and due_at != NEVER:
            self._scheduled[session.request_id] = due_at
            self._deadlines.set(due_at, session.request_id)

    def due_at(self) -> float:
        """When `tick` is wanted next; NEVER if nothing can run out."""
        return self._deadlines.due_at()

    def tick(self, now: float) -> None:
        """Let run out what has run out by `now`."""
        for at, key in self._deadlines.take_due(now):
            if key.startswith("\0"):
                self._tick_reader(key[1:], now)
                continue
            if self._scheduled.get(key) != at:
                continue  # an earlier deadline was set since
            del self._scheduled[key]
            session = self.sessions.get(key)
            if session is None:
                continue
            if session.expire(now):
                self._report(session)
                self._news(session)
            elif session.sealed and session.forget_at <= now:
                if session.stored:
                    self._forget(session)
                    continue
                session.forget_at = now + READER_TIMEOUT_S  # not before the router has it
                self._report(session)
            self._schedule(session, now)

    def _tick_reader(self, reader_id: str, now: float) -> None:
        reader = self.readers.get(reader_id)
        if reader is None:
            return
        if reader.last_seen + READER_TIMEOUT_S > now:
            self._deadlines.set(reader.last_seen + READER_TIMEOUT_S, "\0" + reader_id)
            return
        for number in list(reader.subscriptions):
            self._drop(reader, number)
        for number in list(reader.parked):
            self._unpark(reader, number)
        request_id, _, bare = reader_id.partition("\0")
        session = self.sessions.get(request_id) if bare else None
        if session is not None:
            session.detach(reader_id)
        del self.readers[reader_id]
