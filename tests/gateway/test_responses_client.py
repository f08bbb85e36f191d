"""OpenAI's own client, against the gateway over real HTTP: the Responses API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from actors.errors import InvalidArgument, RouterUnavailable
from actors.openai_format import text_of
from gateway.formats.responses_input import input_of
from tests.effort import sampled
from tests.gateway.fakes import Served, served, until
from tests.gateway.said import RECORDED, Message, chat_chunk, messages_of, translated

FILES = {file.stem: file for file in RECORDED}
CHECKED = sorted(FILES)[::8]
PARALLEL = messages_of(FILES["openai-parallel-tools-1"])
TEXT = translated([chat_chunk({"content": "Hel"}), chat_chunk({"content": "lo"}), chat_chunk({}, "stop")])
CUT = translated([chat_chunk({"content": "Hel"}), chat_chunk({}, "length")])
FAILED = translated([chat_chunk({"content": "Hel"}), b'{"error": {"message": "overloaded"}}'])


@pytest.fixture
async def gateway() -> AsyncIterator[Served]:
    async with served() as running:
        yield running


@pytest.fixture
async def client(gateway: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as made:
        yield made


async def events_of(client: openai.AsyncOpenAI, **more: Any) -> list[Any]:
    return [event async for event in await client.responses.create(model="ada", input="Hi", stream=True, **more)]


def logged(messages: list[Message]) -> tuple[str, str, list[tuple[str, str]]]:
    """Return the text, the reasoning and the calls of a log, of its first choice and what the client is to run."""
    first = [message for message in messages if not message.get("choice_index")]
    text = "".join(text_of(one["content"]) for one in first if one["message_type"] == "assistant_message")
    reasoning = "".join(one["reasoning"] for one in first if one["message_type"] == "reasoning_message")
    calls: dict[Any, tuple[str, str]] = {}
    for one in first:
        if one["message_type"] == "tool_call_message" and not one.get("provider_executed"):
            call = one["tool_call"]
            name, arguments = calls.get(call.get("tool_call_id"), ("", ""))
            calls[call.get("tool_call_id")] = (name + call.get("name", ""), arguments + call.get("arguments", ""))
    return text, reasoning, list(calls.values())


def shown(response: Any) -> tuple[str, str, list[tuple[str, str]]]:
    """Return the same of a response."""
    reasoning = "".join(part.text for item in response.output if item.type == "reasoning" for part in item.summary)
    calls = [(item.name, item.arguments) for item in response.output if item.type == "function_call"]
    return response.output_text, reasoning, calls


async def test_what_the_client_puts_together_of_every_recording_is_what_the_log_says(
    gateway: Served, client: openai.AsyncOpenAI
):
    for name, file in sampled([*FILES.items()]):
        messages = gateway.runners.says = messages_of(file)
        if name in CHECKED:  # the client's helper checks every event against those before it
            async with client.responses.stream(model="ada", input="Hi") as stream:
                events: list[Any] = [event async for event in stream]
        else:
            events = await events_of(client)
        terminal = events[-1]
        assert terminal.type in {"response.completed", "response.incomplete", "response.failed"}, name
        assert [event.sequence_number for event in events if hasattr(event, "sequence_number")] == list(
            range(len(events))
        ), name
        assert shown(terminal.response) == logged(messages), name
        # And so it stands for who asks later.
        asked = await client.responses.retrieve(terminal.response.id)
        assert (shown(asked), asked.status) == (shown(terminal.response), terminal.response.status), name
        assert asked.usage == terminal.response.usage, name


async def test_a_response_is_read_on_from_every_event(gateway: Served, client: openai.AsyncOpenAI):
    gateway.router.open("resp_1", agent="ada").say(PARALLEL, end=True)
    whole = [event async for event in await client.responses.retrieve("resp_1", stream=True)]
    assert len([event for event in whole if event.type == "response.output_item.done"]) > 1
    for event in whole:
        number = event.sequence_number
        rest = await client.responses.retrieve("resp_1", stream=True, starting_after=number)
        assert [one async for one in rest] == whole[number + 1 :]


@pytest.mark.parametrize(
    ("says", "kind", "status"),
    [
        (TEXT, "response.completed", "completed"),
        (CUT, "response.incomplete", "incomplete"),
        (FAILED, "response.failed", "failed"),
    ],
)
async def test_an_end_says_what_it_is(
    gateway: Served, client: openai.AsyncOpenAI, says: list[Message], kind: str, status: str
):
    gateway.runners.says = says
    last = (await events_of(client))[-1]
    assert (last.type, last.response.status) == (kind, status)
    if status == "failed":
        assert "overloaded" in last.response.error.message
    if status == "incomplete":
        assert last.response.incomplete_details.reason == "max_output_tokens"


async def test_in_the_background_a_response_is_asked_for_until_it_has_ended(
    gateway: Served, client: openai.AsyncOpenAI
):
    response = await client.responses.create(model="ada", input="Hi", background=True)
    assert (response.status, response.output) == ("in_progress", [])
    (stream,) = gateway.router.streams.values()
    stream.say(TEXT[:1])
    assert (await client.responses.retrieve(response.id)).status == "in_progress"
    stream.say(TEXT[1:], end=True)
    ended = await client.responses.retrieve(response.id)
    assert (ended.status, ended.output_text, ended.model) == ("completed", "Hello", "ada")


async def test_a_cut_stream_is_raised_and_goes_on_behind_the_last_event(gateway: Served, client: openai.AsyncOpenAI):
    stream = gateway.router.open("resp_1", agent="ada")
    reading = await client.responses.retrieve("resp_1", stream=True)
    stream.say(TEXT[:1])
    stream.fail(RouterUnavailable("it restarts"))
    had: list[Any] = []

    async def read() -> None:
        async for event in reading:
            had.append(event)  # noqa: PERF401  # what was had before it raises

    with pytest.raises(openai.APIError, match="it restarts"):
        await read()
    await until(lambda: stream.readers == 0)
    stream.error = None
    stream.say(TEXT[1:], end=True)
    rest = await client.responses.retrieve("resp_1", stream=True, starting_after=had[-1].sequence_number)
    said = [*had, *[event async for event in rest]]
    assert [event.sequence_number for event in said] == list(range(len(said)))
    assert said[-1].response.output_text == "Hello"


async def test_what_the_client_sends_reaches_the_agent_in_chats_form(gateway: Served, client: openai.AsyncOpenAI):
    gateway.runners.says = TEXT
    call: Any = {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"}
    given: Any = [
        {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
        call,
        {**call, "call_id": "d"},
        {"type": "function_call_output", "call_id": "c", "output": "15 degrees"},
    ]
    tool: Any = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}
    reading = await client.responses.create(
        model="ada", instructions="Be brief.", input=given, tools=[tool], max_output_tokens=9, stream=True
    )
    assert [event async for event in reading]
    (order,) = gateway.runners.orders
    system, user, calls, returned = order.input["messages"]
    assert (system, user) == (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather?"},
    )
    assert [one["id"] for one in calls["tool_calls"]] == ["c", "d"]
    assert returned == {"role": "tool", "tool_call_id": "c", "content": "15 degrees"}
    assert order.input["tools"][0]["function"]["name"] == "weather"
    assert order.input["max_tokens"] == 9


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"input": "x", "previous_response_id": "r"}, "previous_response_id: nothing is kept here"),
        ({}, "input: expected text"),
        ({"input": []}, "a list of at least one item"),
        ({"input": [1]}, "input.0: expected an object"),
        ({"input": [{"type": "web_search_call"}]}, "got 'web_search_call'"),
        ({"input": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "got 'input_audio'"),
        ({"input": [{"role": "user", "content": 1}]}, "expected text, or a list of parts"),
        ({"input": "x", "tools": [{"type": "web_search"}]}, "tools.0: expected a function"),
    ],
)
def test_what_cannot_be_asked_is_named(body: dict[str, Any], said: str):
    with pytest.raises(InvalidArgument, match=said):
        input_of(body)


async def test_keepalives_trouble_no_client():
    async with served(heartbeat_s=0.1) as gateway:
        stream = gateway.router.open("resp_1", agent="ada")
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none") as client:
            reading = asyncio.create_task(_all(client))
            await asyncio.wait([reading], timeout=0.3)
            stream.say(TEXT, end=True)
            assert (await reading)[-1].type == "response.completed"


async def _all(client: openai.AsyncOpenAI) -> list[Any]:
    return [event async for event in await client.responses.retrieve("resp_1", stream=True)]


async def test_what_is_not_there_or_cannot_be_done_is_refused(gateway: Served, client: openai.AsyncOpenAI):
    with pytest.raises(openai.NotFoundError, match="never opened here"):
        await client.responses.retrieve("resp_none")
    gateway.router.open("resp_1")
    with pytest.raises(openai.APIStatusError, match="PUT is not for /v1/responses/resp_1"):
        await client.put("/responses/resp_1", cast_to=object)


async def test_a_response_that_has_ended_can_be_deleted_and_is_gone(gateway: Served, client: openai.AsyncOpenAI):
    gateway.router.open("resp_1", agent="ada").say(TEXT, end=True)
    assert (await client.responses.retrieve("resp_1")).output_text == "Hello"
    await client.responses.delete("resp_1")
    for gone in (client.responses.retrieve("resp_1"), client.responses.delete("resp_1")):
        with pytest.raises(openai.NotFoundError, match="it was forgotten"):
            await gone
    gateway.router.open("resp_2", agent="ada").say(TEXT, end=True)
    assert await gateway.json("DELETE", "/v1/responses/resp_2") == (
        200, {"id": "resp_2", "object": "response", "deleted": True}
    )  # fmt: skip


async def test_a_response_that_is_under_way_is_not_deleted(gateway: Served, client: openai.AsyncOpenAI):
    gateway.router.open("resp_1", agent="ada").say(TEXT[:1])
    with pytest.raises(openai.ConflictError, match="has not ended; cancel it first") as refused:
        await client.with_options(max_retries=2).responses.delete("resp_1")
    assert refused.value.code == "request_open"
    assert (await gateway.json("DELETE", "/v1/streams/resp_1"))[1]["cancelled"]
    await client.responses.delete("resp_1")
