"""One request as its router knows it: where it stands, and every change it may go through. Pure.

Theory. A request is WAITING, OPEN or SEALED, and `_TRANSITIONS` names each change that is allowed in
each phase; any other is a fault of this program and raises `IllegalChange`.

    WAITING   no session: it waits for a place in the pool, or for its actor (`awaits`) to start
    OPEN      a session of this epoch exists on `actor_id`, or its OPEN is on the way there
    SEALED    ended: `stop_reason` is final; `log` is what is kept here, `actor_id` shows it to readers, and
              `copy_id` keeps a copy where those two stand on one node (`copies.py`)

The epoch rises with every session that is made for it, so that a word of an older session is told from
one of the present session. Items are numbered by the publisher (`seq`): `sent_seq` is the last that went
to the session of this epoch, without a hole before it; `high_seq` the last that any session may have had.
As long as `sent_seq < high_seq` the request is not whole, and must not end except as `lost`.

The credit belongs to the epoch: a new session has received nothing, so it grants anew.

All fields are changed by the methods here alone; `requests.py` keeps the counts that depend on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from actors.protocol.envelopes import Owner
from actors.protocol.labels import NO_LABELS
from actors.protocol.states import Report, RequestPhase, SessionPhase
from actors.settings import StreamSettings


class Change(StrEnum):
    """What may happen to a request."""

    RESERVE = "reserve"
    """A stream actor that is still starting will hold it."""
    PLACE = "place"
    """A stream actor gets a new session of it."""
    UNPLACE = "unplace"
    """Its session, or the actor that it waits for, is gone."""
    SEAL = "seal"
    """It ends."""
    HOLD = "hold"
    """A process gets its sealed log, to show it to readers."""
    COPY = "copy"
    """A stream actor gets a copy of its sealed log, or has it no longer."""


_WAITING, _OPEN, _SEALED = RequestPhase.WAITING, RequestPhase.OPEN, RequestPhase.SEALED

_TRANSITIONS: dict[RequestPhase, dict[Change, RequestPhase]] = {
    _WAITING: {
        Change.RESERVE: _WAITING,
        Change.PLACE: _OPEN,
        Change.UNPLACE: _WAITING,
        Change.SEAL: _SEALED,
    },
    _OPEN: {Change.UNPLACE: _WAITING, Change.SEAL: _SEALED},
    _SEALED: {Change.HOLD: _SEALED, Change.COPY: _SEALED},
}


class IllegalChange(RuntimeError):
    """A change that a request cannot go through in its phase: a fault of the caller."""


@dataclass(slots=True, eq=False)
class Request:
    """One request."""

    request_id: str
    settings_packed: bytes
    settings: StreamSettings
    client_id: str
    """Its publisher's process."""
    date: str
    opened_at: float
    agent_id: str | None = None
    agent_number: int = 0
    """The fencing number with which it was granted its agent."""
    created: int = 0
    """The number with which it was created; see `catalogue.py`."""
    labels: bytes = NO_LABELS
    """What its publisher says of it, so that it can be found."""
    is_fenced_out: bool = False
    """Its agent has gone on to another request."""
    epoch: int = 0
    former_epoch: int = 0
    """The last one of the request that was forgotten under this ID: what comes late for that is of another epoch."""
    phase: RequestPhase = RequestPhase.WAITING
    actor_id: str | None = None
    awaits: str | None = None
    """The stream actor that will hold it and is still starting."""
    waits_since: float = 0.0
    """Since when it has had no session."""
    start_seq: int = 1
    """The first item that its publisher can send."""
    sent_seq: int = 0
    high_seq: int = 0
    last_seq_id: int = 0
    """The newest message that was reported."""
    released: int = 0
    """The last message that all readers have consumed."""
    credit_bytes: int = 0
    received_bytes: int = 0
    gap: bool = False
    is_being_taken: bool = False
    """A new publisher waits to hear how far the session has come."""
    is_held: bool = False
    """Its items wait at its publisher until there is room for them on the way to its actor; see `backlog.py`."""
    ending: tuple[str, str | None] | None = None
    """An end from outside that its session has been told: (stop reason, detail)."""
    cancel: str | None = None
    publisher_gone_at: float | None = None
    is_abandoned: bool = False
    """No publisher will ever send anything of it again."""
    stop_reason: str | None = None
    usage: dict[str, Any] | None = None
    """The token counts of its end."""
    log: bytes | None = None
    forget_at: float = 0.0
    copy_id: str | None = None
    """The stream actor that keeps, or gets, a copy of its log."""
    is_copied: bool = False
    """That actor has said so."""
    is_shown: bool = False
    """Its end is known outside: to its publisher, and to readers as soon as its log is in two processes."""
    is_told: bool = False
    """An answer with its end has left for its publisher."""

    # --- what it is -------------------------------------------------------------------------

    @property
    def is_whole(self) -> bool:
        """Whether its session has, or is about to get, all that an earlier one may have had."""
        return self.sent_seq >= self.high_seq

    @property
    def is_live(self) -> bool:
        """Whether it has not ended."""
        return self.phase != RequestPhase.SEALED

    @property
    def owner(self) -> list[Any]:
        """What a router without memory must know again: the parts of an `Owner`."""
        return list(Owner(self.agent_id, self.agent_number, self.created, self.labels))

    @property
    def phase_for_publisher(self) -> RequestPhase:
        """The phase as its publisher must understand it."""
        if self.phase == RequestPhase.OPEN:
            if self.is_being_taken or self.is_held:
                return RequestPhase.WAITING
            if self.gap:
                return RequestPhase.GAP
        if self.phase == RequestPhase.SEALED and not self.is_shown:
            return RequestPhase.OPEN
        return self.phase

    @property
    def waits_for(self) -> str | None:
        """What a request without a session waits for, in words; None where it waits for nothing."""
        if self.phase != RequestPhase.WAITING:
            return None
        if self.awaits is None:
            return "a place on a stream actor: all are full"
        return f"stream actor {self.awaits} to start"

    def limit(self) -> tuple[float, str] | None:
        """Return when a timer of a request without a session runs out next, and the stop reason that it gives."""
        settings = self.settings
        limits = []
        if settings.request_timeout_s is not None:
            limits.append((self.opened_at + settings.request_timeout_s, "timeout_request"))
        if settings.first_message_timeout_s is not None and self.last_seq_id == 0:
            limits.append((self.opened_at + settings.first_message_timeout_s, "timeout_first_message"))
        if settings.idle_reader_timeout_s is not None and self.epoch == 0:
            limits.append((self.opened_at + settings.idle_reader_timeout_s, "timeout_idle_reader"))
        return min(limits, default=None)

    def take_number(self, number: int) -> None:
        """Note the number with which it was created."""
        self.created = number

    # --- where it is ------------------------------------------------------------------------

    def _go(self, change: Change) -> None:
        allowed = _TRANSITIONS[self.phase]
        if change not in allowed:
            raise IllegalChange(
                f"request {self.request_id!r} is {self.phase} and cannot {change}; allowed: {', '.join(allowed)}"
            )
        self.phase = allowed[change]

    def reserve(self, actor_id: str) -> None:
        """Wait for a stream actor that is starting."""
        self._go(Change.RESERVE)
        self.awaits = actor_id

    def place(self, actor_id: str) -> None:
        """Begin a new epoch on a stream actor; its session has had nothing yet."""
        self._go(Change.PLACE)
        self.awaits = None
        self.actor_id = actor_id
        self._begin_epoch()
        self.gap = self.is_being_taken = self.is_held = False
        self.sent_seq = self.start_seq - 1
        self.credit_bytes = self.received_bytes = 0

    def unplace(self, now: float) -> None:
        """Wait for another place."""
        if self.phase == RequestPhase.OPEN:
            self.waits_since = now
        self._go(Change.UNPLACE)
        self.actor_id = self.awaits = None
        self.is_held = False
        self.sent_seq = self.start_seq - 1

    def supersede(self) -> None:
        """From now on no session of the present epoch counts for anything."""
        self.epoch += 1

    def seal(self, stop_reason: str, forget_at: float) -> None:
        """End, for this reason; it is kept until `forget_at`."""
        self._go(Change.SEAL)
        self.awaits = None
        self.stop_reason = stop_reason
        self.forget_at = forget_at

    def hold(self, actor_id: str | None) -> None:
        """Note who holds the sealed log beside this router; a new holder has a new epoch."""
        self._go(Change.HOLD)
        self.actor_id = actor_id
        if actor_id is not None:
            self._begin_epoch()

    def _begin_epoch(self) -> None:
        self.epoch = max(self.epoch, self.former_epoch) + 1

    def copy_to(self, actor_id: str | None) -> None:
        """Note which stream actor gets a copy of the sealed log; None: none has one."""
        self._go(Change.COPY)
        self.copy_id = actor_id
        self.is_copied = False

    def copied(self) -> None:
        """The copy is where it should be."""
        self.is_copied = True

    def show(self) -> None:
        """From now on its end is known outside."""
        self.is_shown = True

    def told(self) -> None:
        """Its publisher is being told of its end."""
        self.is_told = True

    def keep(self, log: bytes | None) -> None:
        """Keep the packed sealed log here; None: no longer."""
        self.log = log

    # --- its items --------------------------------------------------------------------------

    def take_items(self, first_seq: int, last_seq: int) -> bool:
        """Note items on their way to the session; False where a hole lies before them."""
        if first_seq > self.sent_seq + 1:
            self.gap = True
            return False
        if last_seq > self.sent_seq:
            self.sent_seq = last_seq
            self.high_seq = max(self.high_seq, last_seq)
            self.gap = False
        return True

    def hold_back(self) -> None:
        """There is no room for its items: its publisher is to wait."""
        self.is_held = True

    def let_go_on(self) -> None:
        """There is room again; its publisher sends once more what was not taken."""
        self.is_held = False
        self.gap = True

    def reported(self, report: Report) -> tuple[bool, bool]:
        """Take what its session says; return whether its publisher must hear of that, and whether urgently."""
        self.last_seq_id = max(self.last_seq_id, report.last_seq_id)
        self.released = max(self.released, report.released)
        self.received_bytes = max(self.received_bytes, report.received_bytes)
        if report.phase == SessionPhase.SEALED:
            self.usage = report.usage or self.usage
            return False, False
        has_news = is_urgent = False
        if self.is_being_taken and report.next_seq > self.sent_seq:
            self.is_being_taken = False
            has_news = is_urgent = True
        if report.phase == SessionPhase.GAP:
            self.gap = True
            self.sent_seq = min(self.sent_seq, report.next_seq - 1)
            has_news = is_urgent = True
        if report.credit_bytes > self.credit_bytes:
            self.credit_bytes = report.credit_bytes
            has_news = True
        return has_news, is_urgent

    # --- its publisher ----------------------------------------------------------------------

    def publisher_left(self, now: float) -> None:
        """Its publisher has been silent for too long."""
        self.publisher_gone_at = now

    def publisher_is_back(self) -> None:
        """Its publisher was heard again."""
        self.publisher_gone_at = None

    def hand_to(self, client_id: str, agent_number: int = 0) -> None:
        """Let another publisher go on behind the last item that was sent."""
        self.agent_number = max(self.agent_number, agent_number)
        self.client_id = client_id
        self.publisher_gone_at = None
        self.start_seq = self.sent_seq + 1
        # How far an open session has come in bytes only it can say.
        self.is_being_taken = self.phase == RequestPhase.OPEN

    def abandon(self) -> None:
        """Nothing more will ever come from a publisher."""
        self.is_abandoned = True

    def fence_out(self) -> None:
        """Its agent has gone on: nothing more of it is accepted."""
        self.is_fenced_out = self.is_abandoned = True

    def describe_again(self, date: str, agent_id: str | None, agent_number: int) -> None:
        """Take what its publisher says to a router that has lost its memory; a fencing number only rises."""
        known = self.agent_number if agent_id == self.agent_id else 0
        self.date, self.agent_id, self.agent_number = date, agent_id, max(known, agent_number)

    def learn(self, epoch: int, sent_seq: int, start_seq: int) -> bool:
        """Take how far its publisher has come; True where that knows of a later epoch than this router."""
        self.start_seq = start_seq
        self.gap = self.gap or sent_seq > self.sent_seq
        if epoch <= self.epoch:
            return False
        # What is known here came from an older word of the same publisher, which was late.
        self.epoch = epoch
        self.high_seq = max(self.high_seq, sent_seq)
        return True

    # --- its end from outside ---------------------------------------------------------------

    def ask_cancel(self, cancel: str) -> bool:
        """Note that it is to be cancelled ("now" or "after_step"); False where that was known."""
        if self.cancel in ("now", cancel):
            return False
        self.cancel = cancel
        return True

    def ask_end(self, stop_reason: str, detail: str | None) -> None:
        """Note an end from outside; the first one counts."""
        if self.ending is None:
            self.ending = (stop_reason, detail)
