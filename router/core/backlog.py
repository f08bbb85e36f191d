"""How many bytes of items a router holds for its stream actors, and which requests wait until there is room. Pure.

Theory. Credit bounds what one stream may have on its way. All streams together could still fill a router whose
actors are slow, so the items that wait for an actor, or are in the call that is out, are counted until it has
answered. Each actor has an equal share of `limits.queued_bytes_max`: one that hangs fills its own share, and no
stream of another one waits for it.

Items for which there is no room are not taken, and their request is held: its publisher stops sending, and once
there is room it hears which item is wanted next. Those that are held go on in the order in which they came;
who comes later waits behind them. Nothing is lost, since a publisher keeps what it has sent. An actor for
which nothing waits takes any item, so each may have one item more than its share.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Queue:
    """What is on its way to one actor, and who waits for room there, with the bytes that each was refused."""

    size_bytes: int = 0
    held: OrderedDict[str, int] = field(default_factory=OrderedDict)
    called: dict[str, None] = field(default_factory=dict)
    """Those that were told to go on, and have not come yet."""


class Backlog:
    """The bytes of items on their way from one router to its stream actors."""

    def __init__(self, bytes_max: int, actors_max: int) -> None:
        self._share_bytes = bytes_max // actors_max
        self._queues: dict[str, _Queue] = {}

    @property
    def size_bytes(self) -> int:
        """How many bytes are on their way."""
        return sum(queue.size_bytes for queue in self._queues.values())

    @property
    def held_count(self) -> int:
        """How many requests wait for room."""
        return sum(len(queue.held) for queue in self._queues.values())

    def take(self, actor_id: str, request_id: str, size_bytes: int) -> bool:
        """Count items for an actor; False where there is no room, and the request is held."""
        queue = self._queues.get(actor_id)
        if queue is None:
            queue = self._queues[actor_id] = _Queue()
        after_bytes = queue.size_bytes + size_bytes
        if after_bytes <= self._share_bytes and not queue.held and not queue.called:
            queue.size_bytes = after_bytes  # nobody waits, and there is room: nearly always
            return True
        was_called = request_id in queue.called
        if was_called:
            del queue.called[request_id]
        is_next = was_called or not queue.held
        if not queue.size_bytes or (is_next and after_bytes <= self._share_bytes):
            queue.size_bytes = after_bytes
            return True
        queue.held[request_id] = size_bytes
        if was_called:
            queue.held.move_to_end(request_id, last=False)
        return False

    def delivered(self, actor_id: str, size_bytes: int) -> list[str]:
        """An actor has had so much; return the requests that may go on now."""
        queue = self._queues.get(actor_id)
        if queue is None:
            return []
        queue.size_bytes -= size_bytes
        called = self._call(queue) if queue.held else []
        if not queue.size_bytes:
            # Whoever was called before and has not come needs no turn of its own any more.
            queue.called = dict.fromkeys(called)
            if not called:
                del self._queues[actor_id]
        return called

    def _call(self, queue: _Queue) -> list[str]:
        room_bytes = self._share_bytes - queue.size_bytes
        called: list[str] = []
        for request_id, wanted_bytes in queue.held.items():
            if wanted_bytes > room_bytes and (called or queue.size_bytes):
                break
            room_bytes -= wanted_bytes
            called.append(request_id)
        for request_id in called:
            del queue.held[request_id]
            queue.called[request_id] = None
        return called

    def overdue(self) -> list[str]:
        """Return requests that may go on because nothing waits for their actor: those called before have not come."""
        empty = [actor_id for actor_id, queue in self._queues.items() if not queue.size_bytes]
        return [request_id for actor_id in empty for request_id in self.delivered(actor_id, 0)]

    def actor_gone(self, actor_id: str) -> None:
        """Nothing is on its way to an actor any more; who waited for room there is placed anew."""
        self._queues.pop(actor_id, None)
