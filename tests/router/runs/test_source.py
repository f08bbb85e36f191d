"""A source at a provider that misbehaves in every way, and SDK streams published as they are; on a real Ray."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

import anthropic
import openai
import pytest

from router import StreamRouter, StreamSettings
from router.demo.recorded_content import differences, received, recorded
from router.runs.endpoint import Endpoint
from router.runs.retries import Retries
from router.runs.source import Outcome, Source
from router.scripted_provider import Library

pytestmark = [pytest.mark.ray]

_numbers = itertools.count(1)
MODEL = "azure-text-3"
QUICK = Retries(first_wait_s=0.05)


async def ask(
    router: StreamRouter, url: str, api: Any = "openai-chat", model: str = MODEL
) -> tuple[Outcome, list[Any]]:
    """Return what the source says, and what a reader got."""
    endpoint = Endpoint(base_url=url, api=api, model=model, headers={"x-script-key": f"k{next(_numbers)}"})
    source = Source(endpoint, QUICK, router)
    await source.connect(None)
    request_id = f"source-{next(_numbers)}"
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "Go on."}]}
    try:
        outcome = await source.ask(request_id, {"dialect": "chat"}, endpoint.path(model), body)
        messages = [m async for batch in router.subscribe(request_id, format="dict") for m in batch]
    finally:
        await source.close()
    return outcome, messages


@pytest.mark.parametrize(
    "name", ["azure-text-3", "openai-responses-tool-reasoning-1", "anthropic-code-reasoning-1", "google-code-2"]
)
async def test_all_four_apis_arrive_as_recorded(name: str, router: StreamRouter, provider, library: Library):
    recording = library.find(name)
    async with provider() as url:
        outcome, messages = await ask(router, url, recording.api, recording.name)
    assert (outcome.error, outcome.attempts) == (None, 1)
    assert outcome.chunks > 3
    assert differences(recorded(recording.body, recording.api), received(messages)) == []


async def test_a_refusal_is_asked_again_after_the_time_it_names(router: StreamRouter, provider):
    async with provider(status=429, retry_after_s=1, fail_first=1) as url:
        started = time.perf_counter()
        outcome, messages = await ask(router, url)
    assert (outcome.error, outcome.attempts, outcome.stop_reason) == (None, 2, "end_turn")
    assert time.perf_counter() - started >= 1
    assert [m["message_type"] for m in messages].count("stop_reason") == 1, "the reader saw one stream"


async def test_a_server_error_is_asked_again_until_the_last_attempt(router: StreamRouter, provider):
    async with provider(status=500) as url:
        outcome, messages = await ask(router, url)
    assert (outcome.error_kind, outcome.attempts, outcome.stop_reason) == ("status 500", QUICK.attempts, "error")
    assert "scripted answer 500" in messages[0]["message"]


@pytest.mark.parametrize(
    ("script", "kind", "said"),
    [
        ({"status": 401}, "status 401", "scripted answer 401"),
        ({"status": 502, "status_body": "html"}, "status 502", "Bad gateway"),
        ({"cut_after": 5}, "cut", "cut in mid-stream"),
    ],
)
async def test_what_cannot_be_mended_is_said_to_the_reader(
    script, kind: str, said: str, router: StreamRouter, provider
):
    async with provider(**script) as url:
        outcome, messages = await ask(router, url)
    assert (outcome.error_kind, outcome.stop_reason) == (kind, "error")
    assert outcome.attempts == (QUICK.attempts if kind == "status 502" else 1), "after the first chunk never again"
    assert said in str(outcome.error)
    error, stop, usage = messages[-3:]
    assert (error["message_type"], stop["stop_reason"], usage["message_type"]) == (
        "error_message",
        "error",
        "usage_statistics",
    )
    assert said in error["message"]
    assert "<h1>" not in error["message"]


async def test_an_error_event_in_mid_stream_ends_as_an_error(router: StreamRouter, provider):
    async with provider(error_after=4) as url:
        outcome, messages = await ask(router, url)
    assert outcome.stop_reason == "error"
    assert any(m["message_type"] == "error_message" for m in messages)
    assert received(messages).text, "what came before stays valid"


async def test_nobody_at_the_address_is_an_error_of_its_own(router: StreamRouter):
    outcome, messages = await ask(router, "http://127.0.0.1:9")
    assert (outcome.error_kind, outcome.attempts) == ("unreachable", QUICK.attempts)
    assert messages[-2]["stop_reason"] == "error"


async def test_closing_a_source_ends_what_is_under_way_as_cancelled(router: StreamRouter, provider):
    async with provider(stall_s=60, stall_after=8) as url:
        source = Source(Endpoint(base_url=url), QUICK, router)
        await source.connect(None)
        request_id = f"source-{next(_numbers)}"
        body = {"model": MODEL, "stream": True, "messages": []}
        asking = asyncio.create_task(source.ask(request_id, {"dialect": "chat"}, "/v1/chat/completions", body))
        messages = []
        async for batch in router.subscribe(request_id, format="dict"):
            messages += batch.messages
            if len(messages) >= 2 and not asking.done():
                await source.close()
    assert messages[-2]["stop_reason"] == "cancelled"
    assert (await asking).error_kind == "cancelled"


# --- SDK objects ----------------------------------------------------------------------------------


async def read_back(router: StreamRouter, request_id: str) -> Any:
    return received([m async for batch in router.subscribe(request_id, format="dict") for m in batch])


@pytest.mark.parametrize("name", ["azure-text-3", "openai-tool-2", "mistral-reasoning-1"])
async def test_objects_of_the_openai_sdk_are_chunks(name: str, router: StreamRouter, provider, library: Library):
    recording = library.find(name)
    request_id = f"sdk-{next(_numbers)}"
    async with (
        provider() as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
        router.publish(request_id, StreamSettings(dialect="chat")) as stream,
    ):
        async for chunk in await client.chat.completions.create(model=name, messages=[], stream=True):
            await stream.chunk(chunk)
    assert differences(recorded(recording.body, recording.api), await read_back(router, request_id)) == []


async def test_events_of_the_openai_sdks_responses_are_chunks(router: StreamRouter, provider, library: Library):
    recording = library.find("openai-responses-tool-reasoning-1")
    request_id = f"sdk-{next(_numbers)}"
    async with (
        provider() as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
        router.publish(request_id, StreamSettings(dialect="chat")) as stream,
    ):
        async for event in await client.responses.create(model=recording.name, input="x", stream=True):
            await stream.chunk(event)
    assert differences(recorded(recording.body, recording.api), await read_back(router, request_id)) == []


@pytest.mark.parametrize("name", ["anthropic-code-reasoning-1", "anthropic-parallel-tools-3"])
async def test_events_of_the_anthropic_sdk_are_chunks(name: str, router: StreamRouter, provider, library: Library):
    recording = library.find(name)
    request_id = f"sdk-{next(_numbers)}"
    question: Any = [{"role": "user", "content": "x"}]
    async with (
        provider() as url,
        anthropic.AsyncAnthropic(base_url=url, api_key="none", max_retries=0) as client,
        router.publish(request_id, StreamSettings(dialect="chat")) as stream,
    ):
        async for event in await client.messages.create(model=name, max_tokens=9, messages=question, stream=True):
            await stream.chunk(event)
    assert differences(recorded(recording.body, recording.api), await read_back(router, request_id)) == []
