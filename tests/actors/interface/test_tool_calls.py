"""Whose piece is a piece: calls told apart by id, index and name, however a provider sends these."""

from __future__ import annotations

import json
from typing import Any

import pytest

from actors.deltas import (
    BlockBoundary,
    Delta,
    Reasoning,
    ReasoningSignature,
    Text,
    ToolCallEnd,
    ToolCallPiece,
    ToolReturn,
)
from actors.interface import Interface
from actors.messages import Emission
from actors.settings import StreamSettings
from tests.assemble import assembled, messages_of

MESSAGE_ID = "message-6f1c2f4e-8a35-4f0e-9d5b-2b7f0c1d9e80"
DATE = "2025-05-01T12:00:00+00:00"
Piece = ToolCallPiece


def run(deltas: list[Delta], **settings: Any) -> tuple[list[dict[str, Any]], Interface]:
    interface = Interface(StreamSettings.load({"dialect": "chat", **settings}), run_id=None)
    emissions: list[Emission] = interface.start_step(MESSAGE_ID, DATE, None)
    for delta in deltas:
        emissions += interface.feed([delta])
    emissions += interface.end_step()
    return messages_of(emissions), interface


def calls(deltas: list[Delta], **settings: Any) -> list[tuple[str | None, str | None, str]]:
    messages, _ = run(deltas, **settings)
    return [(call["name"], call["id"], call["arguments"]) for call in assembled(messages)["calls"]]


def args(index: int | None, text: str) -> ToolCallPiece:
    return Piece(index, None, None, text)


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        # Whole.
        ([Piece(0, "c1", "f", '{"a":1}')], [("f", "c1", '{"a":1}')]),
        # Names and ids in pieces, also of equal halves, also one character at a time.
        ([Piece(0, "c1", "se"), Piece(0, None, "arch"), args(0, "{}")], [("search", "c1", "{}")]),
        ([Piece(0, "c1", "bye"), Piece(0, None, "bye"), args(0, "{}")], [("byebye", "c1", "{}")]),
        ([Piece(0, "call", "f"), Piece(0, "_1"), args(0, "{}")], [("f", "call_1", "{}")]),
        ([Piece(0, c, None) for c in "call_1"] + [Piece(0, None, c) for c in "roll"], [("roll", "call_1", "")]),
        # Told again on every piece.
        ([Piece(0, "c1", "f", "{"), Piece(0, "c1", "f", "}"), Piece(0, "c1", "f", " ")], [("f", "c1", "{} ")]),
        ([Piece(0, "c1", "f", "{"), Piece(0, None, "f", "}")], [("f", "c1", "{}")]),
        ([Piece(0, "c1", "f"), Piece(0, "c1", "f"), Piece(0, "c1", "f", "{}")], [("f", "c1", "{}")]),
        # The id, or the name, comes late.
        ([Piece(0, None, "f", '{"a"'), args(0, ":1"), Piece(0, "c1", None, "}")], [("f", "c1", '{"a":1}')]),
        ([Piece(0, "c1", None, '{"a"'), Piece(0, None, "f", ":1}")], [("f", "c1", '{"a":1}')]),
        # It never comes.
        ([Piece(0, None, "f", "{}")], [("f", None, "{}")]),
        ([Piece(0, "c1", None, "{}")], [(None, "c1", "{}")]),
        # No arguments at all.
        ([Piece(0, "c1", "f")], [("f", "c1", "")]),
        # Parallel, one after the other and interleaved.
        ([Piece(0, "c1", "f", "{}"), Piece(1, "c2", "g", "{}")], [("f", "c1", "{}"), ("g", "c2", "{}")]),
        (
            [Piece(0, "c1", "f"), Piece(1, "c2", "g"), args(1, "[2"), args(0, "[1"), args(1, "]")],
            [("f", "c1", "[1"), ("g", "c2", "[2]")],
        ),
        # A call without arguments keeps its place.
        ([Piece(0, "c1", "f"), Piece(1, "c2", "g", "{}")], [("f", "c1", ""), ("g", "c2", "{}")]),
        # The index is used again, or there is none.
        ([Piece(0, "c1", "f", "{}"), Piece(0, "c2", "f", "{}")], [("f", "c1", "{}"), ("f", "c2", "{}")]),
        ([Piece(0, "abcdef", "f"), Piece(0, "uvwxyz", "g")], [("f", "abcdef", ""), ("g", "uvwxyz", "")]),
        ([Piece(0, None, "f", "{1}"), Piece(0, None, "f", "{2}")], [("f", None, "{1}"), ("f", None, "{2}")]),
        ([Piece(0, None, "f", "{}"), Piece(0, None, "g", "{}")], [("f", None, "{}"), ("g", None, "{}")]),
        ([Piece(None, "c1", "f", "{"), args(None, "}")], [("f", "c1", "{}")]),
        ([Piece(None, "c1", "f", "{}"), Piece(None, "c2", "g", "{}")], [("f", "c1", "{}"), ("g", "c2", "{}")]),
        ([Piece(None, None, "f", "{}"), Piece(None, None, "g", "{}")], [("f", None, "{}"), ("g", None, "{}")]),
        # By id where index and id disagree; an id that changes with every piece.
        ([Piece(0, "c", "f", "{"), Piece(1, "d", "g"), Piece(1, "c", None, "}")], [("f", "c", "{}"), ("g", "d", "")]),
        ([Piece(0, "x1", "f", "{"), Piece(0, "x2", None, "}")], [("f", "x1", "{}")]),
        # A call is over, and its index comes again.
        ([Piece(0, "c1", "f"), ToolCallEnd(0, "c1"), Piece(0, None, "g", "{}")], [("f", "c1", ""), ("g", None, "{}")]),
    ],
)  # fmt: skip
def test_identity(pieces: list[Delta], expected: list[tuple[str | None, str | None, str]]) -> None:
    assert calls(pieces) == expected


def test_a_piece_of_no_call_is_an_error_of_this_request_alone() -> None:
    messages, interface = run([Text("a"), Piece(None, None, None, '{"lost":1}'), Text("b")])
    assert interface.error
    error = next(message for message in messages if message["message_type"] == "error_message")
    assert error["error_type"] == "malformed_chunk"
    assert '{"lost":1}' in error["message"]
    assert assembled(messages)["assistant"] == "ab"


THOUGHTS = {"inner_thoughts_in_kwargs": True}
ASSISTANT = {"inner_thoughts_in_kwargs": True, "use_assistant_message": True}


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
        emissions = interface.feed([Piece(0, "c1", "f", fragment)])
        kinds.append([(piece.head.kind, piece.text, piece.extra) for piece in emissions])
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


def test_blocks_signatures_and_provider_tools() -> None:
    messages, interface = run(
        [
            Reasoning("a"),
            ReasoningSignature("s1"),
            BlockBoundary(),
            ReasoningSignature("s2"),
            BlockBoundary(),
            Text("one"),
            BlockBoundary(),
            Text("two"),
            Piece(0, "srv", "web_search", '{"inner_thoughts": "kept"}', provider_executed=True),
            ToolReturn("srv", "found"),
            Text("three"),
        ],
        **THOUGHTS,
    )
    assert [message["message_type"] for message in messages] == [
        "reasoning_message",
        "reasoning_message",
        "assistant_message",
        "assistant_message",
        "tool_call_message",
        "tool_return_message",
        "assistant_message",
    ]
    assert [message.get("signature") for message in messages[:2]] == ["s1", "s2"]
    assert messages[4]["tool_call"]["arguments"] == '{"inner_thoughts": "kept"}'
    assert messages[4]["provider_executed"] is messages[5]["provider_executed"] is True
    assert not interface.has_called_tools


def test_a_flood_of_calls_is_bounded() -> None:
    messages, interface = run([Piece(None, f"call{place}", "f", "{}") for place in range(5000)])
    assert len(assembled(messages)["calls"]) == 5000
    assert interface.warnings["too_many_tool_calls"] > 0
    assert len({message["otid"] for message in messages}) == 5000
