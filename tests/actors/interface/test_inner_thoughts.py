"""The reader of arguments: thoughts and message taken out, the rest valid JSON as written, at every cut."""

from __future__ import annotations

import json

import pytest

from actors.interface.inner_thoughts import ArgumentsReader, Part, Parts

THOUGHTS, MESSAGE = "inner_thoughts", "message"


def read(fragments: list[str], thoughts: str | None = THOUGHTS, message: str | None = MESSAGE) -> Parts:
    """Return the parts of some fragments; adjacent ones of a kind joined, and the rest at the end."""
    reader = ArgumentsReader(thoughts, message)
    parts = [part for fragment in fragments for part in reader.feed(fragment)]
    rest = reader.rest()
    out: Parts = []
    for part, text in [*parts, *([(Part.ARGUMENTS, rest)] if rest else [])]:
        if out and out[-1][0] is part and part not in (Part.THOUGHTS_END, Part.MESSAGE_END):
            out[-1] = (part, out[-1][1] + text)
        else:
            out.append((part, text))
    return out


def arguments(parts: Parts) -> str:
    return "".join(text for part, text in parts if part is Part.ARGUMENTS)


CASES = [
    ('{"inner_thoughts": "T", "message": "M"}', [("THOUGHTS", "T"), ("MESSAGE", "M")], {}),
    ('{"a": 1, "inner_thoughts": "T", "b": [1, {"c": 2}]}', [("THOUGHTS", "T")], {"a": 1, "b": [1, {"c": 2}]}),
    ('{ "message" : "M\\n\\u00e9" , "a" : "x" }', [("MESSAGE", "M\né")], {"a": "x"}),
    ('{"inner_thoughts": {"a": [1]}, "b": 2}', [("THOUGHTS", '{"a": [1]}')], {"b": 2}),
    ('{"inner_thoughts": null, "message": 42}', [("MESSAGE", "42")], {}),
    ('{"a": {"message": "nested, so not this"}}', [], {"a": {"message": "nested, so not this"}}),
    ("{}", [], {}),
]


@pytest.mark.parametrize(("text", "shown", "rest"), CASES)
def test_the_extracted_and_the_rest_at_every_cut(text: str, shown: list[tuple[str, str]], rest: object) -> None:
    whole = read([text])
    assert [(part.name, said) for part, said in whole if part in (Part.THOUGHTS, Part.MESSAGE)] == shown
    assert json.loads(arguments(whole)) == rest
    assert read(list(text)) == whole
    for place in range(len(text)):
        assert read([text[:place], text[place:]]) == whole, place


@pytest.mark.parametrize(("text", "shown", "rest"), CASES)
def test_each_extracted_value_ends_once(text: str, shown: list[tuple[str, str]], rest: object) -> None:  # noqa: ARG001
    kinds = [part for part, _ in read([text])]
    top = json.loads(text)
    assert kinds.count(Part.THOUGHTS_END) == (THOUGHTS in top)
    assert kinds.count(Part.MESSAGE_END) == (MESSAGE in top)


def test_a_key_that_is_not_looked_for_stays() -> None:
    text = '{"inner_thoughts": "T", "message": "M"}'
    assert read([text], None, None) == [(Part.ARGUMENTS, text)]
    assert json.loads(arguments(read([text], None, MESSAGE))) == {"inner_thoughts": "T"}


def test_no_text_is_lost_where_arguments_break() -> None:
    for text in ("{'a': 1}", '{"a": 1, oops}', "[1]", "text"):
        for place in range(len(text)):
            parts = read([text[:place], text[place:]])
            assert "".join(said for _, said in parts) == text
            assert parts[-1][0] is Part.BROKEN


def test_text_behind_the_arguments_is_told_apart() -> None:
    assert read(['{"a": 1}', "}", " more"]) == [(Part.ARGUMENTS, '{"a": 1}'), (Part.AFTER, "} more")]


def test_the_rest_of_arguments_that_never_closed_is_given_once() -> None:
    reader = ArgumentsReader(THOUGHTS, None)
    given = "".join(text for _, text in reader.feed('{"inner_thoughts": "T", "a": "b", "c'))
    assert given + reader.rest() == 'T{"a": "b", "c'
    assert reader.rest() == ""


def test_the_inside_of_a_string_names_its_part_without_being_read() -> None:
    reader = ArgumentsReader(THOUGHTS, MESSAGE)
    assert reader.part_of("x") is None
    reader.feed('{"inner_thoughts": "T')
    assert reader.part_of("hink") is Part.THOUGHTS
    reader.feed('", "a": "x')
    assert reader.part_of("y") is Part.ARGUMENTS
    assert reader.part_of('y"') is None
