"""What `describe()` and `overview()` return: how the routers of one name stand right now.

A `Description` lists every request. An `Overview` lists only the open requests with the greatest lag, and
gives totals from which rates can be taken; it costs the same with ten thousand requests.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel

from actors.protocol.states import RequestPhase
from actors.tenants import PLAIN, Names
from router.config import RouterConfig
from router.core.pool import Slot
from router.core.registry import Registry
from router.core.request import Request


class RouterDescription(BaseModel):
    """One router actor. `counts` are totals since its start; `ended_by` requests by stop reason.

    `refused_by`: opens and malformed frames refused, by the code of the error. `ignored_by`: items that came at the
    wrong time or from another publisher, as they may after a crash.
    """

    actor_id: str
    pid: int
    node_id: str
    state: Literal["ready", "draining"]
    open_requests: int
    counts: dict[str, int]
    ended_by: dict[str, int]
    refused_by: dict[str, int]
    ignored_by: dict[str, int]
    clients: int


class StreamActorDescription(BaseModel):
    """One stream actor as its router sees it.

    `unknown_events`: what providers sent that no adapter knows, counted. `transport`: what carries its router's calls
    to it, and `transport_why` why that is Ray, where it is.
    """

    actor_id: str
    pid: int
    node_id: str
    state: Literal["starting", "ready", "retiring"]
    open_requests: int
    served: int
    unknown_events: dict[str, int] = {}
    transport: Literal["ray", "local", "network"] = "ray"
    transport_why: str = ""


class RequestDescription(BaseModel):
    """One request. `last_seq_id` is what its actor last reported; it may be further by now.

    `waits_for`: what a request in the state `waiting` waits for, in words.
    """

    request_id: str
    state: Literal["waiting", "open", "sealed"]
    actor_id: str | None
    epoch: int
    stop_reason: str | None
    last_seq_id: int
    agent_id: str | None
    waits_for: str | None = None


class LineDescription(BaseModel):
    """A line from this process to an actor: what carries its calls, and why that is Ray, where it is."""

    actor_id: str
    transport: Literal["ray", "local", "network"]
    transport_why: str


class Description(BaseModel):
    """What `describe()` returns: the router actors of one name, their stream actors, all requests that they know.

    `lines`: those of the process that asked, to the routers and to the stream actors that it reads from.
    """

    name: str
    namespace: str
    routers: list[RouterDescription]
    stream_actors: list[StreamActorDescription]
    requests: list[RequestDescription]
    lines: list[LineDescription] = []


class RouterOverview(BaseModel):
    """One router actor. `counts`, `ended_by` and `refused_by` are totals since it (re)started."""

    actor_id: str
    shard: int
    pid: int
    node_id: str
    state: Literal["ready", "draining"]
    waiting: int
    open: int
    sealed: int
    clients: int
    counts: dict[str, int]
    ended_by: dict[str, int]
    refused_by: dict[str, int]


class StreamActorOverview(BaseModel):
    """One stream actor. The totals are since it began; `answered` False: it did not say how it stands, all is 0."""

    actor_id: str
    shard: int
    pid: int
    node_id: str
    state: Literal["starting", "ready", "retiring"]
    open: int
    served: int
    answered: bool
    sealed: int = 0
    chunks: int = 0
    chunk_bytes: int = 0
    messages: int = 0
    credit_waits: int = 0
    readers: int = 0
    bytes_held: int = 0
    unread_bytes: int = 0
    lag_max: int = 0


class StreamOverview(BaseModel):
    """One open request. `lag`: messages that its slowest reader, or nobody at all, has not consumed."""

    request_id: str
    actor_id: str
    epoch: int
    provider: str
    messages: int
    lag: int
    unread_bytes: int
    age_s: float | None
    agent_id: str | None


class Overview(BaseModel):
    """What `overview()` returns: router actors, their stream actors, and the open requests with the greatest lag."""

    name: str
    namespace: str
    routers: list[RouterOverview]
    stream_actors: list[StreamActorOverview]
    streams: list[StreamOverview]

    @property
    def open(self) -> int:
        """Open requests, those that wait for a place with them."""
        return sum(router.open + router.waiting for router in self.routers)

    @property
    def chunks(self) -> int:
        """Chunks taken in by the stream actors that run now."""
        return sum(actor.chunks for actor in self.stream_actors)


ALL_STREAMS = 1_000_000
"""So many laggards are asked for where they are then sorted by tenant."""


class Own:
    """The requests of one tenant that a router knows, counted."""

    def __init__(self, requests: Iterable[Request]) -> None:
        self.phases: Counter[str] = Counter()
        self.ended_by: Counter[str] = Counter()
        self.held_by: Counter[str] = Counter()
        self.open_on: Counter[str] = Counter()
        for request in requests:
            self.phases[request.phase.value] += 1
            if request.stop_reason is not None:
                self.ended_by[request.stop_reason] += 1
            if request.actor_id is not None:
                self.held_by[request.actor_id] += 1
                self.open_on[request.actor_id] += request.is_live

    @property
    def live_count(self) -> int:
        """How many have not ended."""
        return self.phases[RequestPhase.WAITING.value] + self.phases[RequestPhase.OPEN.value]


def totals(registry: Registry, own: Own | None) -> dict[str, Any]:
    """Return a router actor's counters; `own`: as a tenant sees them, who sees what is known of their requests now."""
    if own is None:
        return {
            "clients": len(registry.clients),
            "counts": dict(registry.counts),
            "ended_by": dict(registry.ended_by),
            "refused_by": dict(registry.refused_by),
        }
    known = {
        "opened": own.phases.total(),
        "sealed": own.phases[RequestPhase.SEALED.value],
        "lost": own.ended_by["lost"],
    }
    return {
        "clients": 0,
        "counts": {**dict.fromkeys(registry.counts, 0), **known},
        "ended_by": dict(own.ended_by),
        "refused_by": {},
    }


def of_shard(
    registry: Registry,
    config: RouterConfig,
    shard: int,
    now: float,
    looks: Mapping[str, Mapping[str, Any]],
    node_id: str,
    names: Names = PLAIN,
) -> dict[str, Any]:
    """Return one router actor's part as plain data; `looks`: the last answer of each stream actor's `measure`.

    `names`: of the caller; of a tenant, all is of its own requests that are known now.
    """
    own = None if names.sees_all else Own(r for r in registry.requests.values() if names.sees(r.request_id))
    if own is not None:
        looks = {actor_id: _own_look(look, names) for actor_id, look in looks.items() if actor_id in own.held_by}
    shown = (RequestPhase.WAITING, RequestPhase.OPEN, RequestPhase.SEALED)
    phases = {
        phase.value: registry.requests.count(phase) if own is None else own.phases[phase.value] for phase in shown
    }
    return {
        "router": {
            "actor_id": config.router_name(shard),
            "shard": shard,
            "pid": os.getpid(),
            "node_id": node_id,
            "state": "draining" if registry.admission.draining else "ready",
            **phases,
            **totals(registry, own),
        },
        "stream_actors": [
            {
                "actor_id": config.stream_actor_name(shard, slot.actor_id),
                "shard": shard,
                **_stream_actor(slot, own),
                **_measures(looks.get(slot.actor_id)),
            }
            for slot in registry.pool.slots.values()
            if own is None or slot.actor_id in own.held_by
        ],
        "streams": [
            stream
            for actor_id, look in looks.items()
            for stream in _streams(registry, config.stream_actor_name(shard, actor_id), look, now, names)
        ],
    }


def _stream_actor(slot: Slot, own: Own | None) -> dict[str, Any]:
    return {
        "pid": slot.pid,
        "node_id": slot.node_id,
        "state": slot.state.value,
        "open": slot.load if own is None else own.open_on[slot.actor_id],
        "served": slot.served if own is None else own.held_by[slot.actor_id],
    }


def _own_look(look: Mapping[str, Any], names: Names) -> dict[str, Any]:
    """Return what a stream actor said, without what it said of the requests of others and of all together."""
    laggards = [laggard for laggard in look["laggards"] if names.sees(laggard[0])]
    return {
        **dict.fromkeys(("sealed", "credit_waits", "readers", "bytes_held"), 0),
        "unread_bytes": sum(unread_bytes for _, _, _, _, unread_bytes, _ in laggards),
        "lag_max": max((lag for _, _, _, lag, _, _ in laggards), default=0),
        "providers": {"": [0, 0, sum(messages for _, _, messages, _, _, _ in laggards), []]},
        "laggards": laggards,
    }


def _measures(look: Mapping[str, Any] | None) -> dict[str, Any]:
    if look is None:
        return {"answered": False}
    providers = look["providers"].values()
    return {
        "answered": True,
        **{key: look[key] for key in ("sealed", "credit_waits", "readers", "bytes_held", "unread_bytes", "lag_max")},
        "chunks": sum(chunks for chunks, _, _, _ in providers),
        "chunk_bytes": sum(chunk_bytes for _, chunk_bytes, _, _ in providers),
        "messages": sum(messages for _, _, messages, _ in providers),
    }


def _streams(
    registry: Registry, actor_id: str, look: Mapping[str, Any], now: float, names: Names
) -> list[dict[str, Any]]:
    streams = []
    for request_id, epoch, messages, lag, unread_bytes, provider in look["laggards"]:
        request = registry.requests.get(request_id)
        streams.append(
            {
                "request_id": names.own(request_id),
                "actor_id": actor_id,
                "epoch": epoch,
                "provider": provider,
                "messages": messages,
                "lag": lag,
                "unread_bytes": unread_bytes,
                "age_s": None if request is None else now - request.opened_at,
                "agent_id": None if request is None or request.agent_id is None else names.own(request.agent_id),
            }
        )
    return streams
