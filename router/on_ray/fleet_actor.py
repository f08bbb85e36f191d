"""One stream actor as its router's shell sees it: what waits for it, and what is on its way there."""

from __future__ import annotations

import asyncio
import time
from typing import Any, NamedTuple

from actors.protocol.envelopes import Envelope, Order
from actors.protocol.frames import cut_into_frames
from actors.protocol.lane import CALL_BYTES_MAX, Fifo, Lane
from actors.transport.line import Line
from actors.transport.posting import Posting

# (To ask the enum for a member takes as long as a call.)
_DATA = int(Order.DATA)

ANSWERED_EVERY_S = 1.0
"""One frame in so long is waited for, where many are not, so that it is known how long they take."""


class Delivery(NamedTuple):
    """What crosses to a stream actor under one number, perhaps in several frames."""

    frame_no: int
    frames: list[bytes]
    envelopes: list[Envelope]
    since: float
    """When the first of them came."""
    left_at: float
    """When it first left."""

    @property
    def size_bytes(self) -> int:
        """How many bytes cross."""
        return sum(map(len, self.frames))


class Posted(NamedTuple):
    """A delivery that was posted; `answered`: what is done when another may follow, None: now."""

    delivery: Delivery
    answered: asyncio.Future[None] | None


class FleetActor:
    """One stream actor: its handle and a line to it (None until Ray has made it), its lane, when it was last heard."""

    __slots__ = (
        "_answered_at",
        "_has_orders",
        "_lane",
        "_next",
        "_next_bytes",
        "busy",
        "frame_no",
        "handle",
        "heard_at",
        "is_started",
        "line",
        "posting",
        "queues",
        "settled",
        "waits_since",
    )

    def __init__(self, now: float) -> None:
        self.handle: Any = None
        self.line: Any = None
        self.posting: Posting[Delivery] | None = None
        self.frame_no: int = 0
        self.heard_at: float = now
        self.is_started: bool = False
        # Set when it has started, or has failed to.
        self.settled: asyncio.Event = asyncio.Event()
        # What fits into the next frame whole waits in the order in which it came; only beyond that is
        # there anything to share out, by the lane, and what waits there is younger.
        self._next: list[Envelope] = []
        self._next_bytes = 0
        # Whether anything but items is among it.
        self._has_orders = False
        self._lane: Lane[str, Envelope] = Lane()
        # By request; what waits in the lane waits in one of them.
        self.queues: dict[str, Fifo[Envelope]] = {}
        self.busy: bool = False
        self._answered_at = 0.0
        self.waits_since: float | None = None

    def reach_by(self, handle: Any, line: Line, posting: Posting[Delivery] | None = None) -> None:
        """Ray has made it. `posting`: what goes there without being waited for."""
        self.handle = handle
        self.line = line
        self.posting = posting

    def close(self) -> None:
        """Send nothing more there."""
        self.line.close()
        if self.posting is not None:
            self.posting.close()

    @property
    def waits(self) -> bool:
        """Whether anything waits to leave."""
        return bool(self._next or self.queues)

    @property
    def has_failed(self) -> bool:
        """Whether something is to leave again, before anything else."""
        return self.posting is not None and self.posting.has_failed

    @property
    def waits_for_no_answer(self) -> bool:
        """Whether what waits may go without being waited for: items alone, a little of them, and not all the time."""
        posting = self.posting
        if posting is None or self._has_orders or self.queues or not posting.has_room(self._next_bytes):
            return False
        return time.monotonic() <= self._answered_at + ANSWERED_EVERY_S

    def put(self, request_id: str, envelope: Envelope, size_bytes: int) -> None:
        """Let an envelope wait for the next call."""
        if self.waits_since is None:
            self.waits_since = time.monotonic()
        next_bytes = self._next_bytes + size_bytes
        if not self.queues and (next_bytes <= CALL_BYTES_MAX or not self._next):
            self._next.append(envelope)
            self._next_bytes = next_bytes
            if envelope[0] != _DATA:
                self._has_orders = True
            return
        queue = self.queues.get(request_id)
        if queue is None:
            queue = self.queues[request_id] = Fifo()
        queue.put(envelope, size_bytes)
        self._lane.offer(request_id, queue)

    def take(self) -> list[Envelope]:
        """Return the envelopes of the next call; none where nothing waits."""
        if self._next:
            envelopes, self._next, self._next_bytes, self._has_orders = self._next, [], 0, False
        else:
            taken = self._lane.take()
            self._lane.done()
            for request_id, _ in taken:
                if self.queues[request_id].is_empty:
                    del self.queues[request_id]
            envelopes = [envelope for _, found in taken for envelope in found]
        return envelopes

    def was_answered(self, delivery: Delivery) -> float:
        """A delivery has had an answer of its own; return the seconds since the first of it came."""
        self._answered_at = time.monotonic()
        return self._answered_at - delivery.since

    def next_delivery(self) -> Delivery | None:
        """Return what is to leave next, under its number; None where nothing waits."""
        envelopes = self.take()
        if not envelopes:
            return None
        now = time.monotonic()
        since, self.waits_since = self.waits_since, now if self.queues else None  # what is left counts from now
        self.frame_no += 1
        return Delivery(self.frame_no, cut_into_frames(envelopes), envelopes, now if since is None else since, now)
