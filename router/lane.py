"""The one-call-in-flight pipe between two processes: what arrives while a call is out rides in the next.

Theory. A lane is idle or busy. Idle, the first item leaves at once, alone; so no timer ever holds
a first chunk back. Busy, items wait, sorted by key (a request); when the call returns, as much as
fits a frame leaves, taken from the keys in turn, a quantum each, so that one key that floods does
not delay the others' first items. Batches therefore grow exactly as fast as calls are slow.

Pure: the shell asks `take`, performs the call, and says `done`. The items of one key leave in the
order in which they came. A lane knows sizes, not contents.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

# Ray sends arguments of up to 100 KB inside the call; larger ones take the slower way through its
# object store. The rest is room for the envelopes' own bytes.
FRAME_BYTES_MAX = 90 * 1024
# What one key may put into a frame before the next key has its turn.
QUANTUM_BYTES = 16 * 1024


class Lane(Generic[K, T]):
    """Items by key, waiting for the one call that may be out."""

    __slots__ = ("_busy", "_frame_bytes_max", "_quantum_bytes", "_queues", "bytes_waiting")

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX, quantum_bytes: int = QUANTUM_BYTES) -> None:
        self._queues: OrderedDict[K, deque[tuple[int, T]]] = OrderedDict()
        self._frame_bytes_max = frame_bytes_max
        self._quantum_bytes = quantum_bytes
        self._busy = False
        self.bytes_waiting = 0

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    @property
    def busy(self) -> bool:
        """True while a call is out."""
        return self._busy

    def put(self, key: K, item: T, size_bytes: int) -> None:
        """Add an item behind the others of its key."""
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = deque()
        queue.append((size_bytes, item))
        self.bytes_waiting += size_bytes

    def take(self) -> list[tuple[K, list[T]]]:
        """Return the next frame's items by key, and be busy; empty when busy or nothing waits.

        A single item larger than a frame leaves in a frame of its own.
        """
        if self._busy or not self._queues:
            return []
        room = self._frame_bytes_max
        taken: dict[K, list[T]] = {}
        queues = self._queues
        while queues and room > 0:
            key, queue = next(iter(queues.items()))
            turn = min(self._quantum_bytes, room)
            items = taken.get(key)
            while queue and turn > 0:
                size, item = queue[0]
                if size > room and taken:
                    room = 0
                    break
                queue.popleft()
                if items is None:
                    items = taken[key] = []
                items.append(item)
                turn -= size
                room -= size
                self.bytes_waiting -= size
            if queue:
                queues.move_to_end(key)
            else:
                del queues[key]
        self._busy = True
        return list(taken.items())

    def done(self) -> None:
        """Note that the call has returned (or has been given up)."""
        self._busy = False

    def drop(self, key: K) -> list[T]:
        """Forget what waits for a key; return it."""
        queue = self._queues.pop(key, None)
        if queue is None:
            return []
        self.bytes_waiting -= sum(size for size, _ in queue)
        return [item for _, item in queue]

    def drop_all(self) -> None:
        """Forget everything that waits."""
        self._queues.clear()
        self.bytes_waiting = 0
