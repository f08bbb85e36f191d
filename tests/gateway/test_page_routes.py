"""The page's files, and what it asks beside the runs: who reads one, and its bytes in any of the formats."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.config import FORMATS
from gateway.serving.looking_routes import FORMS
from tests.gateway.fakes import Served, served, until
from tests.gateway.said import FORMS as TESTED
from tests.gateway.said import RECORDED, frames_of_all, messages_of

MESSAGES = messages_of(next(file for file in RECORDED if file.stem == "openai-tool-2"))
PAGE = Path(__file__).resolve().parents[2] / "gateway" / "page"
TOKEN = "0123456789abcdef"


@pytest.fixture
async def gateway() -> AsyncIterator[Served]:
    async with served() as running:
        yield running


# --- the files ------------------------------------------------------------------------------------


async def test_the_page_and_all_that_it_names_are_there_and_may_run_nothing_else(gateway: Served):
    _, text = await gateway.text("/")
    named = {"", *re.findall(r'(?:href|src)="(page/[^"]+)"', text)}
    for script in PAGE.glob("*.js"):
        named |= {f"page/{name}" for name in re.findall(r'from "\./([^"]+)"', script.read_text())}
    assert {name.removeprefix("page/") or "index.html" for name in named} == {file.name for file in PAGE.iterdir()}
    for name in named:
        async with gateway.http.get(f"{gateway.url}/{name}") as answered:
            assert answered.status == 200
            policy = answered.headers["Content-Security-Policy"]
            assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
            assert "unsafe" not in policy
            etag = answered.headers["ETag"]
        async with gateway.http.get(f"{gateway.url}/{name}", headers={"If-None-Match": etag}) as again:
            assert (again.status, await again.read()) == (304, b"")


def test_the_page_asks_nobody_else_and_makes_markup_of_nothing():
    for file in PAGE.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|\bstyle=", text), (
            file
        )


@pytest.mark.parametrize("path", ["/page/none.js", "/page/..%2Fconfig.py", "/page/../config.py", "/page/a/b"])
async def test_nothing_but_the_page_is_served(gateway: Served, path: str):
    assert (await gateway.json("GET", path))[0] == 404


@pytest.mark.parametrize("section", [{"page": False}, {"formats": ["chat"]}])
async def test_a_gateway_without_the_page_or_what_it_reads_has_none(section: dict[str, Any]):
    async with served(**section) as gateway:
        assert (await gateway.json("GET", "/"))[0] == 404


async def test_the_page_needs_no_token_and_what_it_shows_does(tmp_path: Path):
    tokens = tmp_path / "tokens"
    tokens.write_text(f"web web-{TOKEN} read\n")
    async with served(tokens_file=str(tokens)) as gateway:
        gateway.router.open("req-1")
        assert (await gateway.text("/"))[0] == 200
        for path in ("/v1/about", "/v1/streams/req-1/readers", "/v1/streams/req-1/as/chat"):
            assert (await gateway.json("GET", path))[0] == 401
        status, about = await gateway.json("GET", "/v1/about", headers={"Authorization": f"Bearer web-{TOKEN}"})
        assert (status, about) == (200, {"formats": list(FORMATS), "agents": ["ada"], "scopes": ["read"]})


# --- what it asks ---------------------------------------------------------------------------------


async def test_readers_are_told_with_how_far_each_is(gateway: Served):
    stream = gateway.router.open("req-1")
    gateway.router.open("req-2")
    stream.say(MESSAGES[:3])
    url = f"{gateway.url}/v1/streams/req-1"
    async with gateway.http.get(f"{url}/events") as first, gateway.http.get(f"{url}/as/chat") as second:
        await until(lambda: stream.readers == 2)
        await first.content.readuntil(b"id: 3\n")
        await second.content.readuntil(b"\n\n")
        status, said = await gateway.json("GET", "/v1/streams/req-1/readers")
        assert status == 200
        assert sorted(one["format"] for one in said["here"]) == ["chat", "native"]
        assert {(one["at"], one["behind"], one["unsent_bytes"]) for one in said["here"]} == {(3, 0, 0)}
        assert said["consumer"] == {"behind": 7, "unread_bytes": 70}
        assert (await gateway.json("GET", "/v1/streams/req-2/readers"))[1]["here"] == []
    assert [one for one in gateway.router.asked if "overview" in one] == [{"overview": 200}]  # kept for a second


async def test_a_reader_that_takes_nothing_is_seen_to_be_behind(gateway: Served):
    stream = gateway.router.open("req-1")
    async with gateway.http.get(f"{gateway.url}/v1/streams/req-1/events") as reader:
        await reader.content.readuntil(b"\n\n")
        large = {**MESSAGES[0], "message_type": "assistant_message", "content": "x" * (8 << 20), "seq_id": 1}
        stream.say([large])  # more than a connection holds
        assert (await seen_when(gateway, "unsent_bytes"))["at"] == 1
        stream.say([{**MESSAGES[1], "seq_id": 2}])
        assert (await seen_when(gateway, "behind"))["behind"] == 1


async def seen_when(gateway: Served, field: str) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while True:
            (seen,) = (await gateway.json("GET", "/v1/streams/req-1/readers"))[1]["here"]
            if seen[field]:
                found: dict[str, Any] = seen
                return found


async def test_an_ended_run_waits_for_nobody(gateway: Served):
    gateway.router.open("req-1").say(MESSAGES, end=True)
    said = (await gateway.json("GET", "/v1/streams/req-1/readers"))[1]
    assert said == {"id": "req-1", "last_seq_id": len(MESSAGES), "here": [], "consumer": None}
    assert (await gateway.json("GET", "/v1/streams/none/readers"))[0] == 404


def test_every_format_can_be_looked_at():
    assert FORMS.keys() == set(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
async def test_a_run_is_read_as_the_clients_of_each_format_have_it(gateway: Served, name: str):
    gateway.router.open("run-1", agent="agent", thread="thread-1").say(MESSAGES, end=True)
    form = TESTED[name]()
    frames = frames_of_all(form, messages_of(next(file for file in RECORDED if file.stem == "openai-tool-2")))
    whole = form.opening + b"".join(frame.data for frame in frames)
    assert await gateway.text(f"/v1/streams/run-1/as/{name}") == (200, whole.decode())
    rest = form.opening + b"".join(frame.data for frame in frames if frame.number > 5)
    assert await gateway.text(f"/v1/streams/run-1/as/{name}?after=5") == (200, rest.decode())


async def test_a_format_that_is_not_served_is_refused():
    async with served(formats=["native", "chat"]) as gateway:
        gateway.router.open("run-1").say(MESSAGES, end=True)
        status, said = await gateway.json("GET", "/v1/streams/run-1/as/letta")
        assert (status, said["error"]["message"]) == (400, "there is no format 'letta' here; there are native, chat")
        assert (await gateway.json("GET", "/v1/streams/none/as/chat"))[0] == 404


async def test_streams_are_found_by_several_tags(gateway: Served):
    gateway.router.open("req-1", team="a", agent="ada")
    gateway.router.open("req-2", team="a")
    status, said = await gateway.json("GET", "/v1/streams?tag=team%3Da&tag=agent%3Dada")
    assert (status, [one["id"] for one in said["streams"]]) == (200, ["req-1"])
    await gateway.json("GET", "/v1/streams?tag=team&tag=agent%3D")
    assert gateway.router.asked[-1]["tag"] == {"team": None, "agent": ""}
