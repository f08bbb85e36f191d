"""Hostile heads, bodies and addresses, byte by byte over a bare socket: each is refused or harmless, and in time."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from tests.gateway.fakes import Served, served, until

DEADLINE_S = 10.0
BODY = b'{"agent":"ada","input":"x"}'
SIZE = str(len(BODY)).encode()
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
SMUGGLED = b"GET /v1/streams/smuggled HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def post(heads: bytes, body: bytes = b"") -> bytes:
    head = b"POST /v1/streams HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return head + heads + b"\r\n" + body


def get(path: bytes = b"/v1/streams/x", heads: bytes = b"", connection: bytes = b"close") -> bytes:
    head = b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n"
    return head + heads + b"Connection: " + connection + b"\r\n\r\n"


def chunked(body: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked\r\n", body + SMUGGLED)


class Asked:
    """A gateway, and which streams were asked for."""

    def __init__(self, gateway: Served) -> None:
        self.gateway = gateway
        self.names: list[str] = []
        self._stream = gateway.router._stream
        gateway.router._stream = self._note  # type: ignore[method-assign]

    def _note(self, request_id: str) -> Any:
        self.names.append(request_id)
        return self._stream(request_id)

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = self.gateway.url.removeprefix("http://").split(":")
        return await asyncio.open_connection(host, int(port))

    async def send(self, raw: bytes) -> list[int]:
        """Send bytes; return the statuses of all that is answered until the connection is closed."""
        reader, writer = await self.open()
        try:
            writer.write(raw)
            async with asyncio.timeout(DEADLINE_S):
                return statuses(await reader.read())
        finally:
            writer.close()


def statuses(answered: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"^HTTP/\d\.\d (\d+)", answered, re.MULTILINE)]


@pytest.fixture
async def asked() -> AsyncIterator[Asked]:
    async with served() as gateway:
        yield Asked(gateway)


# --- what a proxy may read in another way -----------------------------------------------------------

REFUSED = {
    "two lengths": post(b"Content-Length: " + SIZE + b"\r\nTransfer-Encoding: chunked\r\n", CHUNKS + SMUGGLED),
    "two lengths, turned": post(b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", CHUNKS + SMUGGLED),
    "two codings": post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", CHUNKS + SMUGGLED),
    "chunked twice": post(b"Transfer-Encoding: chunked, chunked\r\n", CHUNKS + SMUGGLED),
    "compressed, chunked": post(b"Transfer-Encoding: gzip, chunked\r\n", CHUNKS + SMUGGLED),
    "compressed": post(b"Transfer-Encoding: gzip\r\n", CHUNKS + SMUGGLED),
    "unknown coding": post(b"Transfer-Encoding: xchunked\r\n", CHUNKS + SMUGGLED),
    "coding after a tab": post(b"Transfer-Encoding: \x0bchunked\r\n", CHUNKS + SMUGGLED),
    "blank before a colon": post(b"Transfer-Encoding : chunked\r\n", CHUNKS + SMUGGLED),
    "folded coding": post(b"Transfer-Encoding:\r\n chunked\r\n", CHUNKS + SMUGGLED),
    "chunks of HTTP/1.0": chunked(CHUNKS).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    "two Content-Lengths": post(b"Content-Length: " + SIZE + b"\r\nContent-Length: 0\r\n", BODY + SMUGGLED),
    "a list of lengths": post(b"Content-Length: " + SIZE + b", 0\r\n", BODY + SMUGGLED),
    "length with a sign": post(b"Content-Length: +" + SIZE + b"\r\n", BODY + SMUGGLED),
    "negative length": post(b"Content-Length: -1\r\n", BODY + SMUGGLED),
    "hexadecimal length": post(b"Content-Length: 0x1b\r\n", BODY + SMUGGLED),
    "length with a line": post(b"Content-Length: 2_7\r\n", BODY + SMUGGLED),
    "length with a blank": post(b"Content-Length: 2 7\r\n", BODY + SMUGGLED),
    "length beyond all": post(b"Content-Length: 99999999999999999999999\r\n", BODY + SMUGGLED),
    "no length": post(b"Content-Length: \r\n", BODY + SMUGGLED),
    "chunk of 0x1b": chunked(b"0x1b\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "chunk of -1": chunked(b"-1\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "chunk of 1_b": chunked(b"1_b\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "chunk beyond all": chunked(b"FFFFFFFFFFFFFFFFFF\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "chunk longer than it says": chunked(b"1b\r\n" + BODY + b"xx\r\n0\r\n\r\n"),
    "chunk without a size": chunked(b"\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "chunks with bare line feeds": chunked(b"1b\n" + BODY + b"\n0\n\n"),
    "extension with a bare line feed": chunked(b"1b;x\n" + BODY + b"\r\n0\r\n\r\n"),
    "folded header": get(heads=b"X-A: b\r\n c\r\n") + SMUGGLED,
    "folded first header": get(heads=b" X-A: b\r\n") + SMUGGLED,
    "bare line feeds": b"GET /v1/streams/x HTTP/1.1\nHost: localhost\n\n" + SMUGGLED,
    "bare carriage return": get(heads=b"X-A: b\rTransfer-Encoding: chunked\r\n") + SMUGGLED,
    "NUL in a header": get(heads=b"X-A: a\0b\r\n") + SMUGGLED,
    "blank in a name": get(heads=b"X A: b\r\n") + SMUGGLED,
    "header without a name": get(heads=b": b\r\n") + SMUGGLED,
    "header without a colon": get(heads=b"XA\r\n") + SMUGGLED,
    "name beyond ASCII": get(heads=b"X\xff: b\r\n") + SMUGGLED,
    "two hosts": get(heads=b"Host: evil.example\r\n") + SMUGGLED,
    "no host": b"GET /v1/streams/x HTTP/1.1\r\n\r\n" + SMUGGLED,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/3.7": get().replace(b"1.1", b"3.7"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a large address": get(b"/" + b"x" * 100_000) + SMUGGLED,
    "a large header": get(heads=b"X: " + b"x" * 100_000 + b"\r\n") + SMUGGLED,
    "many headers": get(heads=b"".join(b"X-%d: a\r\n" % number for number in range(2000))) + SMUGGLED,
    "address without a slash": get(b"v1/streams/x") + SMUGGLED,
    "address beyond ASCII": get(b"/v1/streams/\xff") + SMUGGLED,
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_can_be_read_in_two_ways_is_refused_and_the_connection_closed(name: str, asked: Asked):
    assert await asked.send(REFUSED[name]) == [400]
    assert asked.names == []
    assert asked.gateway.runners.orders == []


async def test_http_0_9_gets_nothing(asked: Asked):
    await asked.send(b"GET /v1/streams/x\r\n\r\n")
    assert asked.names == []


@pytest.mark.parametrize("coding", [b"chunked", b"CHUNKED", b" \tchunked"])
async def test_what_everybody_reads_in_one_way_is_answered(coding: bytes, asked: Asked):
    answered = await asked.send(post(b"Transfer-Encoding:" + coding + b"\r\n", CHUNKS + SMUGGLED))
    assert answered == [201, 404], "a second request in the same connection is one"
    assert asked.names == ["smuggled"]


@pytest.mark.parametrize(
    ("raw", "answered"),
    [
        (get(heads=b"Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n", connection=b"Upgrade, close"), [404]),
        (get(heads=b"Upgrade: h2c\r\nHTTP2-Settings: AAMA\r\n", connection=b"Upgrade, close, HTTP2-Settings"), [404]),
        (get(heads=b"X-HTTP-Method-Override: DELETE\r\n"), [404]),
        (get(heads=b"X-A: \xff\xfe\r\n"), [404]),
        (b"CONNECT evil.example:80 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", [403]),
        (b"GET http://evil.example/v1/streams/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", [403]),
        (b"GET /v1/streams/x HTTP/1.1\r\nHost: [::1\r\nConnection: close\r\n\r\n", [403]),
        (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", [404]),
        (post(b"Expect: magic\r\nConnection: close\r\nContent-Length: " + SIZE + b"\r\n", BODY), [417]),
    ],
)
async def test_what_is_odd_does_nothing_else(raw: bytes, answered: list[int], asked: Asked):
    assert await asked.send(raw) == answered
    assert asked.gateway.runners.orders == []


# --- addresses --------------------------------------------------------------------------------------

TOKEN = "0123456789abcdef"


@pytest.mark.parametrize(
    "path",
    ["/page/../v1/streams/x", "/page/%2e%2e/v1/streams/x", "/page/..%2f..%2fv1%2fstreams", "//v1/streams/x",
     "//healthz", "/healthz%2f..%2fv1/streams/x", "/healthz/../v1/streams/x", "/healthz;/v1/streams/x",
     "/v1\\streams\\x", "/%76%31/streams/x", "/v1/streams/x%00", "/v1/streams/%ff%fe", "/v1/streams/%zz",
     "/v1/streams/a%2fb", "/v1/streams/a%0d%0aX-Evil:%20b", "/v1/streams/x#/healthz", "/./v1/streams/x"],
)  # fmt: skip
async def test_no_address_goes_round_the_tokens(path: str, tmp_path: Any):
    (tmp_path / "tokens").write_text(f"web {TOKEN} read\n")
    async with served(tokens_file=str(tmp_path / "tokens")) as gateway:
        asked = Asked(gateway)
        assert await asked.send(get(path.encode())) in ([401], [404])
        assert asked.names == []
        heads = f"Authorization: Bearer {TOKEN}\r\n".encode()
        assert await asked.send(get(path.encode(), heads)) == [404]


@pytest.mark.parametrize("name", [b"Idempotency-Key", b"Authorization", b"traceparent", b"Accept", b"Origin"])
async def test_a_header_may_hold_any_bytes(name: bytes, asked: Asked):
    body = b'{"model":"ada","messages":[{"role":"user","content":"Hi"}],"stream":true}'
    asked.gateway.runners.says = []
    heads = name + b": a\xff\xed\xa0\x80\r\nConnection: close\r\nContent-Length: %d\r\n" % len(body)
    raw = post(heads, body).replace(b"/v1/streams", b"/v1/chat/completions", 1)
    assert await asked.send(raw) == [403 if name == b"Origin" else 200]


async def test_no_address_puts_a_header_into_an_answer(asked: Asked):
    reader, writer = await asked.open()
    writer.write(get(b"/v1/streams/a%0d%0aX-Evil:%20b/events"))
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"\nX-Evil" not in head
    writer.close()


@pytest.mark.parametrize(
    "path", ["/page/..%2fapp.py", "/page/%2e%2e%2fapp.py", "/page/..%5capp.py", "/page/index.html%00"]
)
async def test_the_page_gives_its_own_files_only(path: str, asked: Asked):
    assert await asked.send(get(path.encode())) == [404]


# --- how long, and how much -------------------------------------------------------------------------


async def test_heads_that_never_end_are_closed_in_time_and_hold_up_nobody():
    async with served(head_timeout_s=0.3) as gateway:
        asked = Asked(gateway)
        silent = [await asked.open() for _ in range(10)]
        dripping = [await asked.open() for _ in range(40)]
        for number, (_, writer) in enumerate(dripping):
            writer.write(b"GET /" if number % 2 else b"GET /v1/streams/x HTTP/1.1\r\nX: ")
        assert await asked.send(get()) == [404]
        drips = asyncio.get_running_loop().create_task(_drip([writer for _, writer in dripping]))
        async with asyncio.timeout(DEADLINE_S):
            for reader, _ in silent + dripping:
                with suppress(ConnectionError):
                    assert await reader.read() == b""
        drips.cancel()
        for _, writer in silent + dripping:
            writer.close()


async def _drip(writers: list[asyncio.StreamWriter]) -> None:
    while True:
        for writer in writers:
            writer.write(b"x")
        await asyncio.sleep(0.02)


async def test_a_connection_that_says_nothing_after_an_answer_is_not_one_without_a_head():
    async with served(head_timeout_s=0.1) as gateway:
        asked = Asked(gateway)
        reader, writer = await asked.open()
        for _ in range(2):
            writer.write(get(connection=b"keep-alive"))
            assert statuses(await reader.readuntil(b"\r\n\r\n")) == [404]
            await reader.readuntil(b"}}\n")
            quiet = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(0.2, quiet.set_result, None)
            await quiet
        writer.close()


@pytest.mark.parametrize("head", [b"Content-Length: 1000\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_a_body_that_drips_is_refused_in_time(head: bytes):
    async with served(body_timeout_s=0.2) as gateway:
        asked = Asked(gateway)
        reader, writer = await asked.open()
        writer.write(post(head, b"1\r\n{\r\n"))
        async with asyncio.timeout(DEADLINE_S):
            answered = await reader.readuntil(b"}}\n")
        assert statuses(answered) == [408]
        assert json.loads(answered.partition(b"\r\n\r\n")[2])["error"]["code"] == "body_too_slow"
        writer.close()


async def test_a_body_without_an_end_is_refused_as_soon_as_it_is_too_large():
    async with served(body_bytes_max=2000) as gateway:
        asked = Asked(gateway)
        reader, writer = await asked.open()
        writer.write(post(b"Transfer-Encoding: chunked\r\n"))
        chunk = b"400\r\n" + b" " * 1024 + b"\r\n"
        writer.write(chunk * 4)
        async with asyncio.timeout(DEADLINE_S):
            assert statuses(await reader.readuntil(b"}}\n")) == [413]
        writer.close()


@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"br", b"zstd", b"identity, gzip", b"GZIP"])
async def test_a_body_that_would_grow_is_not_unpacked(coding: bytes, asked: Asked):
    bomb = gzip.compress(b" " * (8 << 20))
    heads = b"Connection: close\r\nContent-Encoding: " + coding + b"\r\nContent-Length: %d\r\n" % len(bomb)
    assert await asked.send(post(heads, bomb)) == [400]
    assert await asked.send(post(b"Content-Encoding: identity\r\n" + heads, bomb)) == [400]
    assert asked.gateway.runners.orders == []


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 100_000, b"1" * 5000, b'{"agent": "\\ud800"}', b"\xff"])
async def test_json_that_is_made_to_hurt_is_refused(body: bytes, asked: Asked):
    assert await asked.send(post(b"Connection: close\r\nContent-Length: %d\r\n" % len(body), body)) == [400]


async def test_what_follows_a_readers_request_is_not_looked_at(asked: Asked):
    stream = asked.gateway.router.open("req-1")
    reader, writer = await asked.open()
    writer.write(get(b"/v1/streams/req-1/events", b"Content-Length: 1000\r\n") + SMUGGLED)
    await until(lambda: stream.readers == 1)
    writer.write(SMUGGLED * 100)
    assert statuses(await reader.readuntil(b"\r\n\r\n")) == [200]
    assert asked.names == ["req-1", "req-1"]
    writer.close()


async def test_who_does_not_take_an_answer_is_closed_in_time():
    async with served(write_timeout_s=0.2) as gateway:
        for number in range(40):
            gateway.router.open(f"{number}", note="x" * 100_000)
        asked = Asked(gateway)
        taking, writer = await asked.open()  # it takes 128 kB, and then nothing
        for _ in range(4):
            writer.write(get(b"/v1/streams", connection=b"keep-alive"))
        quiet = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.6, quiet.set_result, None)
        await quiet
        assert await asked.send(get()) == [404], "nobody else is held up"
        async with asyncio.timeout(DEADLINE_S):
            with suppress(ConnectionError):
                assert statuses(await taking.read()).count(200) < 4
        writer.close()
