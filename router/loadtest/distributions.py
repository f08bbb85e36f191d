"""Numbers drawn from a distribution: lengths, rates and delays of streams. Pure: the caller brings the randomness."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


class _Shape(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")


class Normal(_Shape):
    """The bell curve; what falls below zero counts as zero."""

    mean: float = Field(ge=0)
    sd: float = Field(ge=0)


class LogNormal(_Shape):
    """Most values near the median, a few far above it: answer lengths and thinking times look like this."""

    median: float = Field(gt=0)
    sigma: float = Field(ge=0, le=4, description="0.5: one in six is above 1.65 times the median; 1: above 2.7 times.")


class Distribution(_Shape):
    """One of `fixed`, `uniform`, `normal`, `lognormal`, `exponential`, `choice`; a bare number is `fixed`."""

    fixed: float | None = Field(None, ge=0)
    uniform: tuple[float, float] | None = Field(None, description="[low, high]")
    normal: Normal | None = None
    lognormal: LogNormal | None = None
    exponential: float | None = Field(None, gt=0, description="The mean.")
    choice: tuple[float, ...] | None = Field(None, min_length=1, description="Each as likely as the others.")
    max: float | None = Field(None, ge=0, description="Nothing above this.")

    @model_validator(mode="after")
    def _is_one_shape(self) -> Self:
        given = [name for name in _SHAPES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"expected exactly one of {', '.join(_SHAPES)}, got {', '.join(given) or 'none'}")
        if self.uniform is not None and not 0 <= self.uniform[0] <= self.uniform[1]:
            raise ValueError(f"uniform: expected [low, high] with 0 <= low <= high, got {list(self.uniform)}")
        if self.choice is not None and min(self.choice) < 0:
            raise ValueError(f"choice: expected numbers of at least 0, got {list(self.choice)}")
        return self

    def sample(self, rng: random.Random) -> float:
        """Return a number of at least 0."""
        value = self._sample(rng)
        return max(0.0, value if self.max is None else min(value, self.max))

    def _sample(self, rng: random.Random) -> float:
        if self.uniform is not None:
            return rng.uniform(*self.uniform)
        if self.normal is not None:
            return rng.gauss(self.normal.mean, self.normal.sd)
        if self.lognormal is not None:
            return rng.lognormvariate(math.log(self.lognormal.median), self.lognormal.sigma)
        if self.exponential is not None:
            return rng.expovariate(1 / self.exponential)
        if self.choice is not None:
            return rng.choice(self.choice)
        return self.fixed or 0.0


_SHAPES = ("fixed", "uniform", "normal", "lognormal", "exponential", "choice")


def _from_number(value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return {"fixed": value}
    if isinstance(value, (Distribution, Mapping)):
        return value
    raise ValueError(f"expected a number or one of {', '.join(_SHAPES)}, got {value!r}")


Number = Annotated[Distribution, BeforeValidator(_from_number)]
"""A distribution in a configuration: a number, or a mapping with the name of one."""


def fixed(value: float) -> Distribution:
    """Return the distribution that always gives this."""
    return Distribution(fixed=value)
