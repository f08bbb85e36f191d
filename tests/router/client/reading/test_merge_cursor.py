"""A merge's cursor is text and back; it goes with the requests that it is of, and with no others."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import InvalidArgument
from router.client.finding.listing import ListCursor
from router.client.reading.merge_cursor import Asked, MergeCursor

NAMES = st.text(min_size=1, max_size=8)
TAGS = st.lists(st.tuples(NAMES, st.one_of(st.none(), st.text(max_size=4))), max_size=3).map(tuple)
ASKED = st.one_of(st.none(), st.builds(Asked, st.one_of(st.none(), NAMES), TAGS, st.integers(0, 1 << 62)))
CURSORS = st.builds(
    MergeCursor,
    ASKED,
    st.dictionaries(NAMES, st.integers(0, (1 << 63) - 1), max_size=4),
    st.sets(NAMES, max_size=4),
    st.one_of(st.none(), st.just(ListCursor(False, (1, 2))), st.just(ListCursor(True, (7,)))),
)


@given(CURSORS)
def test_a_cursor_is_text_and_back(cursor):
    assert MergeCursor.of_text(cursor.text()) == cursor


GOOD = json.loads(MergeCursor(None, {"a": 1}, {"b"}, ListCursor(False, (1,))).text())


@pytest.mark.parametrize(
    "text",
    [
        None, 7, "", "{}", "[]", "null", "x" * 10_000, "[" * 100_000, b"\xff",
        *(
            json.dumps({**GOOD, **wrong})
            for wrong in (
                {"version": 2}, {"more": 1}, {"read": {"a": -1}}, {"read": {"a": 1 << 63}}, {"read": {"a": True}},
                {"read": {"": 1}}, {"read": []}, {"read": {"a": "1"}}, {"ended": [1]}, {"ended": None}, {"listed": "x"},
                {"listed": 1}, {"asked": []}, {"asked": ["a", [["t"]], 0]}, {"asked": [1, [], 0]},
                {"asked": [None, [], "0"]},
            )
        ),
    ],
)  # fmt: skip
def test_what_is_no_cursor_is_refused(text):
    with pytest.raises((ValueError, TypeError, AttributeError, RecursionError)):
        MergeCursor.of_text(text)


def test_named_requests_go_on_where_they_were_read_to_and_those_that_ended_are_over():
    cursor = MergeCursor()
    cursor.name(["a", "b", "c", "b"])
    assert cursor.read == {"a": 0, "b": 0, "c": 0}
    cursor.read["a"] = 5
    cursor.end("b")
    again = MergeCursor.of_text(cursor.text())
    again.name(["a", "b", "d"])
    assert (again.read, again.ended) == ({"a": 5, "d": 0}, {"b"})


def test_what_was_asked_for_must_be_asked_for_again():
    cursor = MergeCursor()
    asked = Asked("ada", (("team", "blue"), ("hot", None)), 7)
    cursor.ask(asked)
    cursor.find(["a"], ListCursor(False, (9,)), is_sure=True)
    cursor.end("a")
    assert not cursor.ended, "what has ended lies behind the place in the list"
    again = MergeCursor.of_text(cursor.text())
    again.ask(asked)
    for other in (Asked("bob", asked.tags, 7), Asked("ada", (), 7)):
        with pytest.raises(InvalidArgument, match="same requests"):
            again.ask(other)
    with pytest.raises(InvalidArgument, match="named no requests"):
        again.name(["a"])
    named = MergeCursor()
    named.name(["a"])
    with pytest.raises(InvalidArgument, match="named its requests"):
        named.ask(asked)


def test_what_has_ended_is_known_as_long_as_it_may_be_found_again():
    cursor = MergeCursor()
    cursor.ask(Asked("ada", (), 0))
    place = ListCursor(False, (3,))
    assert cursor.find(["a", "b"], place, is_sure=False) == ["a", "b"]
    cursor.end("a")
    again = MergeCursor.of_text(cursor.text())
    assert again.find(["a", "b", "c"], place, is_sure=False) == ["c"]
    assert again.find(["a", "b", "c"], ListCursor(False, (9,)), is_sure=True) == []
    assert (again.read, again.ended) == ({"b": 0, "c": 0}, set())
