"""What a publishing process keeps of its open streams, so that it can send everything again.

Theory. While a request is open its publisher is the source of truth: whatever crashes, the items are
here, numbered from `first_seq`. All streams of a process share one budget of memory. When that is
used up, the streams that have had items in memory for longest give theirs to the spill file, each
all it has and in one block, until an eighth of the budget is free again (those that hold next to
nothing only if they must). So a write is made for many items, never for one, and what was only just
taken and is still to be sent stays in memory.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

import msgpack

from actors.errors import LimitExceeded
from actors.protocol.items import Item, item_bytes
from router.client.publishing.spill_file import ROOM_BYTES_MIN, Block, SpillFile

# What an item costs in memory beside its bytes.
ITEM_OVERHEAD_BYTES = 64
# A stream with less than the smallest room of the spill file is left alone while others have more.
SPILL_BYTES_MIN = ROOM_BYTES_MIN


class ReplayBudget:
    """The memory and the spill file that the streams of one process share."""

    def __init__(self, bytes_max: int, spill_dir: str | None = None) -> None:
        self.bytes_max = bytes_max
        self.bytes_held = 0
        self.file: SpillFile = SpillFile(spill_dir)
        # Streams with items in memory, those first that have had some for longest.
        self.holders: dict[ReplayStore, None] = {}
        # The block read last: a replay asks for the items of one block in several goes.
        self._read: tuple[Block, list[Item]] | None = None

    def make_room(self) -> None:
        """Let streams spill until there is room again. Raises LimitExceeded where the disk refuses."""
        enough = self.bytes_max - self.bytes_max // 8
        for least_bytes in (SPILL_BYTES_MIN, 0):
            for store in [*self.holders]:
                if self.bytes_held <= enough:
                    return
                if store.bytes_held >= least_bytes:
                    self._spill(store)

    def _spill(self, store: ReplayStore) -> None:
        try:
            store.spill()
        except OSError as error:
            raise LimitExceeded(
                f"this process keeps {self.bytes_held} bytes of open streams for replay, publisher.replay_bytes_max is "
                f"{self.bytes_max}, and what is beyond that cannot be written to disk: {error}. The item was not "
                "taken; free some space, set publisher.spill_dir, or raise the limit"
            ) from error

    def items_of(self, block: Block) -> list[Item]:
        """Return the items of a block. Raises LimitExceeded where the disk does not give them back."""
        if self._read is None or self._read[0] != block:
            try:
                items: list[Item] = msgpack.unpackb(self.file.read(block))
            except (OSError, ValueError, msgpack.UnpackException) as error:
                raise LimitExceeded(
                    f"what this process keeps of an open stream for replay cannot be read back from disk: {error}. The "
                    "stream is ended; see to the disk of publisher.spill_dir, or raise publisher.replay_bytes_max so "
                    "that it is not needed"
                ) from error
            self._read = (block, items)
        return self._read[1]

    def give_back(self, block: Block) -> None:
        """A block is of no more use."""
        if self._read is not None and self._read[0] == block:
            self._read = None
        self.file.give_back(block)

    def close(self) -> None:
        """Give the disk space back."""
        self.file.close()


class _Spilled(NamedTuple):
    """Items on disk, up to (not with) the one with the index `end`. `size` counts their own bytes."""

    end: int
    block: Block
    size: int


class ReplayStore:
    """The items of one stream, from `first_seq` on; the older ones perhaps on disk."""

    __slots__ = ("_budget", "_is_cut", "_items", "_spilled", "bytes_held", "first_seq", "in_memory_from")

    def __init__(self, budget: ReplayBudget, first_seq: int = 1) -> None:
        self._budget = budget
        self.first_seq: int = first_seq
        # How many items, counted from `first_seq`, are on disk.
        self.in_memory_from: int = 0
        self._items: list[Item] = []
        self._spilled: tuple[_Spilled, ...] = ()
        # Its end stands in the place of what the disk did not give back, and is not given to the disk itself.
        self._is_cut = False
        self.bytes_held: int = 0

    @property
    def next_seq(self) -> int:
        """The number that the next item will have."""
        return self.first_seq + self.in_memory_from + len(self._items)

    def append(self, item: Item, size_bytes: int, *, is_end: bool = False) -> None:
        """Keep an item. Raises LimitExceeded where memory is over budget and the disk refuses; then it is not kept.

        An end is small, and frees what its request holds: it is kept in any case.
        """
        budget = self._budget
        if budget.bytes_held > budget.bytes_max and not is_end:
            budget.make_room()
        items = self._items
        if not items and not self._is_cut:
            budget.holders[self] = None
        items.append(item)
        cost = size_bytes + ITEM_OVERHEAD_BYTES
        self.bytes_held += cost
        budget.bytes_held += cost

    def cut(self, seq: int, item: Item, size_bytes: int) -> None:
        """Drop all items from `seq` on, and keep this one as `seq`; from now on it needs no disk for what it takes."""
        index = seq - self.first_seq
        kept = self._items[: index - self.in_memory_from] if index > self.in_memory_from else []
        while self._spilled and self._spilled[-1].end > index:
            *before, last = self._spilled
            self._spilled = tuple(before)
            begin = self._spilled[-1].end if self._spilled else 0
            if begin < index:
                self._spilled = (*before, _Spilled(index, last.block, last.size))
            else:
                self._budget.give_back(last.block)
        self.in_memory_from = min(self.in_memory_from, index)
        self._let_go()
        self._is_cut = True
        for one in kept:
            self.append(one, item_bytes(one), is_end=True)  # it had its room before
        self.append(item, size_bytes, is_end=True)

    def spill(self) -> None:
        """Give all items in memory to the disk. Raises OSError; then they are still in memory."""
        block = self._budget.file.write(msgpack.packb(self._items))
        size = self.bytes_held - ITEM_OVERHEAD_BYTES * len(self._items)
        self.in_memory_from += len(self._items)
        self._spilled = (*self._spilled, _Spilled(self.in_memory_from, block, size))
        self._let_go()

    def _let_go(self) -> None:
        budget = self._budget
        budget.bytes_held -= self.bytes_held
        budget.holders.pop(self, None)
        self.bytes_held = 0
        self._items = []

    def get(self, seq: int) -> Item:
        """Return an item by its number. Raises LookupError for one that is not kept."""
        index = seq - self.first_seq
        if not 0 <= index < self.in_memory_from + len(self._items):
            raise LookupError(f"item {seq} is not kept; what is kept is {self.first_seq} to {self.next_seq - 1}")
        return self.tail(seq, 1)[0]

    def all_from(self, seq: int, count_max: int) -> list[Item]:
        """Return all items from `seq` on; none where there are more than that, or not all of them are in memory."""
        items = self._items
        start = seq - self.first_seq - self.in_memory_from
        return items[start:] if start >= 0 and len(items) - start <= count_max else []

    def tail(self, seq: int, count_max: int) -> list[Item]:
        """Return items from `seq` on, up to `count_max` and to the end of a block; none only where there are none.

        Raises LimitExceeded where the disk does not give them back.
        """
        start = seq - self.first_seq
        if start >= self.in_memory_from:
            start -= self.in_memory_from
            return self._items[start : start + count_max]
        at = bisect_right(self._spilled, start, key=lambda spilled: spilled.end)
        begin = self._spilled[at - 1].end if at else 0
        end, block, _ = self._spilled[at]
        return self._budget.items_of(block)[start - begin : min(start - begin + count_max, end - begin)]

    def bytes_from(self, seq: int) -> int:
        """Return how many bytes the items from `seq` on have; those of a block count whole where it begins before."""
        start = seq - self.first_seq
        on_disk = sum(spilled.size for spilled in self._spilled if spilled.end > start)
        return on_disk + sum(map(item_bytes, self._items[max(0, start - self.in_memory_from) :]))

    def clear(self) -> None:
        """Forget everything: the request has ended and others keep it now."""
        self.first_seq = self.next_seq
        self._let_go()
        for _, block, _ in self._spilled:
            self._budget.give_back(block)
        self._spilled = ()
        self.in_memory_from = 0
