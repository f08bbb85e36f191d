"""Backoff: each wait twice the last, up to its bound, spread so that those who failed together part."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.protocol.backoff import Backoff


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_a_wait_is_between_half_and_all_of_twice_the_last_bound(chances):
    backoff = Backoff(0.1, 2.0)
    whole_s = 0.1
    for chance in chances:
        assert whole_s / 2 <= backoff.next_s(chance) <= whole_s
        whole_s = min(whole_s * 2, 2.0)


def test_a_success_begins_with_the_shortest_wait_again():
    backoff = Backoff(0.1, 2.0)
    for _ in range(10):
        backoff.next_s(1.0)
    assert backoff.next_s(1.0) == 2.0
    backoff.reset()
    assert backoff.next_s(1.0) == 0.1
