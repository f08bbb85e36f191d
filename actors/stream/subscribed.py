"""The subscriptions of each request, in the order in which they came. Pure.

Most requests have one reader, which is kept as it is: a table of one would take more memory than all else that the
audience knows of a silent stream.
"""

from __future__ import annotations

from collections.abc import Collection

from actors.stream.readers import Subscription


class Subscribed:
    """Subscriptions by request ID."""

    __slots__ = ("_by_request",)

    def __init__(self) -> None:
        self._by_request: dict[str, Subscription | dict[Subscription, None]] = {}

    def __len__(self) -> int:
        return len(self._by_request)

    def of(self, request_id: str) -> Collection[Subscription]:
        """Return the subscriptions of a request."""
        known = self._by_request.get(request_id)
        if isinstance(known, Subscription):
            return (known,)
        return known or ()

    def add(self, subscription: Subscription) -> None:
        """Add one."""
        request_id = subscription.session.request_id
        known = self._by_request.get(request_id)
        if known is None:
            self._by_request[request_id] = subscription
        elif isinstance(known, Subscription):
            self._by_request[request_id] = {known: None, subscription: None}
        else:
            known[subscription] = None

    def remove(self, subscription: Subscription) -> None:
        """Remove one, where it is known."""
        request_id = subscription.session.request_id
        known = self._by_request.get(request_id)
        if isinstance(known, dict):
            known.pop(subscription, None)
        if not known or known is subscription:
            self._by_request.pop(request_id, None)

    def take(self, request_id: str) -> Collection[Subscription]:
        """Remove those of a request, and return them."""
        taken = self.of(request_id)
        self._by_request.pop(request_id, None)
        return taken
