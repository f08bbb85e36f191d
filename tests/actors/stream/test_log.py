"""The log: numbered pieces, any cursor at any time, bounded memory, explicit gaps."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import ProtocolViolation
from actors.messages import Head, MessagePiece
from actors.protocol.segments import read_segment
from actors.stream.log import Log


def heads(count: int) -> list[Head]:
    return [Head("assistant_message", {"id": f"message-{n}", "otid": str(n)}) for n in range(count)]


def flat(segments: list) -> list[tuple[int, str, object]]:
    """Every piece of a reading as (seq_id, otid, piece), whichever form it came in."""
    found = []
    fields = None
    for segment in segments:
        first, own, pieces = read_segment(segment)
        fields = own or fields
        for seq, piece in enumerate(pieces, first):
            found.append((seq, fields["otid"], tuple(piece) if isinstance(piece, (tuple, list)) else piece))
    return found


PIECES = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.one_of(st.none(), st.text(max_size=8)),
        st.one_of(st.none(), st.just({"tool_name": "f"})),
    ),
    min_size=1,
    max_size=40,
)


def filled(pieces: list) -> tuple[Log, list[tuple[int, str, object]]]:
    log = Log()
    made = heads(4)
    expected = []
    for seq, (head, text, extra) in enumerate(pieces, 1):
        log.append([MessagePiece(made[head], text, extra)])
        expected.append((seq, str(head), text if extra is None else (text, extra)))
    return log, expected


@given(PIECES, st.data())
def test_every_cursor_gets_what_follows_it_however_much_was_compacted(pieces, data):
    log, expected = filled(pieces)
    log.release(data.draw(st.integers(0, len(pieces))))
    if data.draw(st.booleans()):
        log.compact_all()
    for after in range(len(pieces) + 1):
        reading = log.read(after, through=log.last_seq, bytes_max=1 << 30)
        assert flat(reading.segments) == expected[after:]
        assert reading.last_seq == len(pieces)
        assert reading.gap is None


@given(PIECES, st.integers(1, 400), st.integers(1, 5))
def test_a_bounded_read_makes_progress_and_misses_nothing(pieces, bytes_max, pieces_max):
    log, expected = filled(pieces)
    found = []
    cursor = 0
    while cursor < log.last_seq:
        reading = log.read(cursor, through=log.last_seq, bytes_max=bytes_max, pieces_max=pieces_max)
        assert cursor < reading.last_seq
        assert len(flat(reading.segments)) <= pieces_max
        found += flat(reading.segments)
        cursor = reading.last_seq
    assert found == expected


@given(PIECES, st.integers(1, 400))
def test_a_read_leaves_out_the_fields_of_the_message_that_was_read_last_and_no_others(pieces, bytes_max):
    log, expected = filled(pieces)
    found, known, otid, cursor = [], None, None, 0
    while cursor < log.last_seq:
        reading = log.read(cursor, through=log.last_seq, bytes_max=bytes_max, known=known)
        for first, fields, row in reading.segments:
            assert fields is None or fields["otid"] != otid, "it was known"
            otid = otid if fields is None else fields["otid"]
            found += [(seq, otid, piece) for seq, piece in enumerate(row, first)]
        known, cursor = reading.head, reading.last_seq
    assert found == expected


@given(PIECES)
def test_a_packed_log_is_the_same_log(pieces):
    log, expected = filled(pieces)
    again = Log.unpack(log.pack())
    assert flat(again.read(0, through=again.last_seq, bytes_max=1 << 30).segments) == expected
    assert (again.last_seq, again.released, again.dropped_through) == (log.last_seq, log.released, log.dropped_through)


@given(PIECES, st.integers(0, 2000), st.integers(0, 40))
def test_what_is_dropped_is_said(pieces, bytes_max, through):
    log, expected = filled(pieces)
    log.drop(bytes_max, through=min(through, len(pieces)))
    reading = log.read(0, through=log.last_seq, bytes_max=1 << 30)
    assert flat(reading.segments) == expected[log.dropped_through :]
    if log.dropped_through:
        assert reading.gap == (1, log.dropped_through)
    assert log.dropped_through <= min(through, len(pieces))
    assert log.released >= log.dropped_through
    # A cursor behind the gap notices nothing of it.
    assert log.read(log.dropped_through, through=log.last_seq, bytes_max=1 << 30).gap is None


@given(PIECES, st.lists(st.integers(0, 40), max_size=6))
def test_unread_bytes_fall_to_zero_when_all_is_consumed(pieces, releases):
    log, _ = filled(pieces)
    for through in releases:
        log.release(through)
        assert log.unread_bytes >= 0
    log.release(len(pieces))
    assert log.unread_bytes == 0
    assert log.bytes_held > 0


def test_one_long_message_can_be_dropped_in_part():
    log = Log()
    (head,) = heads(1)
    for _ in range(1000):
        log.append([MessagePiece(head, "x" * 100)])
    held = log.bytes_held
    log.drop(held // 2, through=log.last_seq)
    assert held // 4 < log.bytes_held <= held // 2
    assert 400 < log.dropped_through < 600


def long_message(pieces: int) -> Log:
    log = Log()
    (head,) = heads(1)
    log.append([MessagePiece(head, "word ") for _ in range(pieces)])
    log.append([MessagePiece(Head("assistant_message", {"id": "next"}), "x")])
    return log


@pytest.mark.parametrize("is_compacted", [False, True])
def test_a_long_message_stands_in_segments_none_of_which_is_long(is_compacted):
    """So that no read, compaction or drop is a long step, however long a message is."""
    log = long_message(40_000)
    if is_compacted:
        log.compact_all()
    assert max(len(segment) for segment in log._segments) < 2_000
    seen = after = 0
    while (reading := log.read(after, through=log.last_seq, bytes_max=16 * 1024)).segments:
        after = reading.last_seq
        seen += sum(len(read_segment(segment)[2]) for segment in reading.segments)
    assert seen == log.last_seq


def test_a_long_message_is_compacted_while_it_still_grows():
    log = long_message(40_000)
    held = log.bytes_held
    log.release(39_000)
    assert log.bytes_held < held // 3


def test_compacting_frees_most_of_what_small_pieces_cost():
    log = Log()
    first, second = heads(2)
    for _ in range(2000):
        log.append([MessagePiece(first, "word ")])
    log.append([MessagePiece(second, "next")])
    before = log.bytes_held
    log.release(log.last_seq)
    assert log.bytes_held < before / 4


def test_readers_never_see_beyond_what_is_visible():
    log, expected = filled([(0, "a", None), (0, "b", None), (1, "c", None)])
    assert flat(log.read(0, through=2, bytes_max=1 << 30).segments) == expected[:2]


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"\x90", b"\x94\x00\x00\x00\x91\x91\x01", random.Random(7).randbytes(64)]
)
def test_a_packed_log_cut_short_is_refused_by_name(data):
    with pytest.raises(ProtocolViolation):
        Log.unpack(data)
