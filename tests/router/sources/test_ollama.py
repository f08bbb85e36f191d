"""Ollama's own API: JSON lines over HTTP, by its package and by a plain client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx
import pytest
from aiohttp import web
from pumped import Pumped, pumped

from router.sources import events_of

HEAD = {"model": "qwen3", "created_at": "2026-01-01T00:00:00Z", "done": False}
CALL = {"function": {"name": "weather", "arguments": {"city": "Rome"}}}
LINES = [
    {**HEAD, "message": {"role": "assistant", "content": "", "thinking": "They "}},
    {**HEAD, "message": {"role": "assistant", "content": "", "thinking": "ask"}},
    {**HEAD, "message": {"role": "assistant", "content": "I "}},
    {**HEAD, "message": {"role": "assistant", "content": "look."}},
    {**HEAD, "message": {"role": "assistant", "content": "", "tool_calls": [CALL]}},
    {
        **HEAD, "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop",
        "prompt_eval_count": 10, "eval_count": 20,
    },
]  # fmt: skip


@pytest.fixture
async def server() -> AsyncIterator[str]:
    async def chat(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "application/x-ndjson"})
        await response.prepare(request)
        lines = [{"error": "model went away"}] if "broken" in await request.text() else LINES
        for line in lines:
            await response.write(json.dumps(line).encode() + b"\n")
        return response

    app = web.Application()
    app.router.add_post("/api/chat", chat)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def hold_everything(got: Pumped) -> None:
    assert got.kinds == ["reasoning", "assistant", "tool_call"]
    assert (got.reasoning, got.text) == ("They ask", "I look.")
    (call,) = got.of("tool_call_message")
    assert call["tool_call"]["name"] == "weather"
    assert json.loads(call["tool_call"]["arguments"]) == {"city": "Rome"}
    assert call["tool_call"]["tool_call_id"].startswith("call_")
    assert (got.usage["prompt_tokens"], got.usage["completion_tokens"]) == (10, 20)
    assert got.stop["stop_reason"] == "tool_call"
    assert not got.described["unknown"]


async def test_its_lines_by_a_plain_client(server: str):
    async with httpx.AsyncClient() as client, client.stream("POST", f"{server}/api/chat", json={}) as response:
        hold_everything(await pumped(events_of(response.aiter_bytes())))


async def test_its_lines_one_by_one(server: str):
    async with httpx.AsyncClient() as client, client.stream("POST", f"{server}/api/chat", json={}) as response:
        hold_everything(await pumped(response.aiter_lines()))


async def test_its_package(server: str):
    ollama = pytest.importorskip("ollama", reason="extra sources-test is not installed")
    client = ollama.AsyncClient(host=server)
    try:
        hold_everything(await pumped(client.chat("qwen3", [{"role": "user", "content": "?"}], stream=True, think=True)))
        with pytest.raises(ollama.ResponseError, match="went away"):
            await pumped(client.chat("broken", [], stream=True))
    finally:
        await client._client.aclose()
