"""The newest bytes of one stream in one format, there once for all that read it. Pure."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from gateway.config import WRITE_BYTES_MAX
from gateway.formats.form import Frame


class Behind(Exception):  # it never leaves this package
    """A reader wants bytes that the window does not hold any more."""


class Block(NamedTuple):
    """Frames that came together. `numbers` and `offsets`: of each frame its number, and where its bytes begin."""

    data: bytes
    numbers: list[int]
    offsets: list[int]

    @classmethod
    def of(cls, frames: list[Frame]) -> Block:
        """Join frames."""
        offsets, offset = [], 0
        for frame in frames:
            offsets.append(offset)
            offset += len(frame.data)
        return cls(b"".join([frame.data for frame in frames]), [frame.number for frame in frames], offsets)

    def after(self, number: int) -> bytes:
        """Return the bytes of the frames after a cursor."""
        first = bisect_right(self.numbers, number)
        if first == 0:
            return self.data
        return self.data[self.offsets[first] :] if first < len(self.numbers) else b""


class Window:
    """Blocks, the newest `bytes_max` of them."""

    __slots__ = ("_blocks", "_bytes", "_bytes_max", "_lasts", "dropped_through", "last_number")

    def __init__(self, bytes_max: int) -> None:
        self._blocks: list[Block] = []
        self._lasts: list[int] = []  # the last number of each, to be searched
        self._bytes = 0
        self._bytes_max = bytes_max
        self.dropped_through: int = 0
        self.last_number: int = 0

    def add(self, block: Block) -> None:
        """Take a block; the oldest ones go where there are too many bytes."""
        self._blocks.append(block)
        self._lasts.append(block.numbers[-1])
        self._bytes += len(block.data)
        self.last_number = block.numbers[-1]
        gone = 0
        while self._bytes > self._bytes_max and gone < len(self._blocks) - 1:
            self._bytes -= len(self._blocks[gone].data)
            gone += 1
        if gone:
            self.dropped_through = self._lasts[gone - 1]
            del self._blocks[:gone], self._lasts[:gone]

    def after(self, number: int) -> tuple[bytes, int]:
        """Return bytes after a cursor, some blocks at a time, and the cursor behind them. Raises Behind."""
        if number < self.dropped_through:
            raise Behind
        first = bisect_right(self._lasts, number)
        if first == len(self._blocks):
            return b"", number
        data = self._blocks[first].after(number)
        if first == len(self._blocks) - 1:
            return data, self.last_number  # what most readers wait for
        parts, size, next_one = [data], len(data), first + 1
        while next_one < len(self._blocks) and size + len(self._blocks[next_one].data) <= WRITE_BYTES_MAX:
            parts.append(self._blocks[next_one].data)
            size += len(self._blocks[next_one].data)
            next_one += 1
        return b"".join(parts), self._lasts[next_one - 1]
