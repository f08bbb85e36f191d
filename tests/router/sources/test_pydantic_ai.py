"""pydantic-ai's runs: the real package, over HTTP and with models that are functions."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import openai
import pytest
from pumped import pumped
from pydantic import BaseModel
from scripts import FIRST, MODEL, SECOND, answers, call, call_of, chat, return_of

from tests.assemble import assembled

pydantic_ai = pytest.importorskip("pydantic_ai", reason="extra sources-test is not installed")

from pydantic_ai import Agent, DeferredToolRequests, ModelRetry  # noqa: E402
from pydantic_ai import messages as parts  # noqa: E402
from pydantic_ai.messages import PartDeltaEvent, PartEndEvent, PartStartEvent, ThinkingPartDelta  # noqa: E402
from pydantic_ai.models.function import DeltaToolCall, FunctionModel  # noqa: E402
from pydantic_ai.models.openai import OpenAIChatModel  # noqa: E402
from pydantic_ai.providers.openai import OpenAIProvider  # noqa: E402


def agent_of(model, **options) -> Agent:
    agent = Agent(model, **options)

    @agent.tool_plain
    def weather(city: str) -> dict:
        return {"celsius": 21, "city": city}

    @agent.tool_plain
    def broken() -> str:
        raise ModelRetry("try again")

    return agent


@asynccontextmanager
async def model_of(*bodies: bytes, **script):
    """Give a model that answers so, over HTTP."""
    async with answers(*bodies, **script) as url, openai.AsyncOpenAI(
        base_url=f"{url}/v1", api_key="none", max_retries=0
    ) as client:  # fmt: skip
        yield OpenAIChatModel(MODEL, provider=OpenAIProvider(openai_client=client))


async def test_a_run_with_tools_keeps_every_token_call_return_and_count():
    async with model_of(FIRST, SECOND) as model:
        got = await pumped(agent_of(model).run_stream_events("How is Rome?"))
    assert got.kinds == ["reasoning", "assistant", "tool_call", "tool_call", "tool_return", "tool_return", "assistant"]
    assert got.reasoning == "They ask about Rome."
    assert [message["content"] for message in got.of("assistant_message")] == ["I look it up.", "Sunny in Rome."]
    calls = [call_of(message) for message in got.of("tool_call_message")]
    assert calls == [("weather", {"city": "Rome"}, "call_1"), ("broken", {}, "call_2")]
    weather, broken = got.of("tool_return_message")
    assert (return_of(weather), json.loads(weather["tool_return"])) == (
        ("call_1", "success"),
        {"celsius": 21, "city": "Rome"},
    )
    assert return_of(broken) == ("call_2", "error")
    assert "try again" in broken["tool_return"]
    assert got.usage["prompt_tokens"] == 40
    assert got.usage["completion_tokens"] == 24
    assert got.usage["step_count"] == 2
    assert got.stop["stop_reason"] == "end_turn"
    assert got.described["model"] == MODEL
    assert got.result.output == "Sunny in Rome."
    assert len({message["id"] for message in got.content}) == 2, "an id a response, its returns with it"


async def test_a_call_that_gives_the_result_is_the_end_of_the_run():
    final = chat({"content": ""}, *call(0, "call_9", "final_result", '{"celsius": 3}'), finish="tool_calls")

    class Weather(BaseModel):
        celsius: int

    async with model_of(final) as model:
        got = await pumped(Agent(model, output_type=Weather).run_stream_events("?"))
    assert got.result.output == Weather(celsius=3)
    assert got.kinds == ["tool_call", "tool_return"]
    assert got.stop["stop_reason"] == "end_turn"


async def test_calls_that_wait_for_somebody_are_no_end_of_the_turn():
    async def model(_messages, _info):
        yield {0: DeltaToolCall(name="remove", json_args="{}", tool_call_id="c")}

    agent = Agent(FunctionModel(stream_function=model), output_type=[str, DeferredToolRequests])

    @agent.tool_plain(requires_approval=True)
    def remove() -> str:
        return "gone"

    got = await pumped(agent.run_stream_events("?"))
    assert got.kinds == ["tool_call"]
    assert got.stop["stop_reason"] == "tool_call"


async def test_an_answer_that_was_cut_off_is_said_to_be():
    async with model_of(chat({"content": "Once upon"}, finish="length")) as model:
        got = await pumped(Agent(model).run_stream_events("?"))
    assert (got.text, got.stop["stop_reason"]) == ("Once upon", "max_tokens")


async def test_calls_whose_arguments_come_side_by_side_are_told_apart():
    async def model(messages, _info):
        if len(messages) > 1:
            yield "done"
            return
        yield {
            0: DeltaToolCall(name="weather", json_args='{"ci', tool_call_id="a"),
            1: DeltaToolCall(name="weather", json_args='{"city": "O', tool_call_id="b"),
        }
        yield {0: DeltaToolCall(json_args='ty": "Rome"}')}
        yield {1: DeltaToolCall(json_args='slo"}')}

    got = await pumped(agent_of(FunctionModel(stream_function=model)).run_stream_events("?"))
    calls = {call["id"]: json.loads(call["arguments"]) for call in assembled(got.content)["calls"]}
    assert calls == {"a": {"city": "Rome"}, "b": {"city": "Oslo"}}
    assert got.text == "done"


@pytest.mark.parametrize("script", [{"status": 503}, {"error_after": 3}])
async def test_its_error_is_raised_as_it_is(script):
    async with model_of(SECOND, **script) as model:
        source = Agent(model, retries=0).run_stream_events("?")
        with pytest.raises(Exception, match="scripted"):
            await pumped(source)


async def test_a_run_that_is_left_is_cancelled():
    stopped = asyncio.Event()

    async def model(_messages, _info):
        yield "one"
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    task = asyncio.ensure_future(pumped(Agent(FunctionModel(stream_function=model)).run_stream_events("?")))
    await asyncio.sleep(0.2)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(stopped.wait(), 5)


# --- parts that no model here gives ---------------------------------------------------------------------


async def test_thinking_signatures_hidden_thinking_and_the_providers_own_tools():
    own = {"tool_name": "web_search", "tool_call_id": "s"}
    call_part = getattr(parts, "NativeToolCallPart", None) or parts.BuiltinToolCallPart
    return_part = getattr(parts, "NativeToolReturnPart", None) or parts.BuiltinToolReturnPart
    searched = call_part(**own, args={"query": "x"}, provider_name="anthropic")
    found = return_part(**own, content=[{"url": "u"}], provider_name="anthropic")
    thought = parts.ThinkingPart("ab", signature="sig", provider_name="anthropic")
    hidden = parts.ThinkingPart("", id="redacted_thinking", signature="xyz", provider_name="anthropic")
    gemini = parts.ToolCallPart("f", {"a": 1}, "c")
    events = [
        PartStartEvent(index=0, part=parts.ThinkingPart("a")),
        PartDeltaEvent(index=0, delta=ThinkingPartDelta(content_delta="b", signature_delta="sig")),
        PartEndEvent(index=0, part=thought),
        PartStartEvent(index=1, part=hidden), PartEndEvent(index=1, part=hidden),
        PartStartEvent(index=2, part=searched), PartEndEvent(index=2, part=searched),
        PartStartEvent(index=3, part=found), PartEndEvent(index=3, part=found),
        PartStartEvent(index=4, part=parts.TextPart("So")), PartEndEvent(index=4, part=parts.TextPart("So")),
        PartStartEvent(index=5, part=gemini), PartEndEvent(index=5, part=gemini),
        PartStartEvent(index=0, part=parts.TextPart("next")),
    ]  # fmt: skip
    got = await pumped(events)
    assert got.kinds == [
        "reasoning", "hidden_reasoning", "tool_call", "tool_return", "assistant", "tool_call", "assistant",
    ]  # fmt: skip
    (reasoning,) = got.of("reasoning_message")
    assert (reasoning["reasoning"], reasoning["signature"]) == ("ab", "sig")
    assert got.of("hidden_reasoning_message")[0]["hidden_reasoning"] == "xyz"
    search, own_call = got.of("tool_call_message")
    assert (call_of(search), search["provider_executed"]) == (("web_search", {"query": "x"}, "s"), True)
    assert call_of(own_call) == ("f", {"a": 1}, "c")
    assert got.of("tool_return_message")[0]["provider_executed"]
    assert got.usage["step_count"] == 2
    assert got.stop["stop_reason"] == "incomplete", "without a result nobody said that it is over"
