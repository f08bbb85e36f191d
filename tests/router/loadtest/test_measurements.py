"""Histograms and time lines: right within their bounds, and never larger than these."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.loadtest.measurements import (
    BINS_MAX,
    EXAMPLES_MAX,
    ROWS_MAX,
    Histogram,
    Measurements,
    Sampled,
    Timeline,
    merged,
)

TIMES_S = st.lists(st.floats(2e-6, 4000), min_size=1, max_size=300)


def filled(values: list[float]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


@given(TIMES_S, st.sampled_from([0.5, 0.9, 0.99, 0.999, 1.0]))
def test_a_percentile_is_right_within_the_bucket(values: list[float], share: float):
    exact = sorted(values)[max(1, math.ceil(share * len(values))) - 1]
    assert filled(values).percentile(share) == pytest.approx(exact, rel=0.022)


@given(TIMES_S, TIMES_S)
def test_merged_histograms_are_that_of_all_values(mine: list[float], yours: list[float]):
    both = filled(mine)
    both.merge(filled(yours))
    whole = filled(mine + yours)
    assert (both.counts, both.total, both.min_s, both.max_s) == (whole.counts, whole.total, whole.min_s, whole.max_s)
    assert both.mean_s == pytest.approx(whole.mean_s)


def test_a_histogram_is_bounded_whatever_comes():
    histogram = filled([-1.0, 0.0, 1e-9, 1e9, *(1.07**power * 1e-6 for power in range(1000))])
    assert len(histogram.counts) < 1100
    assert histogram.min_s == 0.0
    assert histogram.max_s == pytest.approx(1.07**999 * 1e-6)
    assert Histogram().percentile(0.5) is None


@given(st.lists(st.tuples(st.floats(0, 50_000), st.integers(1, 5)), max_size=60))
def test_a_time_line_never_has_more_than_its_bins_and_loses_nothing(events: list[tuple[float, int]]):
    timeline = Timeline()
    for at_s, number in events:
        timeline.at(at_s).counts["n"] += number
    assert len(timeline.bins) <= BINS_MAX
    assert all(index < BINS_MAX for index in timeline.bins)
    assert sum(one.counts["n"] for one in timeline.bins.values()) == sum(number for _, number in events)
    for at_s, _ in events:
        assert timeline.bins[int(at_s / timeline.bin_s)].counts["n"] > 0


@given(st.lists(st.floats(0, 5000), max_size=40), st.lists(st.floats(0, 5000), max_size=40))
def test_time_lines_of_different_width_merge_like_one(mine: list[float], yours: list[float]):
    lines = []
    for times in (mine, yours, mine + yours):
        lines.append(Timeline())
        for at_s in times:
            lines[-1].at(at_s).counts["n"] += 1
    first, second, whole = lines
    first.merge(second)
    assert first.bin_s == whole.bin_s
    assert {index: one.counts for index, one in first.bins.items()} == {
        index: one.counts for index, one in whole.bins.items()
    }


def test_sampled_rows_stay_few_and_even():
    sampled = Sampled()
    for number in range(20_000):
        sampled.put(number, [number])
    assert ROWS_MAX / 2 <= len(sampled.rows) <= ROWS_MAX
    assert sorted(sampled.rows) == list(range(0, 20_000, sampled.stride))


def measurements(numbers: range) -> Measurements:
    made = Measurements()
    for number in numbers:
        made.count("chunks", number / 10, 3)
        made.time("added_latency_ms", number / 10, 0.001 * (number + 1))
        made.error(f"kind {number}")
        made.ends["end_turn"] += 1
        made.example(f"example {number}")
        made.streams.put(number, ["x", 0.0, 1.0, 2.0, "end_turn"])
    return made


def test_snapshots_of_several_processes_add_up_and_survive_json():
    parts = [measurements(range(40)), measurements(range(40, 90))]
    total = merged(json.loads(json.dumps(part.dump())) for part in parts)
    assert total.counts["chunks"] == 270
    assert total.times["added_latency_ms"].total == 90
    assert sum(one.counts["chunks"] for one in total.timeline.bins.values()) == 270
    assert sum(one.times["added_latency_ms"].total for one in total.timeline.bins.values()) == 90
    assert sum(total.errors.values()) == 90
    assert len(total.errors) <= 51, "kinds of errors are bounded too"
    assert len(total.examples) == EXAMPLES_MAX
    assert sorted(total.streams.rows) == list(range(90))
