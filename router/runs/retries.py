"""When a request that failed before its first chunk is asked again. Pure.

After the first chunk nothing is asked again: the model would say something else.
"""

from __future__ import annotations

import random
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from router.sources.http import HttpProviderError


class Retries(BaseModel):
    """How often, and how long to wait between: doubling, with jitter, and at least as Retry-After says."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    attempts: int = Field(5, ge=1, le=100, description="In all; 1: nothing is asked again.")
    first_wait_s: float = Field(0.5, gt=0)
    wait_s_max: float = Field(30.0, gt=0)
    retry_after_s_max: float = Field(
        300.0, gt=0, description="A provider that wants a longer pause gets none: it failed."
    )

    def wait_s(self, attempt: int, error: HttpProviderError, rng: random.Random) -> float | None:
        """Return how long to wait after the `attempt`-th try (1 first); None: this was the last."""
        if attempt >= self.attempts or not error.is_retryable:
            return None
        backoff_s: float = min(self.first_wait_s * 2 ** (attempt - 1), self.wait_s_max) * rng.uniform(0.5, 1.0)
        if error.retry_after_s is None:
            return backoff_s
        if error.retry_after_s > self.retry_after_s_max:
            return None
        return max(error.retry_after_s, backoff_s)
