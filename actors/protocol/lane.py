"""The one-call-in-flight pipe between two processes: what arrives while a call is out rides in the next.

Theory. A lane is idle or busy. Idle, what comes leaves at once, alone; so no timer ever holds a
first chunk back. Busy, sources wait their turn; when the call returns, as much as fits a frame
leaves, taken from the sources in turn, a quantum each, so that one source that floods does not
delay the others' first items. Batches therefore grow exactly as fast as calls are slow.

Where calls are quick and items come one by one, each would travel alone, and what that costs is not the item but
that two processes wake up. So a lane may be spaced (`Spacing`): one that has just sent gathers what comes shortly
after, as network cards do with their interrupts. What comes after a quiet time still leaves at once.

Pure: the shell asks `take`, performs the call, and says `done`. A lane knows sizes, not contents;
what a source gives leaves in the order in which the source gives it. A source that raises an error is
dropped, and the others go on: whoever runs the lane asks `take_failed` whose request is to be ended.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

# A call costs both ends about a millisecond, however little it carries (and more than one argument's
# worth crosses in several, see `frames.cut_into_frames`); beyond these the callee would be deaf for too long
# instead. A router only moves what it gets, and to many actors at once; a stream actor reads every chunk.
CALL_BYTES_MAX = 1024 * 1024
ROUTER_CALL_BYTES_MAX = 2 * CALL_BYTES_MAX
# What one source may put into a frame before the next has its turn, and in all.
QUANTUM_BYTES = 16 * 1024
TURNS_MAX = 4


# So many items are worth a call of their own, however soon after the last.
GATHERED_MAX = 64


class Spacing:
    """When somebody may send again: `gather_s` after they last did; at once what somebody waits for, or much."""

    __slots__ = ("_came", "_gather_s", "_may_send_at", "hurries")

    def __init__(self, gather_s: float) -> None:
        self._gather_s = gather_s
        self._may_send_at = 0.0
        self._came = 0
        self.hurries: bool = not gather_s
        """Whether what waits may leave at once, whenever the lane has sent."""

    def came(self, *, at_once: bool) -> None:
        """Note that an item has come; `at_once`: it waits for no others."""
        self._came += 1
        if at_once or self._came >= GATHERED_MAX:
            self.hurries = True

    def wait_s(self, now: float) -> float:
        """Return how long what waits has to; 0 where it may leave."""
        return 0.0 if self.hurries else max(0.0, self._may_send_at - now)

    def sent(self, now: float) -> None:
        """Note that what was there has left."""
        self._came = 0
        self.hurries = not self._gather_s
        self._may_send_at = now + self._gather_s


class Source(Protocol[T]):
    """Something that has items to send."""

    def give(self, bytes_max: int, *, at_least_one: bool) -> tuple[list[T], int, bool]:
        """Return the next items, their size, and whether there are more; none where the first does not fit.

        `at_least_one`: one must come, whatever its size.
        """
        ...


class Fifo(Generic[T]):
    """A source that gives what was put into it, in order."""

    __slots__ = ("_items",)

    def __init__(self) -> None:
        self._items: deque[tuple[int, T]] = deque()

    def put(self, item: T, size_bytes: int) -> None:
        """Add an item."""
        self._items.append((size_bytes, item))

    def give(self, bytes_max: int, *, at_least_one: bool) -> tuple[list[T], int, bool]:
        """See `Source.give`."""
        given: list[T] = []
        size = 0
        items = self._items
        while items and (size + items[0][0] <= bytes_max or (at_least_one and not given)):
            size_bytes, item = items.popleft()
            given.append(item)
            size += size_bytes
        return given, size, bool(items)

    @property
    def is_empty(self) -> bool:
        """Whether it has nothing to give."""
        return not self._items


class Lane(Generic[K, T]):
    """Sources by key, in turn, for the one call that may be out."""

    __slots__ = ("_call_bytes_max", "_quantum_bytes", "_sources", "busy", "failed")

    def __init__(self, call_bytes_max: int = CALL_BYTES_MAX, quantum_bytes: int = QUANTUM_BYTES) -> None:
        self._sources: OrderedDict[K, Source[T]] = OrderedDict()
        self._call_bytes_max = call_bytes_max
        self._quantum_bytes = quantum_bytes
        self.failed: list[tuple[K, Exception]] = []
        """Sources that raised an error; see `take_failed`."""
        self.busy: bool = False

    def offer(self, key: K, source: Source[T]) -> None:
        """Note that a source has something to send (saying it twice does no harm)."""
        if key not in self._sources:
            self._sources[key] = source

    def take(self) -> list[tuple[K, list[T]]]:
        """Return the next frame's items by key, and be busy; empty when busy or nothing waits.

        A single item larger than a frame leaves in a frame of its own.
        """
        if self.busy:
            return []
        room = self._call_bytes_max
        taken: dict[K, list[T]] = {}
        refused: dict[K, None] = {}
        # One round over the sources may leave room; others follow, but no source has more than its turns.
        for _ in range(TURNS_MAX):
            room_before = room
            room = self._take_round(room, taken, refused)
            if not self._sources or room in (room_before, 0):
                break
        if refused:
            self._put_first(refused)
        self.busy = bool(taken)
        return list(taken.items())

    def _take_round(self, room: int, taken: dict[K, list[T]], refused: dict[K, None]) -> int:
        """Give each source one turn; return the room that is left, 0 where it is not worth another round."""
        quantum = self._quantum_bytes
        share = min(room, quantum)
        # Most of the time each gives all it has. So they are gone through as they stand, and put in order afterwards.
        emptied: list[K] = []
        others: list[K] = []
        # What is offered meanwhile (a collection may end whoever publishes) is put aside: no offer may be lost with
        # what has just been emptied, or end the round.
        sources, self._sources = self._sources, OrderedDict()
        for key, source in sources.items():
            try:
                items, size, has_more = source.give(share, at_least_one=not taken)
            except Exception as error:  # noqa: BLE001  # whatever it is, it must stop this source alone
                emptied.append(key)
                self.failed.append((key, error))
                continue
            (others if has_more else emptied).append(key)
            if items:
                if key in taken:
                    items = taken.pop(key) + items  # and so it stands behind those that had one turn
                taken[key] = items
                room -= size
            elif key not in taken:
                refused[key] = None
            if room < quantum:
                share = room
                if room <= 0 or not items:
                    room = 0  # nearly full: to ask thousands of others for less costs more than it brings
                    break
        if len(emptied) < len(sources):
            self._put_back(sources, emptied, others)
        return room

    def _put_back(self, sources: OrderedDict[K, Source[T]], emptied: list[K], others: list[K]) -> None:
        """Those that have nothing more are gone; the others stand behind who has not had a turn."""
        for key in emptied:
            del sources[key]
        for key in others:
            sources.move_to_end(key)
        for key, source in self._sources.items():
            sources.setdefault(key, source)
        self._sources = sources

    def _put_first(self, refused: dict[K, None]) -> None:
        """Whose next item was too large for what was left begins the next frame."""
        for key in reversed(refused):
            if key in self._sources:
                self._sources.move_to_end(key, last=False)

    def take_failed(self) -> list[tuple[K, Exception]]:
        """Return the sources that raised an error since this was last asked; they are no longer in the lane."""
        failed, self.failed = self.failed, []
        return failed

    def done(self) -> None:
        """Note that the call has returned (or has been given up)."""
        self.busy = False

    def drop(self, key: K) -> None:
        """Forget a source."""
        self._sources.pop(key, None)

    @property
    def waits(self) -> bool:
        """Whether anything waits to leave."""
        return bool(self._sources)
