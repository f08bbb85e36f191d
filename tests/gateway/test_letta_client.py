"""Letta's own client, against the gateway over real HTTP: run, read, resume, find, cancel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from actors.errors import PoolFull, RouterUnavailable
from gateway.formats.letta_runs import STREAM_TOKENS
from tests.effort import sampled
from tests.gateway.fakes import Served, ended, served, until
from tests.gateway.said import RECORDED, chat_chunk, messages_of, translated

letta_client = pytest.importorskip("letta_client")

MESSAGES = messages_of(next(file for file in RECORDED if file.stem == "openai-tool-2"))


@pytest.fixture
async def gateway() -> AsyncIterator[Served]:
    async with served(heartbeat_s=0.2) as running:
        yield running


@pytest.fixture
async def letta(gateway: Served) -> AsyncIterator[Any]:
    async with letta_client.AsyncLetta(base_url=gateway.url, api_key="none", max_retries=0) as client:
        yield client


def shown(message: Any) -> tuple[Any, ...]:
    call = getattr(message, "tool_call", None)
    text = (call.name, call.arguments) if call is not None else None
    return message.message_type, message.seq_id, text


def logged(messages: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    calls = [message.get("tool_call") for message in messages]
    texts = [call and (call.get("name"), call.get("arguments")) for call in calls]
    return [(message["message_type"], message["seq_id"], text) for message, text in zip(messages, texts, strict=True)]


async def test_every_piece_comes_once_and_then_the_end(gateway: Served, letta: Any):
    gateway.runners.says = MESSAGES
    stream = await letta.agents.messages.create("ada", input="Hello", streaming=True, stream_tokens=True)
    said = [message async for message in stream]
    assert [shown(message) for message in said] == logged(MESSAGES)
    assert said[-2].stop_reason == "requires_approval"
    assert said[-1].run_ids == [said[0].run_id]
    (order,) = gateway.runners.orders
    assert order.input == {"messages": [{"role": "user", "content": "Hello"}]}


async def test_what_the_client_shows_of_every_recording_is_what_the_log_says(gateway: Served, letta: Any):
    for file in sampled(RECORDED):
        messages = messages_of(file)
        gateway.runners.says = messages
        turn = {"role": "user", "content": "Hi"}
        stream = await letta.agents.messages.create("ada", messages=[turn], streaming=True, stream_tokens=True)
        said = [message async for message in stream]
        assert [message.seq_id for message in said] == [message["seq_id"] for message in messages], file.stem
        for kind, field in (("assistant_message", "content"), ("reasoning_message", "reasoning")):
            text = "".join(getattr(one, field) for one in said if one.message_type == kind)
            assert text == "".join(one[field] for one in messages if one["message_type"] == kind), file.stem


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
async def test_the_clients_older_call_reads_the_same(gateway: Served, letta: Any):
    gateway.runners.says = MESSAGES
    said = [message async for message in await letta.agents.messages.stream("ada", input="Hello", stream_tokens=True)]
    assert [shown(message) for message in said] == logged(MESSAGES)


async def test_messages_come_whole_where_pieces_were_not_asked_for(gateway: Served, letta: Any):
    gateway.runners.says = MESSAGES
    said = [message async for message in await letta.agents.messages.create("ada", input="Hello", streaming=True)]
    assert [message.message_type for message in said] == ["tool_call_message", "stop_reason", "usage_statistics"]
    assert said[0].tool_call.arguments == '{"age":30,"name":"John Doe"}'
    # And so they do for who reads the run later.
    again = [message async for message in await letta.runs.messages.stream(said[0].run_id)]
    assert again == said


@pytest.mark.parametrize("after", range(len(MESSAGES) + 1))
async def test_a_run_is_read_on_from_every_cursor(gateway: Served, letta: Any, after: int):
    gateway.router.open("run-1").say(MESSAGES, end=True)
    said = [message async for message in await letta.runs.messages.stream("run-1", starting_after=after)]
    assert [shown(message) for message in said] == logged(MESSAGES[after:])


async def test_a_cut_stream_is_an_error_and_goes_on_behind_the_last_message(gateway: Served, letta: Any):
    stream = gateway.router.open("run-1")
    reading = await letta.runs.messages.stream("run-1")
    stream.say(MESSAGES[:3])
    stream.fail(RouterUnavailable("it restarts"))
    said = [message async for message in reading]
    assert said[-1].message_type == "error_message"  # its client would take a bare cut for success
    assert said[-1].error_type == "router_unavailable"
    await until(lambda: stream.readers == 0)
    stream.error = None
    stream.say(MESSAGES[3:], end=True)
    rest = await letta.runs.messages.stream("run-1", starting_after=said[-2].seq_id)
    assert [shown(message) for message in [*said[:-1], *[message async for message in rest]]] == logged(MESSAGES)


async def test_pings_come_where_they_were_asked_for_and_bear_the_last_number(gateway: Served, letta: Any):
    stream = gateway.router.open("run-1")
    stream.say(MESSAGES[:3])
    reading = await letta.runs.messages.stream("run-1", include_pings=True)
    async for message in reading:
        if message.message_type == "ping":
            assert message.seq_id == 3
            break
    await reading.close()


async def test_a_cancelled_run_ends_as_cancelled(gateway: Served, letta: Any):
    gateway.router.open("run-1", agent="ada").say(MESSAGES[:3])
    reading = await letta.runs.messages.stream("run-1")
    told = await letta.agents.messages.cancel("ada", run_ids=["run-1", "run-2"])
    assert told == {"run-1": "cancelled", "run-2": "failed: there is no such run"}
    said = [message async for message in reading]
    assert said[-2].stop_reason == "cancelled"
    assert (await letta.runs.retrieve("run-1")).status == "cancelled"
    with pytest.raises(letta_client.BadRequestError, match="run_ids"):
        await letta.agents.messages.cancel("ada")


async def test_a_failed_run_says_its_error_and_why(gateway: Served, letta: Any):
    gateway.runners.says = translated([chat_chunk({"content": "Hi"}), b'{"error": {"message": "overloaded"}}'])
    said = [message async for message in await letta.agents.messages.create("ada", input="x", streaming=True)]
    assert [message.message_type for message in said] == [
        "assistant_message", "error_message", "stop_reason", "usage_statistics",
    ]  # fmt: skip
    assert "overloaded" in said[1].message
    assert said[2].stop_reason == "error"
    assert (await letta.runs.retrieve(said[0].run_id)).status == "failed"


async def test_runs_are_listed_a_page_at_a_time_until_there_are_no_more(gateway: Served, letta: Any):
    gateway.router.page_max = 3
    for number in range(10):
        stream = gateway.router.open(f"run-{number}", agent="ada" if number % 2 else "bob")
        if number < 4:
            stream.say(MESSAGES, end=True)
    every = [run.id async for run in await letta.runs.list(limit=3)]
    assert every == [f"run-{number}" for number in reversed(range(10))]
    ascending = [run.id async for run in await letta.runs.list(limit=4, order="asc")]
    assert ascending == every[::-1]
    assert [run.id async for run in await letta.runs.list(agent_id="ada", limit=2)] == every[::2]
    assert [run.id async for run in await letta.runs.list(statuses=["completed"], limit=3)] == every[6:]
    assert [run.id async for run in await letta.runs.list(after="gone")] == []


async def test_what_a_run_has_said_until_now_is_told_whole(gateway: Served, letta: Any):
    stream = gateway.router.open("run-1")
    assert (await letta.runs.messages.list("run-1")).items == []
    stream.say(MESSAGES[:5])
    (call,) = (await letta.runs.messages.list("run-1")).items
    assert call.tool_call.arguments == "".join(one["tool_call"].get("arguments", "") for one in MESSAGES[:5])
    stream.say(MESSAGES[5:], end=True)
    assert len([message async for message in await letta.runs.messages.list("run-1")]) == 1
    assert (await letta.runs.usage.retrieve("run-1")).total_tokens == 0
    assert [step async for step in await letta.runs.steps.list("run-1")] == []


async def test_what_a_tool_of_the_client_returned_reaches_the_agent(gateway: Served, letta: Any):
    gateway.runners.says = MESSAGES
    returned = {"tool_call_id": "c", "status": "success", "tool_return": "15 degrees"}
    message = {"type": "tool_return", "tool_returns": [{**returned, "type": "tool"}]}
    tool = {"name": "weather", "description": "Tells it.", "parameters": {"type": "object", "properties": {}}}
    reading = await letta.agents.messages.create("ada", messages=[message], client_tools=[tool], streaming=True)
    assert [one async for one in reading]
    (order,) = gateway.runners.orders
    assert order.input["messages"] == [{"role": "tool", "tool_call_id": "c", "content": "15 degrees"}]
    assert order.input["tools"][0]["function"]["name"] == "weather"
    assert order.metadata == {STREAM_TOKENS: False}


async def test_errors_are_those_that_the_client_knows(gateway: Served, letta: Any):
    with pytest.raises(letta_client.BadRequestError, match="there is no agent 'bob' here; there are ada"):
        await letta.agents.messages.create("bob", input="x", streaming=True)
    with pytest.raises(letta_client.NotFoundError, match="never opened here"):
        await letta.runs.retrieve("none")
    with pytest.raises(letta_client.BadRequestError, match="expected messages"):
        await letta.agents.messages.create("ada", messages=[])
    gateway.runners.error = PoolFull("full")
    with pytest.raises(letta_client.RateLimitError):
        await letta.agents.messages.create("ada", input="x", streaming=True)


async def test_a_conversation_is_its_agents(gateway: Served, letta: Any):
    gateway.runners.says = MESSAGES
    for conversation, more in (("ada", {}), ("default", {"agent_id": "ada"})):
        reading = await letta.conversations.messages.create(conversation, input="x", **more)
        assert [message.message_type async for message in reading][-1] == "usage_statistics"
    assert (await letta.health()).status == "ok"


async def test_the_client_without_await_reads_too(gateway: Served):
    gateway.runners.says = MESSAGES

    def read() -> list[Any]:
        with letta_client.Letta(base_url=gateway.url, api_key="none") as letta:
            return list(letta.agents.messages.create("ada", input="x", streaming=True, stream_tokens=True))

    assert [shown(message) for message in await asyncio.to_thread(read)] == logged(MESSAGES)


async def test_a_disconnect_cancels_nothing(gateway: Served, letta: Any):
    stream = gateway.router.open("run-1")
    stream.say(MESSAGES[:3])
    reading = await letta.runs.messages.stream("run-1")
    async for _ in reading:
        break
    await reading.close()
    await until(lambda: stream.readers == 0)
    assert not stream.has_ended
    stream.say(ended(stream, "end_turn"), end=True)
