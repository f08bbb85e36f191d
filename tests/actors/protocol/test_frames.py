"""Frames: what is packed comes back; whatever has another shape is refused by ProtocolViolation and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from types import UnionType
from typing import Union, get_args, get_origin, get_type_hints

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import ProtocolViolation
from actors.protocol import calls, envelopes, frames, items, reads, states
from actors.protocol.frames import ARGUMENT_BYTES_MAX, checked, cut_into_frames, pack, read, unpack, unpack_list

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
SHAPES = sorted(
    {
        shape
        for room in (calls, envelopes, items, reads, states)
        for shape in vars(room).values()
        if isinstance(shape, type) and issubclass(shape, tuple) and hasattr(shape, "_fields")
    },
    key=lambda shape: shape.__name__,
)
EXAMPLES = {
    str: "text",
    int: 3,
    float: 1.5,
    bool: True,
    bytes: b"bytes",
    list: [],
    dict: {},
    Sequence: [],
    type(None): None,
}


def example(hint: object) -> object:
    """Return a value that fits an annotation."""
    kinds = get_args(hint) if get_origin(hint) in (UnionType, Union) else (get_origin(hint) or hint,)
    return next((value for kind, value in EXAMPLES.items() if kind in kinds), 3)


def parts_of(shape: type) -> list[object]:
    hints = get_type_hints(shape)
    return [example(hints[name]) for name in shape._fields]


@given(PLAIN)
def test_plain_values_come_back_as_they_were(value):
    assert unpack(pack(value)) == value


@given(st.binary(max_size=200))
def test_bytes_that_are_no_frame_are_refused_by_name(frame):
    try:
        unpack(frame)
    except ProtocolViolation:
        return


@pytest.mark.parametrize("frame", [None, 3, "text", [], bytearray(b"\x90"), memoryview(b"\x90")])
def test_what_is_not_bytes_is_no_frame(frame):
    with pytest.raises(ProtocolViolation, match="a frame is bytes"):
        unpack(frame)


@pytest.mark.parametrize("value", [3, "text", None, {}, b""])
def test_a_list_is_a_list(value):
    with pytest.raises(ProtocolViolation, match="expected a list"):
        unpack_list(pack(value))


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_a_shape_comes_back_whole_and_with_a_part_less_or_more_it_is_refused(shape):
    parts = parts_of(shape)
    assert list(read(shape, pack(parts))) == parts
    for wrong in (parts[:-1], [*parts, None], [], "text", None, 7, {"a": 1}):
        with pytest.raises(ProtocolViolation, match=shape.__name__):
            checked(shape, wrong)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
@settings(max_examples=25)
@given(data=st.data())
def test_a_part_of_a_type_that_the_shape_does_not_name_is_refused(shape, data):
    parts = parts_of(shape)
    at = data.draw(st.integers(0, len(parts) - 1))
    parts[at] = data.draw(PLAIN)
    try:
        made = checked(shape, parts)
    except ProtocolViolation:
        return
    hint = get_type_hints(shape)[shape._fields[at]]
    assert "Any" in str(hint) or type(parts[at]) in {type(made[at]), int, float}


@given(st.lists(st.one_of(st.none(), st.integers(0, 200_000)), min_size=1, max_size=12))
def test_envelopes_are_cut_into_frames_in_order_and_none_is_larger_than_it_must_be(sizes):
    order = envelopes.EndEnvelope(envelopes.Order.END, "req", 1, "cancelled", None, 0)
    sent = [
        order if size is None else envelopes.ItemsEnvelope("req", 1, n, 1, b"x" * size) for n, size in enumerate(sizes)
    ]
    frames = cut_into_frames(sent)
    assert [envelope for frame in frames for envelope in unpack(frame)] == [list(envelope) for envelope in sent]
    for frame in frames:
        assert len(frame) <= ARGUMENT_BYTES_MAX or len(unpack(frame)) == 1


def test_what_could_not_be_packed_leaves_nothing_in_what_is_packed_next():
    for value in (1, [b"y" * (2 * frames.PACKER_BYTES_MAX)], {"a": [None]}):
        with pytest.raises(TypeError):
            pack([b"x" * 100, object()])
        assert unpack(pack(value)) == value


def test_what_is_packed_meanwhile_is_packed_by_another():
    class Awkward(dict):  # type: ignore[type-arg]  # packs something else as it is packed
        def items(self):
            assert pack(["inner"]) == msgpack.packb(["inner"])
            return super().items()

    assert pack(["outer", Awkward(a=1)]) == msgpack.packb(["outer", {"a": 1}])


def test_no_packer_is_kept_that_has_grown_large():
    frames._packers.clear()
    pack(b"x" * frames.PACKER_BYTES_MAX)
    assert not frames._packers
    pack(b"x")
    assert len(frames._packers) == 1
