"""The pure part of a router actor: who holds which request, and who must be told what.

Theory. The registry never looks into chunks: it moves blobs from a publisher's frame to the lane of the
right actor. Three kinds of process talk to it, and each failure has one answer:

* a stream actor dies: each of its open requests gets a new epoch on another actor, and its
  publisher, who still has all items, sends them again; ended requests are restored from the log
  kept here. A request whose publisher cannot replay ends as `lost`.
* a publisher dies (it is silent longer than its watch may last): its requests wait
  `publisher_grace_s` for another publisher to take over, then end as `publisher_lost`.
* this router dies: its next incarnation learns from its actors and from publishers and readers, who notice
  it in the first answer they get (`recovery.py`).

`request.py` says what a request may go through, `lifecycle.py` moves it through that, `outboxes.py` keeps
what each client must still be told; here are the doors: opening, items, reports, reading, cancelling, time.

Effects are named, not done: `take_effects` gives the shell actors to start and to stop, envelopes
to put on lanes, clients to wake. Time is an argument. Pure: no Ray, no asyncio.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Sequence
from typing import Any

from actors.errors import (
    AgentBusy,
    AgentFenced,
    DuplicateRequest,
    ProtocolViolation,
    Recovering,
    RequestEnded,
    StreamRouterError,
    UnknownRequest,
)
from actors.logging_setup import is_telling
from actors.protocol.calls import ClaimCall, FenceCall, Registration, ReleaseCall
from actors.protocol.deadlines import Deadlines
from actors.protocol.envelopes import DataEnvelope, ItemsEnvelope, Order
from actors.protocol.frames import checked
from actors.protocol.states import (
    ClaimState,
    Key,
    News,
    PublisherState,
    ReaderState,
    Report,
    RequestPhase,
    Role,
    SessionPhase,
    State,
)
from actors.settings import unpacked
from router.config import RouterConfig
from router.core.admission import Admission
from router.core.agent_queue import Agents, Claim
from router.core.effects import CANCELLED, OPENED, REFUSED, Effects, Note
from router.core.fences import Fences
from router.core.lifecycle import Lifecycle
from router.core.outboxes import CLIENT_FORGET_S, CLIENT_TIMEOUT_S, Client, Clients
from router.core.recovery import Recovery
from router.core.request import Request
from router.core.requests import Requests
from router.core.timers import Timer

logger = logging.getLogger("router.registry")


NOT_ITS_PUBLISHER, OTHER_EPOCH, AHEAD, FENCED = "not_its_publisher", "other_epoch", "ahead", "fenced"
"""Why items were ignored: from another client than the request's own, for another epoch, with a hole before them, or
of a request whose agent has gone on to another one."""

STARTING_PATIENCE_S = 3.0
"""A request that has waited so long for an actor to start shares one that answers, where there is room."""


class Inconsistent(RuntimeError):
    """The registry contradicts itself: a fault of this package."""


_WHEN_DUE = {
    Timer.CLIENT: "_tick_client",
    Timer.RECOVERED: "_tick_recovered",
    Timer.OPEN: "_tick_open",
    Timer.LIMIT: "_tick_limit",
    Timer.REFUSED: "_tick_refused",
    Timer.GRACE: "_tick_grace",
    Timer.SEALED: "_tick_sealed",
}


class Registry:
    """All requests, actors and clients of one router actor."""

    def __init__(self, config: RouterConfig, incarnation: str, now: float, first_number: int = 0) -> None:
        """`first_number`: fencing numbers granted here are higher, and than those of earlier incarnations."""
        self.config = config
        self.incarnation = incarnation
        self.requests = Requests()
        self.clients = Clients(incarnation, self._watch_over)
        self.admission = Admission(config.name, config.limits, now)
        self.refused_by: dict[str, int] = {}
        self.ignored_by: dict[str, int] = {}
        self.agents = Agents(first_number)
        self.fences = Fences()
        self._deadlines: Deadlines[tuple[Timer, str]] = Deadlines()
        self.lifecycle = Lifecycle(config, self.requests, self.clients, self._set_timer)
        self.recovery = Recovery(self.lifecycle, self._set_timer)
        self.pool = self.lifecycle.pool
        self.counts = self.lifecycle.counts
        self.ended_by = self.lifecycle.ended_by
        self._effects = self.lifecycle.effects
        # Opens that failed after they had been taken in, by client and request, until their publisher has heard.
        self._refusals: dict[tuple[str, str], StreamRouterError] = {}
        self.adopt = self.recovery.adopt
        self.actor_started = self.lifecycle.actor_started
        self.actor_died = self.lifecycle.actor_died

    def take_effects(self) -> Effects:
        """Return what is to be done, once."""
        taken = self._effects.take()
        taken.wake = self.clients.take_wakes()
        return taken

    @property
    def has_effects(self) -> bool:
        """Whether there is something to be done."""
        return bool(self._effects) or self.clients.has_wakes

    # --- for whoever looks on ---------------------------------------------------------------

    def story(self, request_id: str) -> list[str]:
        """Return what has happened to a request lately, a line an event, and how it stands; for whoever is on call."""
        lines = [
            f"{at:.3f} s: epoch {note.epoch}: {note.kind}{f' ({note.detail})' if note.detail else ''}"
            for at, note in self.lifecycle.stories.of(request_id)
        ]
        request = self.requests.get(request_id)
        if request is None:
            return [*lines, "now: not known here"]
        waits = f", waits for {request.waits_for}" if request.waits_for else ""
        now = (
            f"now: {request.phase}, epoch {request.epoch}, actor {request.actor_id}, items {request.sent_seq} of "
            f"{request.high_seq} sent, {request.last_seq_id} messages, stop reason {request.stop_reason}{waits}"
        )
        return [*lines, now]

    def validate(self) -> None:
        """Raise Inconsistent, naming what is wrong; meant for tests, for it looks at everything."""
        found = self._inconsistencies()
        if found:
            raise Inconsistent("; ".join(found))

    def _inconsistencies(self) -> list[str]:
        found = self.requests.validate()
        for request in self.requests.values():
            place = request.actor_id or request.awaits
            if request.is_live and place is not None:
                slot = self.pool.slots.get(place)
                if slot is None:
                    found.append(f"{request.request_id}: it is on {place}, which the pool does not know")
                elif request.request_id not in slot.open_requests:
                    found.append(f"{request.request_id}: {place} does not count it as its load")
            waits = request.phase == RequestPhase.WAITING and place is None
            if waits and request.request_id not in self.lifecycle.waiting:
                found.append(f"{request.request_id}: it waits for a place and stands in no queue")
        for slot in self.pool.slots.values():
            for request_id in slot.open_requests:
                held = self.requests.get(request_id)
                if held is None or not held.is_live or slot.actor_id not in (held.actor_id, held.awaits):
                    found.append(f"{slot.actor_id} counts {request_id} as its load and does not hold it")
        return found

    # --- clients ----------------------------------------------------------------------------

    def _watch_over(self, client_id: str, now: float) -> None:
        self._set_timer(now + CLIENT_TIMEOUT_S, Timer.CLIENT, client_id)

    def news(self, client_id: str, seen: Sequence[Any], now: float) -> News:
        """Return all that is newer than what the client has `seen`."""
        client = self.clients.heard(client_id, now)
        if client.was_gone:
            self._publisher_is_back(client)
        keys = self.clients.unseen(client, seen)
        return News(client.incarnation, client.version, [self._state(client_id, key) for key in keys])

    def _state(self, client_id: str, key: Key) -> State:
        role, request_id = key
        if role == Role.AGENT:
            return ClaimState(Role.AGENT, request_id, self.agents.phase(request_id), self.agents.number(request_id))
        if role == Role.READER:
            return self._reader_state(request_id)
        return self._publisher_state(client_id, request_id)

    def _reader_state(self, request_id: str) -> ReaderState:
        request = self.requests.get(request_id)
        if request is None:
            phase = RequestPhase.RECOVERING if self.lifecycle.is_recovering else RequestPhase.UNKNOWN
            return ReaderState(Role.READER, request_id, phase, None, 0)
        if request.phase == RequestPhase.WAITING and request.epoch == 0:
            # Its open may still fail, and be tried again: for a reader it is not there yet.
            return ReaderState(Role.READER, request_id, RequestPhase.UNKNOWN, None, 0)
        return ReaderState(Role.READER, request_id, request.phase, request.actor_id, request.epoch)

    def _publisher_state(self, client_id: str, request_id: str) -> PublisherState:
        request = self.requests.get(request_id)
        if request is None or request.client_id != client_id:
            error = self._refusals.get((client_id, request_id))
            phase = RequestPhase.UNKNOWN if error is None else RequestPhase.REFUSED
            refusal = None if error is None else error.to_wire()
            return PublisherState(Role.PUBLISHER, request_id, 0, phase, 1, 0, None, None, refusal)
        return PublisherState(
            Role.PUBLISHER,
            request_id,
            request.epoch,
            request.phase_for_publisher,
            request.sent_seq + 1,
            request.credit_bytes,
            request.cancel,
            request.stop_reason,
            self._fenced(request).to_wire() if request.is_fenced_out else None,
            request.received_bytes,
        )

    def _publisher_is_back(self, client: Client) -> None:
        client.was_gone = False
        for request_id in client.publishes:
            request = self.requests.get(request_id)
            if request is not None:
                request.publisher_is_back()

    # --- opening ----------------------------------------------------------------------------

    def open(
        self,
        client_id: str,
        request_id: str,
        settings_packed: bytes,
        now: float,
        *,
        date: str,
        agent_id: str | None = None,
        take_over: bool = False,
        epoch: int = 0,
        sent_seq: int = 0,
        start_seq: int = 1,
        cancel: str | None = None,
        agent_number: int = 0,
    ) -> StreamRouterError | None:
        """Open a request, or take it up again; the outcome stands in the client's news.

        `epoch`, `sent_seq`, `start_seq` and `cancel` are a publisher's own knowledge when it registers again
        with a router that has lost its memory. Returns the error where the open is refused.
        """
        self.clients.heard(client_id, now)
        self._refusals.pop((client_id, request_id), None)
        registration = Registration(
            request_id, settings_packed, date, agent_id, take_over, epoch, sent_seq, start_seq, cancel, agent_number
        )
        try:
            self._open(client_id, registration, now)
            if epoch and cancel is not None:
                self.cancel(request_id, now, after_step=cancel == "after_step")
        except Recovering as error:
            return error  # no refusal: it is asked again
        except StreamRouterError as error:
            self._count_refusal(request_id, error, now)
            return error
        return None

    def refuse(self, error: ProtocolViolation) -> None:
        """Count what another process sent and the protocol does not allow."""
        count = self.refused_by[error.code] = self.refused_by.get(error.code, 0) + 1
        if is_telling(count):
            logger.warning("refused (the %d. time): %s", count, str(error)[:300])

    def _ignore(self, why: str) -> None:
        """Count what came too late or too early, as it may after a crash; its sender is told how things stand."""
        self.ignored_by[why] = self.ignored_by.get(why, 0) + 1

    def _count_refusal(self, request_id: str, error: StreamRouterError, now: float) -> None:
        note = Note(REFUSED, request_id, 0, error.code)
        self._effects.notes.append(note)
        self.lifecycle.stories.add(note, now)
        self.counts["refused"] += 1
        self.refused_by[error.code] = self.refused_by.get(error.code, 0) + 1

    def _open(self, client_id: str, wanted: Registration, now: float) -> None:
        known = self.requests.get(wanted.request_id)
        registers_again = wanted.epoch > 0
        agent_id = wanted.agent_id or ""
        is_follower = self.fences.follower(agent_id) == wanted.request_id
        if self.fences.keeps_out(wanted.agent_id, wanted.agent_number) and not is_follower:
            if known is not None and known.is_live and known.client_id == client_id:
                self.lifecycle.fence_out(known, self.fences.follower(agent_id), now)
            raise self._fenced(wanted)
        if known is None:
            self._open_unknown(client_id, wanted, now)
            return
        if not known.is_live and (wanted.take_over or registers_again) and known.client_id == client_id:
            self.lifecycle.tell_publisher(known)  # it ended while its publisher was away
            return
        is_same = self._open_again(known, client_id, wanted, now)
        if is_same and registers_again:
            # What a router that has lost its memory could not know.
            known.describe_again(wanted.date, wanted.agent_id, wanted.agent_number)
            self.recovery.learn(known, wanted.epoch, wanted.sent_seq, wanted.start_seq, now)

    def _open_unknown(self, client_id: str, wanted: Registration, now: float) -> None:
        request_id, registers_again = wanted.request_id, wanted.epoch > 0
        if wanted.take_over and not registers_again:
            self.recovery.refuse_while_recovering(f"request {request_id!r} is open")
            raise UnknownRequest(f"request {request_id!r} cannot be taken over: it is not open here")
        if not registers_again:
            self.admission.admit(request_id, self.requests.live_count, now)
        settings, settings_packed = unpacked(wanted.settings_packed)
        if not registers_again:
            self.lifecycle.refuse_if_full()
        request = Request(
            request_id,
            settings_packed,
            settings,
            client_id,
            wanted.date,
            now,
            wanted.agent_id,
            wanted.agent_number,
            epoch=wanted.epoch,
            start_seq=wanted.start_seq,
            sent_seq=wanted.start_seq - 1,
            high_seq=wanted.sent_seq,
            waits_since=now,
        )
        self.requests.add(request)
        self.clients.heard(client_id, now).publishes.add(request_id)
        self.counts["opened"] += 1
        self.lifecycle.note(OPENED, request, now)
        if wanted.start_seq > 1:
            # It was taken over, and its session is gone: what came before its publisher's first item nobody has.
            self.lifecycle.lose(request, now)
            return
        self.lifecycle.begin(request, now)
        self.lifecycle.tell_publisher(request)

    def _open_again(self, request: Request, client_id: str, wanted: Registration, now: float) -> bool:
        """Let a publisher go on, or another take over; True if it is the same one."""
        if not request.is_live:
            raise RequestEnded(
                f"request {request.request_id!r} has ended ({request.stop_reason}); a request ID is used once: "
                "choose a new one"
            )
        if request.client_id != client_id:
            self._take_over(request, client_id, wanted, now)
            return False
        if not wanted.take_over and not hmac.compare_digest(request.settings_packed, wanted.settings_packed):
            raise DuplicateRequest(f"request {request.request_id!r} is open with other settings")
        request.publisher_is_back()
        self.lifecycle.tell_publisher(request)
        return True

    def _take_over(self, request: Request, client_id: str, wanted: Registration, now: float) -> None:
        """Let another publisher go on with an open request."""
        owner = self.clients.get(request.client_id)
        owner_lives = owner is not None and request.publisher_gone_at is None
        if owner_lives or not wanted.take_over:
            hint = (
                "wait until its publisher is gone"
                if wanted.take_over
                else "publish under a new ID, or publish(..., take_over=True) once its publisher is gone"
            )
            raise DuplicateRequest(f"request {request.request_id!r} is open with another publisher; {hint}")
        if not request.is_whole:
            self.lifecycle.lose(request, now)
            raise RequestEnded(
                f"request {request.request_id!r} has ended (lost): its stream actor and its publisher are both gone"
            )
        if owner is not None:
            owner.publishes.discard(request.request_id)
        request.hand_to(client_id, wanted.agent_number)
        if request.is_being_taken:
            # Behind all that is on its way, its session is asked how far it has come.
            self.lifecycle.send_open(request, now)
        self.clients.heard(client_id, now).publishes.add(request.request_id)
        self.lifecycle.tell_publisher(request)

    # --- agents -----------------------------------------------------------------------------

    def claim(self, call: ClaimCall, now: float) -> tuple[StreamRouterError | None, State]:
        """Claim an agent for a request; see `router.core.agent_queue`. Returns (error or None, state of the claim)."""
        client_id, request_id, agent_id, when_busy, is_held, token, number = call
        self.clients.heard(client_id, now)
        error = None
        claimant = (client_id, token)
        try:
            changed = self.agents.claim(claimant, request_id, agent_id, when_busy, is_held=is_held, number=number)
        except (AgentBusy, AgentFenced) as refusal:
            error = refusal
            self._count_refusal(request_id, refusal, now)
        else:
            self._tell_claims(changed)
        return error, self._state(client_id, (Role.AGENT, request_id))

    def release(self, call: ReleaseCall) -> None:
        """Let go of the agent of a request."""
        client_id, request_id, token = call
        self._tell_claims(self.agents.release((client_id, token), request_id))

    def _tell_claims(self, changed: Sequence[Claim]) -> None:
        for claim in changed:
            for client_id in claim.client_ids:
                self.clients.tell(client_id, (Role.AGENT, claim.request_id))

    def fence(self, call: FenceCall, now: float) -> tuple[int, list[str]]:
        """Accept nothing more from requests of an agent with a lower number, and end them.

        Returns the highest number known of the agent, and the requests whose end is under way.
        """
        agent_id, number, request_id = call
        highest = self.fences.set(agent_id, number, request_id)
        ending = []
        for request in list(self.requests.values()):
            is_former = request.agent_id == agent_id and request.agent_number < number
            if not is_former or not request.is_live or request.request_id == request_id:
                continue
            if not request.is_fenced_out:
                self.lifecycle.fence_out(request, request_id, now)
            if request.is_live:
                ending.append(request.request_id)
        return highest, ending

    def _fenced(self, request: Request | Registration) -> AgentFenced:
        agent_id = request.agent_id or ""
        return AgentFenced(
            f"request {request.request_id!r} is fenced out: agent {agent_id!r} has gone on to request "
            f"{self.fences.follower(agent_id)!r} while its publisher was silent; stop its provider"
        )

    # --- items ------------------------------------------------------------------------------

    def forward(self, client_id: str, envelopes: Sequence[Sequence[Any]], now: float) -> None:
        """Take a publisher's envelopes (the parts of `ItemsEnvelope`s) to their actors' lanes."""
        self.clients.heard(client_id, now)
        for envelope in envelopes:
            try:
                self._forward(client_id, ItemsEnvelope(*envelope))
            except (TypeError, ValueError) as error:
                # It must not take those of other requests with it.
                self.refuse(ProtocolViolation(f"an envelope of client {client_id!r}: {error}: {str(envelope)[:80]!r}"))

    def _forward(self, client_id: str, items: ItemsEnvelope) -> None:
        request_id, epoch, first_seq, count, blob = items
        request = self.requests.get(request_id)
        if request is None or request.client_id != client_id:
            self._ignore(NOT_ITS_PUBLISHER)
            self.clients.tell(client_id, (Role.PUBLISHER, request_id))
            return
        if request.is_fenced_out:
            self._ignore(FENCED)
            self.lifecycle.tell_publisher(request)
            return
        if request.phase != RequestPhase.OPEN or request.epoch != epoch or request.actor_id is None:
            self._ignore(OTHER_EPOCH)
            self.lifecycle.tell_publisher(request)
            return
        last_seq = first_seq + count - 1
        if not 1 <= first_seq <= last_seq or blob.__class__ is not bytes:
            raise ValueError("items are numbered from 1, at least one of them in packed bytes")
        if not request.take_items(first_seq, last_seq):
            # A hole: what lies between was on its way through a router that has died, or never came.
            self._ignore(AHEAD)
            self.lifecycle.tell_publisher(request)
            return
        self.counts["chunks"] += count
        self.counts["chunk_bytes"] += len(blob)
        envelope = DataEnvelope(Order.DATA, request_id, epoch, first_seq, blob)
        self._effects.send.append((request.actor_id, request_id, envelope, len(blob) + 64))

    # --- stream actors ----------------------------------------------------------------------

    def reports(self, actor_id: str, reports: Sequence[Sequence[Any]], now: float) -> None:
        """Take what a stream actor says of its sessions."""
        for parts in reports:
            try:
                report = checked(Report, parts)
            except ProtocolViolation as error:
                self.refuse(error)
            else:
                self._reported(actor_id, report, now)

    def _reported(self, actor_id: str, report: Report, now: float) -> None:
        lifecycle = self.lifecycle
        request = self.requests.get(report.request_id)
        is_there = report.phase != SessionPhase.UNKNOWN
        if request is None:
            if is_there:  # nobody knows it any more: its time is over
                lifecycle.forget_session(actor_id, report.request_id, report.epoch)
            return
        if report.epoch != request.epoch or request.actor_id != actor_id:
            if request.actor_id != actor_id and is_there:
                # It lives on elsewhere; a session of an older epoch must not stay behind here.
                lifecycle.forget_session(actor_id, report.request_id, report.epoch)
            return
        if is_there:
            self._take_report(request, report, now)
        elif request.phase == RequestPhase.OPEN:
            lifecycle.replace(request, now)
        elif request.log is not None:
            lifecycle.restore(request, now)

    def _take_report(self, request: Request, report: Report, now: float) -> None:
        has_news, is_urgent = request.reported(report)
        if report.phase == SessionPhase.SEALED:
            if request.is_live:
                self.lifecycle.seal(request, report.stop_reason or "error", report.log, now)
            elif request.log is None and report.log is not None:
                self.lifecycle.keep(request, report.log)
            if request.log is not None:
                self.lifecycle.send_stored(request)
        elif has_news:
            self.lifecycle.tell_publisher(request, urgent=is_urgent)

    def wait_for_publishers(self, now: float) -> None:
        """See `Recovery.wait_for_publishers`."""
        self.agents.recover()
        self.recovery.wait_for_publishers(now)

    def keep_house(self, now: float) -> None:
        """Stop actors that are not needed, start those that should stand ready; to be called now and then."""
        self.lifecycle.share_those_that_answer(now, STARTING_PATIENCE_S)
        self.lifecycle.stop_idle(now)

    # --- readers ----------------------------------------------------------------------------

    def locate(
        self, client_id: str, call_no: int, request_ids: Sequence[str], losses: Sequence[str], now: float
    ) -> News:
        """Say where requests are, and keep the client told from now on; see `news` for the form.

        `losses`: requests that it is not interested in any more. `call_no`: the calls of a client are numbered.
        """
        client = self.clients.heard(client_id, now)
        self.clients.lose_interest(client_id, losses, call_no)
        self.clients.take_interest(client_id, request_ids, call_no)
        states = [self._state(client_id, (Role.READER, request_id)) for request_id in request_ids]
        return News(client.incarnation, client.version, states)

    # --- endings ----------------------------------------------------------------------------

    def cancel(self, request_id: str, now: float, *, after_step: bool = False, detail: str | None = None) -> bool:
        """Cancel a request, at once or after its step; False where it has ended already. Idempotent.

        Raises UnknownRequest, Recovering.
        """
        request = self.requests.get(request_id)
        if request is None:
            self.recovery.refuse_while_recovering(f"request {request_id!r} is open")
            raise UnknownRequest(f"no request {request_id!r}: never opened here, or its time-to-live is over")
        if not request.is_live:
            return False
        if after_step:
            if request.cancel is None and request.ask_cancel("after_step"):
                self.lifecycle.send_cancel_after_step(request)
                self.lifecycle.tell_publisher(request)
            return True
        if request.ask_cancel("now"):
            self.lifecycle.note(CANCELLED, request, now, detail)
            self.lifecycle.end(request, "cancelled", detail, now)
            self.lifecycle.tell_publisher(request)
        return True

    def disown(self, client_id: str, request_id: str, now: float) -> None:
        """End a request whose publisher's process does not know it."""
        request = self.requests.get(request_id)
        if request is not None and request.is_live and request.client_id == client_id:
            self.lifecycle.abandon(request, "the process of its publisher does not know it", now)

    # --- time -------------------------------------------------------------------------------

    def _set_timer(self, at: float, kind: Timer, what: str) -> None:
        self._deadlines.set(at, (kind, what))

    def due_at(self) -> float:
        """When `tick` is wanted next."""
        return self._deadlines.due_at()

    def tick(self, now: float) -> None:
        """Let run out what has run out by `now`."""
        for _, (kind, what) in self._deadlines.take_due(now):
            getattr(self, _WHEN_DUE[kind])(what, now)

    def paused(self, gap_s: float) -> None:
        """This process was stopped for so long: that was no silence of the clients."""
        self.clients.paused(gap_s)

    def _tick_recovered(self, _what: str, _now: float) -> None:
        self._tell_claims(self.agents.recovered())
        self.recovery.recovered()

    def _tick_client(self, client_id: str, now: float) -> None:
        client = self.clients.get(client_id)
        if client is None:
            return
        if client.watching:
            client.last_seen = now
        gone_at = client.last_seen + CLIENT_TIMEOUT_S
        if gone_at > now:  # this very sum: a difference, rounded, could set the same timer for ever
            self._set_timer(gone_at, Timer.CLIENT, client_id)
            return
        self._tell_claims(self.agents.release_all(client_id))
        for request_id in sorted(client.publishes):
            request = self.requests.get(request_id)
            if request is not None and request.is_live and request.publisher_gone_at is None:
                request.publisher_left(now)
                client.was_gone = True
                self._set_timer(now + request.settings.publisher_grace_s, Timer.GRACE, request_id)
        if client.last_seen + CLIENT_FORGET_S <= now or not client.publishes:
            self.clients.forget(client_id)
        else:
            # It may come back, and go again.
            self._set_timer(now + CLIENT_TIMEOUT_S, Timer.CLIENT, client_id)

    def _tick_grace(self, request_id: str, now: float) -> None:
        request = self.requests.get(request_id)
        if request is None or not request.is_live or request.publisher_gone_at is None:
            return
        grace_s = request.settings.publisher_grace_s
        if request.publisher_gone_at + grace_s > now + 1e-6:
            return  # it was back, and went again: a later timer stands for that
        self.lifecycle.abandon(request, f"its publisher was silent and nobody took over within {grace_s:g} s", now)

    def _tick_open(self, request_id: str, now: float) -> None:
        request = self.requests.get(request_id)
        error = None if request is None else self.lifecycle.open_timed_out(request, now)
        if request is None or error is None:
            return
        client = self.clients.get(request.client_id)
        if client is not None:
            client.publishes.discard(request_id)
        self._refusals[request.client_id, request_id] = error
        self._set_timer(now + CLIENT_TIMEOUT_S, Timer.REFUSED, f"{request.client_id}\0{request_id}")
        self._count_refusal(request_id, error, now)
        self.lifecycle.tell_publisher(request)

    def _tick_refused(self, what: str, _now: float) -> None:
        client_id, _, request_id = what.partition("\0")
        self._refusals.pop((client_id, request_id), None)

    def _tick_limit(self, request_id: str, now: float) -> None:
        request = self.requests.get(request_id)
        if request is not None:
            self.lifecycle.limit_reached(request, now)

    def _tick_sealed(self, request_id: str, now: float) -> None:
        request = self.requests.get(request_id)
        if request is not None and not request.is_live and request.forget_at <= now:
            self.lifecycle.forget(request)
