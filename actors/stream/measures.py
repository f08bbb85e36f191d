"""What a stream actor counts of its own work, for metrics and for `stream-router top`. Pure.

Everything here is a total since the actor began, or a look at how things stand; whoever collects it
takes differences. So a look that is lost, or taken twice, does no harm, and several may look.

Counting costs a few integers an envelope, never anything a chunk.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actors.stream.session import Session
from actors.stream.used import Used

FIRST_MESSAGE_BOUNDS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
"""Upper bounds of the buckets in seconds; one more bucket holds what is beyond the last."""


USAGE_KEYS_MAX = 1024
"""Models and agents whose usage is counted apart on one actor; those beyond it count as `other`."""

UNKNOWN_KINDS = (
    "event",
    "delta",
    "content",
    "output",
    "part",
    "tool",
    "reasoning",
    "finish",
    "choice",
    "candidate",
    "whole",
)
"""First words of what adapters did not understand, and so tags of a metric; anything else counts as `other`."""


class Histogram:
    """Counts and sums of values, bucket by bucket. `bounds` are inclusive upper bounds, rising."""

    __slots__ = ("bounds", "counts", "sums")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds: Sequence[float] = bounds
        self.counts: list[int] = [0] * (len(bounds) + 1)
        self.sums: list[float] = [0.0] * (len(bounds) + 1)

    def observe(self, value: float) -> None:
        """Count a value."""
        bucket = bisect_left(self.bounds, value)
        self.counts[bucket] += 1
        self.sums[bucket] += value

    def totals(self) -> list[list[float]]:
        """Return [counts, sums] as plain data."""
        return [list(self.counts), list(self.sums)]


@dataclass(slots=True)
class ProviderMeasures:
    """Totals of the streams of one provider. Chunks that came again after a crash count again."""

    chunks: int = 0
    chunk_bytes: int = 0
    messages: int = 0
    first_message_s: Histogram = field(default_factory=lambda: Histogram(FIRST_MESSAGE_BOUNDS_S))


class Measures:
    """Totals of one stream actor, by provider; the providers are a handful of fixed words."""

    def __init__(self) -> None:
        self.credit_waits = 0
        self.by_provider: defaultdict[str, ProviderMeasures] = defaultdict(ProviderMeasures)
        # [prompt, cached, completion] tokens by (model, agent ID).
        self._usage: dict[tuple[str, str | None], list[int]] = {}

    def count_usage(self, used: Used) -> None:
        """Add what an ended request used."""
        key = (used.model, used.agent_id)
        if key not in self._usage and len(self._usage) >= USAGE_KEYS_MAX:
            key = ("other", None if used.agent_id is None else "other")
        total = self._usage.setdefault(key, [0, 0, 0])
        total[0] += used.prompt_tokens
        total[1] += used.cached_tokens
        total[2] += used.completion_tokens

    def usage(self) -> list[list[Any]]:
        """Return [model, agent ID or None, prompt, cached, completion tokens] of all ended requests."""
        return [[*key, *totals] for key, totals in self._usage.items()]


def lag(session: Session) -> int:
    """Return how many messages the slowest reader (or nobody at all) has not consumed yet."""
    return session.log.last_seq - session.log.released


def unknown_by_kind(unknown_events: Mapping[str, int]) -> dict[str, int]:
    """Return how often something was not understood, by the kind of thing that it was."""
    counts: dict[str, int] = {}
    for what, count in unknown_events.items():
        word = what.partition(" ")[0].partition(".")[0].removesuffix("s").partition("_")[0]
        kind = word if word in UNKNOWN_KINDS else "other"
        counts[kind] = counts.get(kind, 0) + count
    return counts


def look(
    measures: Measures,
    sessions: Iterable[Session],
    readers: int,
    laggards: int = 0,
    unknown_events: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Return the totals, how the sessions stand, and up to `laggards` open ones with the greatest lag, as plain data.

    `unknown_events`: what no adapter understood, by name; the answer has it by kind.
    `laggards`: [[request_id, epoch, messages, lag, unread_bytes, provider], ...].
    """
    opened = []
    bytes_held = 0
    count = 0
    for session in sessions:
        count += 1
        bytes_held += session.log.bytes_held
        if not session.sealed:
            opened.append(session)
    return {
        "credit_waits": measures.credit_waits,
        "unknown": unknown_by_kind(unknown_events or {}),
        "providers": {
            provider: [of.chunks, of.chunk_bytes, of.messages, of.first_message_s.totals()]
            for provider, of in measures.by_provider.items()
        },
        "usage": measures.usage(),
        "open": len(opened),
        "sealed": count - len(opened),
        "readers": readers,
        "bytes_held": bytes_held,
        "unread_bytes": sum(session.log.unread_bytes for session in opened),
        "lag_max": max((lag(session) for session in opened), default=0),
        "laggards": [
            [s.request_id, s.epoch, s.log.last_seq, lag(s), s.log.unread_bytes, _provider(s)]
            for s in heapq.nlargest(laggards, opened, key=lag)
        ],
    }


def _provider(session: Session) -> str:
    return session.settings.provider if session.translator is None else session.translator.provider
