"""Which request of an agent may run, while others of the same agent wait or are turned away. Pure.

Theory. An agent runs one request at a time. A request claims its agent before it is opened, at the
router actor that the agent's name belongs to (which need not be the one that will hold the
request), and lets go when it has ended. Claims of one agent stand in a queue: the first holds the
agent. A newcomer is turned away (`reject`), waits at the end (`queue`), or tells all before it to
give up (`interrupt`) and waits until they have.

A process that falls silent lets go of all its claims. A router that has lost its memory is told
again: whoever held its agent says so and goes to the front.
"""

from __future__ import annotations

from dataclasses import dataclass

from actors.errors import AgentBusy
from actors.protocol.states import ClaimPhase


@dataclass(slots=True)
class Claim:
    """One request's claim to its agent."""

    request_id: str
    agent_id: str
    client_id: str
    is_interrupted: bool = False


class Agents:
    """The claims at one router actor. Methods return the claims whose state has changed."""

    def __init__(self) -> None:
        self._queues: dict[str, list[Claim]] = {}
        self._claims: dict[str, Claim] = {}

    def claim(self, claim: Claim, when_busy: str, *, is_held: bool) -> list[Claim]:
        """Enter a claim (twice does no harm). Raises AgentBusy where it is turned away."""
        if claim.request_id in self._claims:
            return [self._claims[claim.request_id]]
        queue = self._queues.setdefault(claim.agent_id, [])
        changed = [claim]
        if queue and not is_held:
            if when_busy == "reject":
                raise AgentBusy(
                    f"agent {claim.agent_id!r} has request {queue[0].request_id!r} under way; wait for its end, or "
                    "publish with when_busy='queue' or 'interrupt'"
                )
            if when_busy == "interrupt":
                for other in queue:
                    other.is_interrupted = True
                changed += queue
        if is_held:
            queue.insert(0, claim)
        else:
            queue.append(claim)
        self._claims[claim.request_id] = claim
        return changed

    def release(self, request_id: str) -> list[Claim]:
        """Let go; the next in the queue, if any, now holds the agent."""
        claim = self._claims.pop(request_id, None)
        if claim is None:
            return []
        queue = self._queues[claim.agent_id]
        was_first = queue[0] is claim
        queue.remove(claim)
        if not queue:
            del self._queues[claim.agent_id]
            return []
        return queue[:1] if was_first else []

    def release_all(self, client_id: str) -> list[Claim]:
        """Let go of all claims of a process that has fallen silent."""
        mine = [request_id for request_id, claim in self._claims.items() if claim.client_id == client_id]
        return [changed for request_id in mine for changed in self.release(request_id)]

    def phase(self, request_id: str) -> ClaimPhase:
        """Return where a claim stands."""
        claim = self._claims.get(request_id)
        if claim is None:
            return ClaimPhase.UNKNOWN
        if claim.is_interrupted:
            return ClaimPhase.INTERRUPTED
        return ClaimPhase.HELD if self._queues[claim.agent_id][0] is claim else ClaimPhase.QUEUED
