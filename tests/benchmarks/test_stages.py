"""What is said of stages beside processes: nothing is counted twice, and nothing is left out."""

from __future__ import annotations

import pytest

from benchmarks import stages, whole
from benchmarks.way import Clock, Way

COSTS = {
    "publisher": {"encode": 0.5, "lane": 0.4, "send": 0.1},
    "router": {"receive": 0.2, "forward": 0.1, "send": 0.1},
    "stream actor": {"receive": 0.1, "decode": 0.7, "translate": 1.0, "log": 0.3, "session": 0.4, "answer": 0.4},
    "reader": {"receive": 0.01, "decode": 0.1, "shape": 0.8, "hand out": 0.1},
}
MEASURED = {
    "producer": 1.7, "router": 1.5, "stream_actor_1": 2.3, "stream_actor_2": 2.2, "consumer": 1.5, "ray": 0.2,
}  # fmt: skip
BOUND = {"decode": 0.7, "translate": 1.0, "copy": 0.02, "write": 0.04}


def test_processes_of_a_kind_are_added_up_under_the_names_of_the_stages():
    assert stages.by_process({**MEASURED, "consumer_2": 1.0}) == pytest.approx({
        "publisher": 1.7, "router": 1.5, "stream actor": 4.5, "reader": 2.5, "Ray's own": 0.2,
    })  # fmt: skip


def test_what_is_not_explained_is_said():
    apart = {"publisher": 1.5, "stream actor": 3.9, "reader": 1.2}
    account = stages.account(COSTS, apart, MEASURED)
    assert account["reader"] == pytest.approx({"measured": 1.5, "explained": 1.2, "unexplained": 0.3})
    # (Of the router only its stages are known.)
    assert account["router"] == pytest.approx({"measured": 1.5, "explained": 0.4, "unexplained": 1.1})
    assert account["Ray's own"] == pytest.approx({"measured": 0.2, "explained": 0.0, "unexplained": 0.2})
    assert sum(row["measured"] for row in account.values()) == pytest.approx(sum(MEASURED.values()))


def test_all_that_was_measured_stands_against_some_line_of_the_bound():
    standing = stages.standing(BOUND, COSTS, MEASURED)
    assert sum(row["spent"] for row in standing.values()) == pytest.approx(sum(MEASURED.values()))
    assert standing["write"]["spent"] == pytest.approx(0.1 + 0.2 + 0.1 + 0.1 + 0.01)
    assert standing["decode"]["times"] == pytest.approx(1.0)
    assert standing["rest"]["bound"] == 0.0


def test_what_to_attack_next_is_the_stage_that_costs_most_beyond_the_bound():
    assert [line[:2] for line in stages.next_lines(BOUND, COSTS)] == [
        ("reader", "shape"),
        ("publisher", "encode"),
        ("publisher", "lane"),
    ]
    # To decode and to translate are lines of the bound: no more than it asks for is spent on them.
    everything = {line[:2]: line[2] for line in stages.next_lines(BOUND, COSTS, count=100)}
    assert everything["stream actor", "translate"] == 0.0


def test_the_feed_of_a_stream_actor_is_split_without_a_rest():
    costs = {**COSTS, "stream actor": {"receive": 0.1, "feed": 2.7, "answer": 0.4}}
    split = stages.split_feed(costs, {"unpack": 0.1, "decode": 0.7, "chunk": 1.7, "log": 0.3})["stream actor"]
    assert "feed" not in split
    assert split["session"] == pytest.approx(0.6)
    assert sum(split.values()) == pytest.approx(0.1 + 2.7 + 0.4)


def test_the_bound_is_what_so_many_cores_do_a_second():
    assert stages.per_s({"decode": 1.0, "translate": 1.0}, cores=2) == 1e6


def test_what_is_measured_apart_goes_into_the_figures_of_a_run():
    found = {
        "stages": {"us_per_chunk": COSTS, "bound_us_per_chunk": BOUND, "bound_chunks_per_s": 1e6},
        "throughput": {"shared": {"cpu_us_per_chunk": MEASURED, "chunks_per_s": {"median": 180_000.0}}},
    }
    stages.add_standing(found)
    assert found["stages"]["share_of_bound"] == 0.18
    assert len(found["stages"]["next"]) == 3
    assert found["stages"]["unexplained"] == pytest.approx(sum(MEASURED.values()) - 5.31, rel=0.001)


def test_a_run_without_stages_or_without_processes_is_left_as_it_is():
    for found in ({}, {"stages": {}}, {"throughput": {"shared": {}}}):
        before = dict(found)
        stages.add_standing(found)
        assert found == before


def test_the_way_has_every_stage_and_loses_nothing():
    clock = Clock()
    way = Way(clock, streams=3)
    chunks = [b'{"choices":[{"index":0,"delta":{"content":"word %d"}}]}' % n for n in range(40)]
    for _ in range(3):
        way.carry(chunks)
    way.close()
    assert way.messages == 3 * 3 * 40
    assert set(clock.ns) == {
        ("publisher", "encode"), ("publisher", "lane"), ("publisher", "send"), ("publisher", "news"),
        ("router", "receive"), ("router", "forward"), ("router", "send"), ("router", "reports"),
        ("stream actor", "receive"), ("stream actor", "feed"), ("stream actor", "answer"),
        ("reader", "receive"), ("reader", "decode"), ("reader", "shape"), ("reader", "hand out"),
    }  # fmt: skip


def test_the_bound_and_hops_are_measured_through_both_means():
    parts = stages.hop_us(1)
    assert set(parts) == {"local", "network"}
    assert all(us > 0 for us in parts.values())


def test_each_party_carries_all_that_it_is_given_and_says_what_that_took():
    found = whole.by_party(rounds=1, streams=3, chunks=5)
    assert set(found) == {"publisher", "router", "stream actor", "reader"}
    assert all(us > 0.0 for us in found.values())
