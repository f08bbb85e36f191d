"""One tool call as it streams: gates for its name and id, inner thoughts, messages, and broken arguments."""

from __future__ import annotations

import json
from typing import Any

import pytest

from actors.deltas import Delta, Text, ToolCallEnd
from actors.interface import Interface
from actors.settings import StreamSettings
from tests.actors.interface.running import ASSISTANT, DATE, MESSAGE_ID, THOUGHTS, Piece, run, started
from tests.assemble import assembled


def call_of(arguments: str, name: str = "f", **settings: Any) -> tuple[dict[str, Any], Interface]:
    messages, interface = run([Piece(0, "c1", name), *(Piece(0, None, None, char) for char in arguments)], **settings)
    return assembled(messages), interface


@pytest.mark.parametrize(
    ("arguments", "rest"),
    [
        ('{"inner_thoughts":"T","a":1}', '{"a":1}'),
        ('{"inner_thoughts": "T", "a": 1, "b": [2, {"c": null}]}', '{"a": 1, "b": [2, {"c": null}]}'),
        ('{"a": 1, "inner_thoughts": "T"}', '{"a": 1}'),
        ('{"a": 1, "inner_thoughts": "T", "b": 2}', '{"a": 1, "b": 2}'),
        ('{\n  "inner_thoughts": "T",\n  "a": 1\n}', '{\n  "a": 1\n}'),
        ('{\n  "a": 1,\n  "inner_thoughts": "T"\n}', '{\n  "a": 1\n}'),
        ('{"inner_thoughts": "T"}', "{}"),
        ('{"a": {"inner_thoughts": "not these"}, "inner_thoughts": "T"}', '{"a": {"inner_thoughts": "not these"}}'),
        ('{"inner\\u005fthoughts": "T", "a": 1}', '{"a": 1}'),
    ],
)
def test_inner_thoughts_are_taken_out_and_the_rest_stays_as_written(arguments: str, rest: str) -> None:
    result, interface = call_of(arguments, **THOUGHTS)
    assert result["reasoning"] == "T"
    assert result["calls"] == [{"name": "f", "id": "c1", "arguments": rest}]
    json.loads(rest)
    assert interface.warnings == {}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("null", ""),
        ("42", "42"),
        ("true", "true"),
        ('["a", {"b": 1}]', '["a", {"b": 1}]'),
        ('{"a": "x"}', '{"a": "x"}'),
    ],
)
def test_values_that_are_no_strings_are_shown_as_their_json_text(value: str, shown: str) -> None:
    result, _ = call_of(f'{{"inner_thoughts": {value}, "a": 1}}', **THOUGHTS)
    assert (result["reasoning"], result["calls"][0]["arguments"]) == (shown, '{"a": 1}')
    result, _ = call_of(f'{{"message": {value}}}', "send_message", **ASSISTANT)
    assert (result["assistant"], result["calls"]) == (shown, [])


def test_name_and_id_wait_for_the_inner_thoughts() -> None:
    interface = Interface(StreamSettings.load({"dialect": "letta"}), run_id=None)
    interface.start_step(MESSAGE_ID, DATE, None)
    kinds = []
    for fragment in ("", '{"a": 1, "inner_', 'thoughts": "Th', "ink", '."', ', "b": 2}'):
        pieces = interface.feed([Piece(0, "c1", "f", fragment)])
        kinds.append([(piece.head.kind, piece.text, piece.extra) for piece in pieces])
    assert kinds == [
        [],
        [],
        [("reasoning_message", "Th", None)],
        [("reasoning_message", "ink", None)],
        [
            ("reasoning_message", ".", None),
            ("tool_call_message", None, {"tool_name": "f"}),
            ("tool_call_message", '{"a": 1', None),
        ],
        [("tool_call_message", ', "b": 2}', None)],
    ]


def test_the_message_of_an_empty_send_message_is_an_empty_message() -> None:
    messages, _ = run([Piece(0, "c1", "send_message", '{"inner_thoughts": "T", "message": ""}')], **ASSISTANT)
    assert [message["message_type"] for message in messages] == ["reasoning_message", "assistant_message"]
    assert messages[1]["content"] == ""


@pytest.mark.parametrize("arguments", ["{}", '{"text": "hi"}', '{"inner_thoughts": "T", "text": "hi"}'])
def test_a_send_message_without_its_message_is_a_tool_call(arguments: str) -> None:
    result, interface = call_of(arguments, "send_message", **ASSISTANT)
    assert result["assistant"] is None
    assert result["calls"][0]["name"] == "send_message"
    assert json.loads(result["calls"][0]["arguments"]) == {
        key: value for key, value in json.loads(arguments).items() if key != "inner_thoughts"
    }
    assert interface.warnings == {"no_message_in_assistant_call": 1}


@pytest.mark.parametrize(
    ("arguments", "result", "warning"),
    [
        ("{'inner_thoughts': 'T', 'a': 1,}", ("T", None, '{"a": 1}'), "lenient_arguments"),
        ('{inner_thoughts: "T", a: 1}', ("T", None, '{"a": 1}'), "lenient_arguments"),
        ('{"inner_thoughts": "T", \'a\': 1}', ("T", None, '{"a": 1}'), "lenient_arguments"),
        ('{"a": 1, "b": <oops>}', ("", None, '{"a": 1, "b": <oops>}'), "unreadable_arguments"),
        ("just text", ("", None, "just text"), "unreadable_arguments"),
        ('{"inner_thoughts": "T", "a": 1, "b": <oops>', ("T", None, '{"a": 1, "b": <oops>'), "invalid_arguments"),
        ('{"inner_thoughts": "T", "a": "b', ("T", None, '{"a": "b'), "unterminated_arguments"),
        ('{"inner_thoughts": "T", "a', ("T", None, '{"a'), "unterminated_arguments"),
        ('{"inner_thoughts": "T', ("T", None, ""), "unterminated_arguments"),
        ('{"a": "b", "c', ("", None, '{"a": "b", "c'), "unterminated_arguments"),
    ],
)
def test_arguments_that_are_no_json_lose_nothing(
    arguments: str, result: tuple[str, str | None, str], warning: str
) -> None:
    got, interface = call_of(arguments, **THOUGHTS)
    assert (got["reasoning"], got["assistant"], got["calls"][0]["arguments"]) == result
    assert interface.warnings == {warning: 1}
    whole, _ = run([Piece(0, "c1", "f", arguments)], **THOUGHTS)
    assert assembled(whole) == got


@pytest.mark.parametrize(
    ("arguments", "assistant", "arguments_shown"),
    [
        ("{'message': 'Hi',}", "Hi", None),
        ('{"message": "Hi", \'x\': 1}', "Hi", None),
        ('{"message": "Hi', "Hi", None),
        ('{"message": "Hi"}}', "Hi", None),
        ('{"message": "Hi"} and more', "Hiand more", None),
        ('{"mess', None, '{"mess'),
        ("Hi there", None, "Hi there"),
    ],
)
def test_messages_in_broken_arguments_lose_nothing(
    arguments: str, assistant: str | None, arguments_shown: str | None
) -> None:
    got, interface = call_of(arguments, "send_message", **{**ASSISTANT, "inner_thoughts_in_kwargs": False})
    assert got["assistant"] == assistant
    assert [call["arguments"] for call in got["calls"]] == ([] if arguments_shown is None else [arguments_shown])
    assert interface.warnings or arguments.endswith("}}")


def test_what_is_held_back_is_bounded() -> None:
    deltas: list[Delta] = [Piece(0, "c1", "f", '{"a": "')]
    deltas += [Piece(0, None, None, "x" * 1000) for _ in range(20)]
    interface = Interface(StreamSettings.load({"dialect": "letta", "buffer_bytes_max": 5000}), run_id=None)
    interface.start_step(MESSAGE_ID, DATE, None)
    shown = [len(interface.feed([delta])) for delta in deltas]
    assert shown[:5] == [0] * 5
    assert all(shown[6:])


def test_a_call_that_waits_for_its_id_begins_when_another_message_does() -> None:
    interface = started()
    assert interface.feed([Piece(0, None, "f", "{}")]) == []
    kinds = [piece.head.kind for piece in interface.feed([Text("later")])]
    assert kinds == ["tool_call_message", "tool_call_message", "assistant_message"]


def test_arguments_after_the_end_follow_with_a_warning() -> None:
    messages, interface = run([Piece(0, "c1", "f", "{}"), ToolCallEnd(0, "c1"), Piece(0, None, None, "!")], **THOUGHTS)
    assert assembled(messages)["calls"][0]["arguments"] == "{}!"
    assert interface.warnings == {"arguments_after_end": 1}
