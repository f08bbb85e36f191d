"""What a load generator measures, in a size that does not grow with the run. Pure: times come in as arguments.

- `Histogram`: times by logarithmic bucket, 32 to a doubling, so a percentile is right within 2.2 %.
- `Timeline`: counters and histograms by the second; when it grows beyond `BINS_MAX` its bins double in
  width.
- `Sampled`: every n-th stream's row, n doubling as the streams become many.
- `Measurements`: all of a process. It crosses processes as plain values (`dump`, `load`) and is
  cumulative, so that a snapshot lost or taken twice does no harm; those of several processes `merge`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any, Self

PER_OCTAVE = 32
UNIT_S = 1e-6
OCTAVES = 33
BINS_MAX = 600
ROWS_MAX = 500
EXAMPLES_MAX = 20
ERROR_KINDS_MAX = 50
OTHER_KINDS = "other kinds"


class Histogram:
    """Times in seconds: from 1 µs to about two hours, what is beyond counts as the end."""

    __slots__ = ("counts", "max_s", "min_s", "sum_s", "total")

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.total: int = 0
        self.sum_s: float = 0.0
        self.min_s: float = math.inf
        self.max_s: float = 0.0

    def add(self, value_s: float) -> None:
        """Count a time; one below zero (clocks differ) counts as zero."""
        value_s = max(value_s, 0.0)
        bucket = 0 if value_s <= UNIT_S else min(int(math.log2(value_s / UNIT_S) * PER_OCTAVE), OCTAVES * PER_OCTAVE)
        self.counts[bucket] += 1
        self.total += 1
        self.sum_s += value_s
        self.min_s = min(self.min_s, value_s)
        self.max_s = max(self.max_s, value_s)

    def merge(self, other: Histogram) -> None:
        """Add another's times."""
        self.counts.update(other.counts)
        self.total += other.total
        self.sum_s += other.sum_s
        self.min_s = min(self.min_s, other.min_s)
        self.max_s = max(self.max_s, other.max_s)

    def percentile(self, share: float) -> float | None:
        """Return the time, in seconds, that this share of all does not exceed; None of nothing."""
        if not self.total:
            return None
        wanted = max(1, math.ceil(share * self.total))
        seen = 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= wanted:
                # The bucket's middle, but never beyond what was really seen.
                return min(max(UNIT_S * 2 ** ((bucket + 0.5) / PER_OCTAVE), self.min_s), self.max_s)
        return self.max_s

    @property
    def mean_s(self) -> float | None:
        """The mean; None of nothing."""
        return self.sum_s / self.total if self.total else None

    def dump(self) -> list[Any]:
        """Return it as plain values."""
        return [self.total, self.sum_s, self.min_s if self.total else 0.0, self.max_s, dict(self.counts)]

    @classmethod
    def load(cls, values: list[Any]) -> Self:
        """Return what `dump` gave; keys may have become text in JSON."""
        made = cls()
        made.total, made.sum_s, least_s, made.max_s, counts = values
        made.min_s = least_s if made.total else math.inf
        made.counts = Counter({int(bucket): count for bucket, count in counts.items()})
        return made


class Bin:
    """One second of a run (or more, in a long one)."""

    __slots__ = ("counts", "times")

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.times: dict[str, Histogram] = {}

    def merge(self, other: Bin) -> None:
        """Add another's counts and times."""
        self.counts.update(other.counts)
        for name, histogram in other.times.items():
            self.times.setdefault(name, Histogram()).merge(histogram)


class Timeline:
    """Bins of `bin_s` seconds from the run's start, at most `BINS_MAX` of them."""

    def __init__(self, bin_s: float = 1.0) -> None:
        self.bin_s: float = bin_s
        self.bins: dict[int, Bin] = {}

    def at(self, time_s: float) -> Bin:
        """Return the bin of a moment, in seconds after the run's start."""
        index = max(0, int(time_s / self.bin_s))
        while index >= BINS_MAX:
            self._coarsen()
            index = int(time_s / self.bin_s)
        found = self.bins.get(index)
        if found is None:
            found = self.bins[index] = Bin()
        return found

    def _coarsen(self) -> None:
        bins, self.bins = self.bins, {}
        self.bin_s *= 2
        for index, old in bins.items():
            self.bins.setdefault(index // 2, Bin()).merge(old)

    def merge(self, other: Timeline) -> None:
        """Add another's bins; the coarser of both stays."""
        while self.bin_s < other.bin_s:
            self._coarsen()
        factor = self.bin_s / other.bin_s
        for index, theirs in other.bins.items():
            self.bins.setdefault(int(index / factor), Bin()).merge(theirs)

    def dump(self) -> list[Any]:
        """Return it as plain values."""
        bins = {
            index: [dict(one.counts), {name: histogram.dump() for name, histogram in one.times.items()}]
            for index, one in self.bins.items()
        }
        return [self.bin_s, bins]

    @classmethod
    def load(cls, values: list[Any]) -> Self:
        """Return what `dump` gave."""
        made = cls(values[0])
        for index, (counts, times) in values[1].items():
            one = made.bins[int(index)] = Bin()
            one.counts = Counter(counts)
            one.times = {name: Histogram.load(dumped) for name, dumped in times.items()}
        return made


class Sampled:
    """Rows of every n-th stream, evenly over the run; n doubles when there are more than `ROWS_MAX`."""

    def __init__(self) -> None:
        self.stride: int = 1
        self.rows: dict[int, list[Any]] = {}

    def wants(self, number: int) -> bool:
        """Whether a stream's row is kept."""
        return number % self.stride == 0

    def put(self, number: int, row: list[Any]) -> None:
        """Keep a row, or replace it."""
        if not self.wants(number):
            return
        self.rows[number] = row
        while len(self.rows) > ROWS_MAX:
            self._thin(self.stride * 2)

    def _thin(self, stride: int) -> None:
        self.stride = stride
        self.rows = {number: row for number, row in self.rows.items() if number % stride == 0}

    def merge(self, other: Sampled) -> None:
        """Add another's rows."""
        if other.stride > self.stride:
            self._thin(other.stride)
        for number, row in other.rows.items():
            self.put(number, row)


class Measurements:
    """All measurements of one process; several merge into one."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.examples: list[str] = []
        self.times: dict[str, Histogram] = {}
        self.timeline: Timeline = Timeline()
        self.streams: Sampled = Sampled()

    def count(self, name: str, at_s: float, number: int = 1) -> None:
        """Count something that happened at a moment of the run."""
        self.counts[name] += number
        self.timeline.at(at_s).counts[name] += number

    def time(self, name: str, at_s: float, value_s: float) -> None:
        """Take a time that was measured at a moment of the run."""
        for times in (self.times, self.timeline.at(at_s).times):
            histogram = times.get(name)
            if histogram is None:
                histogram = times[name] = Histogram()
            histogram.add(value_s)

    def error(self, kind: str) -> None:
        """Count an error by its kind; beyond a number of kinds, as another kind."""
        known = kind in self.errors or len(self.errors) < ERROR_KINDS_MAX
        self.errors[kind if known else OTHER_KINDS] += 1

    def example(self, text: str) -> None:
        """Keep the words on what went wrong, for the first few."""
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append(text)

    def merge(self, other: Measurements) -> None:
        """Add another process's."""
        self.counts.update(other.counts)
        self.ends.update(other.ends)
        for kind, count in other.errors.items():
            known = kind in self.errors or len(self.errors) < ERROR_KINDS_MAX
            self.errors[kind if known else OTHER_KINDS] += count
        for text in other.examples:
            self.example(text)
        for name, histogram in other.times.items():
            self.times.setdefault(name, Histogram()).merge(histogram)
        self.timeline.merge(other.timeline)
        self.streams.merge(other.streams)

    def dump(self) -> dict[str, Any]:
        """Return all as plain values."""
        return {
            "counts": dict(self.counts),
            "errors": dict(self.errors),
            "ends": dict(self.ends),
            "examples": list(self.examples),
            "times": {name: histogram.dump() for name, histogram in self.times.items()},
            "timeline": self.timeline.dump(),
            "streams": [self.streams.stride, dict(self.streams.rows)],
        }

    @classmethod
    def load(cls, values: dict[str, Any]) -> Self:
        """Return what `dump` gave."""
        made = cls()
        made.counts, made.errors = Counter(values["counts"]), Counter(values["errors"])
        made.ends = Counter(values["ends"])
        made.examples = list(values["examples"])
        made.times = {name: Histogram.load(dumped) for name, dumped in values["times"].items()}
        made.timeline = Timeline.load(values["timeline"])
        made.streams.stride = values["streams"][0]
        made.streams.rows = {int(number): row for number, row in values["streams"][1].items()}
        return made


def merged(snapshots: Iterable[dict[str, Any]]) -> Measurements:
    """Return the sum of what several processes dumped."""
    total = Measurements()
    for values in snapshots:
        total.merge(Measurements.load(values))
    return total
