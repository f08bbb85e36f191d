"""Finding requests: what a client asks of a router's catalogue, and what it is told of each request.

Requests of one router are in the order of the numbers with which they were created: microseconds since 1970, each
number once, so that a number is a place in that order which no later request takes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from actors.protocol.states import RequestPhase

LIST_LIMIT_MAX = 10_000
"""No answer has more requests, whatever is asked for."""

NUMBER_MAX = (1 << 63) - 1
"""After every request."""

STATES = (RequestPhase.WAITING, RequestPhase.OPEN, RequestPhase.SEALED)
"""The phases that a request may be asked for by."""

LIST_WAIT_S_MAX = 4.0
"""No list is held back longer until something fits."""


class ListCall(NamedTuple):
    """List requests: those that fit all that is said here."""

    client_id: str
    agent_id: str | None
    tags: list[Any]
    """Pairs of a tag's name and its value, or None for any."""
    state: str | None
    """A `RequestPhase`, one of `STATES`."""
    since: int
    """Created with this number or a later one."""
    after: int
    """Behind this number, in the order asked for."""
    limit: int
    newest_first: bool
    wait_s: float = 0.0
    """Where nothing fits, the answer is held back so long until something does, or until all is known again."""


class ListAnswer(NamedTuple):
    """Requests in the order asked for."""

    rows: list[Any]
    """The parts of `Row`s."""
    through: int
    """All up to this number, in the order asked for, have been looked at: ask on after it."""
    is_all: bool
    """Nothing follows."""
    is_partial: bool = False
    """The router has restarted, and publishers may yet tell of requests that no stream actor holds."""


class Row(NamedTuple):
    """One request."""

    request_id: str
    created: int
    phase: str
    owner: str
    """The process that publishes it."""
    agent_id: str | None
    labels: bytes
    """See `labels.py`."""
    last_seq_id: int
    """The newest message that its router has heard of."""
    stop_reason: str | None
    usage: dict[str, Any] | None
    """Token counts of an ended request."""
