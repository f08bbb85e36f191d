"""The AI SDK's routes and what its messages become; test_npm_clients.py has the client itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from actors.errors import InvalidArgument
from gateway.formats.ui import UiForm
from gateway.formats.ui_input import turns_of
from tests.gateway.fakes import served
from tests.gateway.golden import bytes_of
from tests.gateway.said import RECORDED, chat_chunk, messages_of, translated

TEXT = translated([chat_chunk({"content": "Hel"}), chat_chunk({"content": "lo"}), chat_chunk({}, "stop")])
ASKED = {"id": "chat-1", "messages": [{"role": "user", "parts": [{"type": "text", "text": "Hi"}]}], "trigger": "x"}


def parts_in(data: bytes) -> list[dict[str, Any]]:
    lines = [line.removeprefix(b"data: ") for line in data.split(b"\n") if line.startswith(b"data: ")]
    assert lines[-1] == b"[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_every_part_that_grows_has_begun_and_ends_once():
    for file in RECORDED:
        start, *parts, last = parts_in(bytes_of(file, "ui"))
        assert start["type"] == "start"
        assert last["type"] in {"finish", "error"}, file.stem
        begun: set[str] = set()
        ended: list[str] = []
        for part in parts:
            kind, name = part["type"], str(part.get("id") or part.get("toolCallId"))
            assert None not in part.values(), "its client refuses null where a key may be left out"
            if kind.endswith("-start"):
                begun.add(name)
            elif kind.endswith("-delta"):
                assert name in begun - set(ended), (file.stem, part)
            elif kind.endswith("-end") or kind in {"tool-input-available", "tool-input-error"}:
                ended.append(name)
            elif kind.startswith("tool-output"):
                assert name in ended, (file.stem, part)
        assert sorted(ended) == sorted(begun), file.stem


def test_what_is_shown_of_the_text_is_what_the_log_says():
    for file in RECORDED:
        first = [message for message in messages_of(file) if not message.get("choice_index")]
        for kind, field, delta in (
            ("assistant_message", "content", "text-delta"),
            ("reasoning_message", "reasoning", "reasoning-delta"),
        ):
            shown = "".join(part["delta"] for part in parts_in(bytes_of(file, "ui")) if part["type"] == delta)
            assert shown == "".join(one[field] for one in first if one["message_type"] == kind), file.stem


def test_a_message_begins_also_where_retention_has_dropped_how_it_did():
    form = UiForm("run-1")
    frames = [*form.gap(1, 1), *(frame for message in TEXT[1:] for frame in form.feed(message)), *form.end()]
    parts = parts_in(b"".join(frame.data for frame in frames))
    assert [part["type"] for part in parts] == [
        "start", "start-step", "text-start", "text-delta", "text-end", "finish-step", "finish",
    ]  # fmt: skip


async def test_a_chat_is_run_read_and_resumed_while_it_runs():
    async with served() as gateway:
        async with gateway.http.get(f"{gateway.url}/api/chat/chat-1/stream") as nothing:
            assert nothing.status == 204
        async with gateway.http.post(f"{gateway.url}/api/chat", json={**ASKED, "temperature": 1}) as answered:
            assert answered.headers["x-vercel-ai-ui-message-stream"] == "v1"
            (order,) = gateway.runners.orders
            assert answered.headers["X-Stream-Id"] == order.request_id
            stream = gateway.router.streams[order.request_id]
            stream.say(TEXT[:1])
            async with gateway.http.get(f"{gateway.url}/api/chat/chat-1/stream") as again:
                stream.say(TEXT[1:], end=True)
                assert await again.read() == await answered.read()
        assert stream.subscriptions == 1
        assert order.input == {"messages": [{"role": "user", "content": "Hi"}], "temperature": 1}
        async with gateway.http.get(f"{gateway.url}/api/chat/chat-1/stream") as ended:
            assert ended.status == 204


async def test_which_agent_it_is_has_to_be_said_where_there_are_several():
    agents = {"ada": {"run": "agents:ada"}, "bob": {"run": "agents:bob"}}
    async with served(agents=agents) as gateway:
        status, said = await gateway.json("POST", "/api/chat", json=ASKED)
        assert status == 400
        assert "there are ada, bob" in said["error"]["message"]
        gateway.runners.says = TEXT
        async with gateway.http.post(f"{gateway.url}/api/chat", json={**ASKED, "agent": "bob"}) as answered:
            assert answered.status == 200
        assert gateway.runners.orders[0].name == "bob"


@pytest.mark.parametrize(
    "messages", [None, [], [1], [{"role": "tool"}], [{"role": "user"}], [{"role": "user", "parts": [1]}]]
)
def test_what_is_no_chat_is_refused(messages: Any):
    with pytest.raises(InvalidArgument, match=r"^messages"):
        turns_of(messages)


def test_what_the_ai_sdk_keeps_is_what_the_agent_gets():
    call = {"type": "tool-weather", "toolCallId": "c", "input": {"city": "Berlin"}}
    parts = [
        {"type": "step-start"},
        {"type": "reasoning", "text": "Hm."},
        {"type": "text", "text": "Let me see."},
        {**call, "state": "output-available", "output": {"degrees": 15}},
        {"type": "step-start"},
        {"type": "text", "text": "15 degrees."},
    ]
    image = {"type": "file", "mediaType": "image/png", "url": "data:image/png;base64,x"}
    user = {"role": "user", "parts": [{"type": "text", "text": "Weather?"}, image]}
    asked, spoke, returned, answered = turns_of([user, {"role": "assistant", "parts": parts}])
    assert asked["content"][1] == {"type": "image_url", "image_url": {"url": image["url"]}}
    assert spoke["content"] == "Let me see."
    assert spoke["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city": "Berlin"}'}
    assert returned == {"role": "tool", "tool_call_id": "c", "content": '{"degrees": 15}'}
    assert answered == {"role": "assistant", "content": "15 degrees."}
