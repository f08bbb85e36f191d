"""All requests of one router actor, with the counts and orders that depend on them, kept in this one place. Pure.

Every change of a request that a count depends on goes through here: how many are live, who holds
what, how many bytes of logs are kept and which of them go first when they are too many.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, ValuesView
from typing import ParamSpec

from actors.protocol.gone import Gone
from actors.protocol.states import RequestPhase
from router.core.catalogue import Catalogue
from router.core.request import Request

_P = ParamSpec("_P")

GONE_MAX = 10_000
"""Of so many, those that were forgotten last, a publisher that comes back is told that its request has ended.

A router that has lost its memory has this from its stream actors, for those that they forgot."""


class Requests:
    """Requests by ID."""

    def __init__(self) -> None:
        self._by_id: dict[str, Request] = {}
        self._by_actor: dict[str, dict[str, Request]] = {}
        self._by_copy: dict[str, dict[str, Request]] = {}
        self._by_agent: dict[str, dict[str, Request]] = {}
        self._counts = dict.fromkeys((RequestPhase.WAITING, RequestPhase.OPEN, RequestPhase.SEALED), 0)
        # Requests whose log is kept, the one kept first in front: an ordinary dict is slow to give its first item
        # once many were taken from its front.
        self._kept: OrderedDict[str, Request] = OrderedDict()
        self.kept_bytes: int = 0
        """Of logs, and of the labels of all requests."""
        self.gone: Gone = Gone(GONE_MAX)
        self.catalogue: Catalogue = Catalogue()
        self.get: Callable[[str], Request | None] = self._by_id.get  # asked for every envelope

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def __contains__(self, request_id: object) -> bool:
        return request_id in self._by_id

    def __getitem__(self, request_id: str) -> Request:
        return self._by_id[request_id]

    def values(self) -> ValuesView[Request]:
        """Return all requests, in the order in which they became known."""
        return self._by_id.values()

    @property
    def live_count(self) -> int:
        """How many have not ended."""
        return self._counts[RequestPhase.WAITING] + self._counts[RequestPhase.OPEN]

    def count(self, phase: RequestPhase) -> int:
        """How many are WAITING, OPEN or SEALED."""
        return self._counts[phase]

    def held_by(self, actor_id: str) -> list[Request]:
        """Return the requests whose session or log an actor holds, and those that wait for it to start."""
        return [*self._by_actor.get(actor_id, {}).values()]

    def copied_on(self, actor_id: str) -> list[Request]:
        """Return the ended requests of which an actor keeps, or gets, a copy."""
        return [*self._by_copy.get(actor_id, {}).values()]

    def copy_count(self, actor_id: str) -> int:
        """How many copies an actor keeps, or gets."""
        return len(self._by_copy.get(actor_id, ()))

    def of_agent(self, agent_id: str) -> list[Request]:
        """Return the live requests of an agent."""
        return [*self._by_agent.get(agent_id, {}).values()]

    # --- changes ----------------------------------------------------------------------------

    def add(self, request: Request) -> None:
        """Take in a request, in place of another one of its ID, if there is one."""
        known = self._by_id.get(request.request_id)
        if known is not None:
            self.remove(known)
        self._by_id[request.request_id] = request
        self.catalogue.add(request)
        self.kept_bytes += len(request.labels)
        self._counts[request.phase] += 1
        self._index(request, request.actor_id)
        self._index_agent(request)

    def remove(self, request: Request) -> None:
        """Forget a request."""
        self.drop_log(request)
        self._unindex(request)
        self._unindex_agent(request)
        if request.copy_id is not None:
            self.copy(request, None)
        self._counts[request.phase] -= 1
        self.kept_bytes -= len(request.labels)
        self.catalogue.remove(request)
        del self._by_id[request.request_id]
        self.gone.add(request.request_id, request.epoch, request.created)

    def reserve(self, request: Request, actor_id: str) -> None:
        """See `Request.reserve`."""
        self._unindex(request)
        request.reserve(actor_id)
        self._index(request, actor_id)

    def place(self, request: Request, actor_id: str) -> None:
        """See `Request.place`."""
        self._unindex(request)
        self._change(request, request.place, actor_id)
        self._index(request, actor_id)

    def unplace(self, request: Request, now: float) -> None:
        """See `Request.unplace`."""
        self._unindex(request)
        self._change(request, request.unplace, now)

    def seal(self, request: Request, stop_reason: str, forget_at: float) -> None:
        """See `Request.seal`."""
        if request.actor_id is None:
            self._unindex(request)
        self._change(request, request.seal, stop_reason, forget_at)
        self._unindex_agent(request)

    def describe_again(self, request: Request, date: str, agent_id: str | None, agent_number: int) -> None:
        """See `Request.describe_again`."""
        self._unindex_agent(request)
        self.catalogue.remove(request)
        request.describe_again(date, agent_id, agent_number)
        self.catalogue.add(request)
        self._index_agent(request)

    def hold(self, request: Request, actor_id: str | None) -> None:
        """See `Request.hold`."""
        self._unindex(request)
        request.hold(actor_id)
        self._index(request, actor_id)

    def copy(self, request: Request, actor_id: str | None) -> None:
        """See `Request.copy_to`."""
        if request.copy_id is not None:
            _discard(self._by_copy, request.copy_id, request.request_id)
        request.copy_to(actor_id)
        if actor_id is not None:
            self._by_copy.setdefault(actor_id, {})[request.request_id] = request

    def keep(self, request: Request, log: bytes) -> None:
        """Keep the log of an ended request."""
        self.drop_log(request)
        request.keep(log)
        self.kept_bytes += len(log)
        self._kept[request.request_id] = request

    def drop_log(self, request: Request) -> None:
        """Keep its log no longer."""
        if request.log is not None:
            self.kept_bytes -= len(request.log)
            request.keep(None)
            del self._kept[request.request_id]

    def kept_longest(self, *, but: Request) -> Request | None:
        """Return the request whose log has been kept longest, but for this one; None where there is none."""
        first = next(iter(self._kept.values()), None)
        if first is but:
            self._kept.move_to_end(but.request_id)
            first = next(iter(self._kept.values()))
        return None if first is but else first

    def _change(self, request: Request, change: Callable[_P, None], *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Let it change, and count its phase anew."""
        phase = request.phase
        self.catalogue.take_phase(request)
        try:
            change(*args, **kwargs)
        finally:  # a change that is not allowed has changed nothing
            self._counts[phase] -= 1
            self._counts[request.phase] += 1
            self.catalogue.put_phase(request)

    def _index(self, request: Request, actor_id: str | None) -> None:
        if actor_id is not None:
            self._by_actor.setdefault(actor_id, {})[request.request_id] = request

    def _unindex(self, request: Request) -> None:
        actor_id = request.actor_id or request.awaits
        if actor_id is not None:
            _discard(self._by_actor, actor_id, request.request_id)

    def _index_agent(self, request: Request) -> None:
        if request.agent_id is not None and request.is_live:
            self._by_agent.setdefault(request.agent_id, {})[request.request_id] = request

    def _unindex_agent(self, request: Request) -> None:
        if request.agent_id is not None:
            _discard(self._by_agent, request.agent_id, request.request_id)

    # --- whether that is right --------------------------------------------------------------

    def validate(self) -> list[str]:
        """Return what is inconsistent, a line each; meant for tests, for it looks at everything."""
        found = [line for request in self._by_id.values() for line in _validate(request)]
        found += [*self._wrong_counts(), *self._wrong_places(), *self._wrong_agents(), *self._wrong_logs()]
        return [*found, *self.catalogue.validate(self._by_id)]

    def _wrong_counts(self) -> Iterator[str]:
        for phase, count in self._counts.items():
            right = sum(1 for request in self._by_id.values() if request.phase == phase)
            if count != right:
                yield f"{count} requests are counted as {phase}, {right} are"

    def _wrong_places(self) -> Iterator[str]:
        for request in self._by_id.values():
            place = request.actor_id or request.awaits
            if place is not None and self._by_actor.get(place, {}).get(request.request_id) is not request:
                yield f"{request.request_id}: it is not listed as held by {place}"
        for actor_id, held in self._by_actor.items():
            for request in held.values():
                if actor_id not in (request.actor_id, request.awaits) or self.get(request.request_id) is not request:
                    yield f"{request.request_id}: {actor_id} is listed as its holder, and it is at {request.actor_id}"
        listed = {(actor_id, request_id) for actor_id, kept in self._by_copy.items() for request_id in kept}
        copies = {(r.copy_id, r.request_id) for r in self._by_id.values() if r.copy_id is not None}
        if listed != copies:
            yield f"copies are listed as {sorted(listed)}, the requests say {sorted(map(str, copies))}"

    def _wrong_agents(self) -> Iterator[str]:
        listed = {(agent_id, request_id) for agent_id, of_it in self._by_agent.items() for request_id in of_it}
        live = {(r.agent_id, r.request_id) for r in self._by_id.values() if r.is_live and r.agent_id is not None}
        if listed != live:
            yield f"live requests of agents are listed as {sorted(listed)}, they are {sorted(map(str, live))}"

    def _wrong_logs(self) -> Iterator[str]:
        logs = {request.request_id: request.log for request in self._by_id.values() if request.log is not None}
        kept = sum(map(len, logs.values())) + sum(len(request.labels) for request in self._by_id.values())
        if kept != self.kept_bytes:
            yield f"{self.kept_bytes} bytes of logs and labels are counted, {kept} are kept"
        if {*self._kept} != logs.keys():
            yield "the order of logs names others than those that are kept"


def _discard(index: dict[str, dict[str, Request]], actor_id: str, request_id: str) -> None:
    held = index.get(actor_id)
    if held is not None:
        held.pop(request_id, None)
        if not held:
            del index[actor_id]


def _validate(request: Request) -> list[str]:
    wrong = {
        "it is open without an actor": request.phase == RequestPhase.OPEN and request.actor_id is None,
        "it waits and has an actor": request.phase == RequestPhase.WAITING and request.actor_id is not None,
        "it waits for an actor though it does not wait": request.awaits is not None
        and request.phase != RequestPhase.WAITING,
        "it has ended without a stop reason": request.phase == RequestPhase.SEALED and request.stop_reason is None,
        "it is live and has a stop reason": request.is_live and request.stop_reason is not None,
        "it is live and a log of it is kept": request.is_live and (request.log or request.copy_id) is not None,
        "it is open in no epoch": request.phase == RequestPhase.OPEN and request.epoch < 1,
        "more was sent than any session may have had": request.sent_seq > max(request.high_seq, request.start_seq - 1),
    }
    return [f"{request.request_id}: {what}" for what, is_so in wrong.items() if is_so]
