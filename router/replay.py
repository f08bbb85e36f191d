"""What a publishing process keeps of its open streams, so that it can send everything again.

While a request is open its publisher is the source of truth: whatever crashes, the items are here,
numbered from `first_seq`. All streams of a process share one budget of memory; what is beyond it
goes to one temporary file, which has no name in the file system and so cannot be left behind. The
file is emptied when no stream has anything in it any more.
"""

from __future__ import annotations

import tempfile
from array import array
from typing import IO

import msgpack

from actors.wire import Item

# What an item costs in memory beside its bytes.
ITEM_OVERHEAD_BYTES = 64


class ReplayBudget:
    """The memory and the spill file that the streams of one process share."""

    def __init__(self, bytes_max: int, spill_dir: str | None = None) -> None:
        self.bytes_max = bytes_max
        self.bytes_held = 0
        self._spill_dir = spill_dir
        self._file: IO[bytes] | None = None
        self._spilled_streams = 0
        self._end = 0

    @property
    def is_over(self) -> bool:
        """Whether memory holds more than it should."""
        return self.bytes_held > self.bytes_max

    def write(self, data: bytes) -> int:
        """Append to the spill file; return the offset. Raises OSError (a full disk, say)."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="stream-router-replay-", dir=self._spill_dir)  # noqa: SIM115
        self._file.seek(self._end)
        self._file.write(data)
        offset = self._end
        self._end += len(data)
        return offset

    def read(self, offset: int, size: int) -> bytes:
        """Read back what `write` wrote. Raises OSError."""
        if self._file is None:
            raise OSError("nothing was spilled")
        self._file.seek(offset)
        return self._file.read(size)

    def stream_spills(self) -> None:
        """Note that a stream has something in the file."""
        self._spilled_streams += 1

    def stream_is_gone(self) -> None:
        """Note that a stream needs its part of the file no more; the last one empties it."""
        self._spilled_streams -= 1
        if self._spilled_streams == 0 and self._file is not None:
            self._file.truncate(0)
            self._end = 0

    def close(self) -> None:
        """Give the disk space back."""
        if self._file is not None:
            self._file.close()
            self._file = None


class ReplayStore:
    """The items of one stream, from `first_seq` on; the older ones perhaps on disk."""

    __slots__ = ("_budget", "_bytes_held", "_items", "_offsets", "_sizes", "_spilled", "first_seq")

    def __init__(self, budget: ReplayBudget, first_seq: int = 1) -> None:
        self._budget = budget
        self.first_seq = first_seq
        self._items: list[Item] = []
        self._sizes = array("Q")
        self._offsets = array("Q")
        self._spilled = 0
        self._bytes_held = 0

    @property
    def next_seq(self) -> int:
        """The number that the next item will have."""
        return self.first_seq + self._spilled + len(self._items)

    def append(self, item: Item, size_bytes: int) -> None:
        """Keep an item. Raises OSError where memory is over budget and the disk refuses."""
        self._items.append(item)
        cost = size_bytes + ITEM_OVERHEAD_BYTES
        self._bytes_held += cost
        self._budget.bytes_held += cost
        if self._budget.is_over:
            self._spill()

    def _spill(self) -> None:
        if not self._spilled:
            self._budget.stream_spills()
        for item in self._items:
            packed = msgpack.packb(item)
            self._offsets.append(self._budget.write(packed))
            self._sizes.append(len(packed))
        self._spilled += len(self._items)
        self._items.clear()
        self._budget.bytes_held -= self._bytes_held
        self._bytes_held = 0

    def get(self, seq: int) -> Item:
        """Return an item by its number. Raises LookupError for one that was never kept."""
        index = seq - self.first_seq
        if index < 0:
            raise LookupError(f"item {seq} is older than the first kept, {self.first_seq}")
        if index < self._spilled:
            item: Item = msgpack.unpackb(self._budget.read(self._offsets[index], self._sizes[index]))
            return item
        return self._items[index - self._spilled]

    def tail(self, seq: int, count_max: int) -> list[Item]:
        """Return up to `count_max` items from `seq` on, quickly where they are in memory."""
        start = seq - self.first_seq - self._spilled
        if start >= 0:
            return self._items[start : start + count_max]
        stop = min(seq + count_max, self.next_seq)
        return [self.get(number) for number in range(seq, stop)]

    def clear(self) -> None:
        """Forget everything: the request has ended and others keep it now."""
        self._budget.bytes_held -= self._bytes_held
        if self._spilled:
            self._budget.stream_is_gone()
        self.first_seq = self.next_seq
        self._items = []
        self._bytes_held = 0
        self._spilled = 0
        self._sizes = array("Q")
        self._offsets = array("Q")
