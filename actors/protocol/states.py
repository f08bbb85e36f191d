"""States: what comes back. Level, not edge: a later state replaces an earlier one, so a lost one does no harm.

A stream actor says of each of its sessions how it stands (`Report`), in the answers of calls that are
made anyway or in a call of its own. A router says to each of its clients what is newer than what the
client has seen (`News`): of a request that the client publishes a `PublisherState`, of one that it
reads a `ReaderState`, of an agent that one of its requests claims a `ClaimState`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

from actors.errors import ProtocolViolation
from actors.protocol.frames import checked

# --- from a stream actor --------------------------------------------------------------------------


class SessionPhase(IntEnum):
    """Where a session stands. Numbers, since they cross in every report."""

    OPEN = 0
    SEALED = 1
    UNKNOWN = 2
    """There is no such session on this actor."""
    GAP = 3
    """Open, and an item before those that came is missing: `next_seq` is wanted."""
    COPY = 4
    """No session: a second copy of the log of an ended request."""
    GONE = 5
    """No session: there was one, of a request that has ended, and its time to live is over."""


class Report(NamedTuple):
    """How one session stands."""

    request_id: str
    epoch: int
    phase: int
    """A `SessionPhase`."""
    next_seq: int = 1
    """The item wanted next."""
    last_seq_id: int = 0
    """The newest message."""
    released: int = 0
    """The last message that every attached reader has consumed."""
    credit_bytes: int = 0
    """How many bytes of items the publisher may have sent in all."""
    stop_reason: str | None = None
    """Why it ended; None while it is open."""
    log: bytes | None = None
    """The sealed log, packed, until the router says that it has stored it."""
    received_bytes: int = 0
    """How many bytes of items have come in all."""
    usage: dict[str, Any] | None = None
    """The token counts of an ended one."""


class SessionRecord(NamedTuple):
    """What a router without memory must know of a session beside its report."""

    settings: bytes
    publisher_id: str
    date: str | None
    age_s: float
    """Seconds since the request was opened."""
    ttl_s: float
    """Seconds that an ended request stays readable."""
    start_seq: int
    replay_through: int
    ending: list[Any] | None
    """An end from outside that waits for items: (stop reason, detail)."""
    cancels_after_step: bool
    owner: Sequence[Any] = ()
    """What only routers read; see `envelopes.Owner`."""


class Inventory(NamedTuple):
    """One session of an actor that a restarted router adopts."""

    report: list[Any]
    """The parts of a `Report`, without its log."""
    record: dict[str, Any]
    """A `SessionRecord` by the names of its parts; of one that is gone, the `Forgotten` that is kept of it."""


# --- from a router to its clients ------------------------------------------------------------------


class Role(StrEnum):
    """What a client is to a request."""

    PUBLISHER = "p"
    READER = "r"
    AGENT = "a"
    """It claims an agent for it."""


Key = tuple[str, str]
"""What a client is told about: (role, request ID)."""


class RequestPhase(StrEnum):
    """Where a request stands, as a router says it to a client."""

    WAITING = "waiting"
    """No stream actor holds it yet, or its next publisher is still being told how far it has come."""
    OPEN = "open"
    GAP = "gap"
    """Open, and the item `next_seq` is wanted again."""
    SEALED = "sealed"
    UNKNOWN = "unknown"
    """The router knows no such request of this client."""
    RECOVERING = "recovering"
    """A restarted router cannot say yet whether there is such a request."""
    REFUSED = "refused"


class ClaimPhase(StrEnum):
    """Where a request's claim to its agent stands."""

    HELD = "held"
    QUEUED = "queued"
    FENCING = "fencing"
    """Granted, and held as soon as all routers have been told its fencing number."""
    BUSY = "busy"
    """Another request holds the agent, and this one does not want to wait."""
    INTERRUPTED = "interrupted"
    UNKNOWN = "unknown"


class PublisherState(NamedTuple):
    """What the publisher of a request must know."""

    role: str
    request_id: str
    epoch: int
    phase: str
    """A `RequestPhase`."""
    next_seq: int
    """The item wanted next."""
    credit_bytes: int
    """How many bytes of items may be sent in all."""
    cancel: str | None
    """Somebody asked to cancel: "now" or "after_step"."""
    stop_reason: str | None
    error: Any
    """Why it was refused: (code, text); None otherwise."""
    received_bytes: int = 0
    """How many bytes of items its session has had, from whatever publisher."""


class ReaderState(NamedTuple):
    """Where a reader finds a request."""

    role: str
    request_id: str
    phase: str
    """A `RequestPhase`."""
    actor_id: str | None
    """The stream actor that holds it; None while none does."""
    epoch: int
    created: int = 0
    """The number with which it was created (`finding.py`): another one is another request; 0: not known."""


class ClaimState(NamedTuple):
    """How a request's claim to its agent stands."""

    role: str
    request_id: str
    phase: str
    """A `ClaimPhase`."""
    number: int
    """The fencing number that was granted; 0: none yet."""


State = PublisherState | ReaderState | ClaimState

_STATES: dict[str, type[State]] = {
    Role.PUBLISHER: PublisherState,
    Role.READER: ReaderState,
    Role.AGENT: ClaimState,
}

Seen = tuple[str | None, int]
"""What a client has seen: (incarnation that it knows, or None; version)."""


class News(NamedTuple):
    """All that is newer than what a client has seen."""

    incarnation: str
    """Of this router's memory of the client; another one means that it was forgotten. See `memory_id`."""
    version: int
    """What the client has seen once it has taken these states."""
    states: list[Any]
    """The parts of `PublisherState`, `ReaderState` or `ClaimState`, each by its role."""


def memory_id(router_incarnation: str, generation: int) -> str:
    """Return the ID of one memory that a router has of a client: `News.incarnation`."""
    return f"{router_incarnation}/{generation}"


def router_of(memory: str) -> str:
    """Return whose memory of a client it is: another one only where the router has restarted."""
    return memory.rsplit("/", 1)[0]


def state_of(parts: Any) -> State:
    """Return the state that came as these parts. Raises ProtocolViolation for what is not one."""
    is_row = isinstance(parts, (list, tuple)) and parts and isinstance(parts[0], str)
    shape = _STATES.get(parts[0]) if is_row else None
    if shape is None:
        raise ProtocolViolation(f"a state begins with the role {'/'.join(_STATES)}; this is {str(parts)[:80]!r}")
    return checked(shape, parts)
