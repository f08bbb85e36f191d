"""Which request of an agent may run, while others of the same agent wait or are turned away. Pure.

Theory. An agent runs one request at a time. A request claims its agent before it is opened, at the router
actor that the agent's name belongs to (which need not be the one that will hold the request), and lets go
when it has ended. Requests of one agent stand in a queue: the first is granted the agent, with a fencing
number that rises with every grant. A newcomer is turned away (`reject`), waits at the end (`queue`), or tells
all before it to give up (`interrupt`) and waits until they have.

A request may have several claimants (its publisher, a second one that will be refused, one that takes over);
each lets go for itself, and only when none is left does the request leave the queue.

Whoever lets go because its request has ended leaves nothing behind. Whoever fell silent, or gave up before the
request's router had said that it is over, may: the next one is granted the agent, but does not hold it before all
routers have been told to accept nothing any more from requests of the agent with a lower number (FENCING). A
router that has lost its memory grants nothing until holders have had time to say so (`is_recovering`), and then
nobody holds an agent unfenced, since one may have been silent.

That time is as long as any client may be silent and count as alive. Holders that are well say so within a second;
to go on without the others would be safe, and fence out one whose process was stopped for less than that. There is
nobody to ask instead: who the clients were is part of what was lost, and a request that was granted its agent
and is not placed yet is known to its publisher alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from actors.errors import AgentBusy, AgentFenced
from actors.protocol.states import ClaimPhase

UNFENCED_MAX = 10_000
"""So many agents whose holder fell silent are remembered; beyond that every agent counts as such a one."""

Claimant = tuple[str, str]
"""(client ID, token of the publisher)."""


@dataclass(slots=True, eq=False)
class Claim:
    """One request's claim to its agent. `number`: the fencing number that it was granted; 0: none yet."""

    request_id: str
    agent_id: str
    when_busy: str
    claimants: dict[Claimant, None] = field(default_factory=dict)
    number: int = 0
    is_fenced: bool = False
    is_interrupted: bool = False

    @property
    def client_ids(self) -> list[str]:
        """The processes that must hear of it."""
        return [client_id for client_id, _ in self.claimants]


class Agents:
    """The claims at one router actor. Methods return the claims whose state has changed."""

    def __init__(self) -> None:
        self._queues: dict[str, list[Claim]] = {}
        self._claims: dict[str, Claim] = {}
        self._last_number = 0
        # Agents whose last holder fell silent: it may come back and believe that it holds them still.
        self._unfenced: dict[str, None] = {}
        self._all_unfenced = False
        self.is_recovering: bool = False

    def grant_above(self, number: int) -> None:
        """Grant higher numbers than this one: than any that a router of this name has granted before."""
        self._last_number = max(self._last_number, number)

    def claim(
        self, claimant: Claimant, request_id: str, agent_id: str, when_busy: str, *, is_held: bool, number: int
    ) -> list[Claim]:
        """Enter a claim (twice does no harm). Raises AgentBusy, AgentFenced where it is turned away.

        `is_held`: it was granted the agent with this number, by a router that may have forgotten. Otherwise
        `number` says with which number all routers have been fenced, or which higher one they know of.
        """
        known = self._claims.get(request_id)
        if known is None:
            known, changed = self._enter(request_id, agent_id, when_busy, number if is_held else 0)
        elif known.agent_id != agent_id:
            raise AgentBusy(f"request {request_id!r} claims agent {known.agent_id!r} already")
        else:
            changed = [known]
        known.claimants[claimant] = None
        if is_held:
            changed += self._hold_again(known, number)
        elif number and number == known.number:
            known.is_fenced = True
            self._unfenced.pop(agent_id, None)
        elif number > known.number > 0:
            # Some router knows of a later grant: of a router actor whose clock was ahead.
            self.grant_above(number)
            self._number(known)
        return changed

    def _enter(self, request_id: str, agent_id: str, when_busy: str, held_number: int) -> tuple[Claim, list[Claim]]:
        queue = self._queues.get(agent_id, [])
        first = queue[0] if queue else None
        if held_number and first is not None and first.number > held_number:
            raise AgentFenced(
                f"agent {agent_id!r} has gone on to request {first.request_id!r} while the process of request "
                f"{request_id!r} was silent"
            )
        changed: list[Claim] = []
        if first is not None and not held_number and not self.is_recovering:
            if when_busy == "reject":
                raise self._busy(agent_id, first)
            if when_busy == "interrupt":
                for other in queue:
                    other.is_interrupted = True
                changed += queue
        claim = Claim(request_id, agent_id, when_busy)
        self._queues.setdefault(agent_id, queue)
        self._claims[request_id] = claim
        if held_number:
            queue.insert(0, claim)
        else:
            queue.append(claim)
            if first is None:
                changed += self._grant_first(agent_id)
        return claim, [claim, *(other for other in changed if other is not claim)]

    @staticmethod
    def _busy(agent_id: str, first: Claim) -> AgentBusy:
        return AgentBusy(
            f"agent {agent_id!r} has request {first.request_id!r} under way; wait for its end, or "
            "publish with when_busy='queue' or 'interrupt'"
        )

    def _hold_again(self, claim: Claim, number: int) -> list[Claim]:
        """A holder says that it was granted its agent; return those behind it, who may hear that it is busy."""
        self.grant_above(number)
        claim.number = max(claim.number, number)
        claim.is_fenced = True
        others = [other for other in self._queues[claim.agent_id] if other is not claim]
        if any(other.when_busy == "interrupt" for other in others):
            claim.is_interrupted = True
        return others

    def _number(self, claim: Claim) -> None:
        self._last_number += 1
        claim.number = self._last_number

    def _grant_first(self, agent_id: str, *, follows_an_end: bool = False) -> list[Claim]:
        queue = self._queues[agent_id]
        first = queue[0]
        if self.is_recovering:
            return []
        if not first.number:
            self._number(first)
            first.is_fenced = follows_an_end or not (self._all_unfenced or agent_id in self._unfenced)
        return queue[:]

    def release(self, claimant: Claimant, request_id: str, *, has_ended: bool) -> list[Claim]:
        """Let go; the next in the queue, if any, is granted the agent. `has_ended`: the request is known to be over.

        The other claimants of the request hear of it too: one whose claim came late, after it had let go of it at a
        router that has forgotten that, lets go once more.
        """
        claim = self._claims.get(request_id)
        if claim is None or claimant not in claim.claimants:
            return []
        del claim.claimants[claimant]
        if claim.claimants:
            return [claim]
        agent_id = claim.agent_id
        is_clean = claim.number > 0 and has_ended and claim.is_fenced
        if claim.number and not is_clean:
            self._note_unfenced(agent_id)
        del self._claims[request_id]
        queue = self._queues[agent_id]
        was_first = queue[0] is claim
        queue.remove(claim)
        if not queue:
            del self._queues[agent_id]
        if not (was_first and queue):
            return []
        return self._grant_first(agent_id, follows_an_end=is_clean)

    def _note_unfenced(self, agent_id: str) -> None:
        if len(self._unfenced) >= UNFENCED_MAX:
            self._unfenced.clear()
            self._all_unfenced = True
        if not self._all_unfenced:
            self._unfenced[agent_id] = None

    def release_all(self, client_id: str) -> list[Claim]:
        """Let go of all claims of a process that has fallen silent; its requests may still run."""
        mine = [
            (claimant, request_id)
            for request_id, claim in self._claims.items()
            for claimant in claim.claimants
            if claimant[0] == client_id
        ]
        return [
            changed for claimant, request_id in mine for changed in self.release(claimant, request_id, has_ended=False)
        ]

    def recover(self) -> None:
        """All memory is lost: grant nothing until `recovered`."""
        self.is_recovering = self._all_unfenced = True

    def recovered(self) -> list[Claim]:
        """Holders have had time to say so."""
        self.is_recovering = False
        return [changed for agent_id in self._queues for changed in self._grant_first(agent_id)]

    def phase(self, request_id: str) -> ClaimPhase:
        """Return where a claim stands."""
        claim = self._claims.get(request_id)
        if claim is None:
            return ClaimPhase.UNKNOWN
        if claim.is_interrupted:
            return ClaimPhase.INTERRUPTED
        first = self._queues[claim.agent_id][0]
        if first is not claim:
            return ClaimPhase.BUSY if claim.when_busy == "reject" and first.number else ClaimPhase.QUEUED
        if not claim.number:
            return ClaimPhase.QUEUED
        return ClaimPhase.HELD if claim.is_fenced else ClaimPhase.FENCING

    def number(self, request_id: str) -> int:
        """Return the fencing number that a claim was granted; 0: none yet."""
        claim = self._claims.get(request_id)
        return 0 if claim is None else claim.number
