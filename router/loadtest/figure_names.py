"""The figures of a load test by name, as they stand in its results and in `thresholds`."""

from __future__ import annotations

TIMES: dict[str, str] = {
    "time_to_first_message_ms": "Time to first message",
    "open_ms": "Opening a request",
    "provider_first_event_ms": "Provider's first event",
    "added_latency_ms": "Added latency",
    "inter_message_gap_ms": "Gap between messages",
    "credit_wait_ms": "Waits for credit",
    "arrival_lag_ms": "Streams started late by",
}
"""Distributions of times, with their titles."""

SHARES: dict[str, float] = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99, "p99_9": 0.999}

COUNTS: dict[str, str] = {
    "lost": "messages that a reader was never given",
    "duplicated": "messages given to a reader twice",
    "reordered": "messages given after a later one",
    "unverified": "readings that differ from an independent reading of the recording, or did not end exactly once",
    "dropped": "messages that a stream's own policy dropped, with a gap that says so",
    "failed": "streams that ended otherwise than their provider did",
    "unfinished": "streams without an end when time was up",
}
"""What went wrong, each with what it counts."""

PLAIN = (
    "streams",
    "messages",
    "chunks",
    "provider_errors",
    "credit_waits",
    "messages_per_s",
    "chunks_per_s",
    "streams_open_max",
    "faults_missed",
    "wall_s",
    "memory_mb",
    "cpu_cores",
)

METRICS: frozenset[str] = frozenset(
    [f"{name}.{part}" for name in TIMES for part in (*SHARES, "mean", "max", "count")]
    + [f"counts.{name}" for name in COUNTS]
    + list(PLAIN)
)


def full_name(name: str) -> str:
    """Return a figure's full name; the counts may be named without `counts.`."""
    return f"counts.{name}" if name in COUNTS else name
