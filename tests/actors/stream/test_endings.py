"""Endings: what ends a request and how, what an error makes of it, and the end that is left where there is no log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import MalformedChunk, StreamRouterError
from actors.protocol.segments import read_segment
from actors.stream.endings import ERROR_CHARACTERS_MAX, Ending, ending_of, fault, without_its_log
from actors.stream.log import Log


@pytest.mark.parametrize(
    ("kind", "body", "ending"),
    [
        ("finish", {}, Ending()),
        ("finish", {"stop_reason": None, "usage": None}, Ending()),
        ("finish", {"stop_reason": "end_turn", "usage": {"total_tokens": 3}}, Ending("end_turn", {"total_tokens": 3})),
        ("finish", {"stop_reason": "cancelled", "detail": "given up"}, Ending("cancelled", None, "given up")),
        ("fail", {}, Ending("error", error=("error", "the publisher failed"))),
        (
            "fail",
            {"error_type": "timeout", "message": "m", "detail": "d"},
            Ending("error", None, "d", ("timeout", "m")),
        ),
        ("fail", {"stop_reason": "cancelled", "message": "m"}, Ending("cancelled", error=("error", "m"))),
        ("step_end", {}, None),
        ("message", {"stop_reason": "end_turn"}, None),
    ],
)
def test_finish_and_fail_end_a_request_and_nothing_else_does(kind, body, ending):
    assert ending_of(kind, body) == ending


@pytest.mark.parametrize(
    ("error", "code"), [(MalformedChunk("not JSON"), MalformedChunk.code), (KeyError("x"), "internal_error")]
)
def test_an_error_is_named_by_its_code_its_class_and_the_item_that_set_it_off(error, code):
    ending = fault(error, 41)
    assert (ending.stop_reason, ending.error[0]) == ("error", code)
    assert ending.error[1].startswith(f"after item 41: {type(error).__name__}: {error}")
    assert isinstance(error, StreamRouterError) == (code != "internal_error")


@given(st.text(st.characters(), max_size=2 * ERROR_CHARACTERS_MAX), st.integers(0, 1 << 40))
def test_whatever_an_error_quotes_its_end_can_be_written_and_is_bounded(words, seq):
    text = fault(ValueError(words), seq).error[1]
    assert len(text.encode()) <= 4 * (ERROR_CHARACTERS_MAX + 64)
    Log.unpack(without_its_log("req", "", ValueError(words), seq).pack())


@given(st.integers(0, 1 << 40), st.integers(0, 5))
def test_who_has_read_all_gets_the_end_alone_and_who_has_not_a_gap_before_it(through, behind):
    after = max(0, through - behind)
    log = without_its_log("req", "2026-01-02T03:04:05+00:00", TypeError("of no use"), through)
    reading = log.read(after, through=log.last_seq, bytes_max=1 << 20)
    assert reading.gap == (None if after == through else (after + 1, through))
    read = [
        (first, fields["message_type"], len(pieces)) for first, fields, pieces in map(read_segment, reading.segments)
    ]
    assert read == [(through + 1, "stop_reason", 1), (through + 2, "usage_statistics", 1)]
    fields = reading.segments[0][1]
    assert (fields["stop_reason"], fields["run_id"]) == ("error", "req")
    assert "TypeError: of no use" in fields["detail"]
