"""LangGraph's client for Python against the gateway over real HTTP, and the form of its events."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from actors.errors import AgentBusy, InvalidArgument, RouterUnavailable
from gateway.formats.langgraph import MODES
from gateway.formats.langgraph_input import STREAM_MODE, input_of, modes_of
from tests.gateway.fakes import Served, ended, served, until
from tests.gateway.golden import bytes_of
from tests.gateway.said import RECORDED, Message, chat_chunk, messages_of, translated

langgraph_sdk = pytest.importorskip("langgraph_sdk")
langchain_core = pytest.importorskip("langchain_core.messages")

FILES = {file.stem: file for file in RECORDED}
MESSAGES = messages_of(FILES["openai-tool-2"])
PARALLEL = messages_of(FILES["anthropic-parallel-tools-2"])
TEXT = translated([chat_chunk({"content": "Hel"}), chat_chunk({"content": "lo"}), chat_chunk({}, "stop")])
FAILED = translated([chat_chunk({"content": "Hel"}), b'{"error": {"message": "overloaded"}}'])
ASKED = {"messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture
async def gateway(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    monkeypatch.setattr("langgraph_sdk._async.http._reconnect_delay", lambda *_, **__: 0)  # it would be a second
    async with served(heartbeat_s=0.2) as running:
        yield running


@pytest.fixture
async def client(gateway: Served) -> AsyncIterator[Any]:
    async with langgraph_sdk.get_client(url=gateway.url, api_key=None) as made:
        yield made


def shown(parts: list[Any]) -> list[dict[str, Any]]:
    """Return what the pieces of a stream become in the client's own classes."""
    merged: dict[str, Any] = {}
    for part in parts:
        if part.event != "messages":
            continue
        message, _ = part.data
        if message["type"] == "tool":
            merged[message["id"]] = langchain_core.ToolMessage(**message)
            continue
        piece = langchain_core.AIMessageChunk(**message)
        merged[piece.id] = merged[piece.id] + piece if piece.id in merged else piece
    return [said_by(message) for message in merged.values()]


def said_by(message: Any) -> dict[str, Any]:
    if message.type == "tool":
        return {"tool": message.content, "of": message.tool_call_id, "status": message.status}
    calls = [(call["id"], call["name"], call["args"]) for call in message.tool_calls]
    thoughts = message.additional_kwargs.get("reasoning_content", "")
    return {"text": message.content, "reasoning": thoughts, "calls": calls}


def logged(messages: list[Message]) -> list[dict[str, Any]]:
    """Return the same of a log."""
    said: dict[str, dict[str, Any]] = {}
    calls: dict[str, tuple[str, list[str]]] = {}
    for message in messages:
        kind = message["message_type"]
        if message.get("choice_index") or message.get("provider_executed"):
            continue
        if kind in {"assistant_message", "reasoning_message", "tool_call_message"}:
            one = said.setdefault(message["id"], {"text": "", "reasoning": "", "calls": []})
            one["text"] += message.get("content", "")
            one["reasoning"] += message.get("reasoning", "")
        if kind == "tool_call_message":
            call = message["tool_call"]
            if call["tool_call_id"] not in calls:
                calls[call["tool_call_id"]] = (call["name"], [])
                one["calls"].append(call["tool_call_id"])
            calls[call["tool_call_id"]][1].append(call.get("arguments", ""))
        if kind == "tool_return_message":
            returned = {"tool": message["tool_return"], "of": message["tool_call_id"], "status": message["status"]}
            said[message["otid"]] = returned
    for one in said.values():
        one.update({"calls": [_whole(key, *calls[key]) for key in one["calls"]]} if "calls" in one else {})
    return [one for one in said.values() if any(one.values())]


def _whole(call_id: str, name: str, arguments: list[str]) -> tuple[str, str, Any]:
    return call_id, name, json.loads("".join(arguments) or "{}")


async def read(stream: AsyncIterator[Any]) -> list[Any]:
    return [part async for part in stream]


# --- reading ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "openai-tool-2",
        "anthropic-parallel-tools-2",
        "anthropic-reasoning-1",
        "google-text-2",
        "anthropic-code-reasoning-1",
    ],
)
async def test_the_client_has_what_the_log_says(gateway: Served, client: Any, name: str):
    messages = gateway.runners.says = messages_of(FILES[name])
    created: list[Any] = []
    parts = await read(
        client.runs.stream(
            "thread-1",
            "ada",
            input=ASKED,
            stream_mode="messages-tuple",
            metadata={"k": 1},
            on_run_created=created.append,
        )
    )
    assert shown(parts) == logged(messages)
    (order,) = gateway.runners.orders
    assert order.input == ASKED
    assert order.all_tags == {"thread": "thread-1", "agent": "ada"}
    assert created == [{"run_id": order.request_id, "thread_id": "thread-1"}]
    assert (parts[0].event, parts[0].data["run_id"]) == ("metadata", order.request_id)
    assert (parts[-1].event, parts[-1].data["status"]) == ("end", "success")
    run = await client.runs.get("thread-1", order.request_id)
    assert (run["status"], run["metadata"], run["assistant_id"]) == ("success", {"k": 1}, "ada")


async def test_each_mode_says_the_same_in_its_own_way(gateway: Served, client: Any):
    gateway.runners.says = PARALLEL
    parts = await read(client.runs.stream(None, "ada", input=ASKED, stream_mode=list(MODES)))
    of = {name: [part.data for part in parts if part.event == name] for name in {part.event for part in parts}}
    whole = of["values"][-1]["messages"]
    pieces = shown(parts)
    assert [said_by(langchain_core.AIMessage(**one)) for one in whole if one["type"] == "ai"] == pieces
    assert [one["messages"] for update in of["updates"] for one in update.values()] == [[one] for one in whole]
    assert of["messages/complete"] == [[one] for one in whole]
    assert [next(iter(data)) for data in of["messages/metadata"]] == [one["id"] for one in whole]
    assert [{**one, "run_id": "run-1"} for one in of["custom"]] == PARALLEL
    assert {tuple(update) for update in of["updates"]} == {("agent",)}


async def test_values_are_told_where_nothing_was_asked_for(gateway: Served, client: Any):
    gateway.runners.says = TEXT
    parts = await read(client.runs.stream("thread-1", "ada", input=ASKED))
    assert [part.event for part in parts] == ["metadata", "values", "end"]
    (message,) = parts[1].data["messages"]
    assert (message["type"], message["content"]) == ("ai", "Hello")
    assert message["response_metadata"] == {"stop_reason": "end_turn"}


async def test_a_stream_that_is_cut_in_every_part_comes_whole(gateway: Served, client: Any):
    reading = asyncio.create_task(
        read(client.runs.stream("t/1", "ada", input=ASKED, stream_mode=["messages-tuple", "custom"]))
    )
    await until(lambda: bool(gateway.router.streams))
    (stream,) = gateway.router.streams.values()
    for message in MESSAGES[:-1]:
        await until(lambda: stream.readers == 1)
        stream.say([message])
        stream.fail(RouterUnavailable("it restarts"))
        await until(lambda: stream.readers == 0)
        stream.error = None
    stream.say(MESSAGES[-1:], end=True)
    parts = await reading
    assert shown(parts) == logged(MESSAGES)
    assert [part.data["seq_id"] for part in parts if part.event == "custom"] == list(range(1, len(MESSAGES) + 1))
    assert [part.event for part in parts if part.event in {"metadata", "end", "error"}] == ["metadata", "end"]
    assert stream.subscriptions >= len(MESSAGES)


async def test_who_joins_goes_on_behind_the_last_event_that_it_had(gateway: Served, client: Any):
    gateway.router.open("run-1", metadata={STREAM_MODE: ["messages-tuple", "values"]}, thread="t").say(TEXT, end=True)
    whole = await read(client.runs.join_stream("t", "run-1"))
    assert {part.event for part in whole} == {"metadata", "messages", "values", "end"}
    for number, part in enumerate(whole, 1):
        rest = await read(client.runs.join_stream("t", "run-1", last_event_id=part.id))
        assert [(one.id, one.data) for one in rest] == [(one.id, one.data) for one in whole[number:]]
    pieces = await read(client.runs.join_stream("t", "run-1", stream_mode="messages-tuple"))
    assert [one.id for one in pieces if one.event == "messages"] == [one.id for one in whole if one.event == "messages"]


async def test_a_stream_that_breaks_off_is_never_taken_for_one_that_ended(gateway: Served):
    stream = gateway.router.open("run-1")
    stream.say(TEXT[:1])
    url = f"{gateway.url}/threads/run-1/runs/run-1/stream"
    async with gateway.http.get(url) as answered:
        await answered.content.readuntil(b"\n\n")
        await until(lambda: stream.readers == 1)
        stream.fail(RouterUnavailable("it restarts"))
        with pytest.raises(aiohttp.ClientPayloadError):  # what there was, but not the end of the answer
            await answered.read()


async def test_the_client_without_await_reads_too(gateway: Served):
    gateway.runners.says = MESSAGES

    def read_all() -> list[Any]:
        with langgraph_sdk.get_sync_client(url=gateway.url, api_key=None) as sync:
            return list(sync.runs.stream("t", "ada", input=ASKED, stream_mode="messages-tuple"))

    assert shown(await asyncio.to_thread(read_all)) == logged(MESSAGES)


# --- the end ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reason", "status"), [("error", "error"), ("timeout_stall", "timeout")])
async def test_a_failed_run_ends_in_an_error(gateway: Served, client: Any, reason: str, status: str):
    stream = gateway.router.open("run-1", thread="t")
    stream.say(FAILED[:2])
    stream.say(ended(stream, reason), end=True)
    parts = await read(client.runs.join_stream("t", "run-1"))
    assert parts[-1].event == "error"
    assert parts[-1].data["error"] == reason
    assert "overloaded" in parts[-1].data["message"]
    assert (await client.runs.get("t", "run-1"))["status"] == status
    assert "overloaded" in (await client.runs.join("t", "run-1"))["__error__"]["message"]


async def test_a_cancelled_run_says_so(gateway: Served, client: Any):
    for wait in (False, True):
        stream = gateway.router.open(f"run-{wait}", thread="t")
        stream.say(TEXT[:1])
        reading = asyncio.create_task(read(client.runs.join_stream("t", stream.request_id)))
        await until(lambda stream=stream: stream.readers == 1)  # type: ignore[misc]
        await client.runs.cancel("t", stream.request_id, wait=wait)
        parts = await reading
        assert (parts[-1].event, parts[-1].data["status"]) == ("end", "interrupted")
        assert (await client.runs.get("t", stream.request_id))["status"] == "interrupted"
    with pytest.raises(langgraph_sdk.errors.BadRequestError, match="expected interrupt"):
        await client.runs.cancel("t", "run-True", action="rollback")


async def test_who_waits_has_the_values_when_the_run_ends(gateway: Served, client: Any):
    waiting = asyncio.create_task(client.runs.wait("t", "ada", input=ASKED))
    await until(lambda: bool(gateway.router.streams))
    (stream,) = gateway.router.streams.values()
    stream.say(TEXT[:1])
    await until(lambda: stream.readers == 1)
    with warnings.catch_warnings(record=True, action="always") as said:
        stream.fail(RouterUnavailable("it restarts"))
        await until(lambda: stream.readers == 0)
        stream.error = None
        await until(lambda: stream.readers == 1)
        stream.say(TEXT[1:], end=True)
        values = await waiting
    assert ["attempting reconnect" in str(one.message) for one in said] == [True]
    assert [one["content"] for one in values["messages"]] == ["Hello"]
    gateway.runners.says = FAILED
    with pytest.raises(Exception, match="overloaded"):
        await client.runs.wait(None, "ada", input=ASKED)


# --- finding ------------------------------------------------------------------------------------


async def test_a_thread_is_the_tag_of_its_runs(client: Any):
    thread = await client.threads.create()
    assert (await client.threads.get(thread["thread_id"]))["status"] == "idle"
    name = thread["thread_id"]
    runs = [await client.runs.create(name, "ada", input=ASKED) for _ in range(3)]
    assert (await client.threads.get(name))["status"] == "busy"
    listed = await client.runs.list(name, limit=2)
    assert [run["run_id"] for run in listed] == [run["run_id"] for run in reversed(runs)][:2]
    assert await client.runs.list(name, offset=3) == []
    assert [run["status"] for run in runs] == ["running"] * 3
    with pytest.raises(langgraph_sdk.errors.NotFoundError, match="has no run"):
        await client.runs.get("another", runs[0]["run_id"])
    alone = await client.runs.create(None, "ada", input=ASKED)
    assert alone["thread_id"] == alone["run_id"]
    assert (await client.runs.get(alone["run_id"], alone["run_id"]))["metadata"] == {}
    assert (await client.threads.create(thread_id="mine", if_exists="do_nothing"))["thread_id"] == "mine"


async def test_one_run_at_a_time_is_had_by_asking_for_it(gateway: Served, client: Any):
    await client.runs.create("t", "ada", input=ASKED, multitask_strategy="reject")
    assert gateway.runners.orders[0].agent_id == "thread-t"
    gateway.runners.error = AgentBusy("thread-t runs run-1")
    with pytest.raises(langgraph_sdk.errors.ConflictError, match="runs run-1"):
        await client.runs.create("t", "ada", input=ASKED, multitask_strategy="reject")


async def test_the_agents_are_its_assistants(client: Any):
    (found,) = await client.assistants.search()
    assert (found["assistant_id"], found["graph_id"]) == ("ada", "ada")
    assert await client.assistants.search(graph_id="bob") == []
    assert await client.assistants.get("ada") == found
    with pytest.raises(langgraph_sdk.errors.NotFoundError, match="no agent 'bob'"):
        await client.assistants.get("bob")
    assert await client.http.get("/ok") == {"ok": True}
    assert (await client.http.get("/info"))["flags"]["crons"] is False


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"stream_mode": "events"}, "events is not served here; there are values, updates, messages"),
        ({"stream_mode": ["values", "debug"]}, "debug is not served"),
        ({"command": {"resume": 1}}, "command: a run here has nothing to be resumed with"),
        ({"checkpoint_id": "x"}, "there are no checkpoints"),
        ({"interrupt_before": ["x"]}, "no nodes to stop at"),
        ({"webhook": "https://example.com"}, "nobody is called"),
        ({"on_disconnect": "cancel"}, "cancels nothing"),
        ({"multitask_strategy": "enqueue"}, "expected reject"),
        ({"input": None}, "input: expected an object"),
        ({"input": {"messages": []}}, "at least one message"),
    ],
)
async def test_what_there_is_not_is_refused_by_name(client: Any, more: dict[str, Any], why: str):
    with pytest.raises(langgraph_sdk.errors.BadRequestError, match=why):
        await read(client.runs.stream("t", "ada", **{"input": ASKED, **more}))


async def test_a_function_is_told_what_else_the_client_said(gateway: Served, client: Any):
    context, config = {"user": "u"}, {"configurable": {"k": 1}}
    await client.runs.create("t", "ada", input={**ASKED, "topic": "x"}, context=context, config=config)
    assert gateway.runners.orders[0].input == {**ASKED, "topic": "x", "context": context, "config": config}


# --- forms --------------------------------------------------------------------------------------


def test_every_event_has_a_number_that_grows_and_the_last_one_ends_it():
    for file in RECORDED:
        blocks = [block.split("\n") for block in bytes_of(file, "langgraph").decode().split("\n\n") if block]
        ids = [int(lines[0].removeprefix("id: ")) for lines in blocks]
        assert ids == sorted(set(ids))
        names = [lines[1].removeprefix("event: ") for lines in blocks]
        assert names[0] == "metadata"
        assert names[-1] in {"end", "error"}
        assert not {"end", "error"} & set(names[:-1])


def test_whatever_modes_are_read_an_event_has_the_same_number():
    for file in RECORDED:
        every = bytes_of(file, "langgraph").split(b"\n\n")
        assert set(bytes_of(file, "langgraph-pieces").split(b"\n\n")) <= set(every)


def test_what_a_client_keeps_is_what_the_agent_gets():
    call = {"name": "weather", "args": {"city": "Berlin"}, "id": "c", "type": "tool_call"}
    image = {"type": "image_url", "image_url": "https://example.com/x.png"}
    messages: list[Any] = [
        {"type": "system", "content": "Be brief."},
        {"type": "human", "content": [{"type": "text", "text": "Weather?"}, image]},
        {"type": "ai", "content": "", "tool_calls": [call]},
        {"type": "tool", "tool_call_id": "c", "content": "15"},
        ["user", "And now?"],
    ]
    system, asked, called, returned, last = input_of({"input": {"messages": messages}})["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert asked["content"][1] == {"type": "image_url", "image_url": {"url": image["image_url"]}}
    assert called["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city": "Berlin"}'}
    assert returned == {"role": "tool", "tool_call_id": "c", "content": "15"}
    assert last == {"role": "user", "content": "And now?"}
    assert input_of({"input": {"messages": "Hi"}})["messages"] == [{"role": "user", "content": "Hi"}]
    for wrong in (
        None,
        [1],
        [{"role": "smoke"}],
        [{"role": "user", "content": 1}],
        [{"role": "user", "content": [{}]}],
    ):
        with pytest.raises(InvalidArgument, match=r"^input\.messages"):
            input_of({"input": {"messages": wrong}})
    assert modes_of(None) == modes_of("") == ("values",)
