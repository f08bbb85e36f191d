"""Promise: over HTTP, keys stay with their origin, and whatever a server answers is a payload or a named error."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from actors.errors import ChunkTooLarge
from router.sources import HttpProviderError, HttpSource

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
BODY = {"model": "m", "stream": True}
ANSWER = {"object": "chat.completion", "choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}]}


@asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def answering(body: bytes | str, content_type: str, status: int = 200) -> Handler:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type=content_type, status=status)

    return handler


async def payloads(url: str, **more: object) -> list[bytes]:
    headers = {"authorization": "Bearer k", "x-api-key": "k", "x-own": "k"}
    async with HttpSource(url, headers=headers) as source:
        return [payload async for payload in source.stream("/v1/x", BODY, **more)]  # type: ignore[arg-type]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_to_another_origin_gets_neither_keys_nor_the_request(status: int) -> None:
    seen: list[str] = []

    async def other(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(text="data: 1\n\n", content_type="text/event-stream")

    async with server(other) as there:

        async def redirect(_: web.Request) -> web.Response:
            return web.Response(status=status, headers={"location": f"{there}/v1/x?secret=1"})

        async with server(redirect) as here:
            with pytest.raises(HttpProviderError, match="another origin") as caught:
                await payloads(here)
    assert seen == []
    assert (caught.value.kind, caught.value.is_retryable) == ("redirect", False)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_within_the_origin_is_followed_with_the_same_request(status: int) -> None:
    async def handler(request: web.Request) -> web.Response:
        if request.path == "/v1/x":
            return web.Response(status=status, headers={"location": "/v2/x"})
        said = {"method": request.method, "key": request.headers["x-api-key"], "body": await request.json()}
        return web.Response(text=f"data: {json.dumps(said)}\n\n", content_type="text/event-stream")

    async with server(handler) as url:
        (payload,) = await payloads(url)
    assert json.loads(payload) == {"method": "POST", "key": "k", "body": BODY}


async def test_a_redirect_in_a_circle_ends() -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=307, headers={"location": "/again"})

    async with server(handler) as url:
        with pytest.raises(HttpProviderError, match="redirected 5 times"):
            await payloads(url)


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "text/plain", "text/event-stream", "application/x-ndjson", "application/problem+json"],
)
@pytest.mark.parametrize("indent", [None, 2])
async def test_json_of_any_accepted_type_is_a_payload(content_type: str, indent: int | None) -> None:
    async with server(answering(json.dumps(ANSWER, indent=indent), content_type)) as url:
        (payload,) = await payloads(url)
    assert json.loads(payload) == ANSWER


@pytest.mark.parametrize("content_type", ["text/plain", "text/event-stream", "text/html"])
async def test_a_page_is_a_named_error_with_its_first_words(content_type: str) -> None:
    async with server(answering("<html><body>Log in, please</body></html>", content_type)) as url:
        with pytest.raises(HttpProviderError, match="Log in, please") as caught:
            await payloads(url)
    assert (caught.value.kind, caught.value.is_retryable) == ("not_a_stream", False)


@pytest.mark.parametrize("body", [b"", b": hello\n\n", b"\n\n"])
async def test_an_empty_answer_is_never_silence_and_worth_asking_again(body: bytes) -> None:
    async with server(answering(body, "text/event-stream")) as url:
        with pytest.raises(HttpProviderError, match="empty answer") as caught:
            await payloads(url)
    assert (caught.value.kind, caught.value.is_retryable) == ("empty", True)


async def test_spent_quota_is_not_worth_asking_again() -> None:
    body = json.dumps({"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}})
    async with server(answering(body, "application/json", 429)) as url:
        with pytest.raises(HttpProviderError, match="current quota") as caught:
            await payloads(url)
    assert not caught.value.is_retryable


async def test_chunk_bytes_max_bounds_what_is_read() -> None:
    async with server(answering(b"data: " + b"x" * 2000 + b"\n\n", "text/event-stream")) as url:
        with pytest.raises(ChunkTooLarge):
            await payloads(url, chunk_bytes_max=1000)
        assert len((await payloads(url))[0]) == 2000
