"""The newest bytes of one stream in one format, there once for all that read it. Pure.

A window lives as long as its stream and grows with every message, so it consists of numbers and bytes alone, which the
garbage collector has not to look at.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from gateway.config import WRITE_BYTES_MAX
from gateway.formats.form import Frame


class Behind(Exception):  # it never leaves this package
    """A reader wants bytes that the window does not hold any more."""


class Window:
    """Frames, the newest `bytes_max` of them."""

    __slots__ = ("_bytes", "_bytes_max", "_numbers", "_parts", "dropped_through", "last_number")

    def __init__(self, bytes_max: int) -> None:
        self._numbers: list[int] = []  # of each frame, to be searched
        self._parts: list[bytes] = []
        self._bytes = 0
        self._bytes_max = bytes_max
        self.dropped_through: int = 0
        self.last_number: int = 0

    def add(self, frames: Sequence[Frame]) -> bytes:
        """Take frames that come together, one at least; the oldest others go where there are too many bytes.

        Return their bytes.
        """
        numbers, parts = self._numbers, self._parts
        first = len(parts)
        if len(frames) == 1:  # as most that comes
            number, data = frames[0]
            numbers.append(number)
            parts.append(data)
        else:
            numbers += [frame.number for frame in frames]
            parts += [frame.data for frame in frames]
            number, data = numbers[-1], b"".join(parts[first:])
        self.last_number = number
        self._bytes += len(data)
        if self._bytes > self._bytes_max:
            self._drop(first)
        return data

    def _drop(self, count_max: int) -> None:
        gone = 0
        while self._bytes > self._bytes_max and gone < count_max:
            self._bytes -= len(self._parts[gone])
            gone += 1
        if gone:
            self.dropped_through = self._numbers[gone - 1]
            del self._parts[:gone], self._numbers[:gone]

    def after(self, number: int) -> tuple[bytes, int]:
        """Return bytes after a cursor, not many at a time, and the cursor behind them. Raises Behind."""
        if number < self.dropped_through:
            raise Behind
        first = end = bisect_right(self._numbers, number)
        if first == len(self._parts):
            return b"", number
        size = 0
        while end < len(self._parts) and (end == first or size + len(self._parts[end]) <= WRITE_BYTES_MAX):
            size += len(self._parts[end])
            end += 1
        last = self._numbers[end - 1]
        end = bisect_right(self._numbers, last, end)  # a cursor is behind all frames of its number
        return b"".join(self._parts[first:end]), last
