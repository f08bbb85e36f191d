"""Whole JSON texts, read leniently and shown to a user."""

from __future__ import annotations

import pytest

from actors.interface.json_text import LENIENT_CHARS_MAX, UNREADABLE, as_shown_text, read_leniently, to_json


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ("{'a': 1,}", {"a": 1}),
        ("{a: 1 /* one */}", {"a": 1}),
        ('{"a": "line\nline"}', {"a": "line\nline"}),
        ("{oops", UNREADABLE),
        ("", UNREADABLE),
        ("[" * 100_000, UNREADABLE),
    ],
)
def test_text_is_read_strictly_then_leniently(text: str, value: object) -> None:
    assert read_leniently(text) == value


def test_long_text_is_only_read_strictly() -> None:
    long = "x" * LENIENT_CHARS_MAX
    assert read_leniently(f'{{"a": "{long}"}}') == {"a": long}
    assert read_leniently(f"{{'a': '{long}'}}") is UNREADABLE


def test_what_json_cannot_express_is_none() -> None:
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    assert to_json(nested) is None
    assert to_json({(1, 2): 3}) is None
    assert to_json({"é": [1, None]}) == '{"\\u00e9": [1, null]}'


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, ""), ("é\ud83d", "é\ufffd"), (True, "true"), ({"a": [1]}, '{"a": [1]}'), ({(1,): 2}, "")],
)
def test_values_are_shown_as_text(value: object, shown: str) -> None:
    assert as_shown_text(value) == shown
