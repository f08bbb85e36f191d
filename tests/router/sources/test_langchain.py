"""LangChain's models and LangGraph's graphs: the real packages, over HTTP and with models made for tests."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypedDict

import openai
import pytest
from pumped import Pumped, Recorder, pumped
from scripts import FIRST, MODEL, SECOND, answers, call_of, chat, return_of

from actors.errors import InvalidArgument
from router.sources.frameworks import BeginStep, SendMessage, SetToolRunning, translation_of

pytest.importorskip("langgraph", reason="extra sources-test is not installed")
pytest.importorskip("langchain_openai", reason="extra sources-test is not installed")

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode, tools_condition

ASKED = {"messages": [("user", "How is Rome?")]}


class State(TypedDict):
    messages: Annotated[list[Any], add_messages]


@tool
def weather(city: str) -> dict:
    """Tell the weather."""
    return {"celsius": 21, "city": city}


@tool
def broken() -> str:
    """Fail."""
    raise ValueError("try again")


@asynccontextmanager
async def model_of(*bodies: bytes, **script):
    """Give a model that answers so, over HTTP."""
    async with answers(*bodies, **script) as url, openai.AsyncOpenAI(
        base_url=f"{url}/v1", api_key="none", max_retries=0
    ) as client:  # fmt: skip
        yield ChatOpenAI(
            model=MODEL, api_key="none", async_client=client.chat.completions, root_async_client=client,
            streaming=True, stream_usage=True,
        )  # fmt: skip


def agent_of(model) -> Any:
    async def agent(state):
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(State)
    graph.add_node("agent", agent)
    graph.add_node("tools", ToolNode([weather, broken], handle_tool_errors=True))
    graph.add_edge(START, "agent")
    graph.add_conditional_edges("agent", tools_condition, {"tools": "tools", END: END})
    graph.add_edge("tools", "agent")
    return graph.compile()


def hold_the_whole_run(got: Pumped) -> None:
    assert got.kinds == ["assistant", "tool_call", "tool_call", "tool_return", "tool_return", "assistant"]
    assert [message["content"] for message in got.of("assistant_message")] == ["I look it up.", "Sunny in Rome."]
    calls = [call_of(message) for message in got.of("tool_call_message")]
    assert calls == [("weather", {"city": "Rome"}, "call_1"), ("broken", {}, "call_2")]
    returns = {message["tool_call_id"]: message for message in got.of("tool_return_message")}
    assert {return_of(message) for message in returns.values()} == {("call_1", "success"), ("call_2", "error")}
    assert json.loads(returns["call_1"]["tool_return"]) == {"celsius": 21, "city": "Rome"}
    assert "try again" in returns["call_2"]["tool_return"]
    assert (got.usage["prompt_tokens"], got.usage["completion_tokens"], got.usage["step_count"]) == (40, 24, 2)
    assert got.stop["stop_reason"] == "end_turn"
    assert got.described["model"] == MODEL
    assert {message["name"] for message in got.content} == {"agent"}


async def test_the_events_of_a_graph_keep_every_token_call_return_and_count():
    async with model_of(FIRST, SECOND) as model:
        got = await pumped(agent_of(model).astream_events(ASKED, version="v2"))
    hold_the_whole_run(got)
    assert got.result["messages"][-1].content == "Sunny in Rome."


@pytest.mark.parametrize(
    "options",
    [
        {"stream_mode": "messages"},
        {"stream_mode": ["messages", "updates"]},
        {"stream_mode": ["values", "messages"], "subgraphs": True},
        {"stream_mode": "messages", "subgraphs": True},
        {"stream_mode": ["messages", "custom"], "version": "v2"},
    ],
)
async def test_the_messages_of_a_graph_keep_the_same(options):
    async with model_of(FIRST, SECOND) as model:
        hold_the_whole_run(await pumped(agent_of(model).astream(ASKED, **options)))


async def test_a_model_by_itself():
    async with model_of(chat({"content": "Once "}, {"content": "upon"}, finish="length", usage=(1, 2))) as model:
        got = await pumped(model.astream("?"))
    assert (got.text, got.stop["stop_reason"], got.usage["completion_tokens"]) == ("Once upon", "max_tokens", 2)


async def test_calls_that_nobody_has_answered_are_no_end_of_the_turn():
    async with model_of(FIRST) as model:
        got = await pumped(model.astream("?"))
    assert got.stop["stop_reason"] == "tool_call"


async def test_its_error_is_raised_as_it_is():
    async with model_of(SECOND, error_after=2) as model:
        with pytest.raises(openai.APIError, match="scripted"):
            await pumped(agent_of(model).astream_events(ASKED, version="v2"))


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"stream_mode": "values"}, "stream_mode='messages'"),
        ({"stream_mode": "updates"}, "stream_mode='messages'"),
        ({"stream_mode": ["updates", "values"]}, "Add 'messages'"),
        ({"stream_mode": ["updates"], "version": "v2"}, "Add 'messages'"),
    ],
)
async def test_a_stream_without_messages_is_refused_by_name(options, hint):
    async with model_of(SECOND) as model:
        with pytest.raises(InvalidArgument, match=hint):
            await pumped(agent_of(model).astream(ASKED, **options))


def test_events_of_a_later_version_are_refused_by_name():
    with pytest.raises(InvalidArgument, match="version='v2'"):
        translation_of({"type": "event", "method": "values", "params": {}})


async def test_a_graph_that_is_left_is_cancelled():
    stopped = asyncio.Event()

    class Stuck(GenericFakeChatModel):
        async def _astream(self, *_arguments, **_options):
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()
            yield

    task = asyncio.ensure_future(pumped(agent_of(Stuck(messages=iter([]))).astream_events(ASKED, version="v2")))
    await asyncio.sleep(0.2)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(stopped.wait(), 5)


# --- several at once ------------------------------------------------------------------------------------


class Slow(GenericFakeChatModel):
    """Says a word, waits for its turn, then says the rest."""

    async def _astream(self, *arguments, **options):
        async for chunk in super()._astream(*arguments, **options):
            yield chunk
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("events", [True, False])
async def test_models_that_run_side_by_side_are_told_one_after_the_other(events):
    def node(text):
        model = Slow(messages=iter([AIMessage(text)]))

        async def run(_state):
            return {"messages": [await model.ainvoke("?")]}

        return run

    graph = StateGraph(State)
    texts = {"one": "a b c d e f", "two": "1 2 3 4 5 6 7 8"}
    for name, text in texts.items():
        graph.add_node(name, node(text))
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    compiled = graph.compile()
    source = compiled.astream_events(ASKED, version="v2") if events else compiled.astream(ASKED, stream_mode="messages")
    got = await pumped(source)
    assert {message["name"]: message["content"] for message in got.of("assistant_message")} == texts
    assert len(got.content) == 2
    assert len({message["id"] for message in got.content}) == 2
    assert got.stop["stop_reason"] == "end_turn", "the graph has come to its end, though its models gave no word"


def test_the_first_is_told_as_it_comes_and_what_waits_comes_after_it():
    def chunk(key, text, *, last=False):
        message = AIMessageChunk(text, id=key, chunk_position="last" if last else None)
        return translation.feed((message, {"langgraph_step": 1, "langgraph_node": key}))

    translation = translation_of((AIMessageChunk("", id="a"), {}))
    assert chunk("a", "1")[0] == BeginStep("a")
    assert chunk("b", "x") == []
    assert translation.feed((ToolMessage("r", tool_call_id="c"), {})) == []
    assert len(chunk("a", "2")) == 1
    assert chunk("b", "y", last=True) == []
    out = chunk("a", "3", last=True)
    assert [item for item in out if isinstance(item, BeginStep)] == [BeginStep("b")]
    assert isinstance(out[-1], SendMessage), "the return of a tool comes last, as it came"
    assert len(chunk("d", "next")) == 2, "the next one begins, as it comes"


def test_a_run_without_an_end_ends_when_the_graph_has_gone_on():
    translation = translation_of((AIMessageChunk("", id="a"), {}))
    translation.feed((AIMessageChunk("one", id="a"), {"langgraph_step": 1}))
    recorder = Recorder()
    for instruction in translation.feed((AIMessageChunk("two", id="b"), {"langgraph_step": 2})):
        recorder.carry_out(instruction)
    assert recorder.end().text == "two"


def test_while_tools_run_silence_is_no_stall():
    call = {"name": "weather", "args": "{}", "id": "c", "index": 0}
    translation = translation_of((AIMessageChunk("", id="a"), {}))
    last = AIMessageChunk("", id="a", tool_call_chunks=[call], chunk_position="last")
    assert translation.feed((last, {}))[-1] == SetToolRunning(is_running=True)
    assert translation.feed((ToolMessage("r", tool_call_id="c"), {}))[-1] == SetToolRunning(is_running=False)


# --- content in blocks ----------------------------------------------------------------------------------


async def test_blocks_of_providers_reasoning_signatures_and_their_own_tools():
    blocks = [
        {"type": "thinking", "thinking": "They ", "index": 0},
        {"type": "thinking", "thinking": "ask", "index": 0},
        {"type": "thinking", "signature": "sig", "index": 0},
        {"type": "redacted_thinking", "data": "xyz", "index": 1},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}, "index": 2},
        {"type": "input_json_delta", "partial_json": '{"q": ', "index": 2},
        {"type": "input_json_delta", "partial_json": '"x"}', "index": 2},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"url": "u"}], "index": 3},
        {"type": "text", "text": "So", "index": 4},
        {"type": "tool_use", "id": "c", "name": "f", "input": {}, "index": 5},
    ]
    chunks = [AIMessageChunk([block], id="m") for block in blocks]
    chunks[-1].tool_call_chunks.append({"name": "f", "args": "{}", "id": "c", "index": 5, "type": "tool_call_chunk"})
    usage = {"input_tokens": 5, "output_tokens": 1, "total_tokens": 6, "input_token_details": {"cache_read": 2}}
    more = {"input_tokens": 0, "output_tokens": 3, "total_tokens": 3, "output_token_details": {"reasoning": 1}}
    chunks += [
        AIMessageChunk("", id="m", usage_metadata=usage),
        AIMessageChunk("", id="m", usage_metadata=more, response_metadata={"stop_reason": "tool_use"}),
        AIMessageChunk("", id="m", chunk_position="last"),
    ]
    got = await pumped(chunks)
    assert got.kinds == ["reasoning", "hidden_reasoning", "tool_call", "tool_return", "assistant", "tool_call"]
    (thought,) = got.of("reasoning_message")
    assert (thought["reasoning"], thought["signature"]) == ("They ask", "sig")
    search, own = got.of("tool_call_message")
    assert (call_of(search), search["provider_executed"]) == (("web_search", {"q": "x"}, "s"), True)
    assert call_of(own) == ("f", {}, "c")
    assert got.of("tool_return_message")[0]["provider_executed"]
    counts = [got.usage[key] for key in ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")]
    assert counts == [5, 4, 2, 1]
    assert got.stop["stop_reason"] == "tool_call"


async def test_models_that_do_not_stream_and_tools_that_no_model_has_called():
    def event(name, run_id, data, **more):
        return {"event": name, "name": "weather", "run_id": run_id, "data": data, "metadata": {}, **more}

    whole = AIMessage(
        "Hello", additional_kwargs={"reasoning_content": "Hm"}, response_metadata={"finish_reason": "stop"}
    )
    got = await pumped(
        [
            event("on_chain_start", "r", {}),
            event("on_chat_model_start", "m", {}),
            event("on_chat_model_end", "m", {"output": whole}),
            event("on_tool_start", "t", {"input": {"city": "Rome"}}),
            event("on_tool_end", "t", {"output": {"celsius": 3}}),
            event("on_tool_start", "u", {"input": {}}),
            event("on_tool_error", "u", {"error": ValueError("odd")}),
            event("on_chain_end", "r", {"output": 7}),
        ]
    )
    assert got.kinds == ["reasoning", "assistant", "tool_call", "tool_return", "tool_call", "tool_return"]
    assert [call_of(message) for message in got.of("tool_call_message")] == [
        ("weather", {"city": "Rome"}, "t"),
        ("weather", {}, "u"),
    ]
    assert [return_of(message) for message in got.of("tool_return_message")] == [("t", "success"), ("u", "error")]
    assert (got.result, got.stop["stop_reason"]) == (7, "end_turn")
