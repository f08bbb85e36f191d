"""The shapes of finding cross as they are, and nothing else passes for them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from shapes import check_that_it_crosses, check_that_nothing_else_passes, examples, shapes_of

from actors.protocol import finding

SHAPES = shapes_of(finding)


def test_all_shapes_are_looked_at_here():
    assert {shape.__name__ for shape in SHAPES} == {"ListCall", "ListAnswer", "Row"}


@given(st.sampled_from(SHAPES), st.data())
def test_a_shape_crosses_as_it_is(shape, data):
    check_that_it_crosses(shape, data.draw(examples(shape)))


@given(st.sampled_from(SHAPES), st.data())
def test_nothing_else_passes_for_it(shape, data):
    check_that_nothing_else_passes(shape, data.draw(examples(shape)))
