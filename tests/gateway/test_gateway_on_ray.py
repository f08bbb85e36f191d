"""A gateway on a real router: runs start in actors, are read, resumed, cancelled, and go on without it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import openai
import pytest
import ray

from actors.errors import ConfigError
from gateway.config import gateway_section
from gateway.serving.serve import serve
from router import StreamRouter
from router.demo import RECORDINGS
from router.scripted_provider import Library, Script
from router.scripted_provider import serve as serve_provider
from tests.gateway.gateway_agents import LARGE_CHARACTERS, SNIPPETS, SPOKEN, WORDS, Crew

pytestmark = pytest.mark.ray

AGENTS = {
    name: {"run": f"tests.gateway.gateway_agents:{name}"} for name in ("ada", "echo", "endless", "large", "failing")
}
DEADLINE_S = 60.0


class Http:
    """A gateway's address, and who asks there."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session

    async def start(self, agent: str, given: Any = "Hello") -> str:
        async with self.session.post(f"{self.url}/v1/streams", json={"agent": agent, "input": given}) as answered:
            said = await answered.json()
            assert answered.status == 201, said
            request_id: str = said["id"]
            return request_id

    async def get(self, path: str, **options: Any) -> tuple[int, str]:
        async with asyncio.timeout(DEADLINE_S), self.session.get(self.url + path, **options) as answered:
            return answered.status, await answered.text()


@asynccontextmanager
async def gateway(router: StreamRouter, **section: Any) -> AsyncIterator[Http]:
    config = gateway_section({"port": 0, "agents": AGENTS, "runner_actors": 1, "drain_s": 1, **section})
    async with serve(router, config) as url, aiohttp.ClientSession() as session:
        yield Http(url, session)


def messages_in(text: str) -> list[dict[str, Any]]:
    blocks = [block.split("\n") for block in text.split("\n\n")]
    return [
        json.loads(lines[1].removeprefix("data: "))
        for lines in blocks
        if lines[0].startswith("id: ") and len(lines) == 2
    ]


async def test_a_run_is_started_read_and_resumed_and_its_reader_told_to_stop(router: StreamRouter):
    async with gateway(router) as http:
        request_id = await http.start("echo")
        path = f"/v1/streams/{request_id}/events"
        status, whole = await http.get(path)
        said = messages_in(whole)
        assert status == 200
        assert "".join(one["content"] for one in said[:-2]) == "Hello" + "".join(f" {n}" for n in range(WORDS))
        assert [one["seq_id"] for one in said] == list(range(1, len(said) + 1))
        for after in (1, 7, len(said) - 1):
            rest = whole[whole.index(f"id: {after + 1}\n") :]
            assert await http.get(path, headers={"Last-Event-ID": str(after)}) == (200, "retry: 1000\n\n" + rest)
        assert await http.get(path, headers={"Last-Event-ID": str(len(said))}) == (204, "")
        shown = json.loads((await http.get(f"/v1/streams/{request_id}"))[1])
        assert (shown["state"], shown["stop_reason"], shown["tags"]) == ("sealed", "end_turn", {"agent": "echo"})
        listed = json.loads((await http.get("/v1/streams?tag=agent%3Decho&newest_first=true"))[1])
        assert listed["streams"][0] == shown


async def test_several_runs_are_read_in_one_connection_and_resumed_by_one_cursor(router: StreamRouter):
    async with gateway(router) as http:
        names = [await http.start("echo", text) for text in ("One", "Two")]
        path = f"/v1/streams/events?ids={','.join(names)}"
        _, whole = await http.get(path)
        assert whole.count("event: end\n") == 3
        blocks = [block for block in whole.split("\n\n") if block.startswith("id: ")]
        every = said_of_each(blocks)
        assert all(numbers == list(range(1, len(numbers) + 1)) and len(numbers) > 2 for numbers in every.values())
        for had in (5, len(blocks) // 2, len(blocks) - 4):
            cursor = blocks[had - 1].partition("\n")[0].removeprefix("id: ")
            _, rest = await http.get(path, headers={"Last-Event-ID": cursor})
            together = said_of_each([*blocks[:had], *rest.split("\n\n")])
            assert together == every
        assert await http.get(path, headers={"Last-Event-ID": blocks[-1].split("\n")[0][4:]}) == (204, "")


def said_of_each(blocks: list[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for block in blocks:
        data = block.partition("data: ")[2]
        message = json.loads(data) if data else {}
        if "seq_id" in message:
            found.setdefault(message["stream"], []).append(message["seq_id"])
    return found


async def test_a_cancel_ends_a_run_at_once_and_its_readers_hear_it(router: StreamRouter):
    async with gateway(router) as http:
        request_id = await http.start("endless")
        reading = asyncio.create_task(http.get(f"/v1/streams/{request_id}/events"))
        async with http.session.delete(f"{http.url}/v1/streams/{request_id}") as answered:
            assert await answered.json() == {"id": request_id, "cancelled": True}
        _, text = await reading
        assert messages_in(text)[-2]["stop_reason"] == "cancelled"


async def test_a_run_goes_on_without_its_gateway_and_another_goes_on_with_its_readers(router: StreamRouter):
    async with gateway(router) as first:
        request_id = await first.start("endless")
        path = f"/v1/streams/{request_id}/events"
        answered = await first.session.get(first.url + path)
        await answered.content.readuntil(b"id: 1\n")
    async with gateway(router) as second:
        assert json.loads((await second.get(f"/v1/streams/{request_id}"))[1])["state"] == "open"
        reading = asyncio.create_task(second.get(path, headers={"Last-Event-ID": "1"}))
        async with second.session.delete(f"{second.url}/v1/streams/{request_id}") as cancelled:
            assert cancelled.status == 200
        _, text = await reading
        assert [one["message_type"] for one in messages_in(text)] == ["stop_reason", "usage_statistics"]


async def test_a_run_that_nobody_reads_waits_for_nobody(router: StreamRouter):
    # Readers here are observers: without whoever reads along where it runs, it would stop at `buffer_bytes_max`.
    async with gateway(router) as http:
        request_id = await http.start("large")
        result = await asyncio.wait_for(router.result(request_id), DEADLINE_S)
        assert len(result.text) == 48 * LARGE_CHARACTERS
        _, text = await http.get(f"/v1/streams/{request_id}/events")  # it is larger than the window
        assert len("".join(one["content"] for one in messages_in(text)[:-2])) == 48 * LARGE_CHARACTERS


async def test_a_run_that_fails_says_why(router: StreamRouter):
    async with gateway(router) as http:
        _, text = await http.get(f"/v1/streams/{await http.start('failing')}/events")
        said = messages_in(text)
        assert said[-2]["stop_reason"] == "error"
        assert "no more" in said[-2]["detail"]


async def test_runs_are_started_as_the_gateway_says_that_asks_for_them(router: StreamRouter):
    # One actor starts them for all gateways; it was made with the first one.
    async with gateway(router) as first, gateway(router, runs_max=1) as second:
        request_id = await first.start("endless")
        async with second.session.post(f"{second.url}/v1/streams", json={"agent": "echo", "input": "Hi"}) as refused:
            assert refused.status == 429
            assert "runs_max is 1" in await refused.text()
        await first.get(f"/v1/streams/{await first.start('echo')}/events")
        assert await router.cancel(request_id)


async def test_an_agent_that_cannot_be_imported_is_said_before_anything_is_served(router: StreamRouter):
    for path, why in (
        ("tests.gateway.gateway_agents:nothing", "cannot be imported"),
        ("os:sep", "is to be a function"),
    ):
        with pytest.raises(ConfigError, match=why):
            async with gateway(router, agents={"a": {"run": path}}):
                pass


def of_crew(method: str) -> dict[str, Any]:
    return {"actor": {"name": "tests-crew", "namespace": "tests", "method": method}}


ACTORS = {
    "spoken": of_crew("run"),
    "waiting": of_crew("wait"),
    "failing": of_crew("fail"),
    "nowhere": {"actor": {"name": "tests-crew"}},
    "speaking": {"run": "tests.gateway.gateway_agents:speaking"},
}


@pytest.fixture(scope="module")
def crew(running_router_of_gateway: str) -> Iterator[Any]:  # noqa: ARG001  # with it Ray runs
    actor = ray.remote(Crew).options(name="tests-crew", namespace="tests", num_cpus=0, max_restarts=-1).remote()
    yield actor
    ray.kill(actor)


@pytest.mark.usefixtures("crew")
@pytest.mark.parametrize("agent", ["speaking", "spoken"])
async def test_a_function_and_an_actor_may_yield_chunks_and_messages(router: StreamRouter, agent: str):
    async with gateway(router, agents=ACTORS) as http:
        _, text = await http.get(f"/v1/streams/{await http.start(agent)}/events")
        said = messages_in(text)
        assert [one["content"] for one in said[:-2]] == ["A chunk ", SPOKEN["content"]]
        assert said[-2]["stop_reason"] == "end_turn"


async def test_the_cancel_of_a_run_cancels_the_call_of_its_actor(router: StreamRouter, crew: Any):
    async with gateway(router, agents=ACTORS) as http:
        assert await router.cancel(await begun(http, "waiting"))
        await asyncio.wait_for(crew.until_left.remote(), DEADLINE_S)


async def begun(http: Http, agent: str) -> str:
    """Start a run; return its ID when it has said something."""
    request_id = await http.start(agent)
    answered = await http.session.get(f"{http.url}/v1/streams/{request_id}/events")
    await answered.content.readuntil(b"id: 1\n")
    answered.close()
    return request_id


async def test_an_actor_that_is_not_there_raises_or_dies_is_named_in_the_runs_end(router: StreamRouter, crew: Any):
    async with gateway(router, agents=ACTORS) as http:
        for agent, why in (
            ("nowhere", f"there is no actor 'tests-crew' in the Ray namespace '{router.config.namespace}'"),
            ("failing", "the actor 'tests-crew' (namespace 'tests') raised in 'fail': ValueError: no more"),
        ):
            result = await router.result(await http.start(agent), raise_failed=False)
            assert (result.stop_reason, why in (result.detail or "")) == ("error", True), result.detail
        request_id = await begun(http, "waiting")
        ray.kill(crew, no_restart=False)
        result = await asyncio.wait_for(router.result(request_id, raise_failed=False), DEADLINE_S)
        assert result.stop_reason == "error"
        assert "the actor 'tests-crew' (namespace 'tests') died or cannot be reached" in (result.detail or "")


async def test_a_provider_is_an_agent_and_openais_client_reads_it(router: StreamRouter):
    library = Library.load(RECORDINGS)
    name = next(recording.name for recording in library.recordings.values() if recording.api == "openai-chat")
    async with serve_provider(library, Script.load({"events_per_s": 0})) as url:
        agents = {"gpt": {"endpoint": {"base_url": url, "model": name}}, **AGENTS}
        async with (
            gateway(router, agents=agents) as http,
            openai.AsyncOpenAI(base_url=f"{http.url}/v1", api_key="none", max_retries=0) as client,
        ):
            asked: Any = {"model": "gpt", "messages": [{"role": "user", "content": "Hi"}]}
            streamed = await client.chat.completions.create(**asked, stream=True)
            chunks = [chunk async for chunk in streamed]
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
            whole = await client.chat.completions.create(**asked)
            assert (whole.choices[0].message.content or "") == text
            assert whole.choices[0].finish_reason == chunks[-1].choices[0].finish_reason
            assert whole.usage is not None
            calls = whole.choices[0].message.tool_calls or []
            assert all(json.loads(call.function.arguments) is not None for call in calls if call.type == "function")
            echoed = await client.chat.completions.create(**{**asked, "model": "echo"})
            assert (echoed.choices[0].message.content or "").startswith("Hi 0 1")
            events = [event async for event in await client.responses.create(model="gpt", input="Hi", stream=True)]
            assert events[-1].type == "response.completed"
            assert events[-1].response.output_text == text
            response = await client.responses.create(model="endless", input="Hi", background=True)
            with pytest.raises(openai.ConflictError, match="cancel it first"):
                await client.responses.delete(response.id)
            cancelled = await client.responses.cancel(response.id)
            assert (response.status, cancelled.status) == ("in_progress", "cancelled")
            await client.responses.delete(response.id)
            with pytest.raises(openai.NotFoundError):
                await client.responses.retrieve(response.id)
            with pytest.raises(openai.APIStatusError, match="no more"):
                await client.chat.completions.create(**{**asked, "model": "failing"})


async def test_lettas_client_has_the_whole_answer(router: StreamRouter):
    letta_client = pytest.importorskip("letta_client")
    async with gateway(router) as http, letta_client.AsyncLetta(base_url=http.url, api_key="none") as letta:
        answered = await letta.agents.messages.create("echo", input="Hi")
        assert [message.content for message in answered.messages] == ["Hi" + "".join(f" {n}" for n in range(WORDS))]
        assert answered.stop_reason.stop_reason == "end_turn"
        (run_id,) = answered.usage.run_ids
        run = await letta.runs.retrieve(run_id)
        assert (run.status, run.agent_id) == ("completed", "echo")
        assert run_id in [one.id async for one in await letta.runs.list(limit=2)]
        assert (await letta.runs.messages.list(run_id)).items == answered.messages


async def test_what_the_page_shows_runs_as_printed(router: StreamRouter, capsys: pytest.CaptureFixture[str]):
    # The page is gateway.md.
    pytest.importorskip("letta_client")
    pytest.importorskip("langgraph_sdk")
    shown = {"crew": {"actor": {"name": "crew", "method": "answer"}}}
    async with gateway(router, agents={**AGENTS, **shown}) as http:
        for snippet in SNIPPETS[1:]:
            await asyncio.to_thread(exec, snippet.replace("http://127.0.0.1:8283", http.url), {})
        said_by_actor = await router.result(await http.start("crew"))
        ray.kill(ray.get_actor("crew", namespace=router.config.namespace))
    assert said_by_actor.text == "All of us say: Hello"
    said = capsys.readouterr().out
    assert "assistant_message 1\nstop_reason 2\nusage_statistics 3\n" in said
    assert said.endswith("You asked: Hello" * 3)
