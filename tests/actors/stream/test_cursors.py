"""Cursors: the least of all, whatever readers come, move and go, and nothing kept of those that have gone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.stream.cursors import FEW, LEFT_PLACES_MAX, Cursors

MOVES = st.lists(st.tuples(st.integers(0, 2 * FEW), st.one_of(st.none(), st.integers(0, 12))), min_size=1, max_size=300)


@given(MOVES)
def test_the_least_cursor_is_that_of_the_slowest_reader_there_is(moves):
    cursors = Cursors()
    expected: dict[int, int] = {}
    for reader, cursor in moves:
        if cursor is None:
            cursors.remove(reader)
            expected.pop(reader, None)
        else:
            cursors.move(reader, cursor)
            expected[reader] = max(expected.get(reader, 0), cursor)
        assert cursors.least == min(expected.values(), default=0)
        assert len(cursors) == len(expected)
        assert all(cursors.get(reader) == place for reader, place in expected.items())


def test_one_that_stands_still_does_not_make_the_others_places_pile_up():
    cursors = Cursors()
    for reader in range(2 * FEW):
        cursors.move(reader, 0)
    for cursor in range(1, 20_000):
        cursors.move(cursor % FEW, cursor)
        assert cursors.least == 0
        assert len(cursors._many.places) <= 2 * len(cursors) + LEFT_PLACES_MAX + 1
        assert len(cursors._many.counts) == len(cursors._many.places)


def test_nothing_stays_of_readers_that_have_gone():
    cursors = Cursors()
    for reader in range(1000):
        cursors.move(reader, reader)
    for reader in range(1000):
        cursors.remove(reader)
    assert (len(cursors), cursors.least, cursors._many.counts, cursors._many.places) == (0, 0, None, None)
