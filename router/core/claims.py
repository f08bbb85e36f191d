"""What this router does about agents: grants claims to those that belong to it, and fences former holders out. Pure.

Which claim stands where `agent_queue.py` decides; which numbers are out, `fences.py` remembers.

A router that has lost its memory has lost the fences too. It sets them again by the numbers that it sees: an agent
is granted with a higher number each time, so whoever has one shows that its agent has left all lower ones behind
(`learn`). Nobody else would say so once more: the follower has told all routers, and goes on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from actors.errors import AgentFenced
from actors.protocol.calls import ClaimCall, FenceCall, Registration, ReleaseCall
from actors.protocol.states import Role
from router.core.agent_queue import Agents, Claim, Claimant
from router.core.fences import Fences
from router.core.lifecycle import Lifecycle
from router.core.outboxes import Clients
from router.core.request import Request
from router.core.requests import Requests

LET_GO_MAX = 10_000
"""Of so many claimants, those that let go last, a claim that comes late is known for what it is."""


class Claims:
    """The agents of one router actor."""

    def __init__(self, requests: Requests, clients: Clients, lifecycle: Lifecycle) -> None:
        self.agents: Agents = Agents()
        self.fences: Fences = Fences()
        self._requests = requests
        self._clients = clients
        self._lifecycle = lifecycle
        self._has_forgotten = False
        self._let_go: OrderedDict[Claimant, None] = OrderedDict()

    def recover(self) -> None:
        """All memory is lost: grant nothing until holders have spoken, and believe each number that is seen."""
        self.agents.recover()
        self._has_forgotten = True

    def claim(self, call: ClaimCall, now: float) -> None:
        """Claim an agent for a request. Raises AgentBusy, AgentFenced."""
        client_id, request_id, agent_id, when_busy, is_held, token, number = call
        self._clients.heard(client_id, now)
        claimant = (client_id, token)
        if claimant in self._let_go:
            return  # a call that comes late: nobody is there any more who would let go again
        self.tell(self.agents.claim(claimant, request_id, agent_id, when_busy, is_held=is_held, number=number))

    def release(self, call: ReleaseCall) -> None:
        """Let go of the agent of a request."""
        client_id, request_id, token, has_ended = call
        self._let_go[client_id, token] = None
        if len(self._let_go) > LET_GO_MAX:
            self._let_go.popitem(last=False)
        self.tell(self.agents.release((client_id, token), request_id, has_ended=has_ended))

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
        for request in self._requests.of_agent(agent_id):
            if request.agent_number >= number or request.request_id == request_id:
                continue
            if not request.is_fenced_out:
                self._lifecycle.fence_out(request, request_id, now)
            if request.is_live:
                ending.append(request.request_id)
        return highest, ending

    def refuse_if_fenced_out(self, client_id: str, wanted: Registration, now: float) -> None:
        """Raise AgentFenced where a publisher comes with a request that its agent has left behind.

        The request that the agent has gone on to is let in whatever its number: it may have got a higher one since.
        """
        follower = self.fences.follower(wanted.agent_id or "")
        if not self.fences.keeps_out(wanted.agent_id, wanted.agent_number) or follower == wanted.request_id:
            return
        known = self._requests.get(wanted.request_id)
        if known is not None and known.is_live and known.client_id == client_id and not known.is_fenced_out:
            self._lifecycle.fence_out(known, follower, now)
        raise self.fenced(wanted)

    def learn(self, request: Request, now: float, *, is_news: bool) -> None:
        """Take the number of a request for a fence, or fence the request out, whichever is the lower.

        `is_news`: it is of a time before this router. Otherwise its number tells nothing new, unless fences were lost.
        """
        agent_id, number = request.agent_id, request.agent_number
        if agent_id is None or number == 0 or not (is_news or self._has_forgotten):
            return
        if number >= self.fences.number(agent_id):
            self.fence(FenceCall(agent_id, number, request.request_id), now)
            return
        follower = self.fences.follower(agent_id)
        if request.is_live and not request.is_fenced_out and follower != request.request_id:
            self._lifecycle.fence_out(request, follower, now)

    def learn_number(self, agent_id: str, number: int, request_id: str, now: float) -> None:
        """Take for a fence the number with which a request had its agent that has ended and is forgotten."""
        if number > self.fences.number(agent_id):
            self.fence(FenceCall(agent_id, number, request_id), now)

    def fenced(self, request: Request | Registration) -> AgentFenced:
        """Return the error for a request whose agent has gone on to another one."""
        agent_id = request.agent_id or ""
        return AgentFenced(
            f"request {request.request_id!r} is fenced out: agent {agent_id!r} has gone on to request "
            f"{self.fences.follower(agent_id)!r} while its publisher was silent; stop its provider"
        )
