"""Streams of the providers' own SDKs over real HTTP: readers see what they see of the provider's own events."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx
import openai
import pytest
from pumped import Pumped, expected, pumped

from actors.recording_format import read_recording
from router.demo import RECORDINGS
from router.scripted_provider import Library
from router.sources import events_of

# An SDK of before reads the newest events of these recordings in its own way.
pytestmark = pytest.mark.skipif(
    int(openai.__version__.split(".")[0]) < 3 or int(anthropic.__version__.split(".")[0]) < 2,
    reason="the SDKs are older than those of constraints.txt",
)
ALL = Library.load(RECORDINGS).recordings.values()
MESSAGES = [{"role": "user", "content": "?"}]


def of(api: str) -> list[Any]:
    return [pytest.param(recording, id=recording.name) for recording in ALL if recording.api == api]


def openai_client(url: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


def anthropic_client(url: str, **options: Any) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=url, api_key="none", max_retries=0, **options)


def hold_equal(got: Pumped, recording: Any) -> None:
    right = expected(read_recording(recording.body))
    assert [by_value(message) for message in got.messages] == [by_value(message) for message in right.messages]
    assert got.described["model"] == right.described["model"]
    assert got.described["unknown"] == right.described["unknown"]


def by_value(message: dict[str, Any]) -> dict[str, Any]:
    """Read what is JSON in a message: an SDK's objects have an order of their own."""
    if "tool_return" in message:
        return {**message, "tool_return": json_of(message["tool_return"])}
    if "tool_call" in message:
        call = message["tool_call"]
        return {**message, "tool_call": {**call, "arguments": json_of(call.get("arguments"))}}
    return message


def json_of(text: str | None) -> Any:
    try:
        return json.loads(text or "")
    except ValueError:
        return text


@pytest.mark.parametrize("recording", of("openai-chat"))
async def test_openai_chat(provider: str, recording):
    async with openai_client(provider) as client:
        source = client.chat.completions.create(model=recording.name, messages=MESSAGES, stream=True)
        hold_equal(await pumped(source), recording)


@pytest.mark.parametrize("recording", of("openai-responses"))
async def test_openai_responses(provider: str, recording):
    async with openai_client(provider) as client:
        hold_equal(await pumped(client.responses.create(model=recording.name, input="?", stream=True)), recording)


@pytest.mark.parametrize("recording", of("anthropic-messages"))
@pytest.mark.parametrize("helper", [False, True])
async def test_anthropic(provider: str, recording, helper):
    async with anthropic_client(provider) as client:
        asked = {"model": recording.name, "max_tokens": 9, "messages": MESSAGES}
        source = client.messages.stream(**asked) if helper else client.messages.create(**asked, stream=True)
        hold_equal(await pumped(source), recording)


@pytest.mark.parametrize("name", ["openai-tool-2", "xai-text-1"])
async def test_openais_helper_for_chat(provider: str, library: Library, name: str):
    async with openai_client(provider) as client:
        hold_equal(await pumped(client.chat.completions.stream(model=name, messages=MESSAGES)), library.find(name))


async def test_openais_helper_for_responses(provider: str, library: Library):
    name = "openai-responses-tool-reasoning-1"
    async with openai_client(provider) as client:
        hold_equal(await pumped(client.responses.stream(model=name, input="?")), library.find(name))


@pytest.mark.parametrize("recording", of("gemini"))
async def test_google_genai(provider: str, recording):
    genai = pytest.importorskip("google.genai", reason="extra sources-test is not installed")
    client = genai.Client(api_key="none", http_options={"base_url": provider, "api_version": "v1beta"})
    source = client.aio.models.generate_content_stream(model=recording.name, contents="?")
    try:
        hold_equal(await pumped(source), recording)
    finally:
        await client.aio.aclose()
        client.close()


async def test_the_error_of_a_provider_in_mid_stream_is_raised_as_the_sdk_raises_it(provider: str):
    headers = {"x-script": "error_after=3"}
    async with openai_client(provider) as client:
        source = client.chat.completions.create(
            model="xai-text-1", messages=MESSAGES, stream=True, extra_headers=headers
        )
        with pytest.raises(openai.APIError, match="scripted"):
            await pumped(source)
    async with anthropic_client(provider, default_headers=headers) as client:
        source = client.messages.create(model="anthropic-search-3", max_tokens=9, messages=MESSAGES, stream=True)
        with pytest.raises(anthropic.APIStatusError, match="scripted"):
            await pumped(source)


async def test_a_refused_request_is_raised_as_the_sdk_raises_it(provider: str):
    async with openai_client(provider) as client:
        source = client.chat.completions.create(
            model="xai-text-1", messages=MESSAGES, stream=True, extra_headers={"x-script": "status=429"}
        )
        with pytest.raises(openai.RateLimitError):
            await pumped(source)


@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_the_body_of_an_answer_is_cut_into_its_events(library: Library, size: int):
    recording = library.find("anthropic-search-3")

    async def body():
        for at in range(0, len(recording.body), size):
            yield recording.body[at : at + size]

    assert [payload async for payload in events_of(body())] == read_recording(recording.body)


async def test_a_plain_http_client_needs_one_more_word(provider: str, library: Library):
    asked = {"model": "xai-text-1", "stream": True}
    async with (
        httpx.AsyncClient() as client,
        client.stream("POST", f"{provider}/v1/chat/completions", json=asked) as got,
    ):
        hold_equal(await pumped(events_of(got.aiter_bytes())), library.find("xai-text-1"))
