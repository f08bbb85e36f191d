"""The pure part of a stream actor: its sessions and its readers; events in, instructions out.

Events are envelopes from the router, operations of readers, and the time. What a shell must then
do is named, not done: `take_reports` gives what the router should hear, `audience.take_wakes` which
readers' long polls now have an answer, `due_at` when `tick` is wanted. Nothing here waits, polls or knows Ray.

Work follows what happens: an envelope touches its session and that session's subscriptions; an
open, silent stream costs nothing but one place in the heap of deadlines, which is looked at again
only when that deadline comes, however often it has moved meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from sys import intern
from typing import Any, ClassVar, Protocol

from actors.errors import ProtocolViolation
from actors.protocol.deadlines import Schedule
from actors.protocol.envelopes import (
    ENVELOPES,
    AdoptEnvelope,
    CopyEnvelope,
    EndEnvelope,
    Envelope,
    OpenEnvelope,
    Order,
    Owner,
    RestoreEnvelope,
    StoredEnvelope,
)
from actors.protocol.frames import checked, pack, unpack_list
from actors.protocol.gone import Gone, Held
from actors.protocol.states import Inventory, Report, SessionPhase
from actors.settings import unpacked
from actors.stream.audience import Audience
from actors.stream.copies import Copies, Copy, copy_of
from actors.stream.endings import without_its_log
from actors.stream.floods import FLOOD_BYTES, Floods
from actors.stream.inventories import inventory_of
from actors.stream.log import Log
from actors.stream.measures import Measures
from actors.stream.refusals import Refusals
from actors.stream.router_frames import NOT_MY_ROUTER, RouterFrames
from actors.stream.session import Session
from actors.stream.windows import Windows

logger: logging.Logger = logging.getLogger("actors.stream_host")

# Names of unknown events that are counted apart.
UNKNOWN_EVENTS_MAX = 256

# An ended request whose log the router does not confirm is kept, and reported again each time so long.
UNSTORED_TTL_S = 25.0

# So many requests that it has forgotten last an actor remembers for a router that comes back without memory.
GONE_MAX = 1_000

_DATA = int(Order.DATA)

NOT_HERE, OTHER_EPOCH, AHEAD = "not_here", "other_epoch", "ahead"
"""Why something was ignored: no such session here, an epoch that is over, a hole before it."""


class Spans(Protocol):
    """Whoever observes what sessions gain."""

    def follow(self, session: Session, now: float) -> None:
        """Look at what a session has gained."""
        ...

    def forget(self, request_id: str) -> None:
        """Forget a request that is no longer here."""
        ...


class StreamHost:
    """All sessions and readers of one stream actor."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.requests_served: int = 0
        self.chunks: int = 0
        self._unknown_of_gone: dict[str, int] = {}
        self._gone = Gone(GONE_MAX)
        self.measures: Measures = Measures()
        self.spans: Spans | None = None
        self.refusals: Refusals = Refusals()
        self.audience: Audience = Audience(self.sessions, self.refusals, self._grant)
        self._frames = RouterFrames(self.refusals)
        self._floods = Floods()
        # Called in the midst of a call that brings much, where `audience.take_wakes` has somebody.
        self.on_wakes: Callable[[], None] = lambda: None
        self._reports: dict[str, Report | None] = {}
        self.copies: Copies = Copies()
        self._timeouts: Schedule[str] = Schedule()
        self._windows = Windows()

    # --- from the router --------------------------------------------------------------------

    def begin(self, router: str) -> bool:
        """Take frames of this incarnation of the router from now on; see `RouterFrames.begin`."""
        return self._frames.begin(router)

    def feed(self, router: str, frame_no: int, frames: Iterable[bytes], now: float) -> bytes:
        """Take frames of envelopes under their number; return the reports, packed.

        The same number again gives the same answer again. A lower one is a call that was given up and comes late.
        `NOT_MY_ROUTER`: this incarnation has to `begin` first.
        """
        taken = self.take(router, frame_no, frames, now)
        if taken is None:
            return NOT_MY_ROUTER
        if taken:
            self._frames.answered(pack(self.take_reports()))
        return self._frames.answer_to(frame_no)

    def take(self, router: str, frame_no: int, frames: Iterable[bytes], now: float) -> bool | None:
        """Take frames as `feed`, but give no reports; whether they are new, None where it is NOT_MY_ROUTER."""
        is_new = self._frames.enter(router, frame_no)
        self._floods.begin()
        for frame in frames if is_new else ():
            try:
                self.handle(unpack_list(frame), now)
            except ProtocolViolation as error:
                self.refusals.refuse("frame", str(error))
        return is_new

    def handle(self, envelopes: Iterable[Sequence[Any]], now: float) -> None:
        """Take envelopes in order.

        One that cannot be read is counted in `refused` and left out.
        """
        floods = self._floods
        for envelope in envelopes:
            try:
                kind = envelope[0]
                if kind == _DATA:  # most of what comes; its parts are checked where they go
                    if len(envelope[4]) < FLOOD_BYTES:
                        floods.few_wait = True
                    elif floods.is_behind_others() and self.audience.has_wakes:
                        self.on_wakes()
                    self._data(envelope, now)
                else:
                    self._HANDLERS[kind](self, checked(ENVELOPES[kind], envelope), now)
            except Exception as error:  # noqa: BLE001  # one request's envelope must not take those of others with it
                self.refusals.refuse("envelope", f"an envelope that cannot be read: {str(envelope)[:80]!r}: {error}")

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
            # One text for all requests of a process, and for all of a second.
            publisher_id=intern(envelope.publisher_id),
            owner=envelope.owner,
            date=intern(envelope.date),
            age_s=envelope.age_s,
            released=envelope.released,
            start_seq=envelope.start_seq,
            replay_through=envelope.replay_through,
        )
        self._adopt(session, now)
        self.requests_served += 1
        session.grant(self._windows.bytes)
        self._report(session)
        self._observe(session, now)

    def _observe(self, session: Session, now: float) -> None:
        if session.used is not None:
            self.measures.count_usage(session.used)
            session.used = None
        if session.sealed:
            self._windows.note(session.request_id, is_open=False)
        if self.spans is not None:
            self.spans.follow(session, now)

    def _adopt(self, session: Session, now: float) -> None:
        """Put a session in the place of an older incarnation, whose subscriptions go on with it."""
        old = self.sessions.get(session.request_id)
        self._timeouts.cancel(session.request_id)
        self.sessions[session.request_id] = session
        self.audience.adopt(session, old, now)
        self._windows.note(session.request_id, is_open=not session.sealed)
        self._schedule(session, now)

    def _data(self, envelope: Sequence[Any], now: float) -> None:  # noqa: C901  # hot
        _, request_id, epoch, first_seq, packed_items = envelope
        session = self.sessions.get(request_id)
        if session is None or session.epoch != epoch:
            self._misdirected(session, request_id, epoch)
            return
        was_sealed = session.stop_reason is not None
        try:
            items = unpack_list(packed_items)
        except ProtocolViolation as error:
            # Whoever publishes this request does not speak the protocol; it ends, and nothing else does.
            self.refusals.refuse("items", f"items of {request_id!r}: {error}")
            session.fail(error, now)
            items = []
        self.chunks += len(items)
        translator = session.translator
        next_seq, received_bytes, last_seq_id = session.next_seq, session.received_bytes, session.log.last_seq
        gained = session.feed(epoch, first_seq, items, now)
        if translator is not None:
            of = self.measures.by_provider[translator.provider]
            of.chunks += session.next_seq - next_seq
            of.chunk_bytes += session.received_bytes - received_bytes
            of.messages += gained
            if not last_seq_id and gained and epoch == 1:
                # In a later epoch the first message is an old one, sent again.
                of.first_message_s.observe(session.age_s(now))
        if session.gap:
            self.refusals.ignore(AHEAD)
        if session.stop_reason is None:
            if self.spans is not None:
                self.spans.follow(session, now)
            if session.grant(self._windows.bytes) or session.gap or first_seq < next_seq:
                # Had before: the answer to the first time was lost, and with it perhaps a report.
                self._report(session)
            if session.credit_bytes <= session.received_bytes:
                self.measures.credit_waits += 1  # its publisher must wait until readers have come further
        else:
            self._observe(session, now)
            self._report(session)
            if not was_sealed:
                self._schedule(session, now)
        if gained:
            self.audience.news(session)

    def _misdirected(self, session: Session | None, request_id: str, epoch: int) -> None:
        """Items came of a request that is not here, or of another epoch of it."""
        if session is None or session.epoch < epoch:
            self.refusals.ignore(NOT_HERE)
            self._reports[request_id] = Report(request_id, epoch, SessionPhase.UNKNOWN)
        else:
            self.refusals.ignore(OTHER_EPOCH)
            self._report(session)  # of an incarnation that is over

    def _end(self, envelope: EndEnvelope, now: float) -> None:
        session = self._current(envelope)
        if session is not None:
            session.end(envelope.stop_reason, envelope.detail, envelope.after_seq, now)
            self._observe(session, now)
            self._report(session)
            self._schedule(session, now)
            self.audience.news(session)

    def _cancel_after_step(self, envelope: Envelope, _now: float) -> None:
        session = self._current(envelope)
        if session is not None:
            session.cancel_after_step()

    def _stored(self, envelope: StoredEnvelope, now: float) -> None:
        session = self.sessions.get(envelope.request_id)
        if session is not None and session.epoch == envelope.epoch and session.sealed:
            session.confirm_stored(now + envelope.ttl_s)
            self._schedule(session, now)
            self.audience.news(session)

    def _restore(self, envelope: RestoreEnvelope, now: float) -> None:
        session = self.sessions.get(envelope.request_id)
        if session is None or session.epoch < envelope.epoch:
            self._adopt(self._restored(copy_of(envelope, now)), now)
            self.copies.take(envelope.request_id, envelope.epoch)  # the session stands in its place
        self._report(self.sessions[envelope.request_id])

    def _restored(self, copy: Copy) -> Session:
        """Return the session of an ended request; one whose log cannot be read shows that, for its readers wait."""
        request_id, stop_reason = copy.request_id, copy.stop_reason
        try:
            log = Log.unpack(copy.log)
        except ProtocolViolation as error:
            self.refusals.refuse("log", f"the log of {request_id!r}: {error}")
            stop_reason, log = "error", without_its_log(request_id, "", error, 0)
        session = Session.restored(request_id, copy.epoch, stop_reason, log, copy.forget_at)
        session.publisher_id, session.owner_packed = copy.publisher_id, pack(copy.owner)
        return session

    def _forget_request(self, envelope: Envelope, _now: float) -> None:
        session = self.sessions.get(envelope.request_id)
        if session is not None and session.epoch <= envelope.epoch:
            self._forget(session)
        self.copies.take(envelope.request_id, envelope.epoch)

    def _copy(self, envelope: CopyEnvelope, now: float) -> None:
        session = self.sessions.get(envelope.request_id)
        if session is not None and session.epoch >= envelope.epoch and session.sealed:
            self._report(session)  # what is shown here needs no second copy here
            return
        self._reports[envelope.request_id] = self.copies.keep(envelope, now).report()

    def _adopt_copy(self, envelope: AdoptEnvelope, now: float) -> None:
        session = self.sessions.get(envelope.request_id)
        if session is None or session.epoch < envelope.epoch:
            copy = self.copies.take(envelope.request_id, envelope.epoch)
            if copy is None or copy.epoch < envelope.epoch:
                self._unknown(envelope)
                return
            session = self._restored(copy)
            session.log_is_safe = False  # the router may have lost its own with the actor
            self._adopt(session, now)
        self._report(session)

    _HANDLERS: ClassVar[dict[int, Callable[[StreamHost, Any, float], None]]] = {
        Order.OPEN: _open,
        Order.END: _end,
        Order.CANCEL_AFTER_STEP: _cancel_after_step,
        Order.STORED: _stored,
        Order.RESTORE: _restore,
        Order.FORGET: _forget_request,
        Order.COPY: _copy,
        Order.ADOPT: _adopt_copy,
    }

    def _current(self, envelope: Envelope) -> Session | None:
        session = self.sessions.get(envelope.request_id)
        if session is None or session.epoch < envelope.epoch:
            self._unknown(envelope)
            return None
        return session if session.epoch == envelope.epoch else None

    def _unknown(self, envelope: Envelope) -> None:
        """Report that there is no session of this epoch here."""
        self._reports[envelope.request_id] = Report(envelope.request_id, envelope.epoch, SessionPhase.UNKNOWN)

    def _forget(self, session: Session) -> None:
        """Drop a session; its subscriptions are told that it is not here."""
        self._count_unknown(session, self._unknown_of_gone)
        if session.sealed:
            owner = Owner(*session.owner)
            held = None if owner.agent_id is None else Held(owner.agent_id, owner.agent_number)
            self._gone.add(session.request_id, session.epoch, owner.created, held)
        self.sessions.pop(session.request_id, None)
        self._timeouts.cancel(session.request_id)
        self._windows.note(session.request_id, is_open=False)
        self.audience.forget(session)
        if self.spans is not None:
            self.spans.forget(session.request_id)

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

    # --- instructions to the shell ----------------------------------------------------------

    def _grant(self, session: Session) -> None:
        """Report a session whose readers have come so far that its publisher may send more."""
        if session.credit_bytes - session.received_bytes >= self._windows.bytes:
            return  # it has all that it may have
        if session.stop_reason is None and session.grant(self._windows.bytes):
            self._report(session)

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
            is_of_session = report.phase not in (SessionPhase.UNKNOWN, SessionPhase.COPY)
            self._reports.setdefault(report.request_id, None if is_of_session else report)

    def inventory(self, now: float) -> list[Inventory]:
        """Return all that a router without memory must know of each session, and of each copy.

        The logs of ended requests are reported again afterwards, as if they had never been stored.
        """
        for session in self.sessions.values():
            if session.sealed:
                session.log_is_safe = False
                self._report(session)
        return [
            *(inventory_of(session, now) for session in self.sessions.values()),
            *self.copies.inventory(now),
            *(
                Inventory(list(Report(request_id, gone.epoch, SessionPhase.GONE)), gone._asdict())
                for request_id, gone in self._gone
            ),
        ]

    # --- time -------------------------------------------------------------------------------

    def _schedule(self, session: Session, now: float) -> None:
        # A time that has moved on is not set anew: it is looked at again when it comes. A producer's silence is
        # looked at now and then also while it has nothing to say, for nobody tells when that changes.
        due_at = session.due_at()
        stall_timeout_s = session.settings.stall_timeout_s
        if stall_timeout_s is not None and not session.sealed:
            due_at = min(due_at, now + stall_timeout_s)
        self._timeouts.set_by(session.request_id, max(due_at, now))

    def due_at(self) -> float:
        """When `tick` is wanted next; NEVER if nothing can run out."""
        return min(self._timeouts.due_at(), self.copies.due_at(), self.audience.due_at())

    def tick(self, now: float) -> None:
        """Let run out what has run out by `now`."""
        for request_id in self._timeouts.take_due(now):
            session = self.sessions.get(request_id)
            if session is not None:
                self._tick(session, now)
        self.copies.tick(now)
        self.audience.tick(now)

    def _tick(self, session: Session, now: float) -> None:
        if session.expire(now):
            self._observe(session, now)
            self._report(session)
            self.audience.news(session)
        elif session.sealed and session.forget_at <= now:
            if session.log_is_safe:
                self._forget(session)
                return
            session.forget_at = now + UNSTORED_TTL_S  # not before the router has it
            self._report(session)
        self._schedule(session, now)
