"""How a publisher's items come in: to the lane of the actor that holds the request, or not at all. Pure.

The commonest event of a router. It never looks into the items; what it does not take it counts, by the reason, and
the publisher hears how things stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from actors.errors import ProtocolViolation
from actors.protocol.envelopes import DataEnvelope, Envelope, Order
from actors.protocol.states import RequestPhase, Role
from router.core.lifecycle import Lifecycle
from router.core.refusals import Refusals
from router.core.request import Request

NOT_ITS_PUBLISHER, OTHER_EPOCH, AHEAD, FENCED, HELD = "not_its_publisher", "other_epoch", "ahead", "fenced", "held"
"""Why items were ignored: from another client than the request's own, for another epoch, with a hole before them (what
lies there was on its way through a router that has died, or never came), of a request whose agent has gone on to
another one, of one that waits until there is room."""

# (Asked for with all that comes, and to ask an enum for a member takes as long as a call.)
_OPEN, _DATA = RequestPhase.OPEN, Order.DATA


class Intake:
    """The items of one router. `ignored_by`: how often some were not taken, by the reason."""

    def __init__(self, lifecycle: Lifecycle, refusals: Refusals) -> None:
        self.ignored_by: dict[str, int] = {}
        self._lifecycle = lifecycle
        self._requests = lifecycle.requests
        self._clients = lifecycle.clients
        self._backlog = lifecycle.backlog
        self._counts = lifecycle.counts
        self._effects = lifecycle.effects
        self._refusals = refusals

    def forward(self, client_id: str, envelopes: Sequence[Sequence[Any]], now: float) -> None:
        """Take a publisher's envelopes (the parts of `ItemsEnvelope`s) to their actors' lanes."""
        self._clients.heard(client_id, now)
        coming = iter(envelopes)  # what is no envelope must not take those of other requests with it
        while (refused := self._take(client_id, coming)) is not None:
            self._refusals.refuse(ProtocolViolation(f"an envelope of client {client_id!r}: {refused}"))

    def _take(self, client_id: str, coming: Iterator[Sequence[Any]]) -> str | None:
        """Take all that comes; where something is no envelope, what comes before it, and return what is wrong."""
        get, take, send = self._requests.get, self._backlog.take, self._effects.send.append
        chunks = chunk_bytes = 0
        items: Sequence[Any] = ()
        try:
            for items in coming:
                request_id, epoch, first_seq, count, packed_items = items
                request = get(request_id)
                if request is None or request.client_id != client_id:
                    self._ignore(NOT_ITS_PUBLISHER)
                    self._clients.tell(client_id, (Role.PUBLISHER, request_id))
                    continue
                actor_id = request.actor_id
                if request.is_fenced_out or request.phase is not _OPEN or request.epoch != epoch or actor_id is None:
                    self._refuse(request, FENCED if request.is_fenced_out else OTHER_EPOCH)
                    continue
                last_seq = first_seq + count - 1
                if not 1 <= first_seq <= last_seq or packed_items.__class__ is not bytes:
                    return f"items are numbered from 1, at least one of them in packed bytes: {str(items)[:80]!r}"
                if last_seq <= request.sent_seq:
                    continue  # they are on their way already: a call whose outcome was unknown was made again
                size_bytes = len(packed_items)
                is_next = first_seq <= request.sent_seq + 1
                if request.is_held or (is_next and not take(actor_id, request_id, size_bytes)):
                    request.hold_back()
                    self._refuse(request, HELD)
                elif request.take_items(first_seq, last_seq):
                    chunks += count
                    chunk_bytes += size_bytes
                    # (What `DataEnvelope(...)` does, without a call.)
                    envelope = tuple.__new__(DataEnvelope, (_DATA, request_id, epoch, first_seq, packed_items))
                    send((actor_id, request_id, envelope, size_bytes + 64))
                else:
                    self._refuse(request, AHEAD)
        except (TypeError, ValueError) as error:
            return f"{error}: {str(items)[:80]!r}"
        finally:
            self._counts["chunks"] += chunks
            self._counts["chunk_bytes"] += chunk_bytes
        return None

    def _refuse(self, request: Request, why: str) -> None:
        self._ignore(why)
        self._lifecycle.dispatch.tell_publisher(request)

    def _ignore(self, why: str) -> None:
        """Count what came too late or too early, as it may after a crash."""
        self.ignored_by[why] = self.ignored_by.get(why, 0) + 1

    # --- what waits for room ----------------------------------------------------------------

    def delivered(self, actor_id: str, envelopes: Iterable[Envelope]) -> None:
        """A stream actor has had these envelopes: there is room for others."""
        size_bytes = sum(len(envelope.packed_items) for envelope in envelopes if isinstance(envelope, DataEnvelope))
        if size_bytes and (called := self._backlog.delivered(actor_id, size_bytes)):
            self._let_go_on(called)

    def let_overdue_go_on(self) -> None:
        """Let those go on for which there is room, and whom no delivery will call; to be called now and then."""
        self._let_go_on(self._backlog.overdue())

    def _let_go_on(self, request_ids: Iterable[str]) -> None:
        for request_id in request_ids:
            request = self._requests.get(request_id)
            if request is not None and request.is_held:
                request.let_go_on()
                self._lifecycle.dispatch.tell_publisher(request)
