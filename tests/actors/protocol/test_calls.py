"""Calls: each shape crosses as it is, nothing else passes for it, and a caller is who it can be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapes import check_that_it_crosses, check_that_nothing_else_passes, examples, shapes_of

from actors.errors import ProtocolViolation
from actors.protocol import calls
from actors.protocol.calls import check_caller, check_id

SHAPES = shapes_of(calls)


def test_all_calls_are_looked_at_here():
    assert {"Registration", "OpenCall", "WatchCall", "LocateCall", "ClaimCall", "FenceCall"} <= {
        shape.__name__ for shape in SHAPES
    }


@given(st.sampled_from(SHAPES), st.data())
def test_a_call_crosses_as_it_is(shape, data):
    check_that_it_crosses(shape, data.draw(examples(shape)))


@given(st.sampled_from(SHAPES), st.data())
def test_nothing_else_passes_for_a_call(shape, data):
    check_that_nothing_else_passes(shape, data.draw(examples(shape)))


@pytest.mark.parametrize("who", [None, 7, b"client", ["client"], True])
def test_an_id_is_text(who):
    with pytest.raises(ProtocolViolation, match=type(who).__name__):
        check_id(who)
    with pytest.raises(ProtocolViolation):
        check_caller(who, ["incarnation", 1])


@pytest.mark.parametrize("seen", [["incarnation", 0], (None, 3), [None, -1]])
def test_who_says_what_it_has_seen_is_let_in(seen):
    check_caller("client", seen)


@pytest.mark.parametrize(
    "seen", [None, [], ["incarnation"], ["incarnation", "1"], ["i", 1, 2], [7, 1], ["i", True], ["i", 1.0], "i1", {}]
)
def test_what_is_no_place_in_the_news_is_refused(seen):
    with pytest.raises(ProtocolViolation, match="what a client has seen is"):
        check_caller("client", seen)
