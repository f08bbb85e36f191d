"""Blocks of bytes in a temporary file that has no name, so that nothing is left behind however the process ends.

A block's room is a power of two, and room given back is taken again by the next block of that size.
So the file is as large as what was in it at its fullest, not as what ever went through it; when the
last block is given back it is emptied.
"""

from __future__ import annotations

import os
import tempfile
from typing import IO, NamedTuple

ROOM_BYTES_MIN = 4 * 1024


class Block(NamedTuple):
    """Where a block lies in the file."""

    offset: int
    size: int


class SpillFile:
    """A file in `folder` (None: the system's temporary folder), made when it is first needed."""

    def __init__(self, folder: str | None = None) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._end = 0
        self._blocks = 0
        self._free: dict[int, list[int]] = {}

    @property
    def size_bytes(self) -> int:
        """How much of the disk the file takes at most."""
        return self._end

    def write(self, data: bytes) -> Block:
        """Keep bytes. Raises OSError (a full disk, a missing folder); then nothing has changed."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="stream-router-replay-", dir=self._folder, buffering=0)  # noqa: SIM115
        room = _room(len(data))
        free = self._free.get(room)
        offset = free[-1] if free else self._end
        _write_all(self._file.fileno(), data, offset)
        if free:
            free.pop()
        else:
            self._end += room
        self._blocks += 1
        return Block(offset, len(data))

    def read(self, block: Block) -> bytes:
        """Return what `write` was given. Raises OSError."""
        data = b"" if self._file is None else os.pread(self._file.fileno(), block.size, block.offset)
        if len(data) != block.size:
            raise OSError(f"of a block of {block.size} bytes in the spill file {len(data)} could be read")
        return data

    def give_back(self, block: Block) -> None:
        """A block is of no more use."""
        self._blocks -= 1
        if self._blocks:
            self._free.setdefault(_room(block.size), []).append(block.offset)
        elif self._file is not None:
            self._free.clear()
            self._end = 0
            self._file.truncate(0)

    def close(self) -> None:
        """Give the disk space back."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _room(size: int) -> int:
    return max(ROOM_BYTES_MIN, 1 << (size - 1).bit_length())


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    left = memoryview(data)
    while left:
        written = os.pwrite(descriptor, left, offset)
        left = left[written:]
        offset += written
