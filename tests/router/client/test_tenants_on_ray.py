"""Two teams and an operator on one router, on a real Ray: no public call shows one team anything of the other."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import RayError

from actors.errors import DuplicateRequest, NotPermitted, RequestCancelled, StreamRouterError, UnknownRequest
from actors.tenants import TOKEN_VARIABLE, Key
from router import Publisher, RouterConfig, StreamRouter, StreamSettings

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("shared")]

CHAT = StreamSettings(dialect="chat")
KEY = Key(b"a secret of this test")
TEAMS = ["read", "publish", "cancel"]
HELLO = {"choices": [{"index": 0, "delta": {"content": "Hello"}}]}
NAME = "tenants"
# Workers cannot import a test's module: what they run of it comes along.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
# How long is waited for a request that is not there; and for what has been sent.
WAIT_S = 0.1
PULL_WAIT_S = 10.0


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    file: Path = tmp_path_factory.mktemp("tenants") / "key"
    file.write_bytes(b"a secret of this test\n")
    config = RouterConfig.model_validate(
        {
            "name": NAME,
            "routers": 2,
            "ray": {"num_cpus": 2},
            "stream_actors": {"max_actors": 1},
            "tenants": {"enabled": True, "key_file": str(file)},
        }
    )
    with StreamRouter.start(config, token=KEY.token("*", ["operate"])):
        yield NAME


@contextlib.asynccontextmanager
async def team(subject: str, scopes: list[str] | None = None):
    async with StreamRouter.connect(NAME, token=KEY.token(subject, scopes or TEAMS)) as door:
        yield door


async def publish(door: StreamRouter, request_id: str) -> None:
    async with door.publish(request_id, CHAT) as stream:
        await stream.chunk(HELLO)


async def read(door: StreamRouter, request_id: str) -> list[Any]:
    return [message async for batch in door.subscribe(request_id, wait_s=WAIT_S) for message in batch]


async def refusal(call: Any) -> tuple[type, str]:
    with pytest.raises(StreamRouterError) as caught:
        await call
    return type(caught.value), str(caught.value)


async def test_no_call_tells_a_request_of_another_team_from_none():
    async with team("team-a") as mine, team("team-b") as theirs, mine.publish("req-open", CHAT) as stream:
        await stream.chunk(HELLO)
        await publish(mine, "req-ended")
        place = await mine.locate("req-open")
        for request_id in ("req-open", "req-ended"):
            for ask in (
                lambda name: read(theirs, name),
                lambda name: theirs.locate(name, wait_s=WAIT_S),
                theirs.cancel,
                theirs.forget,
                lambda name: theirs.cancel(name, after_step=True),
                lambda name: theirs.publish(name, CHAT, take_over=True).open(),
            ):
                kind, text = await refusal(ask(request_id))
                assert kind is UnknownRequest
                assert (kind, text.replace(request_id, "req-never")) == await refusal(ask("req-never"))
        # The bare handle, which any process of the cluster can come by.
        for reader_id in ("", theirs.client_id, f"{theirs.client_id}/1", place.reader_id[:-1], f"x{place.reader_id}"):
            with pytest.raises((RayError, UnknownRequest), match="no request 'req-open' on this stream actor"):
                await place.handle.pull.remote("req-open", 0, 256, WAIT_S, reader_id)
            assert (await place.handle.describe.remote(reader_id))["sessions"] == {}
        assert (await place.handle.pull.remote("req-open", 0, 1, PULL_WAIT_S, place.reader_id))[0].content == "Hello"
        described, overview = await theirs.describe(), await theirs.overview()
        assert (described.requests, described.stream_actors, overview.streams, overview.open) == ([], [], [], 0)
        assert {request.request_id for request in (await mine.describe()).requests} == {"req-open", "req-ended"}
        assert [one.request_id for one in (await mine.overview()).streams] == ["req-open"]
    assert stream.stop_reason == "incomplete"


async def answers(question: str):
    yield {"choices": [{"index": 0, "delta": {"content": question}, "finish_reason": "stop"}]}


async def asks_another(stream: Publisher, door: StreamRouter, question: str) -> None:
    result = await door.start(answers, question, settings=CHAT)
    await stream.message({"message_type": "assistant_message", "content": result.text})
    await stream.finish("end_turn")


async def test_an_agent_is_its_caller_and_so_is_one_that_it_starts():
    async with team("team-a") as mine, team("team-b") as theirs, team("team-a", ["read"]) as reader:
        for actors in (0, 1):
            run = mine.start(asks_another, mine, "why?", request_id=f"started-{actors}", settings=CHAT, actors=actors)
            assert (await run).text == "why?"
            assert (await refusal(theirs.request(run.request_id)))[0] is UnknownRequest
        info = await mine.request("started-0")
        assert "|" not in info.owner, "no pass is shown"
        assert info.owner != mine.client_id.partition("|")[0]
        texts = [result.text async for result in mine.map(answers, ["one", "two"], settings=CHAT)]
        assert sorted(texts) == ["one", "two"]
        kind, text = await refusal(reader.start(answers, "may I?").result())
        assert kind is NotPermitted
        assert "has the scopes read" in text


async def until_cancelled(stream: Publisher) -> None:
    while True:
        await stream.chunk(HELLO)
        await asyncio.sleep(0.01)


async def test_two_teams_use_one_id_and_one_agent():
    async with team("team-a") as mine, team("team-b") as theirs:
        async with mine.publish("same", CHAT, agent_id="ada") as one:
            await one.chunk(HELLO)
            other = theirs.publish("same", CHAT, agent_id="ada", when_busy="interrupt")
            await other.open()
            assert await theirs.cancel("same")
            with pytest.raises(RequestCancelled):
                await until_cancelled(other)
        assert (one.stop_reason, other.stop_reason) == ("incomplete", "cancelled")
        for door, expected in ((mine, "incomplete"), (theirs, "cancelled")):
            ends = [message for message in await read(door, "same") if message.message_type == "stop_reason"]
            assert [(end.stop_reason, end.run_id) for end in ends] == [(expected, "same")]


async def test_a_process_of_the_team_and_who_sees_all_find_it():
    async with team("team-a") as mine, team("team-a", ["read"]) as reader, team("*") as operator:
        async with mine.publish("shared", CHAT) as stream:
            await stream.chunk(HELLO)
            kind, text = await refusal(operator.publish("team-a:shared", CHAT).open())
            assert kind is DuplicateRequest
            assert text.startswith("request 'team-a:shared' is open with another publisher")
            kind, text = await refusal(reader.cancel("shared"))
            assert kind is NotPermitted
            assert "has the scopes read; this needs cancel or publish" in text
        texts = []
        for door, name in ((mine, "shared"), (reader, "shared"), (operator, "team-a:shared")):
            texts.append([message.model_dump() for message in await read(door, name)])
        assert texts[0] == texts[1] == texts[2]
        assert "team-a:shared" in {request.request_id for request in (await operator.describe()).requests}


async def test_the_service_itself_is_for_the_operator():
    async with team("team-a") as mine, team("*", ["operate"]) as operator:
        for call in (mine.drain(), mine.resume(), mine.stop()):
            assert (await refusal(call))[0] is NotPermitted
        await operator.drain()
        assert (await refusal(mine.publish("drained", CHAT).open()))[1].startswith(f"router {NAME!r} takes no new")
        await operator.resume()
        await publish(mine, "not-drained")


async def test_who_shows_no_token_comes_not_in(monkeypatch):
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    for token in (None, "nonsense", Key(b"the secret of another").token("team-a", TEAMS)):
        with pytest.raises(NotPermitted):
            async with StreamRouter.connect(NAME, token=token):
                pass
    handle = ray.get_actor(f"{NAME}/router-0", namespace="agent-stream-router")
    for call in (handle.describe.remote(), handle.overview.remote(), handle.drain.remote(), handle.stop.remote()):
        with pytest.raises((RayError, NotPermitted), match="shows no token"):
            await call
    error, _ = await handle.cancel.remote("req-open")
    assert error[0] == NotPermitted.code


def test_a_script_is_who_its_environment_says(monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, KEY.token("team-b", TEAMS))
    with StreamRouter.connect(NAME) as theirs, StreamRouter.connect(NAME, token=KEY.token("team-a", TEAMS)) as mine:
        with mine.publish("script", CHAT) as stream:
            stream.chunk(HELLO)
        assert len([m for batch in mine.subscribe("script") for m in batch]) > 0
        with pytest.raises(UnknownRequest):
            list(theirs.subscribe("script", wait_s=WAIT_S))
        with pytest.raises(UnknownRequest):
            theirs.cancel("script")
        assert [request.request_id for request in theirs.describe().requests if request.request_id == "script"] == []


async def test_who_sees_all_serves_each_team_as_that_team():
    async with team("*") as gateway, team("team-a") as mine, team("team-b") as theirs:
        for_a, for_b = await gateway.narrowed("team-a"), await gateway.narrowed("team-b")
        await publish(mine, "narrow-a")
        await publish(for_b, "narrow-b")
        assert await read(for_a, "narrow-a") == await read(mine, "narrow-a")
        assert await read(theirs, "narrow-b") == await read(for_b, "narrow-b")
        for door, name in ((for_a, "narrow-b"), (for_b, "narrow-a")):
            assert (await refusal(door.request(name)))[0] is UnknownRequest
        for door in (mine, for_a):
            assert (await refusal(door.narrowed("team-b")))[0] is NotPermitted
        await asyncio.gather(for_a.close(), for_b.close())
        assert (await gateway.request("team-a:narrow-a")).state == "sealed"
