"""Sources pumped on a real Ray: readers see all of it, and each side's end reaches the other."""

from __future__ import annotations

import asyncio

import openai
import pytest

from actors.errors import RequestCancelled
from router import StreamRouter
from router.demo import RECORDINGS
from router.scripted_provider import Library, Script, serve

pytestmark = [pytest.mark.ray]

CHAT = {"dialect": "chat", "buffer_bytes_max": 20_000}


def text(content: str) -> dict:
    return {"choices": [{"index": 0, "delta": {"content": content}}]}


class Source:
    """Gives text for ever, or until it raises; knows whether it was closed."""

    def __init__(self, *, error: Exception | None = None, waits: bool = False) -> None:
        self.error = error
        self.waits = waits
        self.given = 0
        self.is_closed = asyncio.Event()

    def __aiter__(self):
        return self

    async def __anext__(self):
        self.given += 1
        await asyncio.sleep(0)
        if self.given == 3 and self.error is not None:
            raise self.error
        if self.given == 3 and self.waits:
            await asyncio.Event().wait()
        return text("x" * 1000)

    async def aclose(self):
        self.is_closed.set()


async def terminal(router: StreamRouter, request_id: str) -> list:
    messages = [message async for batch in router.subscribe(request_id) for message in batch]
    return [message for message in messages if message.message_type in ("error_message", "stop_reason")]


async def test_an_sdks_stream_in_one_line(router: StreamRouter, request_id: str):
    name = "openai-tool-2"
    async with (
        serve(Library.load(RECORDINGS), Script.load({"events_per_s": 0})) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client,
        router.publish(request_id, CHAT) as stream,
    ):
        await stream.pump(client.chat.completions.create(model=name, messages=[], stream=True))
    result = await router.result(request_id)
    assert result.stop_reason == "tool_call"
    assert [call.name for call in result.tool_calls]
    assert result.usage is not None


async def test_a_source_waits_for_a_reader_that_does_not_read_and_a_cancel_closes_it(
    router: StreamRouter, request_id: str
):
    source = Source()

    async def produce():
        async with router.publish(request_id, CHAT) as stream:
            await stream.pump(source)

    task = asyncio.ensure_future(produce())
    given = -1
    async with asyncio.timeout(60):
        while given != source.given or given < 3:
            given = source.given
            await asyncio.sleep(0.5)
    assert given < 200, "it waits, though it would give text for ever"
    assert await router.cancel(request_id)
    with pytest.raises(RequestCancelled):
        await asyncio.wait_for(task, 30)
    assert source.is_closed.is_set()
    (stop,) = await terminal(router, request_id)
    assert stop.stop_reason == "cancelled"


async def test_a_sources_error_is_the_requests_and_is_raised(router: StreamRouter, request_id: str):
    stream = await router.publish(request_id, CHAT).open()
    source = Source(error=ConnectionError("the model went away"))
    with pytest.raises(ConnectionError, match="went away"):
        await stream.pump(source)
    assert source.is_closed.is_set()
    error, stop = await terminal(router, request_id)
    assert (error.error_type, error.message) == ("ConnectionError", "the model went away")
    assert stop.stop_reason == "error"


async def test_a_cancelled_task_ends_its_request_by_name(router: StreamRouter, request_id: str):
    stream = await router.publish(request_id, CHAT).open()
    source = Source(waits=True)
    task = asyncio.ensure_future(stream.pump(source))
    async with asyncio.timeout(60):
        async for _ in router.subscribe(request_id):
            break
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.is_closed.is_set()
    (stop,) = await terminal(router, request_id)
    assert stop.stop_reason == "cancelled"


async def test_a_run_of_pydantic_ai_in_one_line(router: StreamRouter, request_id: str):
    pydantic_ai = pytest.importorskip("pydantic_ai", reason="extra sources-test is not installed")
    function = pytest.importorskip("pydantic_ai.models.function")

    async def model(messages, _info):
        if len(messages) == 1:
            yield {0: function.DeltaToolCall(name="lookup", json_args='{"word": "a"}', tool_call_id="c")}
        else:
            yield "It is "
            yield "a letter."

    agent = pydantic_ai.Agent(function.FunctionModel(stream_function=model))

    @agent.tool_plain
    def lookup(word: str) -> str:
        return f"{word}: letter"

    async with router.publish(request_id, CHAT) as stream:
        run = await stream.pump(agent.run_stream_events("What is a?"))
    assert run.output == "It is a letter."
    result = await router.result(request_id)
    assert (result.text, result.stop_reason) == ("It is a letter.", "end_turn")
    (call,) = result.tool_calls
    assert call.name == "lookup"
