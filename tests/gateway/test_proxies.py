"""Streams through nginx and HAProxy: in settings of their own, and as `deploy` has them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import aiohttp
import pytest

from gateway.config import GatewayConfig
from tests.gateway.fakes import DEADLINE_S, Served, served, until
from tests.gateway.proxies import PROGRAMS, deployed, free_port, of_its_own, proxying
from tests.gateway.relay import relayed
from tests.gateway.said import RECORDED, chat_chunk, messages_of, translated

PROXIES = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(program is None, reason=f"there is no {name}; on Debian: apt-get install {name}"),
    )
    for name, program in PROGRAMS.items()
]
pytestmark = [pytest.mark.clients, pytest.mark.parametrize("name", PROXIES)]

MESSAGES = messages_of(next(file for file in RECORDED if file.stem == "openai-tool-2"))
TEXT = translated([*(chat_chunk({"content": f"word{number} "}) for number in range(8)), chat_chunk({}, "stop")])
NO_DELETE = {
    "nginx": "if ($request_method = DELETE) { return 403; }",
    "haproxy": "http-request deny if METH_DELETE\n  http-request return status 404 if { path /metrics }",
}


@pytest.fixture
async def gateway() -> AsyncIterator[Served]:
    async with served(heartbeat_s=0.3) as running:
        yield running


@pytest.fixture
async def plain(name: str, gateway: Served, tmp_path: Path) -> AsyncIterator[str]:
    """Give a proxy with nothing in its configuration but where to go."""
    port = free_port()
    async with proxying(name, of_its_own(name, gateway.url, port), port, tmp_path) as url:
        yield url


async def test_events_arrive_one_by_one_as_deployed_too(name: str, gateway: Served, tmp_path: Path):
    stream = gateway.router.open("run-1")
    port = free_port()
    config = deployed(name, [gateway.url, gateway.url], port)
    async with (
        proxying(name, config, port, tmp_path) as url,
        gateway.http.get(f"{url}/v1/streams/run-1/events") as answered,
    ):
        for message in TEXT:
            stream.say([message])
            async with asyncio.timeout(5):
                while not (await answered.content.readuntil(b"\n\n")).startswith(b"id: %d\n" % message["seq_id"]):
                    pass


@pytest.mark.parametrize("format_", ["events", "as/letta", "as/chat", "as/responses", "as/ui", "as/agui"])
async def test_events_arrive_one_by_one_and_are_the_same_bytes(name: str, gateway: Served, plain: str, format_: str):
    stream = gateway.router.open("run-1", agent="ada")
    path = f"/v1/streams/run-1/{format_}"
    async with gateway.http.get(plain + path) as answered:
        assert answered.status == 200
        head = await answered.content.readuntil(b"\n\n")  # before anything is said
        text = head
        for number, message in enumerate(TEXT[:8]):
            stream.say([message])
            async with asyncio.timeout(5):  # each is here before the next is said
                while f"word{number} ".encode() not in text:
                    text += await answered.content.readany()
        stream.say(TEXT[8:], end=True)
        text += await answered.content.read()
    whole = (await gateway.text(path))[1]
    assert "".join(re.split(r": ping\n\n", text.decode())) == whole, name


async def test_silence_is_never_as_long_as_their_limit(name: str, gateway: Served, tmp_path: Path):
    port = free_port()
    gateway.router.open("run-1")
    async with (
        proxying(name, of_its_own(name, gateway.url, port, idle="1s"), port, tmp_path) as url,
        gateway.http.get(f"{url}/v1/streams/run-1/events") as answered,
    ):
        began = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() - began < 2.5:
            assert await answered.content.readuntil(b"\n\n")
    # By default as well: nginx closes after 60 s of silence, HAProxy after the 50 s that most write down.
    assert GatewayConfig().heartbeat_s * 3 <= 50


async def test_a_reader_that_leaves_is_let_go_of(name: str, gateway: Served, plain: str):
    stream = gateway.router.open("run-1")
    async with gateway.http.get(f"{plain}/v1/streams/run-1/events") as answered:
        await answered.content.readuntil(b"\n\n")
        await until(lambda: stream.readers == 1)
    await until(lambda: stream.readers == 0)
    assert not stream.has_ended, name


async def test_a_reader_goes_on_when_the_proxy_has_died(name: str, gateway: Served, tmp_path: Path):
    stream = gateway.router.open("run-1")
    stream.say(MESSAGES[:5])
    port = free_port()
    config = of_its_own(name, gateway.url, port)
    had = b""
    async with proxying(name, config, port, tmp_path) as url:
        answered = await gateway.http.get(f"{url}/v1/streams/run-1/events")
        while b"id: 5\n" not in had:
            had += await answered.content.readuntil(b"\n\n")
    with suppress(aiohttp.ClientError):
        had += await answered.content.read()
    answered.close()
    stream.say(MESSAGES[5:], end=True)
    async with proxying(name, config, port, tmp_path):
        headers = {"Last-Event-ID": "5"}
        async with gateway.http.get(f"{url}/v1/streams/run-1/events", headers=headers) as again:
            had += (await again.read()).removeprefix(b"retry: 1000\n\n")
        headers = {"Last-Event-ID": str(len(MESSAGES))}
        async with gateway.http.get(f"{url}/v1/streams/run-1/events", headers=headers) as over:
            assert over.status == 204  # what tells an EventSource to stop comes through
    assert had.replace(b": ping\n\n", b"").decode() == (await gateway.text("/v1/streams/run-1/events"))[1]


# --- as `deploy` has them -------------------------------------------------------------------------


async def test_a_reader_whose_gateway_ends_goes_on_at_another_and_sees_no_error(name: str, tmp_path: Path):
    port = free_port()
    async with AsyncExitStack() as ends, served() as second, aiohttp.ClientSession() as http:
        first = await ends.enter_async_context(served())
        streams = [one.router.open("run-1") for one in (first, second)]
        for stream in streams:
            stream.say(MESSAGES[:5])
        async with proxying(name, deployed(name, [first.url, second.url], port), port, tmp_path) as url:
            path = f"{url}/v1/streams/run-1/events"
            readers = []
            async with asyncio.timeout(DEADLINE_S):
                while not all(stream.readers for stream in streams):  # who has the fewest comes next
                    readers.append(await http.get(path))
                    await until(lambda: sum(stream.readers for stream in streams) == len(readers))
            await ends.aclose()
            streams[1].say(MESSAGES[5:], end=True)
            texts = [await reader.text() for reader in readers]
            assert all(("event: end" in text) != (": interrupted, draining" in text) for text in texts)
            for _ in range(6):  # also those of which the proxy has not yet seen that their gateway is gone
                async with http.get(path, headers={"Last-Event-ID": "5"}) as again:
                    assert again.status == 200
                    numbers = re.findall(r"^id: (\d+)$", await again.text(), re.MULTILINE)
                    assert numbers == [*map(str, range(6, 14)), "13"]


async def test_a_gateway_that_dies_does_not_look_like_an_end(name: str, tmp_path: Path):
    port = free_port()
    async with served() as gateway, relayed(gateway.url) as relay:
        gateway.router.open("run-1").say(MESSAGES[:5])
        config = deployed(name, [relay.url, relay.url], port)
        async with (
            proxying(name, config, port, tmp_path) as url,
            gateway.http.get(f"{url}/v1/streams/run-1/as/agui") as answered,
        ):
            await answered.content.readuntil(b"\n\n")
            relay.cut()
            with pytest.raises(aiohttp.ClientPayloadError):
                await answered.read()


async def test_what_is_for_operators_is_not_for_everybody(name: str, gateway: Served, tmp_path: Path):
    port = free_port()
    config = deployed(name, [gateway.url, gateway.url], port)
    tricks = ("/metrics", "//metrics", "/./metrics", "/v1/../metrics", "/%6detrics", "/v1/%2e%2e/metrics", "/metrics/")
    async with proxying(name, config, port, tmp_path) as url:
        assert (await gateway.http.get(f"{url}/v1/streams")).status == 200
        for path in (*tricks, "/metrics?x", "/readyz", "/%72eadyz"):
            said = await asked(port, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            assert not re.search(rb"^HTTP/1.1 200|stream_router_gateway|ready", said, re.MULTILINE), path


async def test_nobody_can_claim_to_be_somebody(name: str, tmp_path: Path):
    port = free_port()
    async with served(proxy={"addresses": ["127.0.0.1"]}) as gateway:
        claims = {"X-Auth-Name": "boss", "X-Auth-Scope": "admin", "X-Auth-Tenant": "a", "x-auth-agents": "ada"}
        assert (await gateway.json("GET", "/v1/models", headers={"X-Auth-Name": "web", "X-Auth-Scope": "read"}))[
            0
        ] == 200
        async with proxying(name, deployed(name, [gateway.url, gateway.url], port), port, tmp_path) as url:
            for header in (*claims, *map(str.upper, claims)):
                async with gateway.http.get(f"{url}/v1/models", headers={**claims, header: "boss"}) as answered:
                    assert answered.status == 401, header


# --- smuggling ------------------------------------------------------------------------------------

INNER = b"DELETE /v1/streams/victim HTTP/1.1\r\nHost: localhost\r\n\r\n"
_POST = b"POST /v1/streams HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
_CHUNK = b"0\r\n\r\n"


def _smuggled() -> dict[str, bytes]:
    """Return requests, each with another hidden in it, for whoever reads its length in another way."""
    both = b"Content-Length: %d\r\n" % (len(_CHUNK) + len(INNER))
    inner_chunk = b"%x\r\n" % len(INNER) + INNER + b"\r\n" + _CHUNK
    found = {
        "cl.te": _POST + both + b"Transfer-Encoding: chunked\r\n\r\n" + _CHUNK + INNER,
        "te.cl": _POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + inner_chunk,
        "cl.cl": _POST + b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(INNER) + INNER,
        "cl list": _POST + b"Content-Length: 0, %d\r\n\r\n" % len(INNER) + INNER,
        "cl plus": _POST + b"Content-Length: +%d\r\n\r\n" % len(INNER) + INNER,
        "cl.0": b"GET /v1/streams HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(INNER) + INNER,
        "bare lf": _POST.replace(b"\r\n", b"\n") + b"Content-Length: %d\n\n" % len(INNER) + INNER,
        "chunk ext": _POST + b"Transfer-Encoding: chunked\r\n\r\n0;\n" + INNER + b"\r\n\r\n",
        "chunk lf": _POST + b"Transfer-Encoding: chunked\r\n\r\n2\nxx\n0\n\n" + INNER,
        "chunk size": _POST + b"Transfer-Encoding: chunked\r\n\r\n100000000000000000\r\n" + INNER,
        "upgrade": b"GET /v1/streams HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
        b"Content-Length: %d\r\n\r\n" % len(INNER) + INNER,
        "expect": _POST + b"Expect: 100-continue\r\n" + both + b"\r\n" + _CHUNK + INNER,
    }
    hidden = (
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding:\tchunked",
        b"Transfer-Encoding: \x0bchunked",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        b"X: x\r\n Transfer-Encoding: chunked",
        b"X: x\nTransfer-Encoding: chunked",
        b"Transfer-Encoding\r\n : chunked",
        b"Transfer-Encoding: chunked\x00",
        b'Transfer-Encoding: "chunked"',
    )
    for number, header in enumerate(hidden):
        found[f"te.{number}"] = _POST + both + header + b"\r\n\r\n" + _CHUNK + INNER
    return found


SMUGGLED = _smuggled()


async def asked(port: int, data: bytes, wait_s: float = 5.0) -> bytes:
    """Send bytes; return what comes back until the other side has nothing more to say."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    said = b""
    try:
        writer.write(data)
        async with asyncio.timeout(wait_s):
            while more := await reader.read(65536):
                said += more
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return said


async def test_no_request_is_smuggled_past_them(name: str, gateway: Served, tmp_path: Path):
    # They let no DELETE through: where the victim is cancelled, one came as part of what they took for something else.
    victim = gateway.router.open("victim")
    port = free_port()
    config = of_its_own(name, gateway.url, port, rules=NO_DELETE[name])
    async with proxying(name, config, port, tmp_path) as url:
        async with gateway.http.delete(f"{url}/v1/streams/victim") as refused:
            assert refused.status == 403
        follow = b"GET /v1/streams HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        answers = await asyncio.gather(*(asked(port, data + follow, 1.5) for data in SMUGGLED.values()))
        for trick, said in zip(SMUGGLED, answers, strict=True):
            assert b'"cancelled"' not in said, trick
        assert not victim.has_ended
        # It serves as before: nothing was left over in a connection that others use.
        async with gateway.http.get(f"{url}/v1/streams/victim") as answered:
            assert (await answered.json())["state"] == "open"
