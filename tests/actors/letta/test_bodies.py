"""Bodies of whole messages from stored ones."""

from __future__ import annotations

import pytest

from actors.errors import InvalidRecord
from actors.letta.bodies import (
    FunctionEvent,
    call_body,
    legacy_bodies,
    monologue_bodies,
    return_body,
    split_event,
)
from tests.actors.letta.loop_parts import ID, returned, stored

ASSISTANT = ("send_message", "message")


@pytest.mark.parametrize(
    ("text", "event", "rest"),
    [
        ("Running f()", FunctionEvent.CALLED, "f()"),
        ("Ran f()", FunctionEvent.RAN, "f()"),
        ("Success: Error: no", FunctionEvent.RETURNED, "Error: no"),
        ("Error: no", FunctionEvent.FAILED, "no"),
        ("Runningf()", None, "Runningf()"),
        ("", None, ""),
    ],
)
def test_the_first_word_says_what_happened(text: str, event: FunctionEvent | None, rest: str) -> None:
    assert split_event(text) == (event, rest)


def test_plain_text_is_shown_as_the_loop_gives_it() -> None:
    assert [body["reasoning"] for body in monologue_bodies("Short.", stored(), 0)] == ["Short."]
    assert monologue_bodies("", stored(content=None), 0) == []
    assert [body["reasoning"] for body in monologue_bodies("Said.", stored(content=None), 0)] == ["Said."]


def test_each_stored_part_is_a_message() -> None:
    content = [
        {"type": "text", "text": "a"},
        {"type": "reasoning", "reasoning": "b", "signature": "s"},
        {"type": "redacted_reasoning", "data": "c"},
        {"type": "omitted_reasoning"},
        {"type": "image", "source": "kept, not shown"},
    ]
    bodies = monologue_bodies("ignored", stored(content=content), None)
    assert [(body["message_type"], body.get("signature"), body.get("state")) for body in bodies] == [
        ("reasoning_message", None, None),
        ("reasoning_message", "s", None),
        ("hidden_reasoning_message", None, "redacted"),
        ("hidden_reasoning_message", None, "omitted"),
    ]
    assert {(body["id"], body["otid"]) for body in bodies} == {(ID, None)}


def test_a_call_of_the_assistants_tool_is_its_message() -> None:
    assert call_body(stored(), 0, ASSISTANT)["content"] == "Hi"
    assert call_body(stored(), 0, None)["tool_call"]["name"] == "send_message"
    assert call_body(stored(), 0, ("send_message", "text"))["tool_call"]["arguments"] == '{"message": "Hi"}'


def test_a_legacy_call_is_shown_as_python_and_as_its_message() -> None:
    call, said = legacy_bodies(stored(), 0, ASSISTANT)
    assert (call["function_call"], said["content"]) == ("send_message({'message': 'Hi'})", "Hi")


def test_a_stored_status_overrides_the_text() -> None:
    body = return_body("ok", "success", returned(tool_returns=[{"status": "error", "stdout": ["o"]}]), 0)
    assert (body["status"], body["stdout"], body["stderr"]) == ("error", ["o"], None)
    assert return_body("ok", "success", returned(), 0)["status"] == "success"


def test_a_missing_field_is_named() -> None:
    with pytest.raises(InvalidRecord, match="tool_call_id"):
        return_body("x", "success", stored(), None)
    with pytest.raises(InvalidRecord, match="tool_calls"):
        call_body(stored(tool_calls=None), None, None)
    with pytest.raises(InvalidRecord, match="tool_calls"):
        legacy_bodies(stored(tool_calls=[]), None, ASSISTANT)
