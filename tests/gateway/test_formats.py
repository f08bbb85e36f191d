"""Formats: the same bytes on every read, from every cursor, and none that a client trips over."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pytest

from actors.messages import MESSAGE_ADAPTER, TEXT_FIELDS
from actors.stop_reasons import StopReason
from gateway.formats.chat import ChatForm
from gateway.formats.letta import STOP_REASONS, LettaForm, letta_stop_reason
from gateway.formats.native import MESSAGE_TYPES, NativeForm
from gateway.serving.window import Window
from tests.gateway.golden import DIGESTS, FOLDER, SHOWN, bytes_of, digests
from tests.gateway.said import FORMS, RECORDED, RUN, chat_chunk, frames_of_all, messages_of, translated

forms = pytest.mark.parametrize("name", FORMS)


def events_of(data: bytes) -> list[dict[str, str]]:
    """Read server-sent events as the standard says."""
    events = []
    for block in data.decode().split("\n\n"):
        fields: dict[str, str] = {}
        for line in block.split("\n"):
            field, colon, value = line.partition(":")
            if field and colon:
                fields[field] = fields.get(field, "") + value.removeprefix(" ")
        events.append(fields)
    return [event for event in events if event]


def test_every_recording_has_the_bytes_that_it_had():
    # A change here is a change of what clients get; `python -m tests.gateway.golden` writes the digests anew.
    assert digests() == json.loads(DIGESTS.read_text(encoding="utf-8"))


@forms
@pytest.mark.parametrize("shown", SHOWN)
def test_what_lies_there_to_be_looked_at_is_what_is_sent(shown: str, name: str):
    file = next(file for file in RECORDED if file.stem == shown)
    assert (FOLDER / f"{shown}.{name}.txt").read_bytes() == bytes_of(file, name)


@forms
def test_from_every_cursor_the_rest_is_the_rest_of_the_whole(name: str):
    for file in RECORDED:
        frames = frames_of_all(FORMS[name](), messages_of(file))
        numbers = [frame.number for frame in frames]
        assert numbers == sorted(numbers)
        window = Window(1 << 24)
        whole = window.add(frames)
        had = 0
        for before, frame in zip([0, *numbers], frames, strict=False):
            assert all_after(window, before) == whole[had:]
            had += len(frame.data)
        assert window.after(numbers[-1]) == (b"", numbers[-1])


def all_after(window: Window, number: int) -> bytes:
    parts = []
    while number < window.last_number:
        part, number = window.after(number)
        parts.append(part)
    return b"".join(parts)


@forms
def test_every_byte_is_utf_8_with_plain_line_ends_and_no_empty_event(name: str):
    for file in RECORDED:
        data = bytes_of(file, name)
        assert b"\r" not in data
        assert not data.startswith(b"\xef\xbb\xbf")
        assert data.endswith(b"\n\n")
        assert b"\n\n\n" not in data
        data.decode()
        assert not re.search(rb"^data: ?$", data, re.MULTILINE)


def test_native_events_are_the_messages_and_an_end():
    for file in RECORDED:
        messages = messages_of(file)
        _retry, *events, end = events_of(bytes_of(file, "native"))
        assert [json.loads(event["data"]) for event in events] == messages
        assert [int(event["id"]) for event in events] == [message["seq_id"] for message in messages]
        assert not any("event" in event for event in events)
        for event in events:
            MESSAGE_ADAPTER.validate_json(event["data"])
        assert end["event"] == "end"
        assert end["id"] == events[-1]["id"]
        assert json.loads(end["data"]) == {
            "stop_reason": messages[-2]["stop_reason"], "last_seq_id": messages[-1]["seq_id"]
        }  # fmt: skip


@pytest.mark.parametrize("name", ["letta", "letta-whole", "chat"])
def test_no_event_of_letta_and_chat_has_more_than_data(name: str):
    for file in RECORDED:
        # `id:` before a comment, and `retry:` alone, make their clients parse an empty text; `event:` drops all.
        for line in bytes_of(file, name).decode().splitlines():
            assert line == "" or line.startswith((": ", "data: ")), line


def test_types_leave_out_messages_and_no_number():
    messages = messages_of(RECORDED[0])
    frames = frames_of_all(NativeForm(RUN, frozenset({"stop_reason"})), messages)
    assert [frame.number for frame in frames[:-1]] == [message["seq_id"] for message in messages]
    assert [len(events_of(frame.data)) for frame in frames if frame.data] == [1, 1]
    assert "ping" not in MESSAGE_TYPES
    assert {"assistant_message", "gap", "tool_call_message"} <= MESSAGE_TYPES


def test_a_gap_is_told_where_a_format_has_a_word_for_it():
    gap = {name: make().gap(3, 9) for name, make in FORMS.items()}
    lost = gap.pop("responses")[0]  # its numbers count events, which are gone
    assert lost.number > 1 << 60
    assert "messages 3 to 9" in json.loads(events_of(lost.data)[0]["data"])["error"]["message"]
    assert all(len(frames) == 1 for frames in gap.values())
    numbers = {name: frames[0].number for name, frames in gap.items()}
    assert {name: 900 if name.startswith("langgraph") else 9 for name in numbers} == numbers
    for name in ("native", "langgraph"):
        assert json.loads(events_of(gap[name][0].data)[0]["data"])["first_seq_id"] == 3
    assert all(gap[name][0].data == b"" for name in gap.keys() - {"native", "langgraph"})


def test_every_stop_reason_is_one_of_lettas_words():
    words = pytest.importorskip("letta_client.types.stop_reason_type").StopReasonType.__args__
    assert {letta_stop_reason(reason) for reason in StopReason} <= set(words)
    assert STOP_REASONS.keys() < set(StopReason)


def test_lettas_ends_with_stop_reason_usage_and_done():
    for file in RECORDED:
        *_, stop, usage, done = events_of(bytes_of(file, "letta"))
        assert json.loads(stop["data"])["message_type"] == "stop_reason"
        assert json.loads(usage["data"])["run_ids"] == [RUN]
        assert done["data"] == "[DONE]"


def texts_of(data: bytes) -> dict[tuple[Any, ...], str]:
    """Return what each message says in all, of a whole answer of Letta's."""
    said: dict[tuple[Any, ...], str] = {}
    for event in events_of(data)[:-3]:
        message = json.loads(event["data"])
        kind, call = message["message_type"], message.get("tool_call") or {}
        key = (kind, message["otid"], call.get("tool_call_id"))
        text = call.get("arguments") if call else message.get(TEXT_FIELDS.get(kind, ""), "")
        said[key] = said.get(key, "") + (call.get("name") or "") + (text or "")
    return said


def test_lettas_whole_messages_are_the_pieces_joined():
    for file in RECORDED:
        pieces, whole = bytes_of(file, "letta"), bytes_of(file, "letta-whole")
        assert texts_of(whole) == texts_of(pieces), file.stem
        assert len(events_of(whole)) <= len(events_of(pieces))


def test_a_ping_of_lettas_is_a_message_where_it_was_asked_for_and_bears_the_last_number():
    form = LettaForm(RUN, with_pings=True)
    assert form.ping() == LettaForm(RUN).ping() == b": ping\n\n"  # nothing was said yet
    form.feed(messages_of(RECORDED[0])[0])
    ping = json.loads(events_of(form.ping())[0]["data"])
    assert (ping["message_type"], ping["seq_id"], ping["run_id"]) == ("ping", 1, RUN)


def test_usage_is_in_chat_where_it_was_asked_for():
    messages = translated([chat_chunk({"content": "Hi"}), chat_chunk({}, "stop")])
    asked = b"".join(frame.data for frame in frames_of_all(ChatForm("m", with_usage=True), messages))
    unasked = b"".join(frame.data for frame in frames_of_all(ChatForm("m"), messages))
    assert b'"prompt_tokens"' in asked
    assert b"usage" not in unasked
    assert asked.endswith(b"data: [DONE]\n\n")
    assert unasked.endswith(b"data: [DONE]\n\n")


def test_a_failure_in_chat_is_an_error_and_nothing_follows_it():
    messages = translated([chat_chunk({"content": "Hi"}), b'{"error": {"message": "overloaded"}}'])
    last = events_of(b"".join(frame.data for frame in frames_of_all(ChatForm("m"), messages)))[-1]
    assert "overloaded" in json.loads(last["data"])["error"]["message"]


def test_what_breaks_off_says_so_as_each_format_can():
    said: dict[str, Any] = {name: make().broken("draining", "bye") for name, make in FORMS.items()}
    assert said["native"] == b": interrupted, draining: bye\n\n"
    assert json.loads(events_of(said["letta"])[0]["data"])["message_type"] == "error_message"
    assert json.loads(events_of(said["chat"])[0]["data"])["error"]["message"] == "bye"


@forms
def test_what_was_fed_before_changes_nothing(name: str):
    # Two readers of one form's class share nothing.
    rng = random.Random(1)
    for file in rng.sample(RECORDED, 5):
        once = FORMS[name]()
        frames_of_all(FORMS[name](), messages_of(rng.choice(RECORDED)))
        assert frames_of_all(once, messages_of(file)) == frames_of_all(FORMS[name](), messages_of(file))
