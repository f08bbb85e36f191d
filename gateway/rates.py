"""How many connections a second a tenant may open. Pure: the time is an argument."""

from __future__ import annotations

from typing import NamedTuple

TENANTS_MAX = 10_000


class _Bucket(NamedTuple):
    tokens: float
    at_s: float


class Rates:
    """A bucket for each tenant: it holds what comes in a second, and fills as fast."""

    def __init__(self, per_s: float | None) -> None:
        """`per_s`: None: as many as come."""
        self._per_s = per_s
        self._room = max(1.0, per_s or 0.0)
        self._buckets: dict[str, _Bucket] = {}

    def wait_s(self, tenant: str, now_s: float) -> float:
        """Count one; return 0, or how long to wait where it is one too many, which does not count."""
        if self._per_s is None:
            return 0.0
        tokens, at_s = self._buckets.get(tenant, _Bucket(self._room, now_s))
        tokens = min(self._room, tokens + (now_s - at_s) * self._per_s)
        is_allowed = tokens >= 1.0
        if len(self._buckets) >= TENANTS_MAX:
            self._forget_full(now_s)
        self._buckets[tenant] = _Bucket(tokens - is_allowed, now_s)
        return 0.0 if is_allowed else (1.0 - tokens) / self._per_s

    def _forget_full(self, now_s: float) -> None:
        """Leave out those that have filled since, which are as if they had never been there."""
        fill_s = self._room / (self._per_s or 1.0)
        self._buckets = {name: one for name, one in self._buckets.items() if now_s - one.at_s < fill_s}
