"""Our own routes, over real HTTP: read, resume, start, list, cancel, and what is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from actors.errors import AgentBusy, LimitExceeded, PoolFull, RouterUnavailable
from gateway.config import WRITE_BYTES_MAX
from gateway.formats.native import NativeForm
from tests.gateway.fakes import Served, served, until
from tests.gateway.said import RECORDED, frames_of_all, messages_of

MESSAGES = messages_of(next(file for file in RECORDED if file.stem == "openai-tool-2"))
TOKEN = "0123456789abcdef"


@pytest.fixture
async def gateway() -> AsyncIterator[Served]:
    async with served() as running:
        yield running


def whole(request_id: str, after: int = 0) -> str:
    said = [{**message, "run_id": request_id} for message in MESSAGES]
    frames = frames_of_all(NativeForm(request_id), said)
    return "retry: 1000\n\n" + b"".join(frame.data for frame in frames if frame.number > after).decode()


# --- reading ------------------------------------------------------------------------------------


async def test_a_stream_comes_as_it_is_said_with_heads_that_no_proxy_holds_up(gateway: Served):
    stream = gateway.router.open("req-1")
    async with gateway.http.get(f"{gateway.url}/v1/streams/req-1/events") as answered:
        # The head is here before anything was said.
        assert answered.status == 200
        assert answered.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert answered.headers["Cache-Control"] == "no-cache, no-transform"
        assert answered.headers["X-Accel-Buffering"] == "no"
        assert await answered.content.readuntil(b"\n\n") == b"retry: 1000\n\n"
        stream.say(MESSAGES[:1])
        assert (await answered.content.readuntil(b"\n\n")).startswith(b"id: 1\ndata: {")
        stream.say(MESSAGES[1:], end=True)
        rest = await answered.text()
    assert rest.endswith('event: end\ndata: {"stop_reason":"tool_call","last_seq_id":13}\n\n')


@pytest.mark.parametrize("after", range(len(MESSAGES) + 1))
async def test_reading_goes_on_behind_a_cursor_however_it_is_given(gateway: Served, after: int):
    gateway.router.open("req-1").say(MESSAGES, end=True)
    path = "/v1/streams/req-1/events"
    by_query = await gateway.text(f"{path}?after={after}")
    by_header = await gateway.text(path, headers={"Last-Event-ID": str(after)})
    if after == len(MESSAGES):
        assert by_query == by_header == (204, "")
    else:
        assert by_query == by_header == (200, whole("req-1", after))


async def test_a_request_is_read_once_for_all_its_readers(gateway: Served):
    stream = gateway.router.open("req-1")
    readers = [asyncio.create_task(gateway.text("/v1/streams/req-1/events")) for _ in range(20)]
    stream.say(MESSAGES[:5])
    await until(lambda: stream.readers == 1)
    stream.say(MESSAGES[5:], end=True)
    assert {await reader for reader in readers} == {(200, whole("req-1"))}
    assert stream.subscriptions == 1


async def test_a_reader_that_leaves_is_let_go_of_and_cancels_nothing(gateway: Served):
    stream = gateway.router.open("req-1")
    async with gateway.http.get(f"{gateway.url}/v1/streams/req-1/events") as answered:
        await answered.content.readuntil(b"\n\n")
        await until(lambda: stream.readers == 1)
    await until(lambda: stream.readers == 0)
    assert not stream.has_ended


async def test_silence_is_filled_with_comments():
    async with served(heartbeat_s=0.05) as gateway:
        gateway.router.open("req-1")
        async with gateway.http.get(f"{gateway.url}/v1/streams/req-1/events") as answered:
            await answered.content.readuntil(b"\n\n")
            for _ in range(3):
                assert await answered.content.readuntil(b"\n\n") == b": ping\n\n"


async def test_a_stream_that_cannot_fill_its_silence_keeps_no_other_from_it(monkeypatch: pytest.MonkeyPatch):
    ping, beats = NativeForm.ping, []

    def broken_at_first(form: NativeForm) -> bytes:
        beats.append(form)
        if len(beats) == 1:
            raise ValueError("nothing to say")
        return ping(form)

    monkeypatch.setattr(NativeForm, "ping", broken_at_first)
    async with served(heartbeat_s=0.05) as gateway:
        gateway.router.open("req-1")
        async with gateway.http.get(f"{gateway.url}/v1/streams/req-1/events") as answered:
            await answered.content.readuntil(b"\n\n")
            async with asyncio.timeout(10):
                assert await answered.content.readuntil(b"\n\n") == b": ping\n\n"


async def test_a_client_of_http_10_has_bare_bytes_to_the_close_and_what_it_sends_meanwhile_is_left_alone(
    gateway: Served,
):
    stream = gateway.router.open("req-1")
    host, port = gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /v1/streams/req-1/events HTTP/1.0\r\nHost: localhost\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"GET /v1/streams/req-1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await gateway.text("/healthz")  # behind which it has been read
    stream.say(MESSAGES, end=True)
    assert (await reader.read()).decode() == whole("req-1")
    assert head.startswith(b"HTTP/1.0 200 OK\r\n")
    assert b"chunked" not in head
    writer.close()
    await writer.wait_closed()


async def test_only_the_types_that_are_asked_for_come(gateway: Served):
    gateway.router.open("req-1").say(MESSAGES, end=True)
    status, text = await gateway.text("/v1/streams/req-1/events?types=stop_reason,usage_statistics")
    assert status == 200
    assert [line for line in text.split("\n") if line.startswith("id: ")] == ["id: 12", "id: 13", "id: 13"]
    status, text = await gateway.text("/v1/streams/req-1/events?types=smoke")
    assert status == 400
    assert "known are" in text


async def test_a_reader_that_takes_nothing_is_closed_and_the_others_go_on():
    async with served(write_timeout_s=0.2) as gateway:
        stream = gateway.router.open("req-1")
        host, port = gateway.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port), limit=1)
        writer.write(b"GET /v1/streams/req-1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: stream.readers == 1)
        large = {**MESSAGES[0], "message_type": "assistant_message", "content": "x" * (8 << 20), "seq_id": 1}
        stream.say([large])
        async with asyncio.timeout(10):
            while 'slow_total{format="native"} 1' not in (await gateway.text("/metrics"))[1]:
                pass
        await until(lambda: stream.readers == 0)
        writer.close()


async def test_an_eventsource_that_comes_back_while_the_router_is_away_is_asked_to_come_again(gateway: Served):
    gateway.router.open("req-1")
    gateway.router.error = RouterUnavailable("it restarts")
    path = "/v1/streams/req-1/events"
    # A 503 would make it give up for good; whoever asks for the first time is told plainly.
    assert await gateway.text(path, headers={"Last-Event-ID": "3"}) == (200, "retry: 2000\n\n")
    status, text = await gateway.text(path)
    assert status == 503
    assert json.loads(text)["error"]["code"] == "router_unavailable"


async def test_a_stream_that_breaks_off_ends_without_an_end(gateway: Served):
    stream = gateway.router.open("req-1")
    reading = asyncio.create_task(gateway.text("/v1/streams/req-1/events"))
    await until(lambda: stream.readers == 1)
    stream.say(MESSAGES[:2])
    stream.fail(RouterUnavailable("it is away"))
    status, text = await reading
    assert status == 200
    assert "event: end" not in text
    assert text.endswith(": interrupted, router_unavailable: it is away\n\n")


# --- starting, finding, cancelling ----------------------------------------------------------------


async def test_a_run_is_started_and_read_at_the_place_that_is_told(gateway: Served):
    gateway.runners.says = MESSAGES
    body = {"agent": "ada", "input": "Hello", "tags": {"team": "a"}, "metadata": {"n": 1}}
    async with gateway.http.post(f"{gateway.url}/v1/streams", json=body) as answered:
        assert answered.status == 201
        told = await answered.json()
        assert answered.headers["Location"] == f"/v1/streams/{told['id']}"
    assert await gateway.text(told["events"]) == (200, whole(told["id"]))
    (order,) = gateway.runners.orders
    assert order.input == {"messages": [{"role": "user", "content": "Hello"}]}
    assert order.all_tags == {"team": "a", "agent": "ada"}
    assert order.metadata == {"n": 1}


async def test_a_run_is_started_and_read_in_one_request(gateway: Served):
    gateway.runners.says = MESSAGES
    body = {"agent": "ada", "input": {"messages": []}, "id": "my-run"}
    headers = {"Accept": "text/event-stream"}
    async with gateway.http.post(f"{gateway.url}/v1/streams", json=body, headers=headers) as answered:
        assert answered.headers["X-Stream-Id"] == "my-run"
        assert await answered.text() == whole("my-run")
    status, said = await gateway.json("POST", "/v1/streams", json=body)
    assert (status, said["error"]["code"]) == (409, "duplicate_request")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"agent": "bob", "input": "x"}, "there is no agent 'bob' here; there are ada"),
        ({"input": "x"}, "there is no agent 'None' here"),
        ({"agent": "ada"}, "input: expected text, or an object with messages, got NoneType"),
        ({"agent": "ada", "input": []}, "got list"),
        ({"agent": "ada", "input": "x", "tags": ["a"]}, "tags: expected an object, got list"),
        ({"agent": "ada", "input": "x", "metadata": 1}, "metadata: expected an object, got int"),
        ({"agent": "ada", "input": "x", "smoke": 1}, "unknown keys smoke; there are agent, agent_id"),
        ([], "expected a JSON object"),
    ],
)
async def test_a_run_that_cannot_be_is_refused_with_a_letter(gateway: Served, body: Any, said: str):
    status, answered = await gateway.json("POST", "/v1/streams", json=body)
    assert status == 400
    assert said in answered["error"]["message"]
    assert not gateway.runners.orders


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (AgentBusy("busy"), 409, {"x-should-retry": "false"}),
        (PoolFull("full"), 429, {"Retry-After": "1"}),
        (LimitExceeded("full"), 429, {"Retry-After": "1"}),
        (RouterUnavailable("gone"), 503, {"Retry-After": "1"}),
    ],
)
async def test_an_error_has_a_status_that_clients_act_on(
    gateway: Served, error: Any, status: int, headers: dict[str, str]
):
    gateway.runners.error = error
    body = {"agent": "ada", "input": "x"}
    async with gateway.http.post(f"{gateway.url}/v1/streams", json=body) as answered:
        assert answered.status == status
        assert headers.items() <= answered.headers.items()
        assert (await answered.json())["error"]["code"] == error.code


async def test_streams_are_listed_shown_and_cancelled(gateway: Served):
    gateway.router.open("req/1", team="a")
    assert await gateway.json("GET", "/v1/streams/req%2F1") == (200, (await listed(gateway))["streams"][0])
    assert (await gateway.json("DELETE", "/v1/streams/req%2F1")) == (200, {"id": "req/1", "cancelled": True})
    assert (await gateway.json("DELETE", "/v1/streams/req%2F1")) == (200, {"id": "req/1", "cancelled": False})
    (one,) = (await listed(gateway, "sealed"))["streams"]
    assert (one["id"], one["state"], one["stop_reason"], one["tags"]) == ("req/1", "sealed", "cancelled", {"team": "a"})
    assert "owner" not in one


async def test_an_id_may_have_any_character(gateway: Served):
    gateway.router.open("a{b}/c d").say(MESSAGES, end=True)
    assert await gateway.text("/v1/streams/a%7Bb%7D%2Fc%20d/events") == (200, whole("a{b}/c d"))


async def listed(gateway: Served, state: str = "open") -> Any:
    status, said = await gateway.json("GET", f"/v1/streams?tag=team%3Da&state={state}&limit=7&newest_first=true")
    assert status == 200
    assert gateway.router.asked[-1] == {"tag": "team=a", "state": state, "limit": 7, "newest_first": True}
    return said


@pytest.mark.parametrize(
    "path", ["/v1/streams/none", "/v1/streams/none/events", "/v1/nothing", "/../etc/passwd", "/page/"]
)
async def test_what_is_not_there_is_not_found(gateway: Served, path: str):
    status, said = await gateway.json("GET", path)
    assert status == 404
    assert said["error"]["message"]


# --- who may ------------------------------------------------------------------------------------


async def test_with_tokens_each_may_do_what_its_scopes_say(tmp_path: Path):
    tokens = tmp_path / "tokens"
    tokens.write_text(f"web web-{TOKEN} read\nops ops-{TOKEN} read,run,cancel\n")
    async with served(tokens_file=str(tokens)) as gateway:
        gateway.router.open("req-1").say(MESSAGES, end=True)
        gateway.router.open("req-2")
        web, ops = ({"Authorization": f"Bearer {name}-{TOKEN}"} for name in ("web", "ops"))
        path = "/v1/streams/req-1/events"
        async with gateway.http.get(gateway.url + path) as answered:
            assert answered.status == 401
            assert answered.headers["WWW-Authenticate"] == "Bearer"
        assert (await gateway.text(path, headers={"Authorization": "Bearer wrong"}))[0] == 401
        assert (await gateway.text(path, headers=web))[0] == 200
        assert (await gateway.text(path, headers={"x-api-key": f"web-{TOKEN}"}))[0] == 200
        assert (await gateway.json("DELETE", "/v1/streams/req-2", headers=web))[0] == 403
        run = {"agent": "ada", "input": "x"}
        assert (await gateway.json("POST", "/v1/streams", headers=web, json=run))[0] == 403
        assert (await gateway.json("DELETE", "/v1/streams/req-2", headers=ops))[0] == 200
        assert (await gateway.text("/metrics"))[0] == 401
        assert (await gateway.text("/healthz"))[0] == (await gateway.text("/readyz"))[0] == 200

        status, ticket = await gateway.json("POST", "/v1/streams/req-1/ticket", headers=web)
        assert status == 200
        assert (await gateway.text(ticket["events"])) == (200, whole("req-1"))
        query = ticket["events"].partition("?")[2]
        assert (await gateway.text(f"/v1/streams/req-2/events?{query}"))[0] == 401
        assert (await gateway.json("DELETE", f"/v1/streams/req-1?{query}"))[0] == 401


async def test_without_tokens_only_this_machines_names_are_answered(gateway: Served):
    for host, status in (("localhost:1", 200), ("127.0.0.1", 200), ("[::1]:80", 200), ("evil.example", 403)):
        async with gateway.http.get(f"{gateway.url}/v1/streams", headers={"Host": host}) as answered:
            assert answered.status == status, host


async def test_without_tokens_no_page_of_another_origin_can_do_anything(gateway: Served):
    gateway.router.open("req-1")
    for origin, status in (("https://evil.example", 403), ("null", 403), ("http://localhost:3000", 200)):
        headers = {"Origin": origin}
        place = f"{gateway.url}/v1/streams/req-1/ticket"  # a post without a body is one that a page need not ask for
        async with gateway.http.post(place, headers=headers) as answered:
            assert answered.status == status, origin


async def test_what_a_page_can_post_without_being_asked_is_refused(gateway: Served):
    body = json.dumps({"agent": "ada", "input": "x"})
    status, said = await gateway.json("POST", "/v1/streams", data=body, headers={"Content-Type": "text/plain"})
    assert status == 400
    assert "expected a body of Content-Type application/json" in said["error"]["message"]
    assert not gateway.runners.orders


async def test_pages_of_named_origins_may_read_and_no_others():
    async with served(cors_origins=["https://app.example.com"]) as gateway:
        gateway.router.open("req-1").say(MESSAGES, end=True)
        for origin, is_allowed in (("https://app.example.com", True), ("https://evil.example.com", False)):
            headers = {"Origin": origin}
            async with gateway.http.get(f"{gateway.url}/v1/streams/req-1/events", headers=headers) as answered:
                assert (answered.headers.get("Access-Control-Allow-Origin") == origin) is is_allowed
            asked = {**headers, "Access-Control-Request-Method": "POST"}
            async with gateway.http.options(f"{gateway.url}/v1/streams", headers=asked) as answered:
                assert (answered.status == 204) is is_allowed


# --- limits, and the end ----------------------------------------------------------------------------


async def test_bodies_and_heads_have_a_limit():
    async with served(body_bytes_max=2000, head_bytes_max=2000) as gateway:
        body = {"agent": "ada", "input": "x" * 3000}
        status, said = await gateway.json("POST", "/v1/streams", json=body)
        assert (status, said["error"]["code"]) == (413, "body_too_large")
        async with gateway.http.get(f"{gateway.url}/healthz", headers={"x-large": "x" * 3000}) as answered:
            assert answered.status == 400
        packed = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        status, said = await gateway.json("POST", "/v1/streams", data=b"\x1f\x8b", headers=packed)
        assert (status, said["error"]["message"]) == (400, "expected a body that is not compressed")


@pytest.mark.parametrize("after", ["-1", "x", "1.5", "9" * 30, "²"])
async def test_a_cursor_that_is_none_is_refused(gateway: Served, after: str):
    gateway.router.open("req-1")
    status, _ = await gateway.json("GET", "/v1/streams/req-1/events", params={"after": after})
    assert status == 400


async def test_more_readers_than_there_is_room_for_are_asked_to_come_again():
    async with served(readers_max=1) as gateway:
        gateway.router.open("req-1")
        path = f"{gateway.url}/v1/streams/req-1/events"
        async with gateway.http.get(path) as first:
            await first.content.readuntil(b"\n\n")
            assert (await gateway.json("GET", "/v1/streams/req-1/events"))[0] == 429
            assert await gateway.text("/v1/streams/req-1/events", headers={"Last-Event-ID": "1"}) == (
                200, "retry: 2000\n\n"
            )  # fmt: skip


async def test_a_gateway_that_ends_lets_its_readers_go_on_elsewhere():
    async with aiohttp.ClientSession() as http:
        async with served() as gateway:
            stream = gateway.router.open("req-1")
            answered = await http.get(f"{gateway.url}/v1/streams/req-1/events")
            await until(lambda: stream.readers == 1)
            reading = asyncio.create_task(answered.text())
        text = await reading
    assert text.startswith("retry: 1000\n\n")
    assert ": interrupted, draining:" in text
    assert not stream.has_ended


async def test_a_reader_that_has_caught_up_by_itself_is_told_too():
    large = {**MESSAGES[0], "message_type": "assistant_message", "content": "x" * WRITE_BYTES_MAX}
    async with aiohttp.ClientSession() as http:
        async with served(window_bytes_max=WRITE_BYTES_MAX) as gateway:
            stream = gateway.router.open("req-1")
            path = f"{gateway.url}/v1/streams/req-1/events"
            first = await http.get(path, read_bufsize=1 << 20)
            for seq_id in (1, 2, 3):
                stream.say([{**large, "seq_id": seq_id}])
                await first.content.readuntil(b"id: %d\n" % seq_id)
            second = await http.get(path, read_bufsize=1 << 20)
            await second.content.readuntil(b"id: 3\n")
            assert stream.readers == 2
        text = await second.text()
    assert text.endswith(": interrupted, draining: this gateway is being stopped; connect again to go on elsewhere\n\n")


async def test_an_eventsource_that_comes_back_to_a_gateway_that_ends_is_not_turned_away_for_good():
    async with aiohttp.ClientSession() as http:
        async with served() as gateway:
            stream = gateway.router.open("req-1")
            path = f"{gateway.url}/v1/streams/req-1/events"
            first = await http.get(path)
            await until(lambda: stream.readers == 1)
            # A connection that is kept alive, over which it may come back though nobody listens any more.
            await (await http.get(f"{gateway.url}/healthz")).read()
            reading = asyncio.create_task(first.text())
            coming = asyncio.create_task(_comes_again(http, path, reading))
        await reading
        assert await coming in {"retry: 2000\n\n", "refused"}


async def _comes_again(http: aiohttp.ClientSession, path: str, reading: asyncio.Task[str]) -> str:
    await asyncio.wait([reading])
    try:
        async with http.get(path, headers={"Last-Event-ID": "1"}) as answered:
            assert answered.status == 200
            return await answered.text()
    except aiohttp.ClientConnectionError:
        return "refused"  # it tries again by itself


async def test_figures_count_what_happens(gateway: Served):
    gateway.router.open("req-1").say(MESSAGES, end=True)
    await gateway.text("/v1/streams/req-1/events?after=2")
    await gateway.text("/v1/nothing")
    text = (await gateway.text("/metrics"))[1]
    for line in (
        'stream_router_gateway_readers{format="native"} 0',
        'stream_router_gateway_opened_total{format="native"} 1',
        'stream_router_gateway_resumed_total{format="native"} 1',
        'stream_router_gateway_ended_total{format="native"} 1',
        'stream_router_gateway_refused_total{status="404"} 1',
    ):
        assert line in text.splitlines()


async def test_ready_means_that_the_routers_answer(gateway: Served):
    assert (await gateway.json("GET", "/readyz"))[0] == 200
    gateway.router.error = RouterUnavailable("gone")
    assert (await gateway.json("GET", "/readyz"))[0] == 503
    assert (await gateway.json("GET", "/healthz"))[0] == 200
