"""Agents as Ray tasks and in actors, on a real Ray: their results, their ends, and who stops whom."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import signal
import sys
import time
import types
from pathlib import Path

import pytest
import ray

from actors.errors import AgentBusy, AgentNotStarted, InvalidArgument, RequestCancelled, RequestFailed
from router import StreamRouter
from router.client.sync import SyncStreamRouter

pytestmark = [pytest.mark.ray]

CHAT = {"dialect": "chat"}
FINISH = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
# Workers cannot import a test's module: what they run of it comes along.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


def content(text: str) -> dict:
    return {"choices": [{"index": 0, "delta": {"content": text}}]}


async def answers(question: str):
    for word in ("The answer to ", question, " is 42."):
        yield content(word)
    yield FINISH


def answers_without_await(question: str):
    yield content(f"{question}: 42.")
    yield FINISH


async def says_it_all(stream, question: str) -> None:
    await stream.chunk(content(f"{question}: "))
    async with stream.tool_running():
        await stream.chunk(content("42."))
    await stream.finish("end_turn", {"completion_tokens": 2})


async def breaks(question: str):
    yield content("half")
    raise LookupError(f"no city {question}")


async def waits(_question: str):
    yield content("waiting")
    await asyncio.Event().wait()


def dies_once(deaths: str):
    if Path(deaths).exists():
        yield content("alive")
        yield FINISH
        return
    yield content("dying")
    time.sleep(1)  # until it is on its way
    Path(deaths).touch()
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("actors", [0, 1])
async def test_agents_of_every_kind_and_their_results(router, request_id, actors):
    run = router.start(answers, "life", request_id=request_id, settings=CHAT, actors=actors)
    assert run.request_id == request_id
    result = await run
    assert (result.text, result.stop_reason) == ("The answer to life is 42.", "end_turn")
    again = router.start(answers_without_await, "life", settings=CHAT, actors=actors)
    assert (await again).text == "life: 42."
    said = await router.start(says_it_all, "life", settings=CHAT, actors=actors)
    assert (said.text, said.usage.completion_tokens) == ("life: 42.", 2)
    assert (await router.result(again.request_id)).text == "life: 42.", "its request is one like any other"


async def test_many_inputs_as_they_end_and_in_order(router, request_id):
    told = []
    results = router.map(
        answers,
        [f"question {n}" for n in range(12)],
        name=request_id,
        settings=CHAT,
        concurrency=5,
        actors=2,
        progress=lambda *counts: told.append(counts),
    )
    found = {result.request_id: result.text async for result in results}
    assert found == {f"{request_id}-{n + 1}": f"The answer to question {n} is 42." for n in range(12)}
    assert told == [(n, 12) for n in range(1, 13)]
    in_order = await router.map(answers, ["a", "b", "c"], settings=CHAT, actors=1)
    assert [result.text for result in in_order] == [f"The answer to {word} is 42." for word in "abc"]


async def test_one_that_raises_says_so_in_its_end_and_is_run_again(router, request_id):
    run = router.start(breaks, "Atlantis", request_id=request_id, settings=CHAT, actors=1, retries="failed", attempts=2)
    with pytest.raises(RequestFailed, match="no city Atlantis") as failed:
        await run
    assert failed.value.result.detail == "LookupError: no city Atlantis"
    assert failed.value.result.text == "half"
    assert (run.attempts, run.request_id) == (2, f"{request_id}.2")
    first = await router.result(request_id, raise_failed=False)
    assert (first.stop_reason, first.detail) == ("error", "LookupError: no city Atlantis")
    results = await router.map(breaks, [1, 2], settings=CHAT, actors=1, raise_failed=False)
    assert [result.detail for result in results] == ["LookupError: no city 1", "LookupError: no city 2"]


@pytest.mark.parametrize("actors", [0, 1])
async def test_a_cancel_of_the_request_stops_the_agent(router, request_id, actors):
    run = router.start(waits, "x", request_id=request_id, settings=CHAT, actors=actors)
    async for message in router.messages(request_id, coalesce="tokens", wait_s=60):
        if message.message_type == "assistant_message":
            assert await (run.cancel("enough") if actors else router.cancel(request_id, detail="enough"))
    with pytest.raises(RequestCancelled, match="enough") as cancelled:
        await run
    assert cancelled.value.result.text == "waiting"
    assert run.attempts == 1


async def test_an_agent_whose_process_dies_is_run_again_where_that_is_wanted(router, request_id, tmp_path):
    settings = {**CHAT, "publisher_grace_s": 0.1}
    deaths = str(tmp_path / "deaths")
    run = router.start(dies_once, deaths, request_id=request_id, settings=settings, retries="lost", attempts=2)
    assert (await run).text == "alive"
    assert (run.attempts, run.request_id) == (2, f"{request_id}.2")
    lost = await router.result(request_id, raise_failed=False)
    assert (lost.stop_reason, lost.text) == ("publisher_lost", "dying")


async def test_what_cannot_begin_is_named(router, request_id):
    with pytest.raises(InvalidArgument, match="Ray does not start an agent so"):
        await router.start(answers, "x", ray_options={"no_such_option": 1})
    with pytest.raises(InvalidArgument, match="make in the agent what cannot be passed"):
        router.start(answers, asyncio.current_task())
    run = router.start(answers, "x", settings=CHAT, ray_options={"resources": {"nowhere": 1}})
    assert await run.cancel()
    with pytest.raises(AgentNotStarted, match="cancel"):
        await run
    async with router.publish(request_id, CHAT, agent_id=request_id) as stream:
        with pytest.raises(AgentBusy):
            await router.start(answers, "x", settings=CHAT, agent_id=request_id, actors=1)
        await stream.chunk(FINISH)


async def test_whoever_leaves_the_loop_keeps_from_beginning_what_has_not_begun(router, request_id):
    inputs = ["a", *"bcdefgh"]
    async for result in router.map(answers, inputs, name=request_id, settings=CHAT, concurrency=1, actors=1):
        assert result.request_id == f"{request_id}-1"
        break
    last = f"{request_id}-{len(inputs)}"
    known = {request.request_id for request in (await router.describe()).requests}
    assert f"{request_id}-1" in known
    assert last not in known


def test_the_same_without_await(running_router, request_id):
    with StreamRouter.connect(name=running_router) as router:
        assert isinstance(router, SyncStreamRouter)
        run = router.start(answers, "life", request_id=request_id, settings=CHAT, actors=1)
        kinds = [message.message_type for message in run.messages()]
        assert kinds == ["assistant_message", "stop_reason", "usage_statistics"]
        assert run.result().text == "The answer to life is 42."
        assert (run.request_id, run.done, run.attempts) == (request_id, True, 1)
        assert not run.cancel()
        texts = {result.text for result in router.map(answers, ["a", "b"], settings=CHAT, actors=1)}
        assert texts == {"The answer to a is 42.", "The answer to b is 42."}
        results = router.map(answers, ["a", "b"], settings=CHAT, actors=1)
        assert [result.text for result in results.all()] == ["The answer to a is 42.", "The answer to b is 42."]


DOCS = (Path(__file__).parents[3] / "docs" / "running-agents.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)


async def test_what_the_docs_show_runs_as_printed(router, capsys):
    assert len(SNIPPETS) >= 4
    names = {"router": router}
    for snippet in SNIPPETS:
        code = compile(snippet, "docs/running-agents.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        running = types.FunctionType(code, names)()
        if running is not None:
            await running
    out = capsys.readouterr().out
    assert "You said: hello" in out
    assert "LookupError: no city Atlantis" in out
