"""Whether a new request may be opened: limits of the namespace, refused by name and at no cost. Pure."""

from __future__ import annotations

from actors.errors import Draining, InvalidRequestId, LimitExceeded
from actors.tenants import own_name
from router.config import LimitsConfig


class Admission:
    """The limits of one router actor, with the opens a second it has left."""

    def __init__(self, name: str, limits: LimitsConfig, now: float, *, has_tenants: bool = False) -> None:
        self._name = name
        self._has_tenants = has_tenants
        self._limits = limits
        self._opens_left = limits.opens_per_s_max or 0.0
        self._counted_at = now
        self.draining = False

    def admit(self, request_id: str, open_count: int, now: float) -> None:
        """Let a request in. Raises InvalidRequestId, Draining, LimitExceeded."""
        limits = self._limits
        if self._has_tenants:
            request_id = own_name(request_id)
        size = len(request_id.encode("utf-8", "surrogatepass"))
        if not 0 < size <= limits.request_id_bytes_max or not request_id.isprintable():
            raise InvalidRequestId(
                f"a request ID is 1 to {limits.request_id_bytes_max} bytes of printable text; "
                f"this one has {size} bytes: {request_id[:40]!r}"
            )
        if self.draining:
            raise Draining(f"router {self._name!r} takes no new requests: it is being drained or stopped")
        if open_count >= limits.open_requests_max:
            raise LimitExceeded(
                f"{open_count} requests are open and limits.open_requests_max is {limits.open_requests_max}; "
                "wait until some have ended, or raise the limit"
            )
        if limits.opens_per_s_max is not None:
            self._count(limits.opens_per_s_max, now)

    def _count(self, opens_per_s_max: float, now: float) -> None:
        """Take one open from what has been earned since; a second's worth at most is saved up."""
        earned = (now - self._counted_at) * opens_per_s_max
        self._opens_left = min(max(opens_per_s_max, 1.0), self._opens_left + earned)
        self._counted_at = now
        if self._opens_left < 1.0:
            raise LimitExceeded(
                f"more than limits.opens_per_s_max = {opens_per_s_max:g} requests a second; try again later"
            )
        self._opens_left -= 1.0
