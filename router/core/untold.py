"""Ends that this router alone knows of, until another process does. Pure.

Theory. A request that never had a session ends here, by a cancel or a timer, and no stream actor has its log. Were
that shown at once, the death of this router would undo it: a publisher that has not heard of it registers the
request again, and it goes on. So its publisher is told first. Once a call of that client says that it has seen so,
whoever waits for the end hears of it (a cancel is answered), and the router's own process shows it to readers. A
stream actor that has taken the log will do as well. A client that says nothing is waited for as long as any may be
silent.
"""

from __future__ import annotations

from router.core.outboxes import CLIENT_TIMEOUT_S
from router.core.request import Request


def patience_s(request: Request) -> float:
    """Return how long its publisher is waited for."""
    return min(CLIENT_TIMEOUT_S, request.settings.sealed_ttl_s / 2)


class Untold:
    """Requests of which nobody else knows that they have ended, by the clients that publish them."""

    def __init__(self) -> None:
        self._by_client: dict[str, dict[str, Request]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_client.values()))

    def __contains__(self, request: Request) -> bool:
        return request.request_id in self._by_client.get(request.client_id, ())

    def of(self, client_id: str) -> list[Request]:
        """Return the requests of a client that it may not have heard the end of."""
        return [*self._by_client.get(client_id, {}).values()]

    def without_holder(self) -> list[Request]:
        """Return those that no process shows to readers yet."""
        mine = (request for requests in self._by_client.values() for request in requests.values())
        return [request for request in mine if request.actor_id is None]

    def add(self, request: Request) -> None:
        """Its publisher is about to be told."""
        self._by_client.setdefault(request.client_id, {})[request.request_id] = request

    def discard(self, request: Request) -> None:
        """Another process knows, or none needs to."""
        mine = self._by_client.get(request.client_id)
        if mine is not None:
            mine.pop(request.request_id, None)
            if not mine:
                del self._by_client[request.client_id]
