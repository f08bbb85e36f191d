"""What callers hand over becomes bytes and plain data in their own call, or is refused there."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from actors.errors import InvalidRecord, MalformedChunk
from router.client.publishing.encoding import clean, safe_text, to_bytes, to_mapping, to_plain


class Details(BaseModel):
    cached_tokens: int = 3


class Usage(BaseModel):
    prompt_tokens: int = 1
    details: Details = Details()


class Duck:
    """An SDK's object that is no pydantic model, and takes none of its options."""

    def model_dump(self) -> dict[str, Any]:
        return {"prompt_tokens": 1, "details": Details()}


@dataclass
class Counts:
    prompt_tokens: int = 1
    nested: list[Any] = field(default_factory=lambda: [Usage()])


class Kind(enum.Enum):
    A = "a"


class Level(enum.IntEnum):
    ONE = 1


class Pair(NamedTuple):
    left: Any
    right: Any


class Failing:
    def model_dump(self, **_options: Any) -> dict[str, Any]:
        raise RuntimeError("half loaded")


class FailingText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Usage(), {"prompt_tokens": 1, "details": {"cached_tokens": 3}}),
        (Duck(), {"prompt_tokens": 1, "details": {"cached_tokens": 3}}),
        (Counts(), {"prompt_tokens": 1, "nested": [{"prompt_tokens": 1, "details": {"cached_tokens": 3}}]}),
        ({"usage": Usage()}, {"usage": {"prompt_tokens": 1, "details": {"cached_tokens": 3}}}),
        (MappingProxyType({"a": (1, 2)}), {"a": [1, 2]}),
        ({Kind.A: Kind.A, 1: Level.ONE}, {"a": "a", "1": 1}),
        (Pair(1, Pair(2, 3)), {"left": 1, "right": {"left": 2, "right": 3}}),
        ({"at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "on": date(2026, 1, 2)},
         {"at": "2026-01-02T03:04:05+00:00", "on": "2026-01-02"}),
        ({"cost": Decimal("0.25"), "count": Decimal(3), "took": timedelta(seconds=2)},
         {"cost": "0.25", "count": 3, "took": 2.0}),
        ({"id": UUID(int=1), "path": Path("a/b"), "raw": b"text"},
         {"id": "00000000-0000-0000-0000-000000000001", "path": "a/b", "raw": "text"}),
    ],
)  # fmt: skip
def test_objects_become_plain_data(value, expected):
    found = to_mapping(value, "usage")
    assert found == expected
    assert msgpack.unpackb(msgpack.packb(found)) == expected


def _itself() -> dict[str, Any]:
    loop: dict[str, Any] = {}
    loop["loop"] = loop
    return loop


@pytest.mark.parametrize(
    "value",
    [object(), {"a": object()}, {"a": lambda: 1}, {"a": 1 << 64}, {"a": -(1 << 63) - 1}, {"a": "\ud800"}, {"\ud800": 1},
     {(1, 2): 1}, Failing(), {"deep": [Failing()]}, {"raw": b"\xff"}, _itself(), Usage, [1], 5, "text", None],
)  # fmt: skip
def test_what_cannot_be_sent_is_refused_by_name(value):
    with pytest.raises(InvalidRecord, match="usage"):
        to_mapping(value, "usage")


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.decimals(allow_nan=True),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
))  # fmt: skip
def test_what_passes_can_be_packed(value):
    try:
        found = to_plain(value, "it")
    except InvalidRecord:
        return
    msgpack.packb(found)


def test_chunks_of_every_kind_become_payloads():
    assert to_bytes(b"data: {}") == b"{}"
    assert to_bytes("data:{}") == b"{}"
    assert to_bytes(bytearray(b"{}")) == b"{}"
    assert to_bytes(memoryview(b"{}")) == b"{}"
    assert json.loads(to_bytes({"a": 1})) == {"a": 1}
    assert json.loads(to_bytes(Duck())) == {"prompt_tokens": 1, "details": {"cached_tokens": 3}}


@pytest.mark.parametrize("chunk", [None, 5, object(), [b"x"], Failing(), {"a": object()}, {"a": {1, object()}}, Usage])
def test_a_chunk_that_cannot_be_sent_is_refused_by_name(chunk):
    with pytest.raises(MalformedChunk):
        to_bytes(chunk)


def test_a_view_of_memory_that_was_given_back_is_refused():
    view = memoryview(b"{}")
    view.release()
    with pytest.raises(MalformedChunk):
        to_bytes(view)


def test_the_text_of_an_error_that_has_none_can_be_had():
    assert "FailingText" in safe_text(FailingText())
    assert safe_text(ValueError("half \ud800 of a pair")) == "half ? of a pair"


def test_error_texts_lose_their_secrets_and_their_length():
    assert "abcdefgh" not in clean("Authorization: Bearer sk-abcdefghijklmnop1234")
    assert len(clean("x" * 10_000)) < 2_100
    assert clean("half \ud800") == "half ?"
