"""Several streams in one connection: each comes whole and in order, the cursor is over all, and each has its end."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import aiohttp
import pytest

from actors.errors import InvalidArgument, RequestLost, RouterUnavailable
from gateway.formats.many import ManyForm, Place, joined, names_in, places_in
from tests.gateway.fakes import Served, served, until
from tests.gateway.said import RECORDED, messages_of

MESSAGES = messages_of(next(file for file in RECORDED if file.stem == "openai-tool-2"))
LAST = len(MESSAGES)
PATH = "/v1/streams/events"
Event = tuple[str, str, dict[str, Any]]
"""(id, event, data)."""


def events_in(text: str) -> list[Event]:
    found = re.findall(r"^id: (.*)\n(?:event: (.*)\n)?data: (.*)\n\n", text, re.MULTILINE)
    return [(cursor, kind, json.loads(data)) for cursor, kind, data in found]


def said_of(events: list[Event], name: str) -> list[int]:
    return [data["seq_id"] for _, kind, data in events if data["stream"] == name and not kind]


async def read(gateway: Served, ids: str = "a,b", **options: Any) -> tuple[int, list[Event]]:
    status, text = await gateway.text(f"{PATH}?ids={ids}", **options)
    return status, events_in(text)


# --- the format -------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [["a"], ["a", "b"], ["a,b", "c=d", "e%2c", "ä", "a b", "team-a:x", "!"]])
def test_names_and_cursors_come_back_as_they_were(names: list[str]):
    assert names_in(f"x=1&ids={joined(names)}&token=t") == names
    form = ManyForm(dict.fromkeys(names, Place()))
    for number, name in enumerate(names, 1):
        form.feed(name, {"message_type": "assistant_message", "seq_id": number})
    form.end(names[0], None)
    assert form.cursor().isascii()
    assert places_in(form.cursor(), names) == form.places
    assert form.places[names[0]] == Place(1, has_ended=True)


def test_without_ids_no_streams_are_named():
    assert names_in("") is names_in("after=3&idsx=a") is None
    for raw in ("ids=", "ids=,", "ids=a,a", "ids=a&ids=a"):
        with pytest.raises(InvalidArgument, match="each once"):
            names_in(raw)


@pytest.mark.parametrize("wrong", ["7", "a", "a=", "a=x", "a=-1", "c=1", "a=1!!", "a=" + "9" * 19, "a=²", "=1"])
def test_what_is_no_cursor_over_these_streams_is_refused(wrong: str):
    with pytest.raises(InvalidArgument, match="expected a cursor over the streams of ids, as a=7,b=3"):
        places_in(wrong, ["a", "b"])


# --- over HTTP --------------------------------------------------------------------------------------


async def test_every_stream_comes_whole_and_in_order_and_ends_and_then_all_do():
    async with served() as gateway:
        gateway.router.open("a").say(MESSAGES, end=True)
        later = gateway.router.open("b")
        reading = asyncio.create_task(read(gateway))
        await until(lambda: later.readers == 1)
        later.say(MESSAGES[:5])
        later.say(MESSAGES[5:], end=True)
        status, events = await reading
    assert status == 200
    assert said_of(events, "a") == said_of(events, "b") == list(range(1, LAST + 1))
    ends = [(cursor, data) for cursor, kind, data in events if kind == "end"]
    assert [data["stream"] for _, data in ends] == ["a", "b", None]
    assert ends[0][1] == {"stream": "a", "stop_reason": "tool_call", "last_seq_id": LAST}
    assert ends[1][0] == ends[2][0] == f"a={LAST}!,b={LAST}!"


async def test_a_reader_that_comes_back_with_any_cursor_gets_the_rest_of_every_stream():
    async with served() as gateway:
        for name in ("a", "b"):
            gateway.router.open(name).say(MESSAGES, end=True)
        _, whole = await read(gateway)
        for number, (cursor, _, _) in enumerate(whole):
            status, rest = await read(gateway, headers={"Last-Event-ID": cursor})
            had = whole[: number + 1]
            if number >= len(whole) - 2:  # all ends were had
                assert (status, rest) == (204, [])
                continue
            for name in ("a", "b"):
                assert said_of(had, name) + said_of(rest, name) == list(range(1, LAST + 1))
                ends = [data for _, kind, data in [*had, *rest] if kind == "end" and data["stream"] == name]
                assert [end["stop_reason"] for end in ends] == ["tool_call"]
            assert rest[-1][2] == {"stream": None}
        assert await read(gateway, params={"after": "a=3"}) == await read(gateway, headers={"Last-Event-ID": "a=3"})


async def test_only_the_types_that_are_asked_for_come_and_the_cursor_is_over_all():
    async with served() as gateway:
        for name in ("a", "b"):
            gateway.router.open(name).say(MESSAGES, end=True)
        _, events = await read(gateway, "a,b&types=stop_reason")
        assert said_of(events, "a") == said_of(events, "b") == [LAST - 1]
        assert events[-1][0] == f"a={LAST}!,b={LAST}!"


async def test_a_stream_that_cannot_be_read_ends_alone():
    async with served() as gateway:
        gateway.router.open("a").say(MESSAGES, end=True)
        gateway.router.open("b").fail(RequestLost("its actor died"))
        status, events = await read(gateway)
        assert status == 200
        (end,) = [data for _, kind, data in events if kind == "end" and data["stream"] == "b"]
        assert end["error"] == {"code": "request_lost", "message": "its actor died"}
        assert said_of(events, "a") == list(range(1, LAST + 1))
        assert (await read(gateway, "a,c"))[0] == 404
        status, events = await read(gateway, "a,c", headers={"Last-Event-ID": "a=3,c=3"})
        assert status == 200
        assert [data["error"]["code"] for _, kind, data in events if "error" in data] == ["unknown_request"]
        assert said_of(events, "a") == list(range(4, LAST + 1))


async def test_a_router_that_is_away_ends_the_connection_and_no_stream():
    async with served() as gateway:
        gateway.router.open("a").say(MESSAGES[:3])
        gateway.router.open("b").fail(RouterUnavailable("it restarts"))
        status, text = await gateway.text(f"{PATH}?ids=a,b")
        assert status == 200
        assert text.endswith(": interrupted, router_unavailable: it restarts\n\n")
        assert "event: end" not in text
        gateway.router.error = RouterUnavailable("it restarts")
        assert await gateway.text(f"{PATH}?ids=a,b", headers={"Last-Event-ID": "a=1"}) == (200, "retry: 2000\n\n")
        assert (await gateway.text(f"{PATH}?ids=a,b"))[0] == 503


async def test_silence_is_filled_and_who_leaves_is_let_go_of():
    async with served(heartbeat_s=0.1) as gateway:
        streams = [gateway.router.open(name) for name in ("a", "b")]
        async with gateway.http.get(f"{gateway.url}{PATH}?ids=a,b") as answered:
            assert await answered.content.readuntil(b"\n\n") == b"retry: 1000\n\n"
            assert await answered.content.readuntil(b"\n\n") == b": ping\n\n"
            assert [stream.readers for stream in streams] == [1, 1]
            _, seen = await gateway.json("GET", "/v1/streams/a/readers")
            assert [(one["format"], one["at"]) for one in seen["here"]] == [("native", 0)]
        await until(lambda: not any(stream.readers for stream in streams))


async def test_a_gateway_that_ends_lets_them_go_on_elsewhere():
    async with aiohttp.ClientSession() as http:
        async with served() as gateway:
            for name in ("a", "b"):
                gateway.router.open(name).say(MESSAGES[:2])
            answered = await http.get(f"{gateway.url}{PATH}?ids=a,b")
            had = await answered.content.readuntil(b"id: a=2,b=2\n")
            rest = asyncio.create_task(answered.text())
        assert ": interrupted, draining:" in await rest
        assert "event: end" not in had.decode() + await rest


async def test_each_of_them_counts_as_a_stream():
    async with served(readers_max=3) as gateway:
        for name in ("a", "b"):
            gateway.router.open(name)
        async with gateway.http.get(f"{gateway.url}{PATH}?ids=a,b") as first:
            await first.content.readuntil(b"\n\n")
            assert (await gateway.json("GET", f"{PATH}?ids=a,b"))[0] == 429
        async with asyncio.timeout(10):
            while (await gateway.json("GET", "/readyz"))[1]["readers"]:
                pass
        async with gateway.http.get(f"{gateway.url}{PATH}?ids=a,b") as again:
            assert again.status == 200


async def test_too_many_or_too_long_names_are_refused_and_a_stream_called_events_can_be_shown():
    async with served() as gateway:
        assert (await gateway.json("GET", f"{PATH}?ids={','.join(map(str, range(101)))}"))[0] == 400
        assert (await gateway.json("GET", f"{PATH}?ids={','.join(f'{n:062}' for n in range(99))}"))[0] == 400
        assert (await gateway.json("GET", PATH))[0] == 404
        gateway.router.open("events")
        assert (await gateway.json("GET", PATH))[1]["id"] == "events"


async def test_a_ticket_is_for_these_streams_and_no_others(tmp_path: Any):
    (tmp_path / "tokens").write_text("web 0123456789abcdef read\n")
    headers = {"Authorization": "Bearer 0123456789abcdef"}
    async with served(tokens_file=str(tmp_path / "tokens")) as gateway:
        for name in ("a", "b", "c"):
            gateway.router.open(name).say(MESSAGES, end=True)
        status, ticket = await gateway.json("POST", f"{PATH}/ticket?ids=a,b", headers=headers)
        assert status == 200
        assert (await gateway.text(ticket["events"]))[0] == 200
        for other in ("ids=a,c", "ids=a", "ids=b,a", "ids=a,a"):
            assert (await gateway.text(ticket["events"].replace("ids=a,b", other)))[0] == 401
        assert (await gateway.text(f"/v1/streams/a/events?token={ticket['token']}"))[0] == 401


async def test_a_reader_that_takes_nothing_is_closed():
    async with served(write_timeout_s=0.2) as gateway:
        stream = gateway.router.open("a")
        host, port = gateway.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port), limit=1)
        writer.write(b"GET /v1/streams/events?ids=a HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: stream.readers == 1)
        large = {**MESSAGES[0], "message_type": "assistant_message", "content": "x" * (8 << 20), "seq_id": 1}
        stream.say([large])
        async with asyncio.timeout(10):
            while 'slow_total{format="native"} 1' not in (await gateway.text("/metrics"))[1]:
                pass
        await until(lambda: stream.readers == 0)
        writer.close()
