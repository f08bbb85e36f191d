"""Reads: what a reading process and a stream actor say to each other.

A reading process has one long poll on an actor for all its subscriptions there. With it, or in a call
of its own while the poll is out (`tell`), go operations on subscriptions. The answer to a poll is a
list of `Part`s, one for each subscription that has news, or one of the two answers below.

Through Ray a poll has one answer. Through a socket it is a `FollowCall`: the actor answers as often as it has
something, up to a number that the reader grants, and the reader renews the call before that is used up.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

from actors.protocol.frames import pack

POLL_WAIT_S_MAX = 20.0
"""No long poll waits longer, whatever it asks for."""

NOTHING = pack([])
"""The answer where nothing is new."""

FORGOTTEN = pack(None)
"""The answer to a reader that was silent for so long that its subscriptions were dropped: it begins anew."""


class Operation(IntEnum):
    """What a reader says of one of its subscriptions."""

    SUBSCRIBE = 0
    CONSUMED = 1
    DROP = 2
    OBSERVE = 3
    """Subscribe, and never count: neither for the producer's credit nor as somebody who reads."""


class Subscribe(NamedTuple):
    """Begin to read a request."""

    operation_no: int
    """Operations of a reader are numbered: a late one must not undo what followed it."""
    kind: int
    number: int
    """The subscription's number in its process."""
    request_id: str
    after: int
    """The last message that it has."""
    epoch: int
    """The epoch that the router named; an actor that has not got so far yet waits for it."""
    is_moving: bool
    """It has read an earlier session of the request, and has not seen its end."""


class Consumed(NamedTuple):
    """Acknowledge all messages up to a cursor."""

    operation_no: int
    """Always 0: cursors only rise, so their order does not matter."""
    kind: int
    number: int
    cursor: int


class Drop(NamedTuple):
    """Stop reading."""

    operation_no: int
    kind: int
    number: int


OPERATIONS: dict[int, type[Subscribe | Consumed | Drop]] = {
    Operation.SUBSCRIBE: Subscribe,
    Operation.CONSUMED: Consumed,
    Operation.DROP: Drop,
    Operation.OBSERVE: Subscribe,
}


class PollCall(NamedTuple):
    """The long poll of one reading process."""

    reader_id: str
    poll_no: int
    """The same number again gives the same answer again."""
    settled: int
    """No operation before this number will be sent again."""
    operations: list[Any]
    wait_s: float


ANSWERS_AHEAD_MAX = 256
"""No reader is given more answers than so many beyond the last that it is known to have had."""


GATHER_S_MAX = 0.1
"""No reader's news are gathered for longer, whatever it asks for."""


class FollowCall(NamedTuple):
    """The long poll of one reading process through a socket, answered as often as there is something to say."""

    reader_id: str
    poll_no: int
    """The first answer that it has not had; those before it are never asked for again."""
    settled: int
    operations: list[Any]
    wait_s: float
    """It has an answer at least so often, `NOTHING` if need be, and is over with that."""
    answers_max: int
    """So many answers may be given, from `poll_no` on."""
    renews: bool
    """It takes the place of the one before on the same connection: what that was given is on its way."""
    gather_s: float
    """What comes so soon after an answer may wait for what else comes; see `Reader.space`."""


class TellCall(NamedTuple):
    """Operations of a reader whose poll is out."""

    reader_id: str
    settled: int
    operations: list[Any]


class PartState(IntEnum):
    """How a subscription stands after a part."""

    OPEN = 0
    """More may come."""
    ENDED = 1
    """That was all."""
    UNKNOWN = 2
    """The request is not on this actor."""
    REFUSED = 3
    """What was asked for cannot be done; the subscription is over. `segments` is (code, text) of the error."""
    HURRIED = 4
    """More may come, but more is unread than the publisher may still send: acknowledge at once."""


class Part(NamedTuple):
    """One subscription's share of an answer."""

    number: int
    state: int
    """A `PartState`."""
    gap: Any
    """(first, last) of the messages that the log no longer holds, or None."""
    epoch: int
    segments: list[Any]
    """See `actors.protocol.segments`. The fields of one are None where it goes on with the message of the one
    before it, or that the subscription's last part ended in."""
