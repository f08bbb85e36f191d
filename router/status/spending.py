"""What requests used, by model and by agent, in a bounded number of series, and what that cost by the prices given.

Model names come from providers and agent IDs from users, so both are without bound. The first names that come have
series of their own, as many as `metrics.models_max` and `agents_max` allow; all others share `other`. Agents of which
there is a new one for each request are better counted by patterns (`metrics.agents`): then the pattern is the name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from actors.tenants import shown_name
from router.config import MetricsConfig
from router.status.metrics import OTHER, Sample

NO_AGENT = "none"
_NAME_CHARACTERS_MAX = 80
_TOKENS_OF_A_PRICE = 1_000_000


class _Names:
    """The names that have series of their own: the first ones that come."""

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._known: set[str] = set()

    def of(self, name: str) -> str:
        if name in self._known:
            return name
        if len(self._known) >= self._count_max or len(name) > _NAME_CHARACTERS_MAX:
            return OTHER
        self._known.add(name)
        return name


class Spending:
    """Samples of what stream actors have counted of usage."""

    def __init__(self, config: MetricsConfig) -> None:
        self._prices = config.prices
        self._patterns = config.agents
        self._models = _Names(config.models_max)
        self._agents = _Names(config.agents_max)

    def samples(self, look: Mapping[str, Any]) -> list[Sample]:
        """Return totals of tokens and of cost in what `StreamActor.measure` gave."""
        of_model: Counter[tuple[str, str]] = Counter()
        of_agent: Counter[tuple[str, str]] = Counter()
        cost: dict[str, float] = {}
        for model, agent_id, prompt, cached, completion in look["usage"]:
            agent = self._agent(agent_id)
            kinds = {"input": prompt - cached, "cached_input": cached, "output": completion}
            for kind, tokens in kinds.items():
                of_model[self._models.of(model), kind] += tokens
                of_agent[agent, kind] += tokens
            cost[agent] = cost.get(agent, 0.0) + self._cost(model, kinds)
        return [
            *(Sample("tokens", total, {"model": name, "kind": kind}) for (name, kind), total in of_model.items()),
            *(Sample("agent_tokens", total, {"agent": name, "kind": kind}) for (name, kind), total in of_agent.items()),
            *(Sample("cost_dollars", total, {"agent": name}) for name, total in cost.items() if total),
        ]

    def _agent(self, agent_id: str | None) -> str:
        if agent_id is None:
            return NO_AGENT
        shown = shown_name(agent_id)
        if self._patterns:
            return _first(self._patterns, shown) or OTHER
        return self._agents.of(shown)

    def _cost(self, model: str, tokens: Mapping[str, int]) -> float:
        pattern = _first(self._prices, model)
        if pattern is None:
            return 0.0
        price = self._prices[pattern]
        cached = price.input if price.cached_input is None else price.cached_input
        dollars = tokens["input"] * price.input + tokens["cached_input"] * cached + tokens["output"] * price.output
        return dollars / _TOKENS_OF_A_PRICE


def _first(patterns: Iterable[str], name: str) -> str | None:
    return next((pattern for pattern in patterns if fnmatchcase(name, pattern)), None)
