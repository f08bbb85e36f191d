"""Segments: both forms say the same, whatever was cut off in front or behind, and a log is what went into it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import ProtocolViolation
from actors.messages import Head
from actors.protocol.frames import pack, unpack
from actors.protocol.segments import NO_TEXT, pack_log, read_segment, whole_segment
from actors.stream.log import Log, Segment

TEXT = st.text(max_size=6)
EXTRA = st.dictionaries(st.sampled_from(["tool_name", "signature"]), TEXT, min_size=1)
PIECE = st.one_of(TEXT, st.none(), st.tuples(st.one_of(TEXT, st.none()), EXTRA))
HEAD = Head("assistant_message", {"id": "m"})


def segment(pieces: list) -> Segment:
    made = Segment(HEAD, 7)
    made.pieces = list(pieces)
    return made


@given(st.lists(PIECE, min_size=1, max_size=12), st.data())
def test_any_slice_of_a_segment_is_read_alike_in_both_forms_also_after_it_has_crossed(pieces, data):
    start = data.draw(st.integers(0, len(pieces) - 1))
    stop = data.draw(st.integers(start + 1, len(pieces)))
    made = segment(pieces)
    loose = made.packable(start, stop)
    made.compact()
    compact = made.packable(start, stop)
    for form in (loose, compact, unpack(pack(loose)), unpack(pack(compact))):
        first, fields, read = read_segment(form)
        assert (first, fields) == (7 + start, HEAD.fields)
        assert [tuple(piece) if isinstance(piece, list) else piece for piece in read] == pieces[start:stop]


def test_the_fields_that_an_answer_left_out_are_none():
    assert read_segment([3, None, ["a"]]) == (3, None, ["a"])
    assert read_segment([3, None, "a", [1], {}]) == (3, None, ["a"])


def test_an_empty_text_is_a_text_and_none_is_none():
    assert read_segment([1, {}, "ab", [0, NO_TEXT, 2, 0], {}])[2] == ["", None, "ab", ""]


@pytest.mark.parametrize("parts", [[], [1], [1, {}], [1, {}, "a", [1]], [1, {}, "a", [1], {}, 0]])
def test_what_has_another_number_of_parts_is_refused(parts):
    with pytest.raises(ProtocolViolation, match=f"3 or 5 parts, this one {len(parts)}"):
        read_segment(parts)


def test_a_message_without_text_is_one_piece():
    assert read_segment(whole_segment(4, {"message_type": "ping"})) == (4, {"message_type": "ping"}, [None])


@given(st.integers(0, 1 << 40), st.lists(st.lists(PIECE, min_size=1, max_size=5), min_size=1, max_size=5))
def test_a_packed_log_is_what_went_into_it(dropped, rows):
    segments, seq = [], dropped
    for pieces in rows:
        made = Segment(HEAD, seq + 1)
        made.pieces = list(pieces)
        made.compact()
        segments.append(made.packable(0, len(pieces)))
        seq += len(pieces)
    log = Log.unpack(pack_log(dropped, seq, dropped, segments))
    assert (log.dropped_through, log.last_seq, log.released) == (dropped, seq, dropped)
    reading = log.read(dropped, through=seq, bytes_max=1 << 30)
    assert [piece for row in reading.segments for piece in read_segment(row)[2]] == [p for row in rows for p in row]
    assert log.pack() == pack_log(dropped, seq, dropped, segments)
