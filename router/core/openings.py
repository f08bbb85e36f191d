"""How a request comes in: new, taken over, or registered again. Pure.

Theory. A registration names a request that this router knows, or not, and a publisher that is the
request's own, or not:

    unknown, new                  it is admitted and begins
    unknown, registered again     a router that lost its memory learns of it
    known, of the same publisher  the publisher goes on, and hears how things stand
    known, of another publisher   refused, unless the first one is gone and this one takes over
    ended                         refused: an ID is used once

Whoever is fenced out of its agent opens nothing.

A call may come twice, or long after it was given up, when what it opened has ended and is forgotten. So calls are
numbered (`is_new`), and one that may have been here before begins nothing: whoever still waits for it asks again.
"""

from __future__ import annotations

import hmac
from sys import intern

from actors.errors import DuplicateRequest, Recovering, RequestEnded, UnknownRequest
from actors.protocol.calls import OpenCall, Registration
from actors.protocol.labels import check_labels
from actors.protocol.states import router_of
from actors.settings import unpacked
from router.core.admission import Admission
from router.core.claims import Claims
from router.core.effects import OPENED
from router.core.lifecycle import Lifecycle
from router.core.outboxes import Clients
from router.core.recovery import Recovery
from router.core.request import Request
from router.core.requests import Requests


class Openings:
    """The door through which publishers bring their requests."""

    def __init__(
        self,
        requests: Requests,
        clients: Clients,
        admission: Admission,
        claims: Claims,
        lifecycle: Lifecycle,
        recovery: Recovery,
    ) -> None:
        self._requests = requests
        self._clients = clients
        self._admission = admission
        self._claims = claims
        self._lifecycle = lifecycle
        self._recovery = recovery

    def is_new(self, call: OpenCall, now: float) -> bool:
        """Whether a call is here for the first time: it follows all others of its client, to this very router.

        A router that has restarted does not know which calls the one before it had; it takes for new what was said by
        a client that has heard of it.
        """
        client = self._clients.heard(call.client_id, now)
        known, _ = call.seen
        if known is None:
            knows_this_router = not self._lifecycle.has_restarted
        else:
            knows_this_router = router_of(known) == self._clients.incarnation
            if not knows_this_router:
                self._recovery.expect_again(now)
        follows = call.call_no > client.opens_no
        client.opens_no = max(client.opens_no, call.call_no)
        return knows_this_router and follows

    def open(self, client_id: str, wanted: Registration, now: float, *, is_new: bool) -> None:
        """Open a request, take it over, or take it up again, whichever the registration means.

        `is_new`: it did not come with a call that may have been here before.

        Raises InvalidRequestId, Draining, LimitExceeded, PoolFull, UnknownRequest, Recovering, RequestEnded,
        DuplicateRequest, AgentFenced, ProtocolViolation.
        """
        known = self._requests.get(wanted.request_id)
        registers_again = wanted.epoch > 0
        self._claims.refuse_if_fenced_out(client_id, wanted, now)
        if known is None:
            request = self._open_unknown(client_id, wanted, now, is_new=is_new)
            self._claims.learn(request, now, is_news=registers_again)
            return
        if not known.is_live and (wanted.take_over or _was_opened(wanted)) and known.client_id == client_id:
            self._lifecycle.dispatch.tell_publisher(known)  # it ended while its publisher was away
            return
        is_same = self._open_again(known, client_id, wanted, now)
        if is_same and registers_again:
            # What a router that has lost its memory could not know.
            self._requests.describe_again(known, wanted.date, wanted.agent_id, wanted.agent_number)
            self._recovery.learn(known, wanted.epoch, wanted.sent_seq, wanted.start_seq, now)
        self._claims.learn(known, now, is_news=registers_again)

    def _open_unknown(self, client_id: str, wanted: Registration, now: float, *, is_new: bool) -> Request:
        """Take in a request that is not known here."""
        request_id, registers_again = wanted.request_id, wanted.epoch > 0
        if wanted.take_over and not registers_again:
            self._recovery.refuse_while_recovering(f"request {request_id!r} is open")
            raise UnknownRequest(f"request {request_id!r} cannot be taken over: it is not open here")
        self._recovery.refuse_while_actors_are_asked(request_id)
        if _was_opened(wanted) and self._requests.gone.has(request_id, wanted.epoch, wanted.created):
            raise RequestEnded(
                f"request {request_id!r} has ended and was forgotten (its time-to-live is over, or somebody had it "
                "forgotten): its publisher could not be told in time; publish under a new ID"
            )
        if not is_new:
            raise Recovering(f"request {request_id!r} is not open, and this call may have opened it before; ask again")
        if not registers_again:
            self._admission.admit(request_id, self._requests.live_count, now)
        settings, settings_packed = unpacked(wanted.settings_packed)
        if wanted.labels:
            check_labels(wanted.labels)
        if not registers_again:
            self._lifecycle.refuse_if_full()
        client = self._clients.heard(client_id, now)
        request = Request(
            request_id,
            settings_packed,
            settings,
            client.client_id,
            intern(wanted.date),  # one text for all requests of a second
            now,
            wanted.agent_id,
            wanted.agent_number,
            created=self._number(wanted, now),
            labels=wanted.labels,
            epoch=wanted.epoch,
            former_epoch=self._requests.gone.epoch(request_id),
            start_seq=wanted.start_seq,
            sent_seq=wanted.start_seq - 1,
            high_seq=wanted.sent_seq,
            waits_since=now,
        )
        self._requests.add(request)
        client.publishes.add(request_id)
        self._lifecycle.counts["opened"] += 1
        self._lifecycle.dispatch.note(OPENED, request, now)
        if wanted.start_seq > 1:
            # It was taken over, and its session is gone: what came before its publisher's first item nobody has.
            self._lifecycle.lose(request, now)
            return request
        self._lifecycle.begin(request, now)
        self._lifecycle.dispatch.tell_publisher(request)
        return request

    def _number(self, wanted: Registration, now: float) -> int:
        """Return the number of a request that is taken in; what its publisher says is believed of the past."""
        number = self._requests.catalogue.number(now)
        return min(wanted.created, number) if wanted.created > 0 else number

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
        self._lifecycle.dispatch.tell_publisher(request)
        return True

    def _take_over(self, request: Request, client_id: str, wanted: Registration, now: float) -> None:
        """Let another publisher go on with an open request."""
        owner = self._clients.get(request.client_id)
        owner_lives = owner is not None and request.publisher_gone_at is None
        if owner_lives or not wanted.take_over:
            hint = (
                "wait until its publisher is gone"
                if wanted.take_over
                else "publish under a new ID, or publish(..., take_over=True) once its publisher is gone"
            )
            raise DuplicateRequest(f"request {request.request_id!r} is open with another publisher; {hint}")
        if not request.is_whole:
            self._lifecycle.lose(request, now)
            raise RequestEnded(
                f"request {request.request_id!r} has ended (lost): its stream actor and its publisher are both gone"
            )
        if owner is not None:
            owner.publishes.discard(request.request_id)
        request.hand_to(client_id, wanted.agent_number)
        if request.is_being_taken:
            # Behind all that is on its way, its session is asked how far it has come.
            self._lifecycle.dispatch.send_open(request, now)
        self._clients.heard(client_id, now).publishes.add(request.request_id)
        self._lifecycle.dispatch.tell_publisher(request)


def _was_opened(wanted: Registration) -> bool:
    """Whether a router has taken this request in before: its publisher has a number, if it heard of no session yet."""
    return wanted.epoch > 0 or wanted.created > 0
