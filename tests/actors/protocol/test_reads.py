"""Reads: each shape crosses as it is, nothing else passes for it, and the answers that are none are told apart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from shapes import check_that_it_crosses, check_that_nothing_else_passes, examples, shapes_of

from actors.protocol import reads
from actors.protocol.frames import pack, unpack
from actors.protocol.reads import FORGOTTEN, NOTHING, OPERATIONS, Operation, Part

SHAPES = shapes_of(reads)


def test_all_that_readers_say_and_hear_is_looked_at_here():
    names = {"PollCall", "TellCall", "Part", "Subscribe", "Consumed", "Drop"}
    assert names <= {shape.__name__ for shape in SHAPES}


@given(st.sampled_from(SHAPES), st.data())
def test_what_is_said_crosses_as_it_is(shape, data):
    check_that_it_crosses(shape, data.draw(examples(shape)))


@given(st.sampled_from(SHAPES), st.data())
def test_nothing_else_passes_for_it(shape, data):
    check_that_nothing_else_passes(shape, data.draw(examples(shape)))


def test_each_operation_has_a_shape_that_begins_alike():
    """By its number, its kind and its subscription an operation is refused, whatever else is wrong with it."""
    assert OPERATIONS.keys() == set(Operation)
    assert {shape._fields[:3] for shape in OPERATIONS.values()} == {("operation_no", "kind", "number")}


@given(st.lists(examples(Part), min_size=1, max_size=3))
def test_an_answer_with_parts_is_neither_nothing_nor_forgotten(parts):
    assert pack(parts) not in (NOTHING, FORGOTTEN)
    assert unpack(NOTHING) == []
    assert unpack(FORGOTTEN) is None
