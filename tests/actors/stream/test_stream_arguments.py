"""What callers hand to a stream actor's methods: right values pass, all others are named."""

from __future__ import annotations

import math

import pytest

from actors.errors import InvalidArgument
from actors.stream import arguments

HOSTILE = [None, "7", 1.5, True, -1, 10**30, [], {}, b"x", math.nan, math.inf, object()]


def test_right_values_are_returned():
    assert arguments.whole("pull", "after_seq", 0) == 0
    assert arguments.whole("pull", "after_seq", arguments.SEQ_MAX) == arguments.SEQ_MAX
    assert arguments.seconds("pull", "wait_s", 0) == 0.0
    assert arguments.seconds("pull", "wait_s", 1.5) == 1.5
    assert arguments.text("pull", "request_id", "req") == "req"


@pytest.mark.parametrize("value", HOSTILE)
def test_what_is_no_whole_number_is_refused_by_its_name(value):
    with pytest.raises(InvalidArgument, match=r"pull: after_seq is a whole number from 0 to \d+, not"):
        arguments.whole("pull", "after_seq", value)


@pytest.mark.parametrize("value", [None, "7", True, -1, -0.1, [], {}, math.nan, math.inf])
def test_what_is_no_time_is_refused_by_its_name(value):
    with pytest.raises(InvalidArgument, match="pull: wait_s is a finite number of seconds"):
        arguments.seconds("pull", "wait_s", value)


@pytest.mark.parametrize("value", [None, 7, b"x", [], "x" * 5000])
def test_what_is_no_text_is_refused_by_its_name(value):
    with pytest.raises(InvalidArgument, match="pull: request_id is a text"):
        arguments.text("pull", "request_id", value)
