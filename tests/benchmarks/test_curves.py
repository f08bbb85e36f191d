"""A cliff is found where the cost grows faster than the work, and nowhere else."""

from __future__ import annotations

import pytest

from benchmarks.curves import CHUNKS_MIN, CLIFF_TIMES, CURVES, cliffs, counts, described


def points(*pairs: tuple[float, float]) -> list[dict[str, float]]:
    return [{"at": at, "cpu_us_per_chunk_in_all": us} for at, us in pairs]


def test_a_cost_that_grows_with_the_work_is_no_cliff():
    assert cliffs(CURVES["chunk_bytes"], points((50, 8.0), (350, 9.0), (4096, 30.0), (65536, 480.0))) == []
    assert cliffs(CURVES["readers"], points((1, 10.0), (10, 60.0), (100, 600.0))) == []


def test_a_chunk_is_no_more_work_where_there_are_more_streams():
    found = cliffs(CURVES["streams"], points((1, 10.0), (10, 9.0), (100, 9.0), (1000, 9.0 * CLIFF_TIMES + 1)))
    assert len(found) == 1
    assert "from 100 to 1,000" in found[0]
    assert "2.1 times as much, for 1.0 times the work" in found[0]


def test_less_work_need_not_cost_less():
    assert cliffs(CURVES["chunk_bytes"], points((350, 9.0), (50, 9.0))) == []


def test_the_cliffs_of_all_curves_stand_beside_their_points():
    of = {"streams": points((1, 1.0), (10, 9.0)), "reading_processes": points((1, 9.0), (2, 10.0))}
    found = described(of)
    assert found["points"] is of
    assert [cliff.partition(":")[0] for cliff in found["cliffs"]] == ["open streams"]


@pytest.mark.parametrize("total", [100, 100_000])
def test_every_point_gets_chunks_by_its_work_and_at_least_a_few(total: int):
    found = counts(total, [1.0, 10.0, 1e9])
    assert found == [total, max(total // 10, CHUNKS_MIN), CHUNKS_MIN]
