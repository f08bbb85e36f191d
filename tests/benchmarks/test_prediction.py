"""The arithmetic of what larger machines should reach."""

from __future__ import annotations

import pytest

from benchmarks.prediction import Layout, add_prediction, busy_share, limits, predict

CPU_US = {"publisher": 2.0, "router": 1.0, "stream actor": 4.0, "reader": 2.0, "Ray's own": 1.0}
KINDS = {"publisher": 2, "router": 1, "stream actor": 4, "reader": 2}


def test_a_process_carries_what_one_core_does_and_a_kind_as_much_more_as_there_are_of_it():
    found = limits(Layout("", 1, 16, KINDS), CPU_US, 0.5, 1.0)
    assert found == pytest.approx({
        "publisher": 1e6, "router": 1e6, "stream actor": 1e6, "reader": 1e6, "cores": 1.6e6,
    })  # fmt: skip


def test_the_least_limit_is_predicted_and_named():
    found = predict(Layout("small", 1, 8, KINDS), CPU_US, 0.0, 0.5)
    assert (found["limited_by"], found["chunks_per_s"]) == ("cores", 400_000)


def test_nodes_carry_as_many_times_as_much_less_what_the_ways_between_them_cost():
    one = limits(Layout("", 1, 16, KINDS), CPU_US, 0.5, 1.0)
    eight = limits(Layout("", 8, 16, KINDS), CPU_US, 0.5, 1.0)
    far = 7 / 8
    # Three hops, two ends each: a chunk costs all processes together so much more.
    assert eight["cores"] == pytest.approx(8 * 16e6 / (10.0 + 3 * 0.5 * far))
    assert all(6 * one[name] < eight[name] < 8 * one[name] for name in ("publisher", "stream actor", "cores"))
    assert limits(Layout("", 8, 16, KINDS), CPU_US, 0.0, 1.0)["cores"] == pytest.approx(8 * one["cores"])


def test_no_more_than_all_cores_can_be_busy():
    assert busy_share(100_000, 10.0, 2) == 0.5
    assert busy_share(300_000, 10.0, 2) == 1.0


def test_a_prediction_needs_both_stages_and_processes():
    shared = {
        "cpu_us_per_chunk": {
            "producer": 2.0, "router": 1.0, "stream_actor_1": 2.0, "stream_actor_2": 2.0, "consumer": 2.0, "ray": 1.0,
        },
        "chunks_per_s": {"median": 100_000.0},
    }  # fmt: skip
    found = {"machine": {"cpus": 2}, "throughput": {"shared": shared}}
    add_prediction(found)
    assert "prediction" not in found
    found["stages"] = {"hop_us_per_chunk": {"local": 0.06, "network": 0.09}}
    add_prediction(found)
    assert found["prediction"]["busy_share"] == 0.5
    assert found["prediction"]["more_us_a_hop"] == pytest.approx(0.03)
    assert all(layout["chunks_per_s"] > 100_000 for layout in found["prediction"]["layouts"])
