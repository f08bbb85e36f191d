"""What `describe()` returns: who runs, where, and with how much in hand."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel


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
    """One stream actor as its router sees it. `unknown_events`: what providers sent that no adapter knows, counted."""

    actor_id: str
    pid: int
    node_id: str
    state: Literal["starting", "ready", "retiring"]
    open_requests: int
    served: int
    unknown_events: dict[str, int] = {}


class RequestDescription(BaseModel):
    """One request. `last_seq_id` is what its actor last reported; it may be further by now."""

    request_id: str
    state: Literal["waiting", "open", "sealed"]
    actor_id: str | None
    epoch: int
    stop_reason: str | None
    last_seq_id: int
    agent_id: str | None


class Description(BaseModel):
    """A router of one name: its router actors, their stream actors, and all requests they know."""

    name: str
    namespace: str
    routers: list[RouterDescription]
    stream_actors: list[StreamActorDescription]
    requests: list[RequestDescription]
