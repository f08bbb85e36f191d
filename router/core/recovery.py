"""How a router that has lost its memory gets it back. Pure.

Theory. A restarted router asks the stream actors of the incarnation before what they hold (`adopt`).
What only publishers know they say when they notice the new incarnation and register again (`learn`). Until
they have had time for that (`wait_for_publishers`), the router says of a request or an agent that it does not
know "recovering", not "unknown".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actors.errors import Recovering
from actors.protocol.frames import checked
from actors.protocol.states import Inventory, Report, RequestPhase, SessionPhase, SessionRecord
from actors.settings import StreamSettings, unpacked
from router.core.lifecycle import Lifecycle, SetTimer
from router.core.outboxes import CLIENT_TIMEOUT_S
from router.core.request import Request
from router.core.timers import Timer


class Recovery:
    """Takes in what actors and publishers know."""

    def __init__(self, lifecycle: Lifecycle, set_timer: SetTimer) -> None:
        self._lifecycle = lifecycle
        self._set_timer = set_timer

    def adopt(self, actor_id: str, inventory: Sequence[Sequence[Any]], now: float) -> None:
        """Take in an actor of an earlier incarnation, with all that it says it holds."""
        self._lifecycle.pool.adopt(actor_id).idle_since = now
        for parts, record in map(Inventory._make, inventory):
            self._adopt_session(actor_id, checked(Report, parts), SessionRecord(**record), now)

    def _adopt_session(self, actor_id: str, report: Report, record: SessionRecord, now: float) -> None:
        lifecycle = self._lifecycle
        known = lifecycle.requests.get(report.request_id)
        if known is not None and known.epoch >= report.epoch:
            lifecycle.forget_session(actor_id, report.request_id, report.epoch)
            return
        if known is not None:
            place = known.actor_id or known.awaits
            if place is not None:
                lifecycle.pool.release(place, known.request_id, now)
            if known.actor_id is not None:
                lifecycle.forget_session(known.actor_id, known.request_id, known.epoch)
        request = _request_of(actor_id, report, record, now)
        lifecycle.requests.add(request)
        if not request.is_live:
            self._set_timer(request.forget_at, Timer.SEALED, request.request_id)
            return
        lifecycle.pool.slots[actor_id].open_requests.add(request.request_id)
        # Its publisher has as long as any silent client to say that it lives.
        lifecycle.clients.known(request.client_id, now).publishes.add(request.request_id)

    def learn(self, request: Request, epoch: int, sent_seq: int, start_seq: int, now: float) -> None:
        """Take what a publisher that registers again says of its request."""
        if request.learn(epoch, sent_seq, start_seq) and request.phase == RequestPhase.OPEN:
            self._lifecycle.replace(request, now)

    def wait_for_publishers(self, now: float) -> None:
        """After a restart: do not say of a request that it is unknown while its publisher may yet register it again."""
        self._lifecycle.is_recovering = True
        self._set_timer(now + CLIENT_TIMEOUT_S, Timer.RECOVERED, "")

    def recovered(self) -> None:
        """Publishers have had their time: what is unknown now is unknown."""
        lifecycle = self._lifecycle
        lifecycle.is_recovering = False
        for request_id in lifecycle.clients.interesting:
            if request_id not in lifecycle.requests:
                lifecycle.clients.tell_readers(request_id)

    def refuse_while_recovering(self, what: str) -> None:
        """Raise Recovering where it cannot be said yet whether something is unknown."""
        if self._lifecycle.is_recovering:
            raise Recovering(f"the router has restarted and cannot say yet whether {what}; ask again in a moment")


def _request_of(actor_id: str, report: Report, record: SessionRecord, now: float) -> Request:
    """Return the request that an adopted session is of."""
    settings, packed = unpacked(record.settings) if record.settings else (StreamSettings(), record.settings)
    owner = record.owner
    is_sealed = report.phase == SessionPhase.SEALED
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
        owner[0] if owner else None,
        owner[1] if owner else 0,
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
        forget_at=now + max(0.0, record.ttl_s) if is_sealed else 0.0,
    )
