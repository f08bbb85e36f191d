"""Calls: what a client asks of a router actor, one shape a method. Each may be made twice.

| method | argument | answer |
| --- | --- | --- |
| `open` | `OpenCall` | `OpenAnswer` |
| `feed` | client ID, `Seen`, frames of `ItemsEnvelope`s | `News` |
| `watch` | `WatchCall` | `News` |
| `locate` | `LocateCall` | `News` of the requests asked for |
| `claim` | `ClaimCall` | `ClaimAnswer` |
| `release` | `ReleaseCall` | None |
| `fence` | `FenceCall` | the highest fencing number known of the agent |
| `forget` | request ID, number (0: which is it?), client ID | error or None, number |
| `list` | `ListCall` (`finding.py`) | `ListAnswer` |
"""

from __future__ import annotations

from typing import Any, NamedTuple

from actors.errors import ProtocolViolation
from actors.protocol.labels import NO_LABELS

WATCH_WAIT_S_MAX = 4.0
"""No watch waits longer, whatever it asks for."""


class Registration(NamedTuple):
    """What a publisher says to open a request, or to take it up again with a router that may not know it."""

    request_id: str
    settings_packed: bytes
    date: str
    """What its messages are dated with (ISO 8601)."""
    agent_id: str | None
    take_over: bool
    """Go on with a request whose publisher is gone."""
    epoch: int
    """The epoch that the publisher knows; 0: the request is new."""
    sent_seq: int
    """The last item that it has sent, in whatever epoch: readers may have seen what came of it."""
    start_seq: int
    """The first item that it can send again."""
    cancel: str | None
    """A cancel that it knows of."""
    agent_number: int
    """The fencing number with which it was granted its agent; 0: it claims none."""
    labels: bytes = NO_LABELS
    """See `labels.py`."""
    created: int = 0
    """The number with which it was created, where its publisher knows it; see `finding.py`."""


class OpenCall(NamedTuple):
    """Open requests, or take them up again."""

    client_id: str
    call_no: int
    """Calls of a client that open are numbered: one that comes again, or late, begins nothing anew."""
    seen: list[Any]
    """`Seen`."""
    registrations: list[Any]
    """The parts of `Registration`s."""


class OpenAnswer(NamedTuple):
    """What became of each registration, and the client's news."""

    errors: list[Any]
    """For each: None, or (code, text) of the refusal."""
    created: list[Any]
    """For each: the number with which it was created; 0 where it was refused."""
    news: list[Any]
    """The parts of `News`."""


class WatchCall(NamedTuple):
    """Wait for news."""

    client_id: str
    seen: list[Any]
    wait_s: float


class LocateCall(NamedTuple):
    """Say where requests are, and tell the client of them from now on."""

    client_id: str
    call_no: int
    """Calls of a client are numbered: of two, the one made first may come last."""
    request_ids: list[Any]
    losses: list[Any]
    """Requests that the client is not interested in any more."""


class ClaimCall(NamedTuple):
    """Claim an agent for a request."""

    client_id: str
    request_id: str
    agent_id: str
    when_busy: str
    """reject, queue or interrupt."""
    is_held: bool
    """The client holds the agent and says so to a router that may have forgotten."""
    token: str
    """Which of the client's publishers claims it."""
    number: int
    """The fencing number that it was granted, where it holds the agent, or has fenced all routers with it; or a
    higher one that a router knows of."""


class ReleaseCall(NamedTuple):
    """Let go of an agent."""

    client_id: str
    request_id: str
    token: str
    has_ended: bool
    """The request's router has said that it is over; otherwise it may still run, and is fenced out before the agent
    goes on."""


class FenceCall(NamedTuple):
    """Accept nothing more from requests of an agent with a lower number; the answer is the highest number known."""

    agent_id: str
    number: int
    request_id: str
    """The request that the agent has gone on to."""


class ClaimAnswer(NamedTuple):
    """What became of a claim."""

    error: list[Any] | None
    """(code, text) of the refusal."""
    state: list[Any]
    """The parts of a `ClaimState`."""


SEEN_PARTS = 2


def check_id(who: object) -> None:
    """Raise ProtocolViolation unless this can be the ID of a client or of a stream actor."""
    if not isinstance(who, str):
        raise ProtocolViolation(f"the ID of a client or of a stream actor is text, not {type(who).__name__}")


def check_caller(client_id: object, seen: object) -> None:
    """Raise ProtocolViolation unless these are a client's ID and its `Seen`."""
    check_id(client_id)
    if isinstance(seen, (list, tuple)) and len(seen) == SEEN_PARTS:
        incarnation, version = seen
        if (incarnation is None or isinstance(incarnation, str)) and type(version) is int:
            return
    raise ProtocolViolation(f"what a client has seen is [incarnation or None, version], not {str(seen)[:80]!r}")
