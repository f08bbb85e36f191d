"""What of the archive is written when, into which day, and under which name. Pure.

Theory. Ended requests wait here until there are enough of them, or the first has waited long enough. A batch is taken
out, and is either written or put back, so that an outcome that is not known is tried again under the same name.
What waits is bounded: while the store takes nothing, the oldest go, counted.

A file is written under a name that no reader looks at, then renamed. Its name says which router wrote it, and is used
once: nothing is ever appended or overwritten but by the same rows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from actors.protocol.labels import NO_LABELS

FILE_SUFFIX = ".parquet"


class Ended(NamedTuple):
    """An ended request. Times are seconds since 1970."""

    request_id: str
    """Its full name."""
    epoch: int
    agent_id: str | None
    date: str
    """What its publisher dates it with; it stays the same, whoever archives it."""
    opened_at: float
    ended_at: float
    log: bytes
    labels: bytes = NO_LABELS
    """See `actors.protocol.labels`."""


class Batch(NamedTuple):
    """Ended requests of one day, that go into one file."""

    day: str
    name: str
    requests: list[Ended]


def day_of(seconds: float) -> str:
    """Return the day, in UTC, of a time."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def folder_of(day: str) -> str:
    """Return the folder of a day; engines that know Hive's partitions read the day out of it."""
    return f"day={day}"


def hidden_name(name: str) -> str:
    """Return the name under which a file is written: no reader looks at it."""
    return f".{name}.tmp"


class Pending:
    """Ended requests that are to be written."""

    def __init__(self, writer: str, *, requests_max: int, bytes_max: int, wait_s: float, queue_bytes_max: int) -> None:
        """`writer`: names whoever writes; no other has it. `queue_bytes_max`: beyond it the oldest go."""
        self._writer = writer
        self._requests_max = requests_max
        self._bytes_max = bytes_max
        self._wait_s = wait_s
        self._queue_bytes_max = queue_bytes_max
        self._waiting: deque[tuple[float, Ended]] = deque()
        self._batches: deque[Batch] = deque()
        self._files = 0
        self.bytes_held: int = 0
        self.dropped: int = 0

    def __len__(self) -> int:
        return len(self._waiting) + sum(len(batch.requests) for batch in self._batches)

    def offer(self, ended: Ended, now: float) -> bool:
        """Take an ended request; True where a batch is full."""
        self._waiting.append((now, ended))
        self.bytes_held += len(ended.log)
        while self.bytes_held > self._queue_bytes_max and len(self._waiting) > 1:
            _, oldest = self._waiting.popleft()
            self.bytes_held -= len(oldest.log)
            self.dropped += 1
        return len(self._waiting) >= self._requests_max or self.bytes_held >= self._bytes_max

    def due_at(self) -> float | None:
        """When something is to be written; None: nothing waits."""
        if self._batches:
            return 0.0
        return self._waiting[0][0] + self._wait_s if self._waiting else None

    def take(self, now: float, *, at_once: bool = False) -> Batch | None:
        """Return the next batch, if one is due; with `at_once`, whatever there is. Write it, or put it back."""
        due_at = self.due_at()
        is_full = len(self._waiting) >= self._requests_max or self.bytes_held >= self._bytes_max
        if not self._batches and due_at is not None and (at_once or is_full or due_at <= now):
            self._cut()
        return self._batches.popleft() if self._batches else None

    def _cut(self) -> None:
        """Make batches, one a day, of what waits, up to the size of a file."""
        by_day: dict[str, list[Ended]] = {}
        count = size = 0
        while self._waiting and count < self._requests_max and size < self._bytes_max:
            _, ended = self._waiting.popleft()
            by_day.setdefault(day_of(ended.ended_at), []).append(ended)
            count += 1
            size += len(ended.log)
        for day, requests in by_day.items():
            self._files += 1
            self._batches.append(Batch(day, f"{self._writer}-{self._files:06}{FILE_SUFFIX}", requests))

    def written(self, batch: Batch) -> None:
        """A batch is safe."""
        self.bytes_held -= _size(batch.requests)

    def put_back(self, batch: Batch) -> None:
        """A batch may not have been written: it comes next, under the same name."""
        self._batches.appendleft(batch)


def _size(requests: Iterable[Ended]) -> int:
    return sum(len(ended.log) for ended in requests)
