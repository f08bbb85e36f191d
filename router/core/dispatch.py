"""What is said about a request: to its stream actor, to its publisher, and to whoever looks on. Pure.

Nothing is sent here: `effects` names what the shell sends, clients ask for what they have not seen yet.
"""

from __future__ import annotations

from actors.protocol.envelopes import (
    CancelAfterStepEnvelope,
    EndEnvelope,
    Envelope,
    ForgetEnvelope,
    OpenEnvelope,
    Order,
    StoredEnvelope,
)
from actors.protocol.states import Role
from router.core.effects import Effects, Note
from router.core.outboxes import Clients
from router.core.request import Request
from router.core.stories import Stories


class Dispatch:
    """The words of one router about its requests."""

    def __init__(self, clients: Clients) -> None:
        self.effects: Effects = Effects()
        self.stories: Stories = Stories()
        self._clients = clients

    def note(self, kind: str, request: Request, now: float, detail: str | None = None) -> None:
        """Note what happened to a request, for logs, spans and its story."""
        note = Note(kind, request.request_id, request.epoch, detail, request.settings.traceparent, now)
        self.effects.notes.append(note)
        self.stories.add(note)

    # --- to clients -------------------------------------------------------------------------

    def tell_publisher(self, request: Request, *, urgent: bool = True) -> None:
        """Note that its publisher must hear how a request stands."""
        self._clients.tell(request.client_id, (Role.PUBLISHER, request.request_id), urgent=urgent)

    # --- to stream actors -------------------------------------------------------------------

    def send(self, request: Request, envelope: Envelope, size_bytes: int = 256) -> None:
        """Send an envelope to the actor that holds a request, if one does."""
        if request.actor_id is not None:
            self.send_to(request.actor_id, request, envelope, size_bytes)

    def send_to(self, actor_id: str, request: Request, envelope: Envelope, size_bytes: int) -> None:
        """Send an envelope to this actor, whoever holds the request."""
        self.effects.send.append((actor_id, request.request_id, envelope, size_bytes))

    def send_open(self, request: Request, now: float) -> None:
        """Make the session of a request, or ask how it stands."""
        envelope = OpenEnvelope(
            Order.OPEN,
            request.request_id,
            request.epoch,
            request.settings_packed,
            request.client_id,
            request.date,
            now - request.opened_at,
            request.released,
            request.start_seq,
            request.high_seq,
            request.owner,
        )
        self.send(request, envelope, 256 + len(request.labels))

    def send_cancel_after_step(self, request: Request) -> None:
        """End a request when the step under way ends."""
        self.send(request, CancelAfterStepEnvelope(Order.CANCEL_AFTER_STEP, request.request_id, request.epoch))

    def send_end(self, request: Request) -> None:
        """Pass on an end that was asked for from outside, if one was."""
        if request.ending is not None:
            reason, detail = request.ending
            # Of a publisher that is gone for good nothing more will come than what is on its way.
            after_seq = 0 if request.is_abandoned else request.sent_seq
            self.send(request, EndEnvelope(Order.END, request.request_id, request.epoch, reason, detail, after_seq))

    def send_stored(self, request: Request, now: float) -> None:
        """Say that the log is kept where it should be, and for how long: the terminal may be shown."""
        ttl_s = max(0.0, request.forget_at - now)
        self.send(request, StoredEnvelope(Order.STORED, request.request_id, request.epoch, ttl_s), 64)

    def send_forget(self, request: Request) -> None:
        """Drop the session of a request."""
        self.send(request, ForgetEnvelope(Order.FORGET, request.request_id, request.epoch), 64)

    def forget_session(self, actor_id: str, request_id: str, epoch: int) -> None:
        """Drop a session that is not that of the request's present epoch."""
        self.effects.send.append((actor_id, request_id, ForgetEnvelope(Order.FORGET, request_id, epoch), 128))
