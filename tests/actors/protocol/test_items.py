"""Items: one size on both ends, records cut and put together again, and nothing else let in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import InvalidRecord, MessageTooLarge, ProtocolViolation
from actors.protocol.frames import pack, unpack
from actors.protocol.items import RECORD_PART_BYTES_MAX, Place, RecordParts, cut_record, item_bytes, pack_body

BYTES_MAX = 1 << 24


def put_together(items: list) -> list:
    parts = RecordParts(BYTES_MAX)
    return [record for item in items if (record := parts.take(item)) is not None]


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=200), max_size=5), st.integers(1, 64))
def test_a_record_is_the_same_however_small_its_parts(body, part_bytes_max):
    packed = pack_body("message", body)
    items = cut_record("message", packed, part_bytes_max)
    assert put_together(items) == [("message", body)]
    assert sum(map(item_bytes, items)) == len(packed)
    assert all(item_bytes(item) <= part_bytes_max for item in items)


def test_a_small_record_is_one_item_and_no_part_is_larger_than_a_part_may_be():
    assert len(cut_record("message", pack_body("message", {"a": 1}))) == 1
    large = cut_record("message", pack_body("message", {"a": "x" * 1_000_000}))
    assert len(large) == 1_000_000 // RECORD_PART_BYTES_MAX + 1
    assert max(map(item_bytes, large)) == RECORD_PART_BYTES_MAX


def test_both_ends_count_an_item_alike():
    for item in [b"", b"chunk", *cut_record("message", pack_body("message", {"a": "x" * 100}), 7)]:
        assert item_bytes(unpack(pack(item))) == item_bytes(item)


@pytest.mark.parametrize("value", [object(), {1, 2}, 1 << 70, [[[object()]]], "\ud800"])
def test_a_body_that_cannot_be_packed_is_refused_by_name(value):
    with pytest.raises(InvalidRecord, match="finish"):
        pack_body("finish", {"usage": value})


def test_a_record_given_up_in_the_middle_is_dropped_when_the_next_one_begins():
    first = cut_record("message", pack_body("message", {"a": "x" * 100}), 10)
    second = cut_record("message", pack_body("message", {"b": "y" * 50}), 10)
    assert put_together([*first[:4], *second]) == [("message", {"b": "y" * 50})]
    end = cut_record("finish", pack_body("finish", {"stop_reason": None}))
    assert put_together([*first[:4], *end]) == [("finish", {"stop_reason": None})]


def test_a_part_without_those_before_it_is_refused():
    _, *rest = cut_record("message", pack_body("message", {"a": "x" * 100}), 10)
    with pytest.raises(ProtocolViolation, match="beginning"):
        put_together(rest)
    with pytest.raises(ProtocolViolation, match="beginning"):
        put_together([["message", b"ab", int(Place.FIRST)], ["finish", b"c", int(Place.LAST)]])


def test_a_record_over_its_bound_is_refused_before_all_of_it_is_held():
    parts = RecordParts(25)
    first, second, third, *_ = cut_record("message", pack_body("message", {"a": "x" * 1_000}), 10)
    parts.take(first)
    parts.take(second)
    with pytest.raises(MessageTooLarge, match="message_bytes_max"):
        parts.take(third)
    assert parts.held_bytes == 0


@pytest.mark.parametrize(
    "item",
    [[], ["finish"], ["finish", b"\x80"], ["finish", {}], ["finish", {}, 3], [3, b"\x80", 3], ["finish", "x", 3],
     ["finish", b"\x80", "3"], ["finish", b"\x90", 3], ["finish", b"\xc1", 3], ["finish", b"", 3], 7, None, "text"],
)  # fmt: skip
def test_what_is_no_record_item_is_refused(item):
    with pytest.raises(ProtocolViolation):
        RecordParts(BYTES_MAX).take(item)
