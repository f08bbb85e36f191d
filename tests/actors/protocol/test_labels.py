"""Labels cross as bytes; what no publisher packs is refused and never taken for labels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import ProtocolViolation
from actors.protocol.frames import pack
from actors.protocol.labels import LABELS_BYTES_MAX, TAGS_MAX, Labels, check_labels, pack_labels, read_labels, tags_of

TEXT = st.text(max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
NO_SURROGATES = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


@given(st.dictionaries(NO_SURROGATES, NO_SURROGATES, max_size=8), st.dictionaries(TEXT, JSON, max_size=4))
def test_labels_cross_as_they_are(tags, metadata):
    packed = pack_labels(tags, metadata)
    assert read_labels(packed) == Labels(tags, metadata)
    assert tags_of(packed) == tags


def test_a_request_without_labels_costs_nothing():
    assert pack_labels({}, {}) == b""
    assert read_labels(b"") == ({}, {})


@pytest.mark.parametrize(
    "packed",
    [
        b"\xc1",
        pack([]),
        pack([{}]),
        pack([{"a": 1}, ""]),
        pack([{1: "a"}, ""]),
        pack([["a"], ""]),
        pack([{}, b"{}"]),
        pack([{}, "no json"]),
        pack([{}, "[]"]),
        pack([{}, "[" * 100_000]),
        pack([{str(n): "" for n in range(TAGS_MAX + 1)}, ""]),
        pack([{"a": "x" * LABELS_BYTES_MAX}, ""]),
    ],
)
def test_what_no_publisher_packs_is_refused(packed):
    with pytest.raises(ProtocolViolation):
        check_labels(packed)


@pytest.mark.parametrize("packed", [b"\xc1", pack([]), pack([{"a": 1}, ""])])
def test_a_catalogue_takes_what_it_cannot_read_for_no_tags(packed):
    assert tags_of(packed) == {}
