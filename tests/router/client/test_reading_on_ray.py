"""The calls for people on a real Ray: an agent's answer, its messages one at a time, many at once."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import re
import sys
import types
from pathlib import Path

import pytest
import ray

from actors.errors import RequestCancelled, UnknownRequest
from router import StreamRouter
from router.client.sync import SyncStreamRouter

pytestmark = [pytest.mark.ray]

CHAT = {"dialect": "chat"}
FINISH = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
CALL = {
    "index": 0, "id": "call-1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'},
}  # fmt: skip
CALLED = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
USAGE = {"prompt_tokens": 3, "completion_tokens": 4}


def content(text: str) -> dict:
    return {"choices": [{"index": 0, "delta": {"content": text}}]}


async def agent(router: StreamRouter, request_id: str, may_return: asyncio.Event) -> None:
    async with router.publish(request_id, CHAT) as stream:
        await stream.step_start(step_id="step-1")
        for text in ("Let me ", "look."):
            await stream.chunk(content(text))
        await stream.chunk({"choices": [{"index": 0, "delta": {"tool_calls": [CALL]}}]})
        await stream.chunk(CALLED)
        await stream.step_end()
        await may_return.wait()
        await stream.message(
            {"message_type": "tool_return_message", "tool_return": "15", "status": "success", "tool_call_id": "call-1"}
        )
        await stream.step_start(step_id="step-2")
        for text in ("It is ", "15 degrees."):
            await stream.chunk(content(text))
        await stream.chunk(FINISH)
        await stream.step_end()
        await stream.finish("end_turn", USAGE)


async def test_an_agent_s_answer_and_its_messages_as_it_goes_along(router, request_id):
    may_return = asyncio.Event()
    publishing = asyncio.create_task(agent(router, request_id, may_return))
    answer = asyncio.create_task(router.result(request_id, wait_s=60))
    messages = []
    async for message in router.messages(request_id, wait_s=60):
        messages.append(message)
        if message.message_type == "tool_call_message":
            may_return.set()  # so the call is seen before its tool returns, or never
    kinds = [message.message_type for message in messages]
    assert kinds == [
        "assistant_message", "tool_call_message", "tool_return_message", "assistant_message", "stop_reason",
        "usage_statistics",
    ]  # fmt: skip
    assert [message.step_id for message in messages] == ["step-1"] * 3 + ["step-2", None, None]
    result = await answer
    assert result.text == "Let me look.It is 15 degrees."
    assert result.answer == "It is 15 degrees."
    [call] = result.tool_calls
    assert (call.name, call.arguments) == ("weather", {"city": "Rome"})
    assert call.returned is not None
    assert call.returned.tool_return == "15"
    assert result.stop_reason == "end_turn"
    assert result.usage is not None
    assert result.usage.completion_tokens == 4
    assert [message.content for message in result.messages if message.message_type == "assistant_message"] == [
        "Let me look.", "It is 15 degrees.",
    ]  # fmt: skip
    assert list(result.messages) == messages
    await publishing


async def test_a_cancelled_request_raises_by_name_with_what_it_had_said(router, request_id):
    async def produce() -> None:
        async with router.publish(request_id, CHAT) as stream:
            await stream.chunk(content("half"))
            await asyncio.Event().wait()

    producing = asyncio.create_task(produce())
    answer = asyncio.create_task(router.result(request_id, wait_s=60))
    async for _ in router.messages(request_id, coalesce="tokens", wait_s=60):
        await router.cancel(request_id, detail="enough")
    with pytest.raises(RequestCancelled, match="enough") as failed:
        await answer
    assert failed.value.result.text == "half"
    producing.cancel()
    await asyncio.wait([producing])
    assert (await router.result(request_id, raise_failed=False)).stop_reason == "cancelled"


async def test_many_results_as_they_come(router, request_id):
    ids = [f"{request_id}-{n}" for n in range(20)]

    async def produce(one: str) -> None:
        async with router.publish(one, CHAT) as stream:
            await stream.chunk(content(one))
            await stream.chunk(FINISH)

    producing = [asyncio.create_task(produce(one)) for one in ids]
    told = []
    results = router.result(ids, wait_s=60, progress=lambda done, total: told.append((done, total)))
    assert {result.request_id: result.text async for result in results} == {one: one for one in ids}
    assert told == [(n, 20) for n in range(1, 21)]
    await asyncio.gather(*producing)
    assert [result.text for result in await router.result(ids)] == ids


async def test_unknown_requests_answer_at_once_and_late_ones_can_be_waited_for(router, request_id):
    for asked in (router.result(request_id), anext(router.messages(request_id)), router.locate(request_id)):
        with pytest.raises(UnknownRequest, match="never opened here"):
            await asyncio.wait_for(asked, 3)
    waiting = asyncio.create_task(router.result(request_id, wait_s=60))
    with pytest.raises(UnknownRequest):
        await anext(router.subscribe(request_id, wait_s=0.2))
    async with router.publish(request_id, CHAT) as stream:
        await stream.chunk(content("late"))
        await stream.chunk(FINISH)
    assert (await waiting).text == "late"


async def test_an_observer_that_stops_reading_does_not_stop_the_agent(router, request_id):
    """A reader that stops at its first batch stops the agent after some megabytes; an observer does not."""
    window = router.subscribe(request_id, observer=True, wait_s=60)
    reading = asyncio.create_task(router.result(request_id, wait_s=60))
    text = "x" * 20_000
    async with router.publish(request_id, {**CHAT, "retain_bytes_max": 1 << 20}) as stream, window:
        await stream.chunk(content(text))
        await anext(window)
        for _ in range(499):
            await asyncio.wait_for(stream.chunk(content(text)), 30)
        await stream.chunk(FINISH)
    assert len((await reading).text) == 500 * 20_000
    late = [(batch.gap, len(batch)) async for batch in router.subscribe(request_id, after=1, observer=True)]
    assert late[0][0] is not None, "what retention has dropped is said"
    assert sum(count for _, count in late) >= 40, "what it has kept is there"


async def test_openai_chunks_resumed_in_a_call_are_the_rest_of_what_they_were(router, request_id):
    async with router.publish(request_id, CHAT) as stream:
        for index, arguments in ((0, ("{}",)), (1, ('{"x"', ": 1", "}"))):
            head = {"index": index, "id": f"c{index}", "type": "function"}
            function = {"name": f"f{index}", "arguments": ""}
            await stream.chunk({"choices": [{"index": 0, "delta": {"tool_calls": [{**head, "function": function}]}}]})
            for piece in arguments:
                call = {"index": index, "function": {"arguments": piece}}
                await stream.chunk({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})
        await stream.chunk(CALLED)
    whole, count = [], 0
    async for message in router.messages(request_id, coalesce="tokens"):
        count = message.seq_id or count
    for after in range(count):
        chunks = [chunk async for b in router.subscribe(request_id, format="openai", after=after) for chunk in b]
        whole = whole or chunks
        assert chunks == whole[len(whole) - len(chunks) :]
        assert 1 <= len(chunks) <= len(whole)


def test_what_was_said_is_shown(running_router, request_id, capsys):
    with StreamRouter.connect(name=running_router) as router:
        with router.publish(request_id, CHAT) as stream:
            stream.chunk(content("Hello you"))
            stream.chunk(FINISH)
        router.show(request_id)
    assert "assistant   Hello you\nend         end_turn\n" in capsys.readouterr().out


def test_the_same_without_await(running_router, request_id):
    with StreamRouter.connect(name=running_router) as router:
        with router.publish(request_id, CHAT) as stream:
            for text in ("Hello", " you"):
                stream.chunk(content(text))
            stream.chunk(FINISH)
        assert router.result(request_id).text == "Hello you"
        assert [m.content for m in router.messages(request_id) if m.message_type == "assistant_message"] == [
            "Hello you"
        ]
        tokens = router.messages(request_id, coalesce="tokens")
        assert [m.content for m in tokens if m.message_type == "assistant_message"] == ["Hello", " you"]
        results = router.result([request_id, request_id])
        assert [result.text for result in results] == ["Hello you"] * 2
        assert [result.text for result in router.result([request_id]).all()] == ["Hello you"]


# Workers cannot import a test's module: what they run of it comes along.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


@ray.remote(num_cpus=0)
def a_task(router: SyncStreamRouter, request_id: str) -> str:
    with router.publish(request_id, CHAT) as stream:
        stream.chunk(content("from a task"))
        stream.chunk(FINISH)
    text = router.result(request_id).text
    router.close()
    return text


@ray.remote(num_cpus=0)
def a_task_with_a_loop(router: StreamRouter, request_id: str) -> str:
    async def run() -> str:
        async with router.publish(request_id, CHAT) as stream:
            await stream.chunk(content("from a loop"))
            await stream.chunk(FINISH)
        text = (await router.result(request_id)).text
        await router.close()
        return text

    return asyncio.run(run())


@ray.remote(num_cpus=0)
class Keeper:
    def __init__(self, router: StreamRouter) -> None:
        self._router = router

    async def said(self, request_id: str) -> str:
        return (await self._router.result(request_id, wait_s=60)).text


async def test_a_router_can_be_passed_to_tasks_and_kept_in_an_actor(router, request_id):
    keeper = Keeper.remote(router)
    reading = asyncio.ensure_future(keeper.said.remote(f"{request_id}-loop"))
    assert await a_task_with_a_loop.remote(router, f"{request_id}-loop") == "from a loop"
    assert await reading == "from a loop"
    assert await keeper.said.remote(f"{request_id}-loop") == "from a loop", "and it goes on"
    ray.kill(keeper)


def test_so_can_one_without_a_loop(running_router, request_id):
    with StreamRouter.connect(name=running_router) as router:
        assert ray.get(a_task.remote(router, request_id)) == "from a task"
        assert router.result(request_id).text == "from a task"


DOCS = (Path(__file__).parents[3] / "docs" / "reading.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)


async def test_what_the_docs_show_runs_as_printed(router, request_id, capsys):
    may_return = asyncio.Event()
    may_return.set()
    names = {name: f"{request_id}-{name}" for name in ("req-1", "req-2", "req-3")}
    for name in ("req-1", "req-3"):
        await agent(router, names[name], may_return)
    with contextlib.suppress(ZeroDivisionError):
        async with router.publish(names["req-2"], CHAT) as stream:
            await stream.chunk(content("half"))
            raise ZeroDivisionError
    assert len(SNIPPETS) == 8
    heard: list[object] = []
    for snippet in SNIPPETS:
        for name, own in names.items():
            snippet = snippet.replace(f'"{name}"', f'"{own}"')  # noqa: PLW2901  # its own requests
        code = compile(snippet, "docs/reading.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        ran = types.FunctionType(code, {"router": router, "hear": heard.append, "ended": heard.append})()
        if ran is not None:  # a snippet that awaits something
            await ran
    out = capsys.readouterr().out
    assert "Let me look.It is 15 degrees. end_turn 4\nweather {'city': 'Rome'} 15\n" in out
    assert "half" in out
    assert "2/2" in out
    assert "no request 'never-opened': never opened here" in out
