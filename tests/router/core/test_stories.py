"""Stories: the latest events of each request, in their order, and never more than so many of all together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.core import stories as module
from router.core.effects import PLACED, Note
from router.core.stories import Stories


@given(st.lists(st.sampled_from("abc"), max_size=60), st.integers(1, 20))
def test_of_each_request_the_latest_events_are_told_in_their_order(names, events_max):
    bound, module.EVENTS_MAX = module.EVENTS_MAX, events_max
    try:
        stories = Stories()
    finally:
        module.EVENTS_MAX = bound
    for number, name in enumerate(names):
        stories.add(Note(PLACED, name, number, None, at=float(number)))
    remembered = [*enumerate(names)][-events_max:]
    for name in "abc":
        told = [(note.at, note.epoch) for note in stories.of(name)]
        assert told == [(float(number), number) for number, one in remembered if one == name]


def test_of_a_request_that_never_was_nothing_is_told():
    assert [*Stories().of("nobody")] == []
