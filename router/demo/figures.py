"""The demo's figures, and how they are measured.

- Time to first message: from the moment an agent opens the request and posts to its provider until its
  reader is handed the first message. The model's thinking time is included.
- Added latency: what the router adds. From the moment a chunk is handed to `publish` until the
  reader is handed the message which that chunk completed. Publisher and reader are two processes of
  one machine with one clock (`time.time()`). Which chunk completes the n-th message is known
  beforehand: the same chunks and settings always give the same messages. The messages of the end (stop
  reason, usage) belong to no chunk and are not measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from actors.recording_format import read_recording
from actors.translator import Translator
from router.demo.agents import SETTINGS
from router.scripted_provider.library import Recording


@dataclass(frozen=True)
class Spread:
    """Median and 99th percentile, in milliseconds; None where nothing was measured."""

    p50: float | None
    p99: float | None

    def __str__(self) -> str:
        """Return it for people: `12.3 / 45.6 ms`."""
        if self.p50 is None or self.p99 is None:
            return "-"
        digits = 1 if self.p50 < 100 else 0  # noqa: PLR2004 - digits worth showing
        return f"{self.p50:,.{digits}f} / {self.p99:,.{digits}f} ms"


@dataclass(frozen=True)
class Figures:
    """The figures of a demo. `chunks_per_s` is over the time in which streams were open."""

    streams: int
    messages: int
    verified: int
    mismatched: int
    chunks_per_s: float
    time_to_first_message_ms: Spread
    added_latency_ms: Spread
    actors: int
    wall_s: float

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as they are written to a file."""
        return asdict(self)


def spread(values_s: Sequence[float]) -> Spread:
    """Return median and 99th percentile of times in seconds."""
    if not values_s:
        return Spread(None, None)
    ranked = sorted(values_s)
    return Spread(*(round(1000 * _rank(ranked, share), 2) for share in (0.50, 0.99)))


def completing_chunks(recording: Recording) -> list[int]:
    """Return for each message of a recording (`seq_id` 1 first) the index of the chunk that completes it."""
    translator = Translator(SETTINGS, run_id="demo")
    chunks = read_recording(recording.body)
    return [index for index, chunk in enumerate(chunks) for _ in translator.chunk(chunk)]


def added_latencies(
    seq_ids: Sequence[int], seen_at: Sequence[float], handed_at: Sequence[float], chunk_of: Sequence[int]
) -> list[float]:
    """Return the added latency of each message that a chunk completed, in seconds."""
    return [
        seen - handed_at[chunk_of[seq_id - 1]]
        for seq_id, seen in zip(seq_ids, seen_at, strict=True)
        if seq_id <= len(chunk_of) and chunk_of[seq_id - 1] < len(handed_at)
    ]


def _rank(ranked: Sequence[float], share: float) -> float:
    return ranked[min(len(ranked) - 1, round(share * (len(ranked) - 1)))]
