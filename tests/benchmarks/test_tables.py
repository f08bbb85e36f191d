"""The tables of the report come out of the figures alone, whatever of them is there."""

from __future__ import annotations

import pytest

from benchmarks import peers, targets
from benchmarks.plan import FULL, QUICK
from benchmarks.tables import TABLES, all_tables, markdown, number, spread
from tests.benchmarks.figures import FOUND


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, ""), (0.2993, "0.299"), (1.9, "1.9"), (47.31, "47.3"), (106.2, "106"), (177_700, "178,000"), (0, "0")],
)
def test_a_figure_is_shown_with_the_digits_that_count(value: float | None, shown: str):
    assert number(value) == shown


def test_a_spread_is_the_median_with_both_ends():
    assert spread({"median": 50_500, "low": 41_400, "high": 59_600}) == "50,500 (41,400 to 59,600)"
    assert spread(None) == ""


def test_a_table_has_as_many_cells_in_each_row():
    lines = markdown(("a", "b", "c"), [("x", "1", "2")]).splitlines()
    assert {line.count("|") for line in lines} == {4}


def test_all_tables_are_written_of_a_whole_run():
    written = all_tables(FOUND)
    assert all(f"## {title}" in written for title, _, _ in TABLES.values())


@pytest.mark.parametrize("name", TABLES)
def test_each_table_can_be_asked_for_and_is_well_formed(name: str):
    written = all_tables(FOUND, [name])
    assert written.count("## ") == 1
    blocks = [[line for line in block.splitlines() if line.startswith("|")] for block in written.split("\n\n")]
    for rows in filter(None, blocks):
        assert len({line.count("|") for line in rows}) == 1
        assert len(rows) > 2


def test_what_was_not_measured_is_left_out():
    assert all_tables({}) == ""
    assert "not measured" in all_tables({"targets": []}, ["goals"])
    assert "## Latency" not in all_tables({"stages": FOUND["stages"]})


def test_what_peers_do_not_do_stands_beside_their_figures():
    written = all_tables(FOUND, ["peers"])
    assert peers.LACKS["redis_streams"] in written
    assert "left out: no server" in written


def test_a_share_of_each_peer_and_of_the_bound_is_reckoned():
    found = {
        "throughput": {"shared": {"chunks_per_s": {"median": 100.0}}},
        "baselines": {"nats_jetstream": {"chunks_per_s": {"median": 50.0}}, "serve_streaming": {"left_out": "why"}},
    }
    targets.add_ratios(found)
    assert found["throughput"]["shared"] == {"chunks_per_s": {"median": 100.0}, "ratio_to_nats": 2.0}


@pytest.mark.parametrize("plan", [FULL, QUICK])
def test_the_paces_that_have_targets_are_measured_in_every_plan(plan):
    assert {"20x10", "400x5"} <= set(plan.pace_loads)
    assert "auto" in plan.pace_transports


def test_every_target_is_a_figure_of_a_whole_run():
    assert [row["key"] for row in targets.check(FOUND) if row["value"] is None] == []


def test_a_ratio_that_was_measured_by_turns_counts_for_more_than_that_of_figures_of_other_minutes():
    found = {
        "throughput": {"shared": {"chunks_per_s": {"median": 180_000.0}}},
        "baselines": {"bound": {"chunks_per_s": {"median": 600_000.0}}, "naive": {"chunks_per_s": {"median": 300.0}}},
        "by_turns": {"ratio_to_bound": {"median": 0.45}, "ratio_to_redis": {"median": 4.1}},
    }
    targets.add_ratios(found)
    shared = found["throughput"]["shared"]
    assert (shared["ratio_to_bound"], shared["ratio_to_redis"], shared["ratio_to_naive"]) == (0.45, 4.1, 600.0)
