"""When an agent is run again, and after which pause. Pure.

Each try is a request of its own, since what was said cannot be taken back: `req-1`, then `req-1.2`, `req-1.3`.
"""

from __future__ import annotations

import random
from typing import Literal, NamedTuple

from actors.stop_reasons import StopReason, is_failure

Retries = Literal["never", "lost", "failed"]
"""`lost`: the process of the agent died, or the request's log is lost. `failed`: that, and every failed end but a
cancel."""

FIRST_WAIT_S = 0.5
WAIT_S_MAX = 30.0
_LOSSES = frozenset({StopReason.LOST, StopReason.PUBLISHER_LOST})


class RetryPolicy(NamedTuple):
    """When an agent is run again, and how often at most. `attempts`: in all."""

    retries: Retries
    attempts: int

    def wait_s(self, attempt: int, stop_reason: str | None, rng: random.Random) -> float | None:
        """Return the pause after the `attempt`-th try (1 first); None: this was the last.

        `stop_reason` None: its process died before the request was opened.
        """
        if attempt >= self.attempts or not self._is_worth_it(stop_reason):
            return None
        pause_s: float = min(FIRST_WAIT_S * 2 ** (attempt - 1), WAIT_S_MAX) * rng.uniform(0.5, 1.0)
        return pause_s

    def _is_worth_it(self, stop_reason: str | None) -> bool:
        if self.retries == "never":
            return False
        if stop_reason is None or stop_reason in _LOSSES:
            return True
        return self.retries == "failed" and is_failure(stop_reason) and stop_reason != StopReason.CANCELLED


def name_of_attempt(request_id: str, attempt: int) -> str:
    """Return the request ID of an agent's `attempt`-th try."""
    return request_id if attempt == 1 else f"{request_id}.{attempt}"
