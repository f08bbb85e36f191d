"""Envelopes: what travels to a stream actor. Their order on one lane is the order in which they take effect.

A publisher's `ItemsEnvelope` goes to its router, which sends the packed items on, unread, as a `DataEnvelope`
to the stream actor that holds the request. The other envelopes are the router's own orders. Each
begins with its kind, the request's ID and the epoch it is meant for: an envelope of an epoch that is
over does nothing.

Items (see `items.py`) of a request are numbered from 1 (`seq`).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

from actors.protocol.labels import NO_LABELS


class Order(IntEnum):
    """The kinds of envelopes to a stream actor. Numbers, since they cross with every batch of items."""

    DATA = 0
    OPEN = 1
    END = 2
    CANCEL_AFTER_STEP = 3
    STORED = 4
    RESTORE = 5
    FORGET = 6
    COPY = 7
    ADOPT = 8


class Owner(NamedTuple):
    """What a router without memory must know again of a request, and no session reads."""

    agent_id: str | None = None
    agent_number: int = 0
    """The fencing number with which it was granted its agent."""
    created: int = 0
    """The number with which it was created; see `finding.py`."""
    labels: bytes = NO_LABELS


class ItemsEnvelope(NamedTuple):
    """Items from a publisher to its router."""

    request_id: str
    epoch: int
    """The epoch that the publisher knows."""
    first_seq: int
    """The number of the first item."""
    item_count: int
    """How many items there are."""
    packed_items: bytes
    """The items as a packed list; the router does not look into it."""


class DataEnvelope(NamedTuple):
    """Items on their way to the session of this epoch."""

    kind: int
    request_id: str
    epoch: int
    first_seq: int
    packed_items: bytes


class OpenEnvelope(NamedTuple):
    """Make a session for this epoch of a request, or say how the one that is there stands."""

    kind: int
    request_id: str
    epoch: int
    settings: bytes
    """The request's `StreamSettings`, packed."""
    publisher_id: str
    """The client that publishes it."""
    date: str
    """What its messages are dated with (ISO 8601)."""
    age_s: float
    """Seconds since the request was opened, in whatever epoch."""
    released: int
    """The last message that all readers had consumed in an earlier epoch."""
    start_seq: int
    """The first item that this session will ever get."""
    replay_through: int
    """The last item that a session of an earlier epoch may have had."""
    owner: list[Any]
    """What a router without memory must know again and no session reads; see `Owner`."""


class EndEnvelope(NamedTuple):
    """End the request from outside, once the items up to `after_seq` are in."""

    kind: int
    request_id: str
    epoch: int
    stop_reason: str
    detail: str | None
    after_seq: int


class CancelAfterStepEnvelope(NamedTuple):
    """End the request as cancelled when the step under way ends."""

    kind: int
    request_id: str
    epoch: int


class StoredEnvelope(NamedTuple):
    """The router holds the sealed log: the terminal may be shown."""

    kind: int
    request_id: str
    epoch: int
    ttl_s: float
    """How long it stays readable from now on: the router may have heard of the end late."""


class RestoreEnvelope(NamedTuple):
    """Hold the log of an ended request that another actor held before."""

    kind: int
    request_id: str
    epoch: int
    stop_reason: str | None
    log: bytes
    """The sealed log, packed."""
    ttl_s: float
    """How long it stays readable."""
    publisher_id: str
    """The client that published it. This and the next are for a router without memory, as in `OpenEnvelope`."""
    owner: list[Any]


class CopyEnvelope(NamedTuple):
    """Keep a second copy of the log of an ended request that another actor shows to readers.

    Answered by a report of the phase COPY.
    """

    kind: int
    request_id: str
    epoch: int
    stop_reason: str | None
    log: bytes
    """The sealed log, packed."""
    ttl_s: float
    """How long it is kept."""
    publisher_id: str
    """As in `RestoreEnvelope`."""
    owner: list[Any]


class AdoptEnvelope(NamedTuple):
    """Show to readers what was kept as a copy: the actor that held the request is gone.

    Answered by a report of the phase SEALED, with the log, until the router says STORED; of the phase
    UNKNOWN where there is no copy of this epoch.
    """

    kind: int
    request_id: str
    epoch: int


class ForgetEnvelope(NamedTuple):
    """Drop the session, and the copy, of this epoch or an older one."""

    kind: int
    request_id: str
    epoch: int


Envelope = (
    DataEnvelope
    | OpenEnvelope
    | EndEnvelope
    | CancelAfterStepEnvelope
    | StoredEnvelope
    | RestoreEnvelope
    | CopyEnvelope
    | AdoptEnvelope
    | ForgetEnvelope
)

ENVELOPES: dict[int, type[Envelope]] = {
    Order.DATA: DataEnvelope,
    Order.OPEN: OpenEnvelope,
    Order.END: EndEnvelope,
    Order.CANCEL_AFTER_STEP: CancelAfterStepEnvelope,
    Order.STORED: StoredEnvelope,
    Order.RESTORE: RestoreEnvelope,
    Order.FORGET: ForgetEnvelope,
    Order.COPY: CopyEnvelope,
    Order.ADOPT: AdoptEnvelope,
}
"""The shape of each kind of envelope."""
