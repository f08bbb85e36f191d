"""Which stream actor a new request goes to, and when the pool grows, shrinks and recycles.

Theory. An actor is STARTING, READY, RETIRING or gone. Requests are packed: as long as an actor holds fewer than
`packed_streams_per_actor`, it takes the next one, and the fullest of such actors comes first, so that those which
are not needed stay empty. What comes to a router at one moment and goes to one actor costs one wake-up there, and
one at the reader; on four actors it costs four. When all are so full the pool grows; when it may not grow, the
least loaded is shared, up to `max_streams_per_actor`; beyond that there is no place, and the caller waits or is
refused. With `packed_streams_per_actor` 1 a request has an actor to itself while the pool may grow.

Only open requests are load: an ended one is only being read. `warm_actors` with room for another packed request
stand ready: the one that is being filled is one of them. An actor that has served many requests, or has had none
for long, retires: it takes nothing new, and goes when its last open request has ended.

Decisions only. Starting and stopping actors is what the router's shell does with them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from actors.members import Members


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
    open_requests: Members[str] = field(default_factory=Members)
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
        packed_streams_per_actor: int,
        max_streams_per_actor: int,
        idle_ttl_s: float,
        recycle_after_requests: int,
    ) -> None:
        self._max_actors = max_actors
        self._warm_actors = warm_actors
        self._packed_streams = min(packed_streams_per_actor, max_streams_per_actor)
        self._max_streams = max_streams_per_actor
        self._idle_ttl_s = idle_ttl_s
        self._recycle_after = recycle_after_requests
        self._made = 0
        self.slots: dict[str, Slot] = {}

    def place(self, request_id: str, *, is_under_way: bool = False) -> tuple[Slot | None, bool]:
        """Choose where a request goes: (slot, True if that slot's actor must now be started).

        (None, False): there is no place. A request that is under way and has lost its actor rather
        shares one that answers than wait for one to start.
        """
        candidates = [slot for slot in self.slots.values() if slot.state is not ActorState.RETIRING]
        ready = [slot for slot in candidates if slot.state is ActorState.READY and slot.load < self._max_streams]
        packable = [slot for slot in candidates if slot.load < self._packed_streams]
        starts = False
        if is_under_way and ready:
            chosen = self._best(ready)
        elif packable:
            chosen = self._best(packable)
        elif len(self.slots) < self._max_actors:
            chosen, starts = self.add(), True
        else:
            sharable = ready or [slot for slot in candidates if slot.load < self._max_streams]
            if not sharable:
                return None, False
            chosen = self._best(sharable)
        chosen.open_requests.add(request_id)
        chosen.served += 1
        return chosen, starts

    def _best(self, slots: list[Slot]) -> Slot:
        """Choose the fullest of those that requests are still packed on, else the least loaded."""
        packable = [slot for slot in slots if slot.load < self._packed_streams]
        if packable:
            # A ready one first: a starting one is most of a second away.
            return min(packable, key=lambda slot: (slot.state is not ActorState.READY, -slot.load, slot.served))
        return min(slots, key=lambda slot: slot.load)

    def move_to_ready(self, actor_id: str, request_id: str) -> Slot | None:
        """Move a request to an actor that answers and has room; None where there is none."""
        ready = [
            slot for slot in self.slots.values() if slot.state is ActorState.READY and slot.load < self._max_streams
        ]
        if not ready:
            return None
        self.slots[actor_id].open_requests.discard(request_id)
        chosen = self._best(ready)
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
        """Return new slots, to be started, so that `warm_actors` with room for a packed request stand ready."""
        with_room = sum(
            slot.load < self._packed_streams and slot.state is not ActorState.RETIRING for slot in self.slots.values()
        )
        count = min(self._warm_actors - with_room, self._max_actors - len(self.slots))
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
        """Return the empty actors that should now be stopped: retired ones, and idle ones of more than the warm."""
        with_room = [slot for slot in self.ready if slot.load < self._packed_streams]
        idle = sorted((slot for slot in with_room if slot.load == 0), key=lambda slot: slot.idle_since)
        for slot in idle[: max(0, len(with_room) - self._warm_actors)]:
            if slot.idle_since + self._idle_ttl_s <= now:
                slot.state = ActorState.RETIRING
        return [slot for slot in self.slots.values() if slot.state is ActorState.RETIRING and slot.load == 0]
