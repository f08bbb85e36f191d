"""The reader of JSON in pieces: any text, any cut, the same events; and as strict as `json.loads`."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.interface.json_reader import Event, JsonReader, Kind
from tests.effort import scaled

WANTED = ("inner_thoughts", "message")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
keys = st.sampled_from([*WANTED, "a", "key", 'q"uote', "back\\slash", "é", "😀", ""])
json_objects = st.dictionaries(keys, json_values, max_size=5)
layouts = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n ", " :\t"), ("\n,\n", ":\r\n")])


@st.composite
def object_texts(draw: st.DrawFn) -> str:
    """Draw an object's JSON text, in any layout, with escapes or without."""
    value = draw(json_objects)
    text = json.dumps(
        value, ensure_ascii=draw(st.booleans()), separators=draw(layouts), indent=draw(st.none() | st.just(1))
    )
    return draw(st.sampled_from(["", " ", "\n\t"])) + text + draw(st.sampled_from(["", " ", "\n"]))


@st.composite
def cuts_of(draw: st.DrawFn, text: str) -> list[str]:
    """Draw a way to cut a text."""
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]


def read(fragments: list[str]) -> tuple[list[Event], JsonReader]:
    reader = JsonReader(WANTED)
    return [event for fragment in fragments for event in reader.feed(fragment)], reader


def normal(events: list[Event]) -> list[tuple[Any, ...]]:
    """Join the pieces of each value, and drop the empty ones."""
    out: list[tuple[Any, ...]] = []
    for kind, raw, text, lead in events:
        if kind in (Kind.PIECE, Kind.AFTER, Kind.FAIL) and out and out[-1][0] is kind:
            before = out.pop()
            joined = None if text is None else (before[2] or "") + text
            out.append((kind, before[1] + raw, joined, ""))
        else:
            out.append((kind, raw, text, lead))
    return out


def raw_of(events: list[Event]) -> str:
    return "".join(event.lead + event.raw for event in events)


def has_failed(events: list[Event]) -> bool:
    return any(event.kind is Kind.FAIL for event in events)


def members_of(events: list[Event]) -> list[tuple[str, str, str | None]]:
    """Return key, raw value and decoded value of each member."""
    out: list[tuple[str, str, str | None]] = []
    for kind, raw, text, _ in normal(events):
        if kind is Kind.KEY:
            out.append((text or "", "", None))
        elif kind is Kind.PIECE:
            out[-1] = (out[-1][0], raw, text)
    return out


@given(st.data(), object_texts())
@settings(max_examples=scaled(400), deadline=None)
def test_any_object_cut_anywhere_gives_its_members(data: st.DataObject, text: str) -> None:
    events, reader = read(data.draw(cuts_of(text)))
    assert reader.is_done
    assert raw_of(events) == text
    members = members_of(events)
    pairs = json.loads(text, object_pairs_hook=list)
    assert [key for key, _, _ in members] == [key for key, _ in pairs]
    for (key, raw, shown), (_, value) in zip(members, pairs, strict=True):
        assert json.loads(raw, object_pairs_hook=list) == value
        if key in WANTED:
            assert shown == (value if isinstance(value, str) else "" if value is None else raw)
        else:
            assert shown is None


@given(object_texts())
@settings(max_examples=scaled(60), deadline=None)
def test_the_events_do_not_depend_on_the_cuts(text: str) -> None:
    whole, _ = read([text])
    one_by_one, _ = read(list(text))
    assert normal(one_by_one) == normal(whole)
    for place in range(len(text)):
        assert normal(read([text[:place], text[place:]])[0]) == normal(whole)


def with_known_escapes(text: str) -> str:
    """Write each escape that JSON does not know as JSON writes the same characters."""
    return re.sub(r'(\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))|\\', lambda found: found[1] or r"\\", text)


@given(st.data(), st.text(alphabet="{}[]\",:\\u0123dD8n -+.eEtrufalsNaI\n\t'x", max_size=40))
@settings(max_examples=scaled(1500), deadline=None)
def test_it_accepts_what_json_loads_accepts_but_for_unknown_escapes(data: st.DataObject, text: str) -> None:
    text = "{" + text
    events, reader = read(data.draw(cuts_of(text)))
    assert raw_of(events) + reader.rest() == text
    try:
        value = json.loads(with_known_escapes(text), strict=False)
    except ValueError:
        value = None
    has_trailer = any(kind is Kind.AFTER and raw.strip(" \t\n\r") for kind, raw, _, _ in events)
    assert (reader.is_done and not has_trailer) == isinstance(value, dict)


@given(st.data(), st.text(max_size=30), st.text(max_size=30))
@settings(max_examples=scaled(300), deadline=None)
def test_strings_are_decoded_however_they_are_escaped(data: st.DataObject, thoughts: str, message: str) -> None:
    escaped = "".join(
        char if data.draw(st.booleans()) and char not in '"\\' and char >= " " else json.dumps(char)[1:-1]
        for char in thoughts
    )
    text = f'{{"inner_thoughts": "{escaped}", "message": {json.dumps(message)}}}'
    events, _ = read(data.draw(cuts_of(text)))
    assert [(key, shown) for key, _, shown in members_of(events)] == [
        ("inner_thoughts", thoughts),
        ("message", message),
    ]


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (r"\ud83d\ude00", "😀"),
        (r"\ud83d", "\ufffd"),
        (r"\ude00", "\ufffd"),
        (r"\ud83dx", "\ufffdx"),
        (r"\ud83d\ud83d\ude00", "\ufffd😀"),
        (r"\ud83d\n", "\ufffd\n"),
        (r"\'", "'"),
        (r"\d+", r"\d+"),
        (r"\u12", r"\u12"),
        (r"\u12xy\n", "\\u12xy\n"),
        (r"C:\\", "C:\\"),
        ("tab\tnewline\n", "tab\tnewline\n"),
    ],
)
def test_odd_escapes_at_every_cut(written: str, shown: str) -> None:
    text = f'{{"message": "{written}"}}'
    for place in range(len(text)):
        events, reader = read([text[:place], text[place:]])
        assert members_of(events)[0][2] == shown, place
        assert reader.is_done
    events, _ = read(list(text))
    assert members_of(events)[0][2] == shown


@pytest.mark.parametrize(
    "text", ["", " ", "[1]", "x", "{'a': 1}", '{"a" 1}', '{"a": tru}', '{"a": 1,}', '{"a": 01}', "{,}"]
)
def test_what_is_no_object_fails_with_all_its_text(text: str) -> None:
    for fragments in ([text], list(text)):
        events, reader = read(fragments)
        assert not reader.is_done
        assert raw_of(events) + reader.rest() == text
        assert has_failed(events) == bool(text.strip())


def _seconds(length: int, fragment_chars: int) -> float:
    text = '{"inner_thoughts": "' + "Think. " * (length // 7) + '", "list": [' + "1, " * (length // 3) + "2]}"
    fragments = [text[at : at + fragment_chars] for at in range(0, len(text), fragment_chars)]
    began = time.process_time()
    read(fragments)
    return time.process_time() - began


@pytest.mark.parametrize("fragment_chars", [1, 4, 10_000_000])
def test_the_cost_is_linear_in_the_length(fragment_chars: int) -> None:
    small = min(_seconds(5_000, fragment_chars) for _ in range(5))
    large = min(_seconds(40_000, fragment_chars) for _ in range(3))
    # 8 times the text; a quadratic reader would take 64 times as long. The rest is for a busy machine.
    assert large < small * 24 + 0.002


def test_after_a_failure_every_fragment_is_a_failure() -> None:
    events, reader = read(['{"a": 1', ", oops", ' "b": 2}', "!"])
    assert [event.kind for event in events] == [*[Kind.OPEN, Kind.KEY, Kind.PIECE, Kind.END], *[Kind.FAIL] * 3]
    assert reader.rest() == ""


def test_a_closing_bracket_that_does_not_match_is_a_failure() -> None:
    for text in ('{"a": [1}', '{"a": {"b": 1]', '{"a": 1]'):
        events, _ = read([text])
        assert has_failed(events), text
        assert raw_of(events) == text


def test_the_inside_of_a_string_may_skip_the_reader() -> None:
    reader = JsonReader(WANTED)
    reader.feed('{"message": "Hel')
    assert reader.is_in_string
    reader.feed("\\ud83d")
    assert not reader.is_in_string  # the first half of a pair is held, and belongs in front of what comes
    reader.feed("\\ude00")
    assert reader.is_in_string
    reader.feed('"')
    assert not reader.is_in_string
    reader.feed(', "other": {"deep": "text')
    assert not reader.is_in_string


@pytest.mark.parametrize(
    "endless", ['{"' + "k" * 70_000, "{" + " " * 70_000, '{"a": ' + "1" * 70_000, '{"a": [' + "1" * 70_000]
)
def test_what_is_held_is_bounded(endless: str) -> None:
    for size in (1, 1000, 100_000):
        events, _ = read([endless[at : at + size] for at in range(0, len(endless), size)])
        assert has_failed(events)
        assert raw_of(events) == endless


def test_deep_nesting_fails_at_the_same_depth_however_it_is_cut() -> None:
    for depth, is_read in ((900, True), (1100, False)):
        text = '{"a": ' + "[" * depth + "]" * depth + "}"
        for fragments in ([text], list(text)):
            events, reader = read(fragments)
            assert reader.is_done is is_read
            assert raw_of(events) == text
