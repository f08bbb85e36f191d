"""The pure part of a router actor: who holds which request, and who must be told what.

Theory. Three kinds of process talk to it, and each failure has one answer:

* a stream actor dies: each of its open requests gets a new epoch on another actor, and its
  publisher, who still has all items, sends them again; ended requests are restored from the log
  kept here. A request whose publisher cannot replay ends as `lost`.
* a publisher dies (it is silent longer than its watch may last): its requests wait
  `publisher_grace_s` for another publisher to take over, then end as `publisher_lost`.
* this router dies: its next incarnation learns from its actors and from publishers and readers, who notice
  it in the first answer they get (`recovery.py`).

`request.py` says what a request may go through, `lifecycle.py` moves it through that, `outboxes.py` keeps
what each client must still be told, `intake.py` takes items to the lanes of actors; here are the doors: opening,
reports, reading, cancelling, time.

Effects are named, not done: `take_effects` gives the shell actors to start and to stop, envelopes
to put on lanes, clients to wake. Time is an argument. Pure: no Ray, no asyncio.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from actors.errors import (
    AgentBusy,
    AgentFenced,
    ProtocolViolation,
    Recovering,
    StreamRouterError,
    UnknownRequest,
)
from actors.protocol.calls import ClaimCall, FenceCall, OpenCall, Registration, ReleaseCall
from actors.protocol.deadlines import Deadlines
from actors.protocol.envelopes import Envelope
from actors.protocol.frames import checked
from actors.protocol.labels import NO_LABELS
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
from router.config import RouterConfig
from router.core import inspection
from router.core.admission import Admission
from router.core.agent_queue import Agents
from router.core.catalogue import Found, Wanted
from router.core.claims import Claims
from router.core.effects import CANCELLED, Effects
from router.core.fences import Fences
from router.core.forgetting import Forgetting
from router.core.intake import Intake
from router.core.lifecycle import Lifecycle
from router.core.openings import Openings
from router.core.outboxes import CLIENT_TIMEOUT_S, Client, Clients
from router.core.pool import Pool
from router.core.recovery import Recovery
from router.core.refusals import Refusals
from router.core.request import Request
from router.core.requests import Requests
from router.core.timeouts import Timeouts
from router.core.timers import Timer

STARTING_PATIENCE_S = 3.0
"""A request that has waited so long for an actor to start shares one that answers, where there is room."""


class Inconsistent(RuntimeError):
    """The registry contradicts itself: a fault of this package."""


class Registry:
    """All requests, actors and clients of one router actor."""

    def __init__(self, config: RouterConfig, incarnation: str, now: float, node_id: str = "") -> None:
        """`node_id`: where this router stands; empty: nodes are not told apart."""
        self.config = config
        self.incarnation = incarnation
        self.requests: Requests = Requests()
        self.clients: Clients = Clients(incarnation, self._watch_over)
        self.admission: Admission = Admission(config.name, config.limits, now, has_tenants=config.tenants.enabled)
        self._deadlines: Deadlines[tuple[Timer, str]] = Deadlines()
        self.lifecycle: Lifecycle = Lifecycle(config, self.requests, self.clients, self._set_timer, node_id)
        self.pool: Pool = self.lifecycle.pool
        self.counts: dict[str, int] = self.lifecycle.counts
        self.ended_by: dict[str, int] = self.lifecycle.ended_by
        self._effects = self.lifecycle.effects
        self.refusals: Refusals = Refusals(self.lifecycle)
        self.refused_by: dict[str, int] = self.refusals.by_code
        self.refuse: Callable[[ProtocolViolation], None] = self.refusals.refuse
        self._intake = Intake(self.lifecycle, self.refusals)
        self.forward: Callable[[str, Sequence[Sequence[Any]], float], None] = self._intake.forward
        self.ignored_by: dict[str, int] = self._intake.ignored_by
        self.claims: Claims = Claims(self.requests, self.clients, self.lifecycle)
        self.recovery: Recovery = Recovery(self.lifecycle, self.claims, self._set_timer)
        self.forgetting: Forgetting = Forgetting(self.lifecycle, self.recovery)
        self.agents: Agents = self.claims.agents
        self.fences: Fences = self.claims.fences
        self.release: Callable[[ReleaseCall], None] = self.claims.release
        self.fence: Callable[[FenceCall, float], tuple[int, list[str]]] = self.claims.fence
        self._openings = Openings(
            self.requests, self.clients, self.admission, self.claims, self.lifecycle, self.recovery
        )
        self.timeouts: Timeouts = Timeouts(
            self._deadlines, self.requests, self.clients, self.claims, self.lifecycle, self.recovery, self.refusals
        )
        self.is_new_open: Callable[[OpenCall, float], bool] = self._openings.is_new
        self.tick: Callable[[float], None] = self.timeouts.tick
        self.expect: Callable[[Iterable[str]], None] = self.recovery.expect
        self.adopt: Callable[..., None] = self.recovery.adopt
        self.settle: Callable[[Iterable[str], float], None] = self.recovery.settle
        self.actor_started: Callable[[str, int, str, float], None] = self.lifecycle.actor_started
        self.due_at: Callable[[], float] = self._deadlines.due_at
        """When `tick` is wanted next."""

    def take_effects(self) -> Effects:
        """Return what is to be done, once."""
        taken = self._effects.take()
        taken.wake = self.clients.take_wakes()
        taken.entered = self.requests.catalogue.take_news()
        return taken

    def take_sends(self) -> list[tuple[str, str, Envelope, int]]:
        """Return what is to be sent, once, where nothing else is to be done, as most of the time; else nothing."""
        if self.clients.wakes or self.requests.catalogue.news:
            return []
        return self._effects.take_sends()

    @property
    def has_effects(self) -> bool:
        """Whether there is something to be done."""
        return bool(self.clients.wakes or self.requests.catalogue.news or self._effects)

    # --- for whoever looks on ---------------------------------------------------------------

    def story(self, request_id: str) -> list[str]:
        """Return what has happened to a request lately, a line an event, and how it stands; for whoever is on call."""
        return inspection.story(self.lifecycle, request_id)

    def known(self, request_id: str) -> Request:
        """Return a request. Raises UnknownRequest, Recovering."""
        request = self.requests.get(request_id)
        if request is None:
            self.recovery.refuse_while_recovering(f"request {request_id!r} is open")
            raise UnknownRequest(
                f"no request {request_id!r}: never opened here, its time-to-live is over, or it was forgotten"
            )
        return request

    def find(self, wanted: Wanted) -> Found:
        """Return requests that fit, in the order of their creation. Raises Recovering while actors are asked."""
        self.recovery.refuse_while_sessions_are_asked_for()
        return self.requests.catalogue.find(wanted)._replace(is_partial=self.lifecycle.is_recovering)

    def validate(self) -> None:
        """Raise Inconsistent, naming what is wrong; meant for tests, for it looks at everything."""
        found = inspection.inconsistencies(self.lifecycle)
        if found:
            raise Inconsistent("; ".join(found))

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

    def saw(self, client_id: str, seen: Sequence[Any], now: float) -> None:
        """Take note of what a client has `seen`: ends that only this router knew of, it knows as well."""
        for request in self.lifecycle.untold.of(client_id):
            if self.clients.has_seen(client_id, (Role.PUBLISHER, request.request_id), seen):
                self.lifecycle.told(request, now)

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
        if request.actor_id is None and request.epoch == 0:
            # While its first open may still fail, and be tried again, or nobody else knows of its end, it is not there
            # yet for a reader; but before a restart it may have been, and the reader have read of it.
            phase = RequestPhase.RECOVERING if self.lifecycle.has_restarted else RequestPhase.UNKNOWN
            return ReaderState(Role.READER, request_id, phase, None, 0)
        return ReaderState(Role.READER, request_id, request.phase, request.actor_id, request.epoch, request.created)

    def _publisher_state(self, client_id: str, request_id: str) -> PublisherState:
        request = self.requests.get(request_id)
        if request is None or request.client_id != client_id:
            error = self.refusals.get(client_id, request_id)
            phase = RequestPhase.UNKNOWN if error is None else RequestPhase.REFUSED
            refusal = None if error is None else error.to_wire()
            return PublisherState(Role.PUBLISHER, request_id, 0, phase, 1, 0, None, None, refusal)
        if request.is_shown:
            request.told()
        return PublisherState(
            Role.PUBLISHER,
            request_id,
            request.epoch,
            request.phase_for_publisher,
            request.sent_seq + 1,
            request.credit_bytes,
            request.cancel,
            request.stop_reason,
            self.claims.fenced(request).to_wire() if request.is_fenced_out else None,
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
        labels: bytes = NO_LABELS,
        created: int = 0,
        is_new: bool = True,
    ) -> StreamRouterError | None:
        """Open a request with what a publisher says of it, by name; see `register`."""
        said = (date, agent_id, take_over, epoch, sent_seq, start_seq, cancel, agent_number, labels, created)
        return self.register(client_id, Registration(request_id, settings_packed, *said), now, is_new=is_new)

    def register(self, client_id: str, wanted: Registration, now: float, *, is_new: bool) -> StreamRouterError | None:
        """Open a request, or take it up again; the outcome stands in the client's news.

        What has to do with an epoch is a publisher's own knowledge when it registers again with a router that has lost
        its memory. `is_new`: see `Openings.is_new`. Returns the error where the open is refused.
        """
        self.clients.heard(client_id, now)
        request_id, cancel = wanted.request_id, wanted.cancel
        if is_new:
            self.refusals.forget(client_id, request_id)
        try:
            self._openings.open(client_id, wanted, now, is_new=is_new)
            if wanted.epoch and cancel is not None:
                self.cancel(request_id, now, after_step=cancel == "after_step")
        except Recovering as error:
            return error  # no refusal: it is asked again
        except StreamRouterError as error:
            self.refusals.count(request_id, error, now)
            return error
        return None

    # --- agents -----------------------------------------------------------------------------

    def claim(self, call: ClaimCall, now: float) -> tuple[StreamRouterError | None, State]:
        """Claim an agent for a request; see `router.core.agent_queue`. Returns (error or None, state of the claim)."""
        error = None
        try:
            self.claims.claim(call, now)
        except (AgentBusy, AgentFenced) as refusal:
            error = refusal
            self.refusals.count(call.request_id, refusal, now)
        return error, self._state(call.client_id, (Role.AGENT, call.request_id))

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

    def delivered(self, actor_id: str, envelopes: Sequence[Envelope]) -> None:
        """Note that a stream actor has taken these envelopes."""
        self._intake.delivered(actor_id, envelopes)
        self.forgetting.delivered(actor_id, envelopes)

    def actor_died(self, actor_id: str, now: float) -> None:
        """See `Lifecycle.actor_died`."""
        self.lifecycle.actor_died(actor_id, now)
        self.forgetting.actors_gone()

    def _reported(self, actor_id: str, report: Report, now: float) -> None:
        lifecycle = self.lifecycle
        request = self.requests.get(report.request_id)
        is_there = report.phase != SessionPhase.UNKNOWN
        if report.phase == SessionPhase.COPY:
            self._take_copy_report(actor_id, report, now)
            return
        if request is None:
            if is_there:  # nobody knows it any more: its time is over
                lifecycle.dispatch.forget_session(actor_id, report.request_id, report.epoch)
            return
        if report.epoch != request.epoch or request.actor_id != actor_id:
            if request.actor_id != actor_id and is_there:
                # It lives on elsewhere; a session of an older epoch must not stay behind here.
                self._keep_log_of(request, report, now)
                # Where a copy of this very epoch is on its way there, the session was given up ahead of it.
                if request.copy_id != actor_id or report.epoch != request.epoch:
                    lifecycle.dispatch.forget_session(actor_id, report.request_id, report.epoch)
            return
        if is_there:
            self._take_report(request, report, now)
        elif request.phase == RequestPhase.OPEN:
            lifecycle.replace(request, now)
        else:
            lifecycle.restore(request, now)

    def _take_copy_report(self, actor_id: str, report: Report, now: float) -> None:
        request = self.requests.get(report.request_id)
        if request is not None and request.copy_id == actor_id and request.epoch == report.epoch:
            self.lifecycle.copied(request, now)
        elif request is None or request.actor_id != actor_id:
            self.lifecycle.dispatch.forget_session(actor_id, report.request_id, report.epoch)

    def _keep_log_of(self, request: Request, report: Report, now: float) -> None:
        """Take the log of an ended request from whoever has it first."""
        is_its_log = report.epoch == request.epoch and not request.is_live and report.log is not None
        if is_its_log and report.log is not None and request.log is None:
            self.lifecycle.keep(request, report.log)
            self.lifecycle.secure(request, now)

    def _take_report(self, request: Request, report: Report, now: float) -> None:
        has_news, is_urgent = request.reported(report)
        if report.phase == SessionPhase.SEALED:
            if request.is_live:
                self.lifecycle.seal(request, report.stop_reason or "error", report.log, now)
            elif request.log is None and report.log is not None:
                self.lifecycle.keep(request, report.log)
            self.lifecycle.secure(request, now)
        elif has_news:
            self.lifecycle.dispatch.tell_publisher(request, urgent=is_urgent)

    def wait_for_publishers(self, now: float) -> None:
        """See `Recovery.wait_for_publishers` and `Recovery.wait_for_holders`."""
        self.recovery.wait_for_holders(now)
        self.recovery.wait_for_publishers(now)

    def keep_house(self, now: float) -> None:
        """Stop actors that are not needed, start those that should stand ready; to be called now and then."""
        self.lifecycle.share_those_that_answer(now, STARTING_PATIENCE_S)
        self.lifecycle.stop_idle(now)
        self.forgetting.actors_gone()
        self._intake.let_overdue_go_on()

    # --- readers ----------------------------------------------------------------------------

    def locate(
        self, client_id: str, call_no: int, request_ids: Sequence[str], losses: Sequence[str], now: float
    ) -> News:
        """Say where requests are, and keep the client told from now on; see `news` for the form.

        `losses`: requests that it is not interested in any more. `call_no`: the calls of a client are numbered.
        """
        client = self.clients.heard(client_id, now)
        self.clients.lose_interest(client_id, losses, call_no)
        # By the text that the request has itself, where there is one.
        known = [request.request_id if (request := self.requests.get(name)) else name for name in request_ids]
        self.clients.take_interest(client_id, known, call_no)
        states = [self._state(client_id, (Role.READER, request_id)) for request_id in request_ids]
        return News(client.incarnation, client.version, states)

    # --- endings ----------------------------------------------------------------------------

    def cancel(self, request_id: str, now: float, *, after_step: bool = False, detail: str | None = None) -> bool:
        """Cancel a request, at once or after its step; False where it has ended already. Idempotent.

        Raises UnknownRequest, Recovering.
        """
        request = self.known(request_id)
        if not request.is_live:
            return False
        if after_step:
            if request.cancel is None and request.ask_cancel("after_step"):
                self.lifecycle.dispatch.send_cancel_after_step(request)
                self.lifecycle.dispatch.tell_publisher(request)
            return True
        if request.ask_cancel("now"):
            self.lifecycle.dispatch.note(CANCELLED, request, now, detail)
            self.lifecycle.end(request, "cancelled", detail, now)
            self.lifecycle.dispatch.tell_publisher(request)
        return True

    def number_of_ended(self, request_id: str, now: float) -> int:
        """Return the number of an ended request, by which to forget it.

        Raises UnknownRequest, RequestOpen, Recovering.
        """
        self.recovery.refuse_while_sessions_are_asked_for()
        request = self.known(request_id)
        self.forgetting.refuse_unless_over(request, now)
        return request.created

    def disown(self, client_id: str, request_id: str, now: float) -> None:
        """End a request whose publisher's process does not know it."""
        request = self.requests.get(request_id)
        if request is not None and request.is_live and request.client_id == client_id:
            self.lifecycle.abandon(request, "the process of its publisher does not know it", now)

    # --- time -------------------------------------------------------------------------------

    def _set_timer(self, at: float, kind: Timer, what: str) -> None:
        self._deadlines.set(at, (kind, what))

    def paused(self, gap_s: float) -> None:
        """This process was stopped for so long: that was no silence of the clients."""
        self.clients.paused(gap_s)
        self.recovery.paused(gap_s)
