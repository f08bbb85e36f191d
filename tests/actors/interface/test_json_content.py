"""Content that may be a tool call: held as long as it may be one, and no longer."""

from __future__ import annotations

import pytest

from actors.interface.json_content import JsonContent, WrittenCall

CHARS_MAX = 1000


def read(fragments: list[str], chars_max: int = CHARS_MAX) -> list[str | WrittenCall]:
    """Return what some pieces of content are, adjacent texts joined."""
    content = JsonContent(chars_max)
    out: list[str | WrittenCall] = []
    for item in [item for fragment in fragments for item in content.feed(fragment)] + content.end():
        if isinstance(item, str) and out and isinstance(out[-1], str):
            out[-1] += item
        else:
            out.append(item)
    return out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"name": "f", "arguments": {"a": 1}}', [WrittenCall("f", '{"a": 1}')]),
        ('{"name": "f", "arguments": "{\\"a\\": 1}"}', [WrittenCall("f", '{"a": 1}')]),
        ('{"name": "f"}', [WrittenCall("f", "{}")]),
        ('\n {"name": "f"}\n{"name": "g"} ', [WrittenCall("f", "{}"), WrittenCall("g", "{}")]),
        ('{"name": "f"} and more', [WrittenCall("f", "{}"), " and more"]),
        ("{'name': 'f', 'arguments': {}}", [WrittenCall("f", "{}")]),
        ('{"name": ""}', ['{"name": ""}']),
        ('{"names": "f"} {"name": "g"}', ['{"names": "f"} {"name": "g"}']),
        ('{"name": "f", "arg', ['{"name": "f", "arg']),
        (" plain {text}", [" plain {text}"]),
        ("  ", ["  "]),
        ("", []),
    ],
)
def test_calls_are_told_from_text_at_every_cut(text: str, expected: list[str | WrittenCall]) -> None:
    assert read([text]) == expected
    assert read(list(text)) == expected
    for place in range(len(text)):
        assert read([text[:place], text[place:]]) == expected, place


def test_text_passes_at_once() -> None:
    content = JsonContent(CHARS_MAX)
    assert content.feed(" \n") == []
    assert content.feed("Hi") == [" \nHi"]
    assert content.feed('{"name": "f"}') == ['{"name": "f"}']


def test_content_over_the_limit_is_text() -> None:
    for text in ('{"name": "f", "arguments": {"a": "' + "x" * 100 + '"}}', " " * 100 + "{}"):
        assert read([text], chars_max=50) == [text]
        assert read(list(text), chars_max=50) == [text]


def test_calls_over_the_limit_are_text() -> None:
    items = read(['{"name": "f"}' * 200])
    assert items[:128] == [WrittenCall("f", "{}")] * 128
    assert items[128:] == ['{"name": "f"}' * 72]


def test_content_may_go_on_after_its_end() -> None:
    content = JsonContent(CHARS_MAX)
    content.feed('{"name": "f"')
    assert content.end() == ['{"name": "f"']
    assert content.feed("more") == ["more"]


PROSE = [
    ('```json\n{"name": "f", "arguments": {"a": 1}}\n```', [WrittenCall("f", '{"a": 1}')]),
    (
        'Well:\n```json\n{"name": "f", "arguments": {"a": 1}}\n```\nDone.',
        ["Well:\n", WrittenCall("f", '{"a": 1}'), "\nDone."],
    ),
    ('I call {"name":"f","arguments":{}} now.', ["I call ", WrittenCall("f", "{}"), " now."]),
    ("plain {text} with `code` and ```py\nx={1}\n```", ["plain {text} with `code` and ```py\nx={1}\n```"]),
    ('See ```json\n{"name": "Ann"}\n```', ['See ```json\n{"name": "Ann"}\n```']),
    ('See {"name": "f", "arg', ['See {"name": "f", "arg']),
]


@pytest.mark.parametrize(("text", "expected"), PROSE)
def test_a_call_in_a_fence_or_in_prose_is_a_call_at_every_cut(text: str, expected: list[str | WrittenCall]) -> None:
    assert read([text]) == expected
    for place in range(1, len(text)):
        assert read([text[:place], text[place:]]) == expected
    assert read(list(text)) == expected
