"""The second copies of ended requests: logs that this actor keeps for the one that shows them to readers.

A copy is bytes and a time to live; it costs nothing but its size until it is adopted, that is, made a
session, because the actor that held the request is gone. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from actors.protocol.deadlines import Schedule
from actors.protocol.envelopes import CopyEnvelope, RestoreEnvelope
from actors.protocol.states import Inventory, Report, SessionPhase, SessionRecord


class Copy(NamedTuple):
    """The sealed log of a request that another actor holds."""

    request_id: str
    epoch: int
    stop_reason: str
    log: bytes
    forget_at: float
    publisher_id: str
    owner: Sequence[Any]

    def report(self) -> Report:
        """Say that it is here."""
        return Report(self.request_id, self.epoch, SessionPhase.COPY, stop_reason=self.stop_reason)

    def inventory(self, now: float) -> Inventory:
        """Return what a router without memory must know of it."""
        record = SessionRecord(
            b"",
            self.publisher_id,
            None,
            0.0,
            self.forget_at - now,
            1,
            0,
            None,
            cancels_after_step=False,
            owner=self.owner,
        )
        return Inventory(list(self.report()), record._asdict())


def copy_of(envelope: CopyEnvelope | RestoreEnvelope, now: float) -> Copy:
    """Return what an envelope brings."""
    _, request_id, epoch, stop_reason, log, ttl_s, publisher_id, owner = envelope
    return Copy(request_id, epoch, stop_reason or "error", log, now + ttl_s, publisher_id, owner)


class Copies:
    """All copies of one actor, by request."""

    __slots__ = ("_copies", "_timeouts", "bytes_held", "due_at")

    def __init__(self) -> None:
        self._copies: dict[str, Copy] = {}
        self._timeouts: Schedule[str] = Schedule()
        self.due_at: Callable[[], float] = self._timeouts.due_at
        """When `tick` is wanted next."""
        self.bytes_held: int = 0

    def __len__(self) -> int:
        return len(self._copies)

    def __iter__(self) -> Iterator[str]:
        return iter(self._copies)

    def keep(self, envelope: CopyEnvelope, now: float) -> Copy:
        """Keep a copy, in the place of one of an earlier epoch; return the one that is kept."""
        request_id = envelope.request_id
        kept = self._copies.get(request_id)
        if kept is not None and kept.epoch > envelope.epoch:
            return kept
        self.take(request_id)
        copy = copy_of(envelope, now)
        self._copies[request_id] = copy
        self._timeouts.set(request_id, copy.forget_at)
        self.bytes_held += len(copy.log)
        return copy

    def get(self, request_id: str) -> Copy | None:
        """Return the copy of a request."""
        return self._copies.get(request_id)

    def take(self, request_id: str, epoch_max: int | None = None) -> Copy | None:
        """Give up the copy of a request, of this epoch or an older one; return it."""
        copy = self._copies.get(request_id)
        if copy is None or (epoch_max is not None and copy.epoch > epoch_max):
            return None
        del self._copies[request_id]
        self._timeouts.cancel(request_id)
        self.bytes_held -= len(copy.log)
        return copy

    def inventory(self, now: float) -> list[Inventory]:
        """Return what a router without memory must know of each."""
        return [copy.inventory(now) for copy in self._copies.values()]

    def tick(self, now: float) -> None:
        """Drop those whose time to live is over."""
        for request_id in self._timeouts.take_due(now):
            self.take(request_id)
