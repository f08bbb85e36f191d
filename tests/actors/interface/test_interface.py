"""One request's interface: steps, usage, choices, whole messages and receipts."""

from __future__ import annotations

from typing import Any

import pytest

from actors.deltas import Done, Finish, Refusal, StreamError, Text, Unknown, Usage
from actors.interface.interface import Interface, is_token_count
from actors.messages import otid_of
from tests.actors.interface.running import ASSISTANT, DATE, MESSAGE_ID, Piece, run, started
from tests.assemble import messages_of

RECEIPT = {"message_type": "tool_return_message", "tool_call_id": "c1", "tool_return": "Sent.", "status": "success"}


def test_usage_of_one_step_is_replaced_and_of_several_added_up() -> None:
    interface = started()
    interface.feed([Usage(10, 1), Usage(10, 5)])
    interface.end_step()
    interface.start_step(MESSAGE_ID, DATE)
    interface.feed([Usage(20, cached_tokens=3)])
    assert interface.usage == {
        "prompt_tokens": 30,
        "completion_tokens": 5,
        "total_tokens": None,
        "cached_tokens": 3,
        "reasoning_tokens": None,
    }
    assert interface.usage_was_reported


@pytest.mark.parametrize(
    ("value", "is_count"), [(0, True), (2**53, True), (2**53 + 1, False), (-1, False), (True, False), (1.5, False)]
)
def test_a_token_count_can_be_packed_and_added_up(value: object, is_count: bool) -> None:  # noqa: FBT001  # a parameter of the test
    assert is_token_count(value) is is_count


def test_each_response_has_its_own_finish_and_refusal() -> None:
    interface = started()
    interface.feed([Refusal("no"), Finish("stop"), Done()])
    assert (interface.provider_reason, interface.has_refused, interface.response_is_over) == ("stop", True, True)
    interface.start_step(MESSAGE_ID, DATE)
    assert (interface.provider_reason, interface.has_refused, interface.response_is_over) == (None, False, False)
    assert interface.step_count == 2


def test_done_lets_out_what_is_held() -> None:
    interface = started()
    assert interface.feed([Piece(0, None, "f", "{}")]) == []
    assert [piece.head.kind for piece in interface.feed([Done()])] == ["tool_call_message"] * 2


def test_an_error_in_the_stream_is_a_message_and_the_rest_goes_on() -> None:
    messages, interface = run([Text("a"), StreamError("overloaded"), Text("b")])
    assert [message["message_type"] for message in messages] == [
        "assistant_message",
        "error_message",
        "assistant_message",
    ]
    assert interface.error


def test_further_choices_are_left_out_or_numbered_under_ids_of_their_own() -> None:
    deltas = [Text("a"), Text("b", 1), Text("c", 2), Text("d", 1)]
    messages, interface = run(deltas)
    assert [message["content"] for message in messages] == ["a"]
    assert interface.warnings == {"further_choice_left_out": 3}
    messages, _ = run(deltas, choices="all")
    assert [(m["content"], m.get("choice_index")) for m in messages] == [("a", None), ("b", 1), ("c", 2), ("d", 1)]
    assert len({message["id"] for message in messages}) == 3
    assert all(message["otid"] == otid_of(message["id"], 0) for message in messages)


def test_the_number_of_choices_is_bounded() -> None:
    messages, interface = run([Text("x", index) for index in range(1, 140)], choices="all")
    assert len(messages) == 128
    assert interface.warnings == {"too_many_choices": 11}


def test_unknown_events_are_counted() -> None:
    _, interface = run([Unknown("event x"), Unknown("event x")])
    assert interface.unknown == {"event x": 2}


def added(interface: Interface, **body: Any) -> list[dict[str, Any]]:
    return messages_of(interface.add(body))


def test_whole_messages_are_numbered_with_the_response_or_under_their_own_id() -> None:
    interface = started()
    interface.feed([Text("a")])
    say = {"message_type": "assistant_message", "content": "b"}
    own = f"message-{'b' * 32}"
    made = [*added(interface, **say), *added(interface, **say, id=own), *added(interface, **say, id=own)]
    assert [message["otid"] for message in made] == [otid_of(MESSAGE_ID, 1), otid_of(own, 0), otid_of(own, 1)]
    assert added(interface, **say, otid="given", date="2025-01-01T00:00:00+00:00")[0]["otid"] == "given"


def test_what_the_response_held_goes_out_ahead_of_a_whole_message() -> None:
    interface = started()
    interface.feed([Piece(0, None, "f", "{}")])
    kinds = [message["message_type"] for message in added(interface, message_type="assistant_message", content="b")]
    assert kinds == ["tool_call_message", "assistant_message"]


@pytest.mark.parametrize("id_comes_late", [False, True])
def test_the_receipt_of_a_shown_message_is_left_out_once(id_comes_late: bool) -> None:  # noqa: FBT001  # a parameter of the test
    interface = started(**ASSISTANT)
    call_id = None if id_comes_late else "c1"
    interface.feed([Piece(0, call_id, "send_message", '{"message": "Hi"'), Piece(0, "c1", None, "}")])
    assert added(interface, **{**RECEIPT, "status": "error"})[0]["status"] == "error"
    assert added(interface, **RECEIPT) == []
    assert added(interface, **RECEIPT)[0]["tool_return"] == "Sent."


def test_an_assistant_message_that_names_its_call_has_a_receipt_too() -> None:
    interface = started()
    (said,) = added(interface, message_type="assistant_message", content="Hi", tool_call_id="c1")
    assert "tool_call_id" not in said
    assert added(interface, **RECEIPT) == []


def test_tools_that_the_provider_runs_itself_are_not_called_by_the_agent() -> None:
    _, interface = run([Piece(0, "c", "web_search", "{}", provider_executed=True)])
    assert not interface.has_called_tools
    _, interface = run([Piece(0, "c", "f", "{}")])
    assert interface.has_called_tools
