"""AG-UI's route and events; test_npm_clients.py has a client itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from actors.errors import InvalidArgument
from gateway.formats.agui import had_before
from gateway.formats.agui_input import input_of
from tests.gateway.fakes import served
from tests.gateway.golden import bytes_of
from tests.gateway.said import RECORDED, chat_chunk, messages_of, translated

TEXT = translated([chat_chunk({"content": "Hel"}), chat_chunk({"content": "lo"}), chat_chunk({}, "stop")])
ASKED: dict[str, Any] = {
    "threadId": "thread-1", "runId": "run-1", "messages": [{"id": "m", "role": "user", "content": "Hi"}],
    "tools": [], "context": [{"description": "d", "value": "v"}], "state": {}, "forwardedProps": {},
}  # fmt: skip


def events_in(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix(b"data: ")) for line in data.split(b"\n") if line.startswith(b"data: ")]


def test_every_run_begins_once_ends_once_and_closes_what_it_opened():
    for file in RECORDED:
        started, *events, last = events_in(bytes_of(file, "agui"))
        assert started["type"] == "RUN_STARTED"
        assert last["type"] in {"RUN_FINISHED", "RUN_ERROR"}, file.stem
        open_: set[tuple[str, str]] = set()
        for event in events:
            kind, _, what = event["type"].rpartition("_")
            place = (kind, event.get("messageId") or event["toolCallId"])
            if what == "START":
                assert place not in open_, (file.stem, event)
                open_.add(place)
            elif what == "END":
                open_.remove(place)
            elif what in {"CONTENT", "ARGS"}:
                assert place in open_, (file.stem, event)
                assert event["delta"]
        assert not open_, file.stem


def test_what_is_told_of_the_text_is_what_the_log_says():
    for file in RECORDED:
        first = [message for message in messages_of(file) if not message.get("choice_index")]
        for kind, field, name in (
            ("assistant_message", "content", "TEXT_MESSAGE_CONTENT"),
            ("reasoning_message", "reasoning", "REASONING_MESSAGE_CONTENT"),
        ):
            told = "".join(event["delta"] for event in events_in(bytes_of(file, "agui")) if event["type"] == name)
            assert told == "".join(one[field] for one in first if one["message_type"] == kind), file.stem


async def test_a_run_is_begun_once_and_joined_by_whoever_posts_it_again():
    async with served() as gateway:
        gateway.runners.says = TEXT
        async with gateway.http.post(f"{gateway.url}/agui", json=ASKED) as answered:
            assert answered.headers["X-Stream-Id"] == "agui-run-1"
            whole = events_in(await answered.read())
        mine = [*ASKED["messages"], {"id": "run-1-1", "role": "assistant", "content": "Hel"}]
        async with gateway.http.post(f"{gateway.url}/agui/ada", json={**ASKED, "messages": mine}) as joined:
            started, snapshot, *rest = events_in(await joined.read())
    assert [event["type"] for event in whole] == [
        "RUN_STARTED", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END",
        "RUN_FINISHED",
    ]  # fmt: skip
    assert (started, rest) == (whole[0], whole[1:])
    assert snapshot == {"type": "MESSAGES_SNAPSHOT", "messages": ASKED["messages"]}
    (order,) = gateway.runners.orders
    assert order.input == {"messages": [{"role": "user", "content": "Hi"}], "context": ASKED["context"]}


async def test_an_actor_is_told_what_a_function_is_told():
    async with served(agents={"ada": {"actor": {"name": "crew"}}}) as gateway:
        gateway.runners.says = TEXT
        async with gateway.http.post(f"{gateway.url}/agui", json=ASKED) as answered:
            await answered.read()
    assert gateway.runners.orders[0].input["context"] == ASKED["context"]


async def test_who_joins_a_run_that_is_read_already_has_a_snapshot_all_the_same():
    async with served() as gateway, gateway.http.post(f"{gateway.url}/agui", json=ASKED) as first:
        stream = gateway.router.streams["agui-run-1"]
        async with gateway.http.post(f"{gateway.url}/agui", json=ASKED) as joined:
            stream.say(TEXT, end=True)
            whole, again = events_in(await first.read()), events_in(await joined.read())
        assert stream.subscriptions == 1
    assert [event["type"] for event in again[:2]] == ["RUN_STARTED", "MESSAGES_SNAPSHOT"]
    assert [again[0], *again[2:]] == whole


@pytest.mark.parametrize("key", ["threadId", "runId"])
async def test_a_run_has_a_name(key: str):
    async with served() as gateway:
        for wrong in (None, "", "x" * 200, "a\nb"):
            status, said = await gateway.json("POST", "/agui", json={**ASKED, key: wrong})
            assert status == 400
            assert said["error"]["message"].startswith(f"{key}: expected printable text")


def test_what_a_client_keeps_is_what_the_agent_gets():
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    image = {"type": "image", "source": {"type": "url", "value": "https://example.com/x.png"}}
    messages = [
        {"id": "1", "role": "user", "content": [{"type": "text", "text": "Weather?"}, image]},
        {"id": "2", "role": "reasoning", "content": "Hm."},
        {"id": "3", "role": "assistant", "toolCalls": [call]},
        {"id": "4", "role": "tool", "toolCallId": "c", "content": "15"},
    ]
    asked = input_of({"messages": messages, "tools": [{"name": "weather", "description": "d", "parameters": {}}]})
    user, called, returned = asked["messages"]
    assert user["content"][1]["image_url"] == {"url": "https://example.com/x.png"}
    assert called == {"role": "assistant", "content": None, "tool_calls": [call]}
    assert returned == {"role": "tool", "tool_call_id": "c", "content": "15"}
    assert asked["tools"][0]["function"]["name"] == "weather"


@pytest.mark.parametrize("messages", [None, [], [1], [{"role": "smoke"}], [{"role": "user", "content": 1}]])
def test_what_is_no_conversation_is_refused(messages: Any):
    with pytest.raises(InvalidArgument, match=r"^messages"):
        input_of({"messages": messages})


def test_a_snapshot_leaves_out_what_the_run_has_said():
    assert had_before([{"id": "a"}, {"id": "run-1-2"}, {"id": "run-12"}, 1], "run-1") == [
        {"id": "a"},
        {"id": "run-12"},
        1,
    ]
