"""On which nodes the logs of ended requests are. Pure.

Theory. An ended request's log is kept by this router and by the stream actor that shows it to readers. Where
both stand on one node, that node's death would take both; so a second stream actor, on another node, keeps a
copy of the bytes, where there is such an actor. Only then is the end shown to readers and told to the publisher.

    elsewhere   the actor that shows it stands on another node: nothing more is needed
    copied      an actor on another node has said that it keeps a copy
    alone       there is no actor on another node; as soon as one answers, it gets a copy

A copy goes when its request goes, when the log has come to stand elsewhere by itself, and with its actor; then
the next actor on another node gets one. What a router without memory makes of copies stands in `recovery.py`.
"""

from __future__ import annotations

from itertools import islice

from actors.protocol.envelopes import CopyEnvelope, Order
from router.core.dispatch import Dispatch
from router.core.request import Request
from router.core.requests import Requests
from router.core.timers import SetTimer, Timer

SPREAD_AT_ONCE = 100
"""So many logs that stood alone get their copy in one step; the next step comes after `SPREAD_PAUSE_S`."""

SPREAD_PAUSE_S = 0.05


class Copies:
    """Sees that each log is on two nodes, where there are two."""

    def __init__(self, node_id: str, requests: Requests, dispatch: Dispatch, set_timer: SetTimer) -> None:
        """`node_id`: the router's own; empty: nodes are not told apart."""
        self._node_id = node_id
        self._requests = requests
        self._dispatch = dispatch
        self._set_timer = set_timer
        self._elsewhere: dict[str, None] = {}
        self._alone: dict[str, None] = {}

    # --- stream actors ----------------------------------------------------------------------

    def is_elsewhere(self, actor_id: str | None) -> bool:
        """Whether an actor stands on another node than this router."""
        return actor_id in self._elsewhere

    def actor_started(self, actor_id: str, node_id: str, now: float) -> None:
        """An actor answers: if it stands on another node, those that stand alone get a copy there."""
        if node_id not in ("", self._node_id) and self._node_id:
            self._elsewhere[actor_id] = None
            if self._alone:
                self._set_timer(now, Timer.COPIES, "")

    def actor_gone(self, actor_id: str) -> list[Request]:
        """An actor is gone, or goes; return the requests that it kept a copy of, and that have none now."""
        self._elsewhere.pop(actor_id, None)
        lost = self._requests.copied_on(actor_id)
        for request in lost:
            self._requests.copy(request, None)
        return lost

    def has_room_elsewhere(self, *, but: str) -> bool:
        """Whether another actor than this one, on another node than the router's, answers."""
        return any(actor_id != but for actor_id in self._elsewhere)

    # --- logs -------------------------------------------------------------------------------

    def secure(self, request: Request, now: float) -> bool:
        """Whether a request's log is on two nodes, where there are two; a copy that is missing is sent."""
        self._alone.pop(request.request_id, None)
        if self.is_elsewhere(request.actor_id):
            self.drop(request)
            return True
        if request.copy_id is None and not self._send(request, now):
            self._alone[request.request_id] = None
            return True
        return request.is_copied

    def _send(self, request: Request, now: float) -> bool:
        """Send a copy to another node; False where there is none, or nothing to send."""
        if not self._elsewhere or request.log is None:
            return False
        actor_id = min(self._elsewhere, key=self._requests.copy_count)
        self._requests.copy(request, actor_id)
        envelope = CopyEnvelope(
            Order.COPY,
            request.request_id,
            request.epoch,
            request.stop_reason,
            request.log,
            max(0.0, request.forget_at - now),
            request.client_id,
            request.owner,
        )
        self._dispatch.send_to(actor_id, request, envelope, len(request.log) + len(request.labels) + 128)
        return True

    def drop(self, request: Request) -> None:
        """Let a request have no copy any more."""
        self._alone.pop(request.request_id, None)
        if request.copy_id is None:
            return
        if request.copy_id != request.actor_id:  # else a session stands in its place
            self._dispatch.forget_session(request.copy_id, request.request_id, request.epoch)
        self._requests.copy(request, None)

    def spread(self, now: float) -> None:
        """Give some of those that stand alone a copy, now that there may be another node."""
        if not self._elsewhere:
            return
        for request_id in [*islice(self._alone, SPREAD_AT_ONCE)]:
            request = self._requests.get(request_id)
            del self._alone[request_id]
            if request is not None and not request.is_live:
                self.secure(request, now)
        if self._alone:
            self._set_timer(now + SPREAD_PAUSE_S, Timer.COPIES, "")
