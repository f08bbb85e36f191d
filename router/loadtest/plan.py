"""Which stream is what: its recording, its pace, its readers. Pure: stream `n` follows from the workload and `n`.

So every process of a load test knows every stream without being told.
"""

from __future__ import annotations

import fnmatch
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from actors.errors import ConfigError
from actors.settings import StreamSettings
from router.loadtest.arrivals import planned_starts
from router.loadtest.synthetic import make_recordings
from router.loadtest.workload import Kind, Workload
from router.scripted_provider.library import APIS, Recording

SAMPLE_MAX = 500
READERS_PER_STREAM_MAX = 100


@dataclass(frozen=True, slots=True)
class ReaderPlan:
    """One reader of one stream. `late_s` after the stream's start; `messages_per_s` None: as fast as they come."""

    late_s: float = 0.0
    messages_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """One stream. `kind` is its place in the mix; `recording` None: a real endpoint answers."""

    number: int
    kind: int
    recording: Recording | None
    script: dict[str, Any]
    readers: tuple[ReaderPlan, ...]

    @property
    def has_slow_readers(self) -> bool:
        """Whether a reader holds the stream back by design."""
        return any(reader.messages_per_s is not None for reader in self.readers)

    def duration_s(self) -> float:
        """Return about how long its provider will take."""
        pace = float(self.script.get("events_per_s", 0))
        events = len(self.recording.events) if self.recording is not None else 100
        wait_s = float(self.script.get("first_event_s", 0)) + float(self.script.get("stall_s", 0))
        return (wait_s + (events / pace if pace else 0.05)) / float(self.script.get("speed", 1))


class Planner:
    """Plans the streams of a workload over a library of recordings. Raises ConfigError: a kind that matches nothing."""

    def __init__(self, workload: Workload, recordings: Sequence[Recording]) -> None:
        self.workload = workload
        self._recordings = [_matching(kind, number, recordings, workload) for number, kind in enumerate(workload.mix)]
        self._weights = [kind.weight for kind in workload.mix]

    def settings(self, plan: StreamPlan) -> StreamSettings:
        """Return the settings of a stream, with the provider whose API it speaks."""
        settings = self.workload.mix[plan.kind].settings
        endpoint = self.workload.target.endpoint
        api = None if endpoint is None else endpoint.api
        return settings if settings.provider != "auto" else _of(settings, plan.recording.api if plan.recording else api)

    def stream(self, number: int) -> StreamPlan:
        """Return the plan of a stream."""
        workload = self.workload
        rng = random.Random(f"{workload.seed}/stream/{number}")
        index = rng.choices(range(len(self._weights)), self._weights)[0]
        kind, choices = workload.mix[index], self._recordings[index]
        script: dict[str, Any] = {
            **kind.script,
            "events_per_s": round(kind.events_per_s.sample(rng), 3),
            "first_event_s": round(kind.first_event_s.sample(rng), 3),
            "seed": workload.seed,
        }
        recording = rng.choice(choices) if choices else None
        return StreamPlan(number, index, recording, script, self._readers(rng))

    def _readers(self, rng: random.Random) -> tuple[ReaderPlan, ...]:
        wanted = self.workload.readers
        count = min(max(1, round(wanted.per_stream.sample(rng))), READERS_PER_STREAM_MAX)
        return tuple(
            ReaderPlan(
                late_s=round(wanted.late.delay_s.sample(rng), 3) if rng.random() < wanted.late.share else 0.0,
                messages_per_s=wanted.slow.messages_per_s if rng.random() < wanted.slow.share else None,
            )
            for _ in range(count)
        )

    def expected_s(self) -> float:
        """Return about how long the run will take: what its progress and its faults are spread over."""
        workload = self.workload
        starts = planned_starts(workload)
        if starts is None:
            sample = [
                self.stream(number).duration_s() for number in range(min(workload.streams or SAMPLE_MAX, SAMPLE_MAX))
            ]
            mean_s = sum(sample) / len(sample)
            bound_s = workload.duration_s if workload.duration_s is not None else float("inf")
            streams_s = (workload.streams or float("inf")) * mean_s / workload.arrival.concurrency
            return max(min(bound_s, streams_s), 0.0) + max(sample) / 2
        step = max(1, len(starts) // SAMPLE_MAX)
        ends = [starts[number] + self.stream(number).duration_s() for number in range(0, len(starts), step)]
        return max(ends, default=0.0)


def all_recordings(workload: Workload, recordings: Sequence[Recording]) -> list[Recording]:
    """Return the recordings that a provider must have for this workload: those given, and the made-up ones."""
    made = [
        recording
        for number, kind in enumerate(workload.mix)
        if kind.synthetic is not None
        for recording in make_recordings(f"synthetic-{number}", kind.synthetic, workload.seed)
    ]
    return [*recordings, *made]


@lru_cache(maxsize=64)
def _of(settings: StreamSettings, api: str | None) -> StreamSettings:
    """Return settings for streams of an API; one object for all streams that share them."""
    return settings.model_copy(update={"provider": api}) if api in APIS else settings


def _matching(kind: Kind, number: int, recordings: Sequence[Recording], workload: Workload) -> list[Recording]:
    if workload.target.kind == "endpoint":
        return []
    prefix = f"synthetic-{number}-"
    if kind.synthetic is not None:
        return [recording for recording in recordings if recording.name.startswith(prefix)]
    found = [recording for recording in recordings if _suits(kind, recording)]
    if not found:
        wanted = {"recordings": kind.recordings, "providers": kind.providers, "apis": kind.apis}
        asked = ", ".join(f"{key} {list(value)}" for key, value in wanted.items() if value)
        there = ", ".join(sorted({f"{recording.provider}: {recording.name}" for recording in recordings}))
        raise ConfigError(f"mix.{number}: no recording matches {asked}; there are {there}")
    return found


def _suits(kind: Kind, recording: Recording) -> bool:
    """Whether a recording passes all filters of a kind; synthetic ones are no choice of any filter."""
    return (
        not recording.name.startswith("synthetic-")
        and (not kind.recordings or any(fnmatch.fnmatch(recording.name, pattern) for pattern in kind.recordings))
        and (not kind.providers or recording.provider in kind.providers)
        and (not kind.apis or recording.api in kind.apis)
    )
