"""What this router does about agents: grants claims to those that belong to it, and fences former holders out. Pure.

Which claim stands where `agent_queue.py` decides; which numbers are out, `fences.py` remembers.
"""

from __future__ import annotations

from collections.abc import Sequence

from actors.errors import AgentFenced
from actors.protocol.calls import ClaimCall, FenceCall, Registration, ReleaseCall
from actors.protocol.states import Role
from router.core.agent_queue import Agents, Claim
from router.core.fences import Fences
from router.core.lifecycle import Lifecycle
from router.core.outboxes import Clients
from router.core.request import Request
from router.core.requests import Requests


class Claims:
    """The agents of one router actor. `first_number`: fencing numbers granted here are higher."""

    def __init__(self, requests: Requests, clients: Clients, lifecycle: Lifecycle, first_number: int) -> None:
        self.agents = Agents(first_number)
        self.fences = Fences()
        self._requests = requests
        self._clients = clients
        self._lifecycle = lifecycle

    def claim(self, call: ClaimCall, now: float) -> None:
        """Claim an agent for a request. Raises AgentBusy, AgentFenced."""
        client_id, request_id, agent_id, when_busy, is_held, token, number = call
        self._clients.heard(client_id, now)
        claimant = (client_id, token)
        self.tell(self.agents.claim(claimant, request_id, agent_id, when_busy, is_held=is_held, number=number))

    def release(self, call: ReleaseCall) -> None:
        """Let go of the agent of a request."""
        client_id, request_id, token = call
        self.tell(self.agents.release((client_id, token), request_id))

    def tell(self, changed: Sequence[Claim]) -> None:
        """Let those whose claims have changed hear of it."""
        for claim in changed:
            for client_id in claim.client_ids:
                self._clients.tell(client_id, (Role.AGENT, claim.request_id))

    def fence(self, call: FenceCall, now: float) -> tuple[int, list[str]]:
        """Accept nothing more from requests of an agent with a lower number, and end them.

        Returns the highest number known of the agent, and the requests whose end is under way.
        """
        agent_id, number, request_id = call
        highest = self.fences.set(agent_id, number, request_id)
        ending = []
        for request in list(self._requests.values()):
            is_former = request.agent_id == agent_id and request.agent_number < number
            if not is_former or not request.is_live or request.request_id == request_id:
                continue
            if not request.is_fenced_out:
                self._lifecycle.fence_out(request, request_id, now)
            if request.is_live:
                ending.append(request.request_id)
        return highest, ending

    def fenced(self, request: Request | Registration) -> AgentFenced:
        """Return the error for a request whose agent has gone on to another one."""
        agent_id = request.agent_id or ""
        return AgentFenced(
            f"request {request.request_id!r} is fenced out: agent {agent_id!r} has gone on to request "
            f"{self.fences.follower(agent_id)!r} while its publisher was silent; stop its provider"
        )
