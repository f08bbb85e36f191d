"""So many connections a second of one tenant, and no other tenant's are fewer for it."""

from __future__ import annotations

import pytest

from gateway.rates import TENANTS_MAX, Rates


def test_a_second_has_room_for_so_many_and_then_it_is_said_how_long_to_wait():
    rates = Rates(4.0)
    assert [rates.wait_s("a", 10.0) for _ in range(4)] == [0.0] * 4
    assert rates.wait_s("a", 10.0) == pytest.approx(0.25)
    assert rates.wait_s("b", 10.0) == 0.0
    assert rates.wait_s("a", 10.25) == 0.0
    assert rates.wait_s("a", 10.25) == pytest.approx(0.25)
    assert [rates.wait_s("a", 99.0) for _ in range(5)].count(0.0) == 4


def test_less_than_one_a_second_is_one_now_and_then():
    rates = Rates(0.1)
    assert rates.wait_s("a", 0.0) == 0.0
    assert rates.wait_s("a", 1.0) == pytest.approx(9.0)
    assert rates.wait_s("a", 10.0) == 0.0


def test_without_a_limit_everybody_comes():
    assert not any(Rates(None).wait_s("a", 0.0) for _ in range(1000))


def test_tenants_that_have_been_away_are_forgotten():
    rates = Rates(1.0)
    for number in range(TENANTS_MAX + 1):
        rates.wait_s(str(number), 0.0)
    rates.wait_s("new", 100.0)
    assert len(rates._buckets) == 1
