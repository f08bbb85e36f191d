"""Which stream actor a new request goes to, and when the pool grows, shrinks and recycles.

Theory. An actor is STARTING, READY, RETIRING or gone. A new request gets an actor of its own while
the pool may grow; beyond that it goes to the least loaded, up to `max_streams_per_actor`; beyond
that there is no place, and the caller waits or is refused. Only open requests are load: an ended
one is only being read. An actor that has served many requests, or has had none for long, retires:
it takes nothing new, and goes when its last open request has ended.

Decisions only. Starting and stopping actors is what the router's shell does with them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class ActorState(Enum):
    """Where a stream actor of the pool stands."""

    STARTING = "starting"
    READY = "ready"
    RETIRING = "retiring"


@dataclass(slots=True, eq=False)
class Slot:
    """One stream actor as the pool sees it."""

    actor_id: str
    state: ActorState = ActorState.STARTING
    open_requests: set[str] = field(default_factory=set)
    served: int = 0
    idle_since: float = 0.0
    pid: int = 0
    node_id: str = ""

    @property
    def load(self) -> int:
        """How many open requests it holds."""
        return len(self.open_requests)


class Pool:
    """The stream actors of one router actor."""

    def __init__(
        self,
        *,
        max_actors: int,
        warm_actors: int,
        max_streams_per_actor: int,
        idle_ttl_s: float,
        recycle_after_requests: int,
    ) -> None:
        self._max_actors = max_actors
        self._warm_actors = warm_actors
        self._max_streams = max_streams_per_actor
        self._idle_ttl_s = idle_ttl_s
        self._recycle_after = recycle_after_requests
        self._made = 0
        self.slots: dict[str, Slot] = {}

    def place(self, request_id: str, *, is_under_way: bool = False) -> tuple[Slot | None, bool]:
        """Choose where a request goes: (slot, True if that slot's actor must now be started).

        (None, False): there is no place. A request that is under way and has lost its actor rather
        shares one that answers than wait for one of its own to start.
        """
        candidates = [slot for slot in self.slots.values() if slot.state is not ActorState.RETIRING]
        free = [slot for slot in candidates if slot.load == 0]
        ready = [slot for slot in candidates if slot.state is ActorState.READY and slot.load < self._max_streams]
        starts = False
        if is_under_way and ready:
            chosen = min(ready, key=lambda slot: slot.load)
        elif free:
            # A ready one first: a starting one is most of a second away.
            chosen = min(free, key=lambda slot: (slot.state is not ActorState.READY, slot.served))
        elif len(self.slots) < self._max_actors:
            chosen, starts = self.add(), True
        else:
            sharable = ready or [slot for slot in candidates if slot.load < self._max_streams]
            if not sharable:
                return None, False
            chosen = min(sharable, key=lambda slot: slot.load)
        chosen.open_requests.add(request_id)
        chosen.served += 1
        return chosen, starts

    def move_to_ready(self, actor_id: str, request_id: str) -> Slot | None:
        """Move a request to an actor that answers and has room; None where there is none."""
        ready = [
            slot for slot in self.slots.values() if slot.state is ActorState.READY and slot.load < self._max_streams
        ]
        if not ready:
            return None
        self.slots[actor_id].open_requests.discard(request_id)
        chosen = min(ready, key=lambda slot: slot.load)
        chosen.open_requests.add(request_id)
        chosen.served += 1
        return chosen

    @property
    def ready(self) -> list[Slot]:
        """The actors that answer and take something new."""
        return [slot for slot in self.slots.values() if slot.state is ActorState.READY]

    def has_place(self) -> bool:
        """Whether `place` would find one."""
        return len(self.slots) < self._max_actors or any(
            slot.load < self._max_streams for slot in self.slots.values() if slot.state is not ActorState.RETIRING
        )

    def add(self) -> Slot:
        """Make room for one actor more, to be started."""
        self._made += 1
        slot = Slot(f"s{self._made}")
        self.slots[slot.actor_id] = slot
        return slot

    def adopt(self, actor_id: str) -> Slot:
        """Take in an actor of an earlier incarnation of the router."""
        self.expect(actor_id)
        slot = self.slots.setdefault(actor_id, Slot(actor_id))
        slot.state = ActorState.READY
        return slot

    def expect(self, actor_id: str) -> None:
        """Give no other actor the name of one that may yet be adopted."""
        number = actor_id.removeprefix("s")
        if number.isdigit():
            self._made = max(self._made, int(number))

    def wanted(self) -> list[Slot]:
        """Return new slots, to be started, so that `warm_actors` without load stand ready."""
        spare = sum(1 for slot in self.slots.values() if slot.load == 0 and slot.state is not ActorState.RETIRING)
        count = min(self._warm_actors - spare, self._max_actors - len(self.slots))
        return [self.add() for _ in range(max(0, count))]

    def started(self, actor_id: str, pid: int, node_id: str, now: float) -> None:
        """Note that an actor answers."""
        slot = self.slots.get(actor_id)
        if slot is not None and slot.state is ActorState.STARTING:
            slot.state = ActorState.READY
            slot.idle_since = now
        if slot is not None:
            slot.pid, slot.node_id = pid, node_id

    def release(self, actor_id: str, request_id: str, now: float) -> None:
        """Note that a request is no longer open there."""
        slot = self.slots.get(actor_id)
        if slot is None:
            return
        slot.open_requests.discard(request_id)
        if slot.load == 0:
            slot.idle_since = now
        if slot.served >= self._recycle_after and slot.state is ActorState.READY:
            slot.state = ActorState.RETIRING

    def remove(self, actor_id: str) -> Slot | None:
        """Forget an actor that is dead or was stopped; return its slot."""
        return self.slots.pop(actor_id, None)

    def to_stop(self, now: float) -> list[Slot]:
        """Return the empty actors that should now be stopped: retired ones, and idle ones beyond the warm."""
        idle = sorted(
            (slot for slot in self.slots.values() if slot.load == 0 and slot.state is ActorState.READY),
            key=lambda slot: slot.idle_since,
        )
        for slot in idle[: max(0, len(idle) - self._warm_actors)]:
            if slot.idle_since + self._idle_ttl_s <= now:
                slot.state = ActorState.RETIRING
        return [slot for slot in self.slots.values() if slot.state is ActorState.RETIRING and slot.load == 0]
