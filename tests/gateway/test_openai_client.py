"""OpenAI's own client, against the gateway over real HTTP: chat completions, streamed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from actors.errors import AgentBusy, PoolFull, RouterUnavailable
from actors.openai_format import to_chunks
from tests.effort import sampled
from tests.gateway.fakes import Served, served, until
from tests.gateway.said import RECORDED, chat_chunk, messages_of, translated

MESSAGES = messages_of(next(file for file in RECORDED if file.stem == "openai-tool-2"))
ASKED: dict[str, Any] = {"model": "ada", "messages": [{"role": "user", "content": "Hello"}]}
TEXT = translated([chat_chunk({"content": "Hel"}), chat_chunk({"content": "lo"}), chat_chunk({}, "stop")])


@pytest.fixture
async def gateway() -> AsyncIterator[Served]:
    async with served(heartbeat_s=0.2) as running:
        yield running


@pytest.fixture
async def client(gateway: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as made:
        yield made


async def chunks_of(client: openai.AsyncOpenAI, **more: Any) -> list[Any]:
    return [chunk async for chunk in await client.chat.completions.create(**ASKED, stream=True, **more)]


async def test_a_text_comes_in_pieces_and_usage_where_it_was_asked_for(gateway: Served, client: openai.AsyncOpenAI):
    gateway.runners.says = TEXT
    chunks = await chunks_of(client)
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["Hel", "lo", None]
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert {(chunk.model, chunk.id) for chunk in chunks} == {
        ("ada", f"chatcmpl-{gateway.runners.orders[0].request_id}")
    }
    with_usage = await chunks_of(client, stream_options={"include_usage": True})
    assert [len(chunk.choices) for chunk in with_usage] == [1, 1, 1, 0]
    assert with_usage[-1].usage.total_tokens == 0
    assert gateway.runners.orders[0].input == {"messages": ASKED["messages"]}


async def test_what_the_client_puts_together_of_every_recording_is_what_the_log_says(
    gateway: Served, client: openai.AsyncOpenAI
):
    for file in sampled(RECORDED):
        messages = messages_of(file)
        gateway.runners.says = messages
        expected = list(to_chunks([{**message, "run_id": "x"} for message in messages], "ada"))
        if "error" in expected[-2]:
            with pytest.raises(openai.APIError) as caught:
                await chunks_of(client)
            assert caught.value.message == expected[-2]["error"]["message"], file.stem
            continue
        chunks = await chunks_of(client, stream_options={"include_usage": True})
        for chunk, wanted in zip(chunks, expected, strict=True):
            said = chunk.model_dump(exclude_unset=True)
            assert {**said, "id": wanted["id"]} == wanted, file.stem


async def test_a_failure_is_raised_by_the_client(gateway: Served, client: openai.AsyncOpenAI):
    gateway.runners.says = translated([chat_chunk({"content": "Hi"}), b'{"error": {"message": "overloaded"}}'])
    with pytest.raises(openai.APIError, match="overloaded"):
        await chunks_of(client)


async def test_a_stream_that_breaks_off_is_raised_by_the_client(gateway: Served, client: openai.AsyncOpenAI):
    reading = asyncio.create_task(chunks_of(client))
    await until(lambda: bool(gateway.router.streams))
    (stream,) = gateway.router.streams.values()
    stream.say(TEXT[:1])
    await until(lambda: stream.readers == 1)
    stream.fail(RouterUnavailable("it restarts"))
    with pytest.raises(openai.APIError, match="it restarts"):
        await reading


async def test_keepalives_trouble_no_client(gateway: Served, client: openai.AsyncOpenAI):
    reading = asyncio.create_task(chunks_of(client))
    await until(lambda: bool(gateway.router.streams))
    (stream,) = gateway.router.streams.values()
    await asyncio.wait([reading], timeout=0.5)  # two of them pass meanwhile
    stream.say(TEXT, end=True)
    assert len(await reading) == 3


async def test_the_same_key_gives_the_same_run_again(gateway: Served, client: openai.AsyncOpenAI):
    gateway.runners.says = TEXT
    headers = {"Idempotency-Key": "once"}
    first = await chunks_of(client, extra_headers=headers)
    assert await chunks_of(client, extra_headers=headers) == first
    assert len(gateway.runners.orders) == 1
    await chunks_of(client, extra_headers={"Idempotency-Key": "twice"})
    assert len(gateway.runners.orders) == 2


async def test_what_must_not_be_tried_again_is_not(gateway: Served):
    tried = 0

    async def busy(_: Any) -> None:
        nonlocal tried
        tried += 1
        raise AgentBusy("ada has a request under way")

    gateway.runners.run = busy  # type: ignore[method-assign]
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=3) as client:
        with pytest.raises(openai.ConflictError, match="under way"):
            await chunks_of(client)
    assert tried == 1


async def test_errors_are_those_that_the_client_knows(gateway: Served, client: openai.AsyncOpenAI):
    with pytest.raises(openai.BadRequestError, match="there is no agent 'bob'"):
        await client.chat.completions.create(model="bob", messages=ASKED["messages"])
    with pytest.raises(openai.NotFoundError, match="there is no model 'bob'"):
        await client.models.retrieve("bob")
    gateway.runners.error = PoolFull("full")
    with pytest.raises(openai.RateLimitError):
        await chunks_of(client)
    assert [model.id async for model in await client.models.list()] == ["ada"]
    assert (await client.models.retrieve("ada")).object == "model"


async def test_with_tokens_a_key_is_one(tmp_path: Any):
    (tmp_path / "tokens").write_text("web 0123456789abcdef read,run\n")
    async with served(tokens_file=str(tmp_path / "tokens")) as gateway:
        gateway.runners.says = TEXT
        for key, is_right in (("0123456789abcdef", True), ("wrong", False)):
            async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0) as client:
                if is_right:
                    assert len(await chunks_of(client)) == 3
                else:
                    with pytest.raises(openai.AuthenticationError):
                        await chunks_of(client)
