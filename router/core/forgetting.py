"""Forgetting an ended request before its time-to-live is over. Pure.

Theory. What this router knows of the request goes at once, just as at the end of its time. But stream actors hold its
log as well: the one that shows it, the one with the copy, and perhaps one that held it before and has not had the
order to drop it. Should this router die now, the next one would adopt what is left, and the request would be back. So
every stream actor is told to drop it, behind whatever else it was told of that request, and whoever asked has an
answer when all have taken that order, or are gone.

A call may come twice, or late, when the ID stands for another request. So it names the one that it means by the number
with which that was created (`finding.py`); one with another number is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from actors.errors import Recovering, RequestOpen
from actors.protocol.envelopes import Envelope, ForgetEnvelope, Order
from actors.protocol.states import Role
from router.core.effects import FORGOTTEN
from router.core.lifecycle import Lifecycle
from router.core.outboxes import CLIENT_TIMEOUT_S
from router.core.pool import ActorState
from router.core.recovery import Recovery
from router.core.request import Request

ORDER_BYTES = 128


class _Dropping(NamedTuple):
    """A request that is forgotten, the order to drop it, and the stream actors that have not taken that yet."""

    request: Request
    order: Envelope
    actor_ids: set[str]
    since: float


class Forgetting:
    """What one router was asked to forget."""

    def __init__(self, lifecycle: Lifecycle, recovery: Recovery) -> None:
        self._lifecycle = lifecycle
        self._recovery = recovery
        self._dropping: dict[str, _Dropping] = {}

    def is_under_way(self, request_id: str) -> bool:
        """Whether a stream actor may still hold a request that was forgotten."""
        return request_id in self._dropping

    def refuse_unless_over(self, request: Request, now: float) -> None:
        """Raise RequestOpen where a request has not ended, Recovering where its end is still being told."""
        if request.is_live:
            raise RequestOpen(f"request {request.request_id!r} has not ended; cancel it first, or wait for its end")
        if not request.is_shown or request in self._lifecycle.untold or self._waits_to_hear(request, now):
            raise Recovering(f"the end of request {request.request_id!r} is just being told; ask again in a moment")

    def _waits_to_hear(self, request: Request, now: float) -> bool:
        """Whether its publisher lives and was not told yet: it would take the request for one that got lost."""
        client = self._lifecycle.clients.get(request.client_id)
        if client is None or request.is_told or now >= client.last_seen + CLIENT_TIMEOUT_S:
            return False
        return (Role.PUBLISHER, request.request_id) in client.outbox

    def forget(self, request_id: str, number: int, now: float) -> None:
        """Forget the ended request with this number; one that is gone already has been forgotten. Idempotent.

        Raises RequestOpen, Recovering.
        """
        # An actor that is yet to say what it holds may hold this.
        self._recovery.refuse_while_sessions_are_asked_for()
        lifecycle = self._lifecycle
        request = lifecycle.requests.get(request_id)
        if request is None:
            self._recovery.refuse_while_recovering(f"request {request_id!r} is there")
        if request is None or request.created != number:
            return
        self.refuse_unless_over(request, now)
        lifecycle.forget(request)
        order = ForgetEnvelope(Order.FORGET, request_id, request.epoch)
        actor_ids = {actor_id for actor_id, slot in lifecycle.pool.slots.items() if slot.state != ActorState.STARTING}
        lifecycle.effects.send.extend((actor_id, request_id, order, ORDER_BYTES) for actor_id in sorted(actor_ids))
        self._dropping[request_id] = _Dropping(request, order, actor_ids, now)
        self._note_if_done(request_id)

    def delivered(self, actor_id: str, envelopes: Iterable[Envelope]) -> None:
        """A stream actor has taken these envelopes."""
        if not self._dropping:
            return
        for envelope in envelopes:
            dropping = self._dropping.get(envelope.request_id) if envelope[0] == Order.FORGET else None
            if dropping is not None and dropping.order is envelope:
                dropping.actor_ids.discard(actor_id)
                self._note_if_done(envelope.request_id)

    def actors_gone(self) -> None:
        """Stream actors may have gone, with all that they held."""
        for request_id, dropping in [*self._dropping.items()]:
            dropping.actor_ids.intersection_update(self._lifecycle.pool.slots)
            self._note_if_done(request_id)

    def _note_if_done(self, request_id: str) -> None:
        dropping = self._dropping[request_id]
        if not dropping.actor_ids:
            del self._dropping[request_id]
            self._lifecycle.dispatch.note(FORGOTTEN, dropping.request, dropping.since)
