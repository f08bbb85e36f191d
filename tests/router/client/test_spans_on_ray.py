"""Spans and log lines of a real service: one trace, from the publisher's own span to its tools."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from router import RouterConfig, StreamRouter

sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="spans need the extra 'otel'")
trace = pytest.importorskip("opentelemetry.trace")

pytestmark = [pytest.mark.ray]

NAME = "traced"
WITHIN_S = 60.0
CALL = {"index": 0, "id": "call-1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}


def chunk(delta: dict, finish_reason: str | None = None, usage: tuple[int, int] | None = None) -> dict:
    counts = {} if usage is None else {"usage": {"prompt_tokens": usage[0], "completion_tokens": usage[1]}}
    return {"model": "gpt-9", "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}], **counts}


@pytest.fixture
async def traced(running_router: str) -> AsyncIterator[StreamRouter]:  # noqa: ARG001  # its Ray
    config = RouterConfig.model_validate(
        {
            "name": NAME,
            "stream_actors": {"max_actors": 1, "warm_actors": 1},
            "tracing": {"setup": "tests.router.client.span_collector:provider"},
            "logs": {"level": "info", "format": "json"},
        }
    )
    async with StreamRouter.start(config) as router:
        yield router


@pytest.fixture
def collector(running_router: str) -> Iterator[Any]:  # noqa: ARG001  # its Ray
    from tests.router.client import span_collector  # noqa: PLC0415  # it needs the extra

    made: Any = ray.remote(span_collector.Collector)
    handle = made.options(num_cpus=0, name=span_collector.NAME, namespace=span_collector.NAMESPACE).remote()
    yield handle
    ray.kill(handle)


async def until(collector: Any, request_id: str) -> dict[str, Any]:
    """Wait for the spans of a request; return them by name."""
    deadline = asyncio.get_running_loop().time() + WITHIN_S
    while True:
        spans = await collector.spans.remote()
        of_it = [one["name"] for one in spans if one["attributes"].get("request_id") == request_id]
        found = {one["name"]: one for one in spans}
        if {"invoke_agent ada", "chat gpt-9", "execute_tool weather"} <= found.keys() and len(of_it) > 1:
            return found
        assert asyncio.get_running_loop().time() < deadline, f"there are {sorted(found)}, of it {of_it}"
        await asyncio.sleep(0.05)


async def test_a_request_is_one_trace_with_its_publisher(traced, collector, request_id):
    tracer = sdk.TracerProvider().get_tracer("a test")
    with tracer.start_as_current_span("answer a question") as own:
        async with traced.publish(request_id, {"dialect": "chat"}, agent_id="ada") as stream:
            await stream.chunk(chunk({"tool_calls": [CALL]}))
            await stream.chunk(chunk({}, "tool_calls", (10, 4)))
            await stream.chunk(b"[DONE]")
            await called(traced, request_id)
            body = {"message_type": "tool_return_message", "tool_return": "25", "status": "success"}
            await stream.message({**body, "tool_call_id": "call-1"})
            await stream.chunk(chunk({"content": "Sunny."}, "stop", (30, 7)))
    spans = await until(collector, request_id)
    trace_id = f"0x{own.get_span_context().trace_id:032x}"
    assert {span["context"]["trace_id"] for span in spans.values()} == {trace_id}
    whole = spans["invoke_agent ada"]
    assert whole["parent_id"] == f"0x{own.get_span_context().span_id:016x}"
    for name in ("chat gpt-9", "execute_tool weather"):
        assert spans[name]["parent_id"] == whole["context"]["span_id"]
    chat = spans["chat gpt-9"]["attributes"]
    assert (chat["gen_ai.response.model"], chat["gen_ai.provider.name"]) == ("gpt-9", "openai")
    assert (chat["gen_ai.usage.input_tokens"], chat["gen_ai.usage.output_tokens"]) == (30, 7)
    assert chat["gen_ai.response.finish_reasons"] == ["stop"]
    assert chat["gen_ai.response.time_to_first_chunk"] >= 0
    assert spans["execute_tool weather"]["attributes"]["gen_ai.tool.call.id"] == "call-1"
    assert await traced.result(request_id)
    assert await logged(request_id) == {trace_id.removeprefix("0x")}


async def called(router: StreamRouter, request_id: str) -> None:
    """Wait for the tool to be called, as who runs it would have to."""
    async for message in router.messages(request_id):
        if message.message_type == "tool_call_message":
            return


async def logged(request_id: str) -> set[str]:
    """Return the traces that log lines of the actors name for a request, once its end is among them."""
    logs = Path(ray._private.worker._global_node.get_session_dir_path()) / "logs"
    async with asyncio.timeout(WITHIN_S):
        while True:
            written = "".join(file.read_text(errors="replace") for file in logs.glob("worker-*.err"))
            lines = [json.loads(line) for line in written.splitlines() if request_id in line and line.startswith("{")]
            if any(line.get("event") == "ended" for line in lines):
                return {line["trace_id"] for line in lines if "event" in line}
            await asyncio.sleep(0.05)
