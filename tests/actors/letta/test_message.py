"""The model of a stored message."""

from __future__ import annotations

import pytest

from actors.errors import InvalidRecord
from actors.letta import Message, OtherContent
from actors.letta.message import part_otid, required
from actors.messages import otid_of
from tests.actors.letta.loop_parts import ID, stored


def test_unknown_fields_are_ignored_and_other_content_is_kept() -> None:
    message = stored(batch_item_id="b", content=[{"type": "image", "source": {"url": "u"}}])
    assert "batch_item_id" not in message.model_dump()
    assert message.content == [OtherContent.model_validate({"type": "image", "source": {"url": "u"}})]


def test_the_otid_of_a_part_has_the_references_limits() -> None:
    assert Message.generate_otid_from_id(ID, 127) == part_otid(ID, 127) == otid_of(ID, 127)
    assert part_otid(ID, None) is None
    for index in (-1, 128):
        with pytest.raises(InvalidRecord, match=f"0 to 127, got {index}"):
            part_otid(ID, index)


def test_a_missing_message_names_the_caller() -> None:
    with pytest.raises(InvalidRecord, match="function_message"):
        required(None, "function_message")
