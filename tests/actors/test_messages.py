"""The head-and-pieces form, as dicts and as models."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from actors.message_factory import MessageFactory
from actors.messages import Fields, Head, MessagePiece, as_dict, coalesce, otid_of

MESSAGE_ID = "message-6f1c2f4e-8a35-4f0e-9d5b-2b7f0c1d9e80"
COMMON = {"id": MESSAGE_ID, "date": "2025-05-01T12:00:00+00:00", "name": None, "otid": None, "sender_id": None}


def head(kind: str, **fields: Any) -> Head:
    return Head(kind, {**COMMON, **fields})


def without_nulls(message: Fields) -> Fields:
    return {key: value for key, value in message.items() if value is not None}


PIECES: list[tuple[Head, str | None, Fields | None]] = [
    (head("assistant_message"), "Hi", None),
    (head("assistant_message"), None, None),
    (head("assistant_message", content=[{"type": "image"}]), None, None),
    (head("reasoning_message", source="reasoner_model"), None, {"signature": "s"}),
    (head("hidden_reasoning_message", state="omitted"), None, None),
    (head("hidden_reasoning_message", state="redacted"), "opaque", None),
    (head("tool_call_message", tool_call_id="c"), None, {"tool_name": "f"}),
    (head("tool_call_message", tool_call_id=None), "{}", None),
    (head("tool_return_message", status="success", tool_call_id="c"), "ok", None),
    (head("stop_reason", stop_reason="end_turn"), None, None),
]


@pytest.mark.parametrize(("of", "text", "extra"), PIECES, ids=lambda value: getattr(value, "kind", None))
def test_a_piece_is_the_same_message_as_a_dict_and_as_a_model(of: Head, text: str | None, extra: Fields | None) -> None:
    plain = as_dict(of.fields, text, extra, 7)
    shown = MessageFactory(of.fields).make(text, extra, 7).model_dump(mode="json")
    # They may differ in keys that are null: a tool call's model leaves them out.
    assert without_nulls(shown) == without_nulls(plain)


@pytest.mark.parametrize(("of", "text", "extra"), PIECES, ids=lambda value: getattr(value, "kind", None))
def test_a_row_of_pieces_gives_the_messages_that_each_gives_by_itself(of, text, extra) -> None:
    factory = MessageFactory(of.fields)
    row = [text if extra is None else (text, extra), "more", None, ("and more", {}), [text, extra]]
    alone = [factory.make(*one, seq_id) for seq_id, one in enumerate(
        [(text, extra), ("more", None), (None, None), ("and more", {}), (text, extra)], 7
    )]  # fmt: skip
    made = factory.make_row(7, row)
    assert made == alone
    assert [message.model_fields_set for message in made] == [message.model_fields_set for message in alone]
    assert [message.model_dump_json() for message in made] == [message.model_dump_json() for message in alone]


def test_a_message_that_is_changed_changes_no_other() -> None:
    first, second = MessageFactory(head("assistant_message").fields).make_row(1, ["Hi", "Ho"])
    assert "step_id" not in first.model_fields_set
    first.step_id = "step-1"
    first.content = "Hey"
    assert first.model_dump(exclude_unset=True)["step_id"] == "step-1"
    assert second.model_dump(exclude_unset=True) == {
        "message_type": "assistant_message", "content": "Ho", "seq_id": 2, **COMMON, "date": COMMON["date"],
    }  # fmt: skip
    copied = second.model_copy(update={"step_id": "step-2"})
    again = pickle.loads(pickle.dumps(second))  # noqa: S301  # what was written here
    again.step_id = "step-3"
    assert [message.step_id for message in (first, copied, again, second)] == ["step-1", "step-2", "step-3", None]
    (third,) = MessageFactory(head("assistant_message").fields).make_row(3, ["Hi"])
    assert "step_id" not in third.model_fields_set | second.model_fields_set


def test_a_dict_of_a_piece_leaves_its_head_alone() -> None:
    call = head("tool_call_message", tool_call_id="c")
    before = dict(call.fields)
    as_dict(call.fields, "{}", {"tool_name": "f"}, 1)
    assert call.fields == before


def test_adjacent_pieces_of_one_head_are_joined() -> None:
    one, other = head("assistant_message"), head("assistant_message")
    pieces = [
        MessagePiece(one, "a"),
        MessagePiece(one, None, {"signature": "s"}),
        MessagePiece(one, "b"),
        MessagePiece(other, "c"),
    ]
    assert list(coalesce([*pieces, MessagePiece(one, None)])) == [
        MessagePiece(one, "ab", {"signature": "s"}),
        MessagePiece(other, "c"),
        MessagePiece(one, None),
    ]


def test_an_otid_is_the_id_with_its_index_in_the_lowest_bits() -> None:
    assert otid_of("message-" + "0" * 32, 5) == "00000000-0000-0000-0000-000000000005"
    assert otid_of("message-" + "f" * 32, 0) == "ffffffff-ffff-ffff-ffff-ffffffffff80"
    assert otid_of("no uuid", 0) is None
