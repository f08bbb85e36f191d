"""What happens when time runs out: of clients, graces, opens, limits and ended requests. Pure: time is an argument."""

from __future__ import annotations

from itertools import islice
from typing import ClassVar

from actors.protocol.deadlines import Deadlines
from router.core.claims import Claims
from router.core.lifecycle import Lifecycle
from router.core.outboxes import CLIENT_FORGET_S, CLIENT_TIMEOUT_S, Clients
from router.core.recovery import Recovery
from router.core.refusals import Refusals
from router.core.requests import Requests
from router.core.timers import Timer

TICK_MAX = 64
"""So much may run out at once: all requests of a process that died do, and what else passes through must not wait."""


class Timeouts:
    """The handlers of a registry's timers; `deadlines` are those that are set."""

    def __init__(
        self,
        deadlines: Deadlines[tuple[Timer, str]],
        requests: Requests,
        clients: Clients,
        claims: Claims,
        lifecycle: Lifecycle,
        recovery: Recovery,
        refusals: Refusals,
    ) -> None:
        self._deadlines = deadlines
        self._requests = requests
        self._clients = clients
        self._claims = claims
        self._lifecycle = lifecycle
        self._recovery = recovery
        self._refusals = refusals

    def set(self, at: float, kind: Timer, what: str) -> None:
        """Look at `what` at `at`."""
        self._deadlines.set(at, (kind, what))

    def tick(self, now: float) -> None:
        """Let run out what has run out by `now`, so much at most: what is left is due still."""
        for _, (kind, what) in islice(self._deadlines.take_due(now), TICK_MAX):
            getattr(self, self._WHEN_DUE[kind])(what, now)

    def _tick_recovered(self, whom: str, now: float) -> None:
        self._recovery.time_is_over(whom, now)

    def _tick_client(self, client_id: str, now: float) -> None:
        client = self._clients.get(client_id)
        if client is None:
            return
        if client.watching:
            client.last_seen = now
        gone_at = client.last_seen + CLIENT_TIMEOUT_S
        if gone_at > now:  # this very sum: a difference, rounded, could set the same timer for ever
            self.set(gone_at, Timer.CLIENT, client_id)
            return
        self._claims.tell(self._claims.agents.release_all(client_id))
        for request_id in sorted(client.publishes):
            request = self._requests.get(request_id)
            if request is not None and request.is_live and request.publisher_gone_at is None:
                request.publisher_left(now)
                client.was_gone = True
                self.set(now + request.settings.publisher_grace_s, Timer.GRACE, request_id)
        if client.last_seen + CLIENT_FORGET_S <= now or not client.publishes:
            self._clients.forget(client_id)
        else:
            # It may come back, and go again.
            self.set(now + CLIENT_TIMEOUT_S, Timer.CLIENT, client_id)

    def _tick_grace(self, request_id: str, now: float) -> None:
        request = self._requests.get(request_id)
        if request is None or not request.is_live or request.publisher_gone_at is None:
            return
        grace_s = request.settings.publisher_grace_s
        if request.publisher_gone_at + grace_s > now + 1e-6:
            return  # it was back, and went again: a later timer stands for that
        self._lifecycle.abandon(request, f"its publisher was silent and nobody took over within {grace_s:g} s", now)

    def _tick_open(self, request_id: str, now: float) -> None:
        request = self._requests.get(request_id)
        error = None if request is None else self._lifecycle.open_timed_out(request, now)
        if request is None or error is None:
            return
        client = self._clients.get(request.client_id)
        if client is not None:
            client.publishes.discard(request_id)
        self._refusals.keep(request.client_id, request_id, error)
        self.set(now + CLIENT_TIMEOUT_S, Timer.REFUSED, f"{request.client_id}\0{request_id}")
        self._refusals.count(request_id, error, now)
        self._lifecycle.dispatch.tell_publisher(request)

    def _tick_refused(self, what: str, _now: float) -> None:
        client_id, _, request_id = what.partition("\0")
        self._refusals.forget(client_id, request_id)

    def _tick_limit(self, request_id: str, now: float) -> None:
        request = self._requests.get(request_id)
        if request is not None:
            self._lifecycle.limit_reached(request, now)

    def _tick_sealed(self, request_id: str, now: float) -> None:
        request = self._requests.get(request_id)
        if request is not None and not request.is_live and request.forget_at <= now:
            self._lifecycle.forget(request)

    def _tick_show(self, request_id: str, now: float) -> None:
        request = self._requests.get(request_id)
        if request is not None and not request.is_live and not request.is_shown and request.log is not None:
            self._lifecycle.show(request, now)

    def _tick_untold(self, request_id: str, now: float) -> None:
        request = self._requests.get(request_id)
        if request is not None and not request.is_live:
            self._lifecycle.told(request, now)

    def _tick_copies(self, _what: str, now: float) -> None:
        self._lifecycle.spread_copies(now)

    _WHEN_DUE: ClassVar[dict[Timer, str]] = {
        Timer.CLIENT: "_tick_client",
        Timer.RECOVERED: "_tick_recovered",
        Timer.OPEN: "_tick_open",
        Timer.LIMIT: "_tick_limit",
        Timer.REFUSED: "_tick_refused",
        Timer.GRACE: "_tick_grace",
        Timer.SEALED: "_tick_sealed",
        Timer.SHOW: "_tick_show",
        Timer.UNTOLD: "_tick_untold",
        Timer.COPIES: "_tick_copies",
    }
