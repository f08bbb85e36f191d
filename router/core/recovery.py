"""How a router that has lost its memory gets it back. Pure.

Theory. A restarted router asks the stream actors of the incarnation before what they hold (`expect`, `adopt`,
`settle`). Most answer at once; those that do not are waited for while the router serves what it knows already.
A second copy of a log counts where no actor shows that log any more: then the actor that keeps it shows it.

What only publishers know they say when they notice the new incarnation and register again (`learn`). Until they
have had time for that (`wait_for_publishers`), and until the last actor has answered or is given up, the router
says of a request or an agent that it does not know "recovering", not "unknown".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from actors.errors import Recovering
from actors.protocol.envelopes import AdoptEnvelope, Order, Owner
from actors.protocol.frames import checked
from actors.protocol.gone import Forgotten
from actors.protocol.states import Inventory, Report, RequestPhase, SessionPhase, SessionRecord
from actors.settings import StreamSettings, unpacked
from router.core.claims import Claims
from router.core.lifecycle import Lifecycle
from router.core.outboxes import CLIENT_TIMEOUT_S
from router.core.request import Request
from router.core.timers import SetTimer, Timer

PUBLISHERS, HOLDERS = "publishers", "holders"

AGAIN_S = 3.0
"""A publisher that is told "not yet" has come again within this."""

# What a copy's time to live may have lost on its way.
COPY_EARLY_S = 1.0


class Recovery:
    """Takes in what actors and publishers know."""

    def __init__(self, lifecycle: Lifecycle, claims: Claims, set_timer: SetTimer) -> None:
        self._lifecycle = lifecycle
        self._claims = claims
        self._set_timer = set_timer
        self._expected: set[str] = set()
        self._put_off = False
        self._until: dict[str, float] = {}
        self._copies: list[tuple[str, Report, SessionRecord, float]] = []

    # --- from stream actors -----------------------------------------------------------------

    def expect(self, actor_ids: Iterable[str]) -> None:
        """Note which actors of the incarnation before are being asked."""
        for actor_id in actor_ids:
            self._expected.add(actor_id)
            self._lifecycle.pool.expect(actor_id)
            self._lifecycle.is_recovering = True

    def adopt(
        self, actor_id: str, inventory: Sequence[Sequence[Any]], now: float, asked_at: float | None = None
    ) -> None:
        """Take in an actor of an earlier incarnation, with all that it says it holds.

        It was asked at `asked_at` (None: just now): a router that was stopped since then hears late how long its
        copies live.
        """
        self._lifecycle.pool.adopt(actor_id).idle_since = now
        for parts, record in map(Inventory._make, inventory):
            report = checked(Report, parts)
            if report.phase == SessionPhase.GONE:
                gone = Forgotten(**record)
                self._lifecycle.requests.gone.add(report.request_id, report.epoch, gone.created)
                if gone.held is not None:
                    self._claims.learn_number(*gone.held, report.request_id, now)
                continue
            known = SessionRecord(**record)
            if report.phase == SessionPhase.COPY:
                ends_at = (now if asked_at is None else asked_at) + known.ttl_s
                self._copies.append((actor_id, report, known, ends_at))
            else:
                self._adopt_session(actor_id, report, known, now)

    def settle(self, asked: Iterable[str], now: float) -> None:
        """These actors have been adopted, or given up: make of the copies among what they hold what is needed."""
        self._expected.difference_update(asked)
        copies, self._copies = self._copies, []
        for actor_id, report, record, ends_at in copies:
            self._adopt_copy(actor_id, report, record, ends_at, now)
        if self._put_off and not self._expected:
            self._put_off = False
            self.wait_for_publishers(now)
        self._end_if_all_were_heard()

    def check_reporter(self, actor_id: str) -> None:
        """Raise Recovering where an actor reports before it is adopted: it must report the same again afterwards."""
        if actor_id in self._expected and actor_id not in self._lifecycle.pool.slots:
            raise Recovering(f"the router has restarted and is about to adopt stream actor {actor_id}; report then")

    def refuse_while_actors_are_asked(self, request_id: str) -> None:
        """Raise Recovering where an actor that is still being asked may hold a request that is to be opened."""
        if self._expected:
            self._put_off = True
            raise Recovering(
                f"the router has restarted, and request {request_id!r} may be on a stream actor that has not answered "
                f"yet ({', '.join(sorted(self._expected))}); ask again in a moment"
            )

    def _adopt_session(self, actor_id: str, report: Report, record: SessionRecord, now: float) -> None:
        lifecycle = self._lifecycle
        known = lifecycle.requests.get(report.request_id)
        if known is not None and known.epoch >= report.epoch:
            is_the_log_wanted = known.epoch == report.epoch and not known.is_live and known.log is None
            if not is_the_log_wanted:  # else it goes when it has reported its log
                lifecycle.dispatch.forget_session(actor_id, report.request_id, report.epoch)
            return
        request = self._take_in(actor_id, report, record, now)
        if request.is_live:
            lifecycle.pool.slots[actor_id].open_requests.add(request.request_id)
            # Its publisher has as long as any silent client to say that it lives.
            lifecycle.clients.known(request.client_id, now).publishes.add(request.request_id)
        else:
            self._set_timer(request.forget_at, Timer.SEALED, request.request_id)
        self._claims.learn(request, now, is_news=True)

    def _take_in(self, actor_id: str, report: Report, record: SessionRecord, now: float) -> Request:
        """Make a request of what an actor says, in place of what is known of an earlier epoch of it."""
        lifecycle = self._lifecycle
        known = lifecycle.requests.get(report.request_id)
        if known is not None:
            place = known.actor_id or known.awaits
            if place is not None:
                lifecycle.pool.release(place, known.request_id, now)
            if known.actor_id is not None:
                lifecycle.dispatch.forget_session(known.actor_id, known.request_id, known.epoch)
            lifecycle.copies.drop(known)
        request = _request_of(actor_id, report, record, now)
        lifecycle.requests.add(request)
        lifecycle.clients.tell_readers(request.request_id)
        return request

    def _adopt_copy(self, actor_id: str, report: Report, record: SessionRecord, ends_at: float, now: float) -> None:
        lifecycle = self._lifecycle
        known = lifecycle.requests.get(report.request_id)
        if known is None or known.epoch < report.epoch:
            request = self._take_in(actor_id, report, record, now)
            self._set_timer(request.forget_at, Timer.SEALED, request.request_id)
            lifecycle.dispatch.send(request, AdoptEnvelope(Order.ADOPT, request.request_id, request.epoch))
            self._claims.learn(request, now, is_news=True)
        elif (
            known.epoch == report.epoch
            and not known.is_live
            and known.copy_id is None
            # One that goes before its request does is none: another is sent.
            and ends_at >= known.forget_at - COPY_EARLY_S
        ):
            lifecycle.requests.copy(known, actor_id)
            lifecycle.copied(known, now)
        else:
            lifecycle.dispatch.forget_session(actor_id, report.request_id, report.epoch)

    # --- from publishers --------------------------------------------------------------------

    def learn(self, request: Request, epoch: int, sent_seq: int, start_seq: int, now: float) -> None:
        """Take what a publisher that registers again says of its request."""
        if request.learn(epoch, sent_seq, start_seq) and request.phase == RequestPhase.OPEN:
            self._lifecycle.replace(request, now)

    def wait_for_publishers(self, now: float) -> None:
        """After a restart: do not say of a request that it is unknown while its publisher may yet register it again."""
        self._lifecycle.is_recovering = self._lifecycle.has_restarted = True
        self._wait_for(PUBLISHERS, now)

    def wait_for_holders(self, now: float) -> None:
        """After a restart: do not grant an agent while its holder may yet say that it holds it."""
        self._claims.recover()
        self._wait_for(HOLDERS, now)

    def expect_again(self, now: float) -> None:
        """A publisher is put off that has not heard of the restart: give it time to come again, as it does at once."""
        if self._lifecycle.is_recovering and now + AGAIN_S > self._until.get(PUBLISHERS, 0.0):
            self._wait_for(PUBLISHERS, now, AGAIN_S)

    def _wait_for(self, whom: str, now: float, wait_s: float = CLIENT_TIMEOUT_S) -> None:
        self._until[whom] = now + wait_s
        self._set_timer(self._until[whom], Timer.RECOVERED, whom)

    def paused(self, gap_s: float) -> None:
        """This router was stopped for so long: those it waits for are given that time."""
        self._until = {whom: until + gap_s for whom, until in self._until.items()}

    def time_is_over(self, whom: str, now: float) -> None:
        """Publishers, or holders of agents, may have had their time."""
        until = self._until.get(whom)
        if until is None:
            return
        if until > now:
            self._set_timer(until, Timer.RECOVERED, whom)
            return
        del self._until[whom]
        if whom == HOLDERS:
            self._claims.tell(self._claims.agents.recovered())
        else:
            self._end_if_all_were_heard()

    def _end_if_all_were_heard(self) -> None:
        """What is unknown now is unknown, if nobody is waited for any more."""
        lifecycle = self._lifecycle
        if PUBLISHERS in self._until or self._expected or not lifecycle.is_recovering:
            return
        lifecycle.is_recovering = False
        for request_id in lifecycle.clients.interesting:
            if request_id not in lifecycle.requests:
                lifecycle.clients.tell_readers(request_id)
        lifecycle.requests.catalogue.look_again()

    def refuse_while_sessions_are_asked_for(self) -> None:
        """Raise Recovering where an actor has not said yet what it holds: what is known is not worth telling."""
        if self._expected:
            raise Recovering(
                "the router has restarted and cannot say which requests there are until its stream actors have said "
                f"what they hold ({', '.join(sorted(self._expected))} have not); ask again in a moment"
            )

    def refuse_while_recovering(self, what: str) -> None:
        """Raise Recovering where it cannot be said yet whether something is unknown."""
        if self._lifecycle.is_recovering:
            raise Recovering(f"the router has restarted and cannot say yet whether {what}; ask again in a moment")


def _request_of(actor_id: str, report: Report, record: SessionRecord, now: float) -> Request:
    """Return the request that an adopted session is of."""
    settings, packed = unpacked(record.settings) if record.settings else (StreamSettings(), record.settings)
    owner = Owner(*record.owner)
    is_sealed = report.phase in (SessionPhase.SEALED, SessionPhase.COPY)
    ending = record.ending
    cancel = "after_step" if record.cancels_after_step else None
    if ending and ending[0] == "cancelled":
        cancel = "now"
    return Request(
        report.request_id,
        packed,
        settings,
        record.publisher_id,
        record.date or "",
        now - record.age_s,
        owner.agent_id,
        owner.agent_number,
        created=owner.created,
        labels=owner.labels,
        epoch=report.epoch,
        phase=RequestPhase.SEALED if is_sealed else RequestPhase.OPEN,
        actor_id=actor_id,
        start_seq=record.start_seq,
        sent_seq=report.next_seq - 1,
        high_seq=max(report.next_seq - 1, record.replay_through),
        last_seq_id=report.last_seq_id,
        released=report.released,
        credit_bytes=report.credit_bytes,
        received_bytes=report.received_bytes,
        ending=(ending[0], ending[1]) if ending else None,
        cancel=cancel,
        stop_reason=(report.stop_reason or "error") if is_sealed else report.stop_reason,
        usage=report.usage,
        forget_at=now + max(0.0, record.ttl_s) if is_sealed else 0.0,
        is_shown=is_sealed,
    )
