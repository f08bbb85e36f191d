"""One choice: which message a delta belongs to, and when a message closes."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from actors.deltas import (
    BlockBoundary,
    Delta,
    Reasoning,
    ReasoningSignature,
    RedactedReasoning,
    Refusal,
    Text,
    ToolReturn,
)
from actors.interface.choice import Choice
from actors.interface.interface import Interface
from tests.actors.interface.running import THOUGHTS, Piece, run
from tests.assemble import assembled


def told(deltas: list[Delta], **settings: Any) -> list[tuple[str, str]]:
    """Return type and text of each message."""
    messages, _ = run(deltas, **settings)
    return [
        (m["message_type"].removesuffix("_message"), m.get("content") or m.get("reasoning") or "") for m in messages
    ]


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        ([Text("a"), Text("b")], [("assistant", "ab")]),
        ([Text("a"), Text(""), Reasoning(""), Text("b")], [("assistant", "ab")]),
        ([Text("a"), Refusal("no")], [("assistant", "ano")]),
        ([Text("a"), Reasoning("r"), Text("b")], [("assistant", "a"), ("reasoning", "r"), ("assistant", "b")]),
        ([Text("a"), BlockBoundary(), Text("b")], [("assistant", "a"), ("assistant", "b")]),
        ([Reasoning("r"), Reasoning("s")], [("reasoning", "rs")]),
        (
            [Text("a"), RedactedReasoning(None), Text("b")],
            [("assistant", "a"), ("hidden_reasoning", ""), ("assistant", "b")],
        ),
        ([Text("a"), ToolReturn("c", "ok"), Text("b")], [("assistant", "a"), ("tool_return", ""), ("assistant", "b")]),
        ([Text("a"), Piece(0, "c", "f", "{}"), Text("b")], [("assistant", "a"), ("tool_call", ""), ("assistant", "b")]),
    ],
)
def test_text_goes_on_until_another_message_begins(deltas: list[Delta], expected: list[tuple[str, str]]) -> None:
    assert told(deltas) == expected


def test_inner_thoughts_continue_the_monologue_of_plain_content() -> None:
    call = Piece(0, "c", "f", '{"inner_thoughts": " then act", "a": 1}')
    assert told([Text("Think,"), call], content_is_reasoning=True, **THOUGHTS) == [
        ("reasoning", "Think, then act"),
        ("tool_call", ""),
    ]
    assert told([Text("Hello."), call], content_is_reasoning=False, **THOUGHTS) == [
        ("assistant", "Hello."),
        ("reasoning", " then act"),
        ("tool_call", ""),
    ]


def test_hidden_reasoning_says_whether_it_was_redacted_or_omitted() -> None:
    messages, _ = run([RedactedReasoning("opaque"), RedactedReasoning(None)])
    assert [(m["state"], m["hidden_reasoning"]) for m in messages] == [("redacted", "opaque"), ("omitted", None)]


def test_a_piece_of_no_call_is_an_error_of_this_request_alone() -> None:
    messages, interface = run([Text("a"), Piece(None, None, None, '{"lost":1}'), Text("b")])
    assert interface.error
    error = next(message for message in messages if message["message_type"] == "error_message")
    assert error["error_type"] == "malformed_chunk"
    assert '{"lost":1}' in error["message"]
    assert assembled(messages)["assistant"] == "ab"


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


def test_every_delta_is_taken_by_the_response_or_by_a_choice() -> None:
    taken = [*Interface._ON_RESPONSE, *Choice._ON]
    assert set(taken) == set(get_args(Delta))
    # A refusal concerns both: it is counted, and it is text.
    assert [kind for kind in taken if taken.count(kind) > 1] == [Refusal, Refusal]
