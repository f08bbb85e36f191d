"""Which requests of an agent nothing more is accepted from, because the agent has gone on to another. Pure."""

from __future__ import annotations

from collections import OrderedDict

AGENTS_MAX = 100_000
"""So many agents' fences are remembered, the ones set last."""


class Fences:
    """The highest fencing number that each agent's requests must have."""

    def __init__(self) -> None:
        self._numbers: OrderedDict[str, tuple[int, str]] = OrderedDict()

    def set(self, agent_id: str, number: int, request_id: str) -> int:
        """Fence out all requests of an agent with a lower number; return the highest number set so far."""
        known = self.number(agent_id)
        if number >= known:
            self._numbers[agent_id] = number, request_id
            self._numbers.move_to_end(agent_id)
            if len(self._numbers) > AGENTS_MAX:
                self._numbers.popitem(last=False)
        return max(number, known)

    def number(self, agent_id: str) -> int:
        """Return the lowest number that is let in; 0: any."""
        return self._numbers.get(agent_id, (0, ""))[0]

    def follower(self, agent_id: str) -> str:
        """Return the request that the agent has gone on to."""
        return self._numbers.get(agent_id, (0, ""))[1]

    def keeps_out(self, agent_id: str | None, number: int) -> bool:
        """Whether a request of this agent with this number is fenced out."""
        return agent_id is not None and number < self.number(agent_id)
