"""Parts: each begins once, grows to what the log says, and is over once, before anything that could follow it."""

from __future__ import annotations

import json

from gateway.formats.parts import CALL, Begun, Ended, Grown, Over, Part, Parts, Returned, Stepped
from tests.gateway.said import RECORDED, chat_chunk, messages_of, translated


def test_every_part_begins_once_grows_and_is_over_once():
    for file in RECORDED:
        parts, open_, ended = Parts(), set(), []
        told = [happening for message in messages_of(file) for happening in parts.feed(message)]
        for happening in told:
            match happening:
                case Begun(part):
                    assert part not in open_
                    assert part.kind == CALL or not [one for one in open_ if one.kind != CALL], file.stem
                    open_.add(part)
                case Grown(part, text):
                    assert part in open_, file.stem
                    assert text
                case Over(part):
                    open_.remove(part)
                case Returned() | Stepped():
                    assert not open_, file.stem
                case Ended():
                    ended.append(happening)
        assert not open_
        assert [told[-1]] == ended, file.stem


def test_calls_that_are_told_at_the_same_time_are_open_side_by_side():
    def call(index: int, **function: str) -> dict[str, object]:
        return {"index": index, "id": f"c{index}" if "name" in function else None, "function": function}

    begin = chat_chunk({"tool_calls": [call(0, name="f", arguments='{"a":'), call(1, name="g", arguments='{"b":')]})
    rest = chat_chunk({"tool_calls": [call(1, arguments=" 2}"), call(0, arguments=" 1}")]})
    parts = Parts()
    messages = translated([begin, rest, chat_chunk({}, "tool_calls")])
    told = [happening for message in messages for happening in parts.feed(message)]
    begun = [one.part for one in told if isinstance(one, Begun)]
    over = [one.part for one in told if isinstance(one, Over)]
    assert [part.name for part in begun] == ["f", "g"]
    assert [json.loads(part.text) for part in begun] == [{"a": 1}, {"b": 2}]
    assert [part.name for part in over] == ["g", "f"]  # each when its own arguments are complete


def test_why_it_failed_is_its_error_else_the_detail_of_its_end():
    failed = translated([chat_chunk({"content": "Hi"}), b'{"error": {"message": "overloaded"}}'])
    cut = translated([chat_chunk({"content": "Hi"})])
    for messages, why in ((failed, "overloaded"), (cut, "incomplete")):
        parts = Parts()
        (*_, end) = [happening for message in messages for happening in parts.feed(message)]
        assert isinstance(end, Ended)
        assert why in end.why
    assert Part(CALL, "step").text == ""
