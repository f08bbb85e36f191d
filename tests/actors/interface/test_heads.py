"""Heads: ids, dates and numbers that depend on nothing but the request."""

from __future__ import annotations

from uuid import uuid5

import msgpack
import pytest

from actors.interface.heads import EPOCH_DATE, ID_NAMESPACE, Heads, NumberedHeads, derived_message_id
from actors.messages import otid_of
from tests.actors.interface.running import DATE, MESSAGE_ID


def test_the_nth_message_under_an_id_bears_its_otid() -> None:
    heads = NumberedHeads(Heads(None), MESSAGE_ID)
    made = [heads.next("assistant_message", {}).fields for _ in range(3)]
    assert [fields["otid"] for fields in made] == [otid_of(MESSAGE_ID, number) for number in range(3)]
    assert {fields["id"] for fields in made} == {MESSAGE_ID}


@pytest.mark.parametrize("names", [("run", 0), ("r", 7), ("", 0), ("é/ü", 10**9), (0,)])
def test_a_derived_id_is_the_uuid_of_its_names(names: tuple[object, ...]) -> None:
    uuid = uuid5(ID_NAMESPACE, "/".join(map(str, names)))
    assert derived_message_id(*names) == f"message-{uuid}"


def test_a_head_is_packed_as_a_frame_would_be() -> None:
    fields = {"a": "é" * 300, "b": [1, -1, 2**40, None, True, 1.5], "c": {"d": ""}, "e": 2**63}
    head = NumberedHeads(Heads("run"), MESSAGE_ID, 2).next("user_message", fields)
    assert head.packed_bytes == len(msgpack.packb(head.fields))
    assert list(head.fields)[:3] == ["message_type", "id", "date"]
    assert {name: head.fields[name] for name in fields} == fields
    head.fields.clear()
    assert head.fields["id"] == MESSAGE_ID, "nobody else changes them"


def test_only_further_choices_and_requests_with_a_run_id_say_so() -> None:
    plain = NumberedHeads(Heads(None), MESSAGE_ID).next("assistant_message", {}).fields
    assert "run_id" not in plain
    assert "choice_index" not in plain
    further = NumberedHeads(Heads("run"), MESSAGE_ID, 2).next("assistant_message", {}).fields
    assert (further["run_id"], further["choice_index"]) == ("run", 2)


def test_heads_bear_the_date_and_name_of_their_step() -> None:
    heads = Heads("run")
    before = heads.control_head("stop_reason", {}).fields
    assert (before["date"], before["name"]) == (EPOCH_DATE, None)
    heads.start_step(MESSAGE_ID, DATE, "agent")
    after = heads.control_head("stop_reason", {}).fields
    assert (after["id"], after["date"], after["name"]) == (MESSAGE_ID, DATE, "agent")


def test_control_messages_have_no_otid_and_take_no_number() -> None:
    heads = Heads(None)
    numbered = NumberedHeads(heads, heads.message_id)
    assert heads.control_head("stop_reason", {}).fields["otid"] is None
    assert numbered.next("assistant_message", {}).fields["otid"] == otid_of(heads.message_id, 0)


def test_errors_and_messages_are_counted() -> None:
    heads = Heads(None)
    NumberedHeads(heads, MESSAGE_ID).next("assistant_message", {})
    error = heads.error_message("malformed_chunk", "no JSON", "shown")
    assert error.head.fields["error_type"] == "malformed_chunk"
    assert (error.head.fields["message"], error.head.fields["detail"]) == ("no JSON", "shown")
    assert (heads.message_count, heads.error_count) == (2, 1)


def test_derived_ids_depend_on_their_names_alone() -> None:
    assert derived_message_id("run", 0) == derived_message_id("run", 0)
    assert len({derived_message_id("run", 0), derived_message_id("run", 1), derived_message_id("other", 0)}) == 3
    assert otid_of(derived_message_id("run", 0), 0) is not None
