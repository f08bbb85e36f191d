"""The state of each request while the demo runs, which the view shows. Pure: time is an argument."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from router.demo.agents import Agent, Published
from router.demo.figures import added_latencies
from router.demo.readers import Progress

RATE_WINDOW_S = 2.0
QUIET_S = 1.5


@dataclass
class Row:
    """One request. `chunk_of` tells which chunk completes the n-th message (see `figures`)."""

    agent: Agent
    published: Published
    chunk_of: Sequence[int]
    messages: int = 0
    first_at: float | None = None
    last_at: float = 0.0
    tail: str = ""
    stop_reason: str | None = None
    recent: deque[tuple[float, int]] = field(default_factory=deque)

    @property
    def is_over(self) -> bool:
        """Whether its reader has seen the end."""
        return self.stop_reason is not None or self.published.error is not None

    def state(self, now: float) -> str:
        """Return the state in one word."""
        if self.published.error is not None and self.stop_reason is None:
            return "failed"
        if self.stop_reason is not None:
            return self.stop_reason
        if not self.published.asked_at:
            return "queued"
        if self.first_at is None:
            return "waiting"
        return "quiet" if now - self.last_at > QUIET_S else "streaming"

    def rate_per_s(self, now: float) -> float:
        """Return the messages per second of the last moments."""
        while self.recent and self.recent[0][0] < now - RATE_WINDOW_S:
            self.recent.popleft()
        return sum(count for _, count in self.recent) / RATE_WINDOW_S


class Board:
    """All requests, and the sums over them."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows: dict[str, Row] = {row.agent.request_id: row for row in rows}
        self.added_latencies_s: list[float] = []
        self.actors = 0

    def update(self, news: Sequence[Progress], now: float) -> list[Row]:
        """Take in what the readers report; return the requests that have just ended."""
        ended = []
        for item in news:
            row = self.rows[item.request_id]
            was_over = row.is_over
            if row.first_at is None:
                row.first_at = item.seen_at[0]
            row.messages += len(item.seq_ids)
            row.last_at = item.seen_at[-1]
            row.tail = item.tail
            row.stop_reason = item.stop_reason
            row.recent.append((now, len(item.seq_ids)))
            self.added_latencies_s += added_latencies(item.seq_ids, item.seen_at, row.published.handed_at, row.chunk_of)
            if row.is_over and not was_over:
                ended.append(row)
        return ended

    @property
    def messages(self) -> int:
        """Messages that readers have had."""
        return sum(row.messages for row in self.rows.values())

    @property
    def chunks(self) -> int:
        """Chunks that were published."""
        return sum(len(row.published.handed_at) for row in self.rows.values())

    @property
    def done(self) -> int:
        """Requests whose end has been seen."""
        return sum(row.is_over for row in self.rows.values())

    def first_message_s(self) -> list[float]:
        """Return the times to first message, in seconds."""
        return [row.first_at - row.published.asked_at for row in self.rows.values() if row.first_at is not None]

    def chunks_per_s(self) -> float:
        """Return chunks per second over the time in which chunks came."""
        times = [
            at for row in self.rows.values() for at in (row.published.handed_at[:1] + row.published.handed_at[-1:])
        ]
        span_s = max(times) - min(times) if times else 0.0
        return self.chunks / span_s if span_s else 0.0
