"""openai-agents' runs: the real package, over HTTP."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import openai
import pytest
from pumped import expected, pumped
from scripts import FIRST, MODEL, SECOND, answers, call, call_of, chat, return_of

from actors.recording_format import read_recording
from router.scripted_provider import Library
from tests.assemble import without_terminal

pytest.importorskip("agents", reason="extra sources-test is not installed")

from agents import (
    Agent,
    MaxTurnsExceeded,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)

set_tracing_disabled(disabled=True)


@function_tool
def weather(city: str) -> str:
    """Tell the weather."""
    return f"21 degrees in {city}"


@function_tool
def broken() -> str:
    """Fail."""
    raise ValueError("try again")


TOOLS = [weather, broken]


@asynccontextmanager
async def model_of(*bodies: bytes, **script):
    async with answers(*bodies, **script) as url, openai.AsyncOpenAI(
        base_url=f"{url}/v1", api_key="none", max_retries=0
    ) as client:  # fmt: skip
        yield OpenAIChatCompletionsModel(MODEL, client)


async def test_a_run_with_tools_keeps_every_token_call_return_and_count():
    async with model_of(FIRST, SECOND) as model:
        run = Runner.run_streamed(Agent("helper", tools=TOOLS, model=model), "How is Rome?")
        got = await pumped(run)
    assert got.kinds == ["reasoning", "assistant", "tool_call", "tool_call", "tool_return", "tool_return", "assistant"]
    assert got.reasoning == "They ask about Rome."
    assert [message["content"] for message in got.of("assistant_message")] == ["I look it up.", "Sunny in Rome."]
    calls = [call_of(message) for message in got.of("tool_call_message")]
    assert calls == [("weather", {"city": "Rome"}, "call_1"), ("broken", {}, "call_2")]
    weather_return, broken_return = got.of("tool_return_message")
    assert return_of(weather_return) == ("call_1", "success")
    assert weather_return["tool_return"] == "21 degrees in Rome"
    assert "error" in broken_return["tool_return"]
    assert (got.usage["prompt_tokens"], got.usage["completion_tokens"], got.usage["step_count"]) == (40, 24, 2)
    assert got.stop["stop_reason"] == "end_turn"
    assert {message["name"] for message in got.content} == {"helper"}
    assert not got.described["unknown"]
    assert run.final_output == "Sunny in Rome."


async def test_a_handoff_is_a_call_a_return_and_another_name():
    handoff = chat(*call(0, "call_9", "transfer_to_expert", "{}"), finish="tool_calls")
    async with model_of(handoff, SECOND) as model:
        first = Agent("first", model=model, handoffs=[Agent("expert", model=model)])
        got = await pumped(Runner.run_streamed(first, "?"))
    assert got.kinds == ["tool_call", "tool_return", "assistant"]
    assert [message["name"] for message in got.content] == ["first", "first", "expert"]


async def test_a_tool_whose_return_is_the_result_is_the_end_of_the_run():
    one = chat(*call(0, "call_1", "weather", '{"city": "Rome"}'), finish="tool_calls")
    async with model_of(one) as model:
        agent = Agent("helper", tools=TOOLS, model=model, tool_use_behavior="stop_on_first_tool")
        got = await pumped(Runner.run_streamed(agent, "?"))
    assert got.kinds == ["tool_call", "tool_return"]
    assert got.stop["stop_reason"] == "end_turn"


async def test_a_model_that_speaks_responses_is_told_as_it_is(library: Library):
    recording = library.find("openai-responses-search-reasoning-1")
    async with answers(recording.body, api="openai-responses") as url, openai.AsyncOpenAI(
        base_url=f"{url}/v1", api_key="none", max_retries=0
    ) as client:  # fmt: skip
        agent = Agent("helper", model=OpenAIResponsesModel(MODEL, client))
        got = await pumped(Runner.run_streamed(agent, "?"))
    right = expected(read_recording(recording.body))
    names = [{**message, "name": "helper"} for message in without_terminal(right.messages)]
    assert got.content == names
    assert got.usage == {**right.usage, "name": "helper"}


async def test_its_errors_are_raised_as_they_are():
    async with model_of(SECOND, error_after=2) as model:
        with pytest.raises(openai.APIError, match="scripted"):
            await pumped(Runner.run_streamed(Agent("helper", model=model), "?"))
    one = chat(*call(0, "call_1", "weather", '{"city": "Rome"}'), finish="tool_calls")
    async with model_of(one) as model:
        with pytest.raises(MaxTurnsExceeded):
            await pumped(Runner.run_streamed(Agent("helper", tools=TOOLS, model=model), "?", max_turns=1))


async def test_a_run_that_is_left_is_cancelled():
    async with model_of(SECOND, stall_s=30, stall_after=1) as model:
        run = Runner.run_streamed(Agent("helper", model=model), "?")
        task = asyncio.ensure_future(pumped(run))
        await asyncio.sleep(0.2)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert run.is_complete
