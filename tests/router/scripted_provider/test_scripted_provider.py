"""The scripted provider, and the HTTP source that reads it: real HTTP on loopback."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anthropic
import openai
import pytest
from aiohttp import web

from actors.errors import ConfigError, ProviderError, RecordingError, from_wire
from actors.recording_format import read_recording
from router.demo import RECORDINGS
from router.scripted_provider import Library, Script, provider_process, serve
from router.sources import HttpProviderError, HttpSource, HttpTimeouts, load_payloads, replay
from router.sources.http import route

QUICK = {"events_per_s": 0}


@asynccontextmanager
async def source(library: Library, timeouts: HttpTimeouts | None = None, **script: Any) -> AsyncIterator[HttpSource]:
    async with serve(library, Script.load(QUICK, script)) as url, HttpSource(url, timeouts=timeouts) as opened:
        yield opened


async def read(
    opened: HttpSource, model: str, api: str = "openai-chat", headers: dict[str, str] | None = None
) -> list[bytes]:
    path = route(api, model)
    return [payload async for payload in opened.stream(path, {"model": model, "stream": True}, headers=headers)]


# --- over HTTP ------------------------------------------------------------------------------------


async def test_every_recording_comes_over_http_as_it_is_in_the_file(library: Library):
    async with source(library, split_bytes_max=50) as opened:
        for recording in library.recordings.values():
            assert await read(opened, recording.name, recording.api) == read_recording(recording.body), recording.name


async def test_streams_run_side_by_side_at_their_pace(library: Library):
    async with source(library) as opened:
        started = time.monotonic()
        header = {"x-script": "events_per_s=50"}
        lengths = [
            len(got)
            for got in await asyncio.gather(*(read(opened, "openai-tool-2", headers=header) for _ in range(40)))
        ]
        took_s = time.monotonic() - started
    assert lengths == [13] * 40
    assert 12 / 50 * 0.9 < took_s < 5  # one after the other they would take 40 times as long


async def test_the_query_overrules_the_header_and_the_header_the_server(library: Library):
    async with source(library, cut_after=0) as opened:
        whole = [
            payload
            async for payload in opened.stream(
                "/v1/chat/completions?cut_after=1000",
                {"model": "openai-tool-2", "stream": True},
                headers={"x-script": "cut_after=1"},
            )
        ]
    assert len(whole) == 13


async def test_a_status_is_an_error_with_its_kind_text_and_retry_after(library: Library):
    async with source(library, status=429, retry_after_s=7) as opened:
        with pytest.raises(
            HttpProviderError, match=r"status 429 Too Many Requests: scripted answer 429; try again in 7 s"
        ) as caught:
            await read(opened, "openai-tool-2")
    assert (caught.value.kind, caught.value.status, caught.value.retry_after_s) == ("status", 429, 7)
    assert caught.value.is_retryable
    assert isinstance(from_wire(*caught.value.to_wire()), ProviderError)


@pytest.mark.parametrize(("status", "again"), [(400, False), (401, False), (404, False), (500, True), (529, True)])
async def test_which_status_is_worth_asking_again(library: Library, status: int, again: bool):  # noqa: FBT001
    async with source(library, status=status) as opened:
        with pytest.raises(HttpProviderError) as caught:
            await read(opened, "openai-tool-2")
    assert caught.value.is_retryable is again


async def test_an_html_page_is_said_in_its_words(library: Library):
    async with source(library, status=502, status_body="html") as opened:
        with pytest.raises(HttpProviderError, match=r"status 502 Bad Gateway: 502 Bad gateway$"):
            await read(opened, "openai-tool-2")


async def test_a_page_with_a_good_status_is_no_stream():
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<html><body>Please log in</body></html>", content_type="text/html")

    async with other_server(page) as url, HttpSource(url) as opened:
        with pytest.raises(
            HttpProviderError, match="the answer is text/html, not a stream of events: Please log in"
        ) as caught:
            await read(opened, "m")
    assert caught.value.kind == "not_a_stream"
    assert not caught.value.is_retryable


async def test_keys_that_a_provider_repeats_are_taken_out_of_its_error():
    async def leak(request: web.Request) -> web.Response:
        text = f"bad key {request.headers['x-api-key']} in {dict(request.headers)}; also sk-abcdefghijklmnop1234"
        return web.json_response({"error": {"message": text}}, status=401)

    headers = {"Authorization": "Bearer my-secret-value", "x-api-key": "very-secret"}
    async with other_server(leak) as url, HttpSource(url, headers=headers) as opened:
        with pytest.raises(HttpProviderError) as caught:
            await read(opened, "m")
    assert "secret" not in str(caught.value)
    assert "sk-abc" not in str(caught.value)
    assert len(str(caught.value)) < 500


async def test_a_cut_in_mid_stream_is_an_error_after_what_came(library: Library):
    async with source(library, cut_after=5) as opened:
        got: list[bytes] = []

        async def take() -> None:
            async for payload in opened.stream("/v1/chat/completions", {"model": "openai-tool-2", "stream": True}):
                got.append(payload)  # noqa: PERF401 - what came before the error counts

        with pytest.raises(HttpProviderError, match="cut in mid-stream") as caught:
            await take()
    assert caught.value.kind == "cut"
    assert not caught.value.is_retryable
    assert got == read_recording((RECORDINGS / "openai-tool-2.sse").read_bytes())[:5]


async def test_silence_ends_in_a_timeout(library: Library):
    async with source(library, HttpTimeouts(silence_s=0.2), stall_s=30, stall_after=3) as opened:
        with pytest.raises(HttpProviderError, match=r"silent for 0.2 s in mid-stream") as caught:
            await read(opened, "openai-tool-2")
    assert caught.value.kind == "timeout"


async def test_no_answer_in_time_is_a_timeout():
    async def sleep(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async with other_server(sleep) as url, HttpSource(url, timeouts=HttpTimeouts(response_s=0.2)) as opened:
        with pytest.raises(HttpProviderError, match=r"no answer within 0.2 s"):
            await read(opened, "m")


async def test_an_address_where_nobody_listens_and_one_that_is_none():
    async with HttpSource("http://127.0.0.1:9") as opened:
        with pytest.raises(HttpProviderError, match="cannot be reached") as caught:
            await read(opened, "m")
    assert caught.value.is_retryable
    async with HttpSource("nonsense") as opened:
        with pytest.raises(ProviderError, match="not an HTTP address"):
            await read(opened, "m")
    with pytest.raises(ProviderError, match="as a context manager"):
        await read(HttpSource("http://127.0.0.1:9"), "m")
    with pytest.raises(ProviderError, match="no route is known for 'x'"):
        route("x", "m")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not JSON"),
        (b"[]", "'model' is missing"),
        (b'{"model": "x"}', "set 'stream' to true"),
        (b'{"model": "google-code-2", "stream": true}', "is a recording of gemini"),
    ],
)
async def test_a_bad_request_is_told_what_to_do(library: Library, body: bytes, said: str):
    async with serve(library, Script()) as url, aiohttp.ClientSession() as session:
        response = await session.post(f"{url}/v1/chat/completions", data=body)
        assert response.status in {400, 404}
        assert said in (await response.json())["error"]["message"]


async def test_a_port_that_is_taken_is_refused(library: Library):
    async with serve(library, Script()) as url:
        with pytest.raises(ConfigError, match="choose another port"):
            async with serve(library, Script(), port=int(url.rpartition(":")[2])):
                pass


# --- real clients ---------------------------------------------------------------------------------


async def test_the_openai_client_reads_it(library: Library):
    async with (
        serve(library, Script(events_per_s=0)) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client,
    ):
        assert "openai-tool-2" in [model.id async for model in client.models.list()]
        text = ""
        stream = await client.chat.completions.create(
            model="azure-text-3", messages=[{"role": "user", "content": "?"}], stream=True
        )
        async for chunk in stream:
            text += "".join(choice.delta.content or "" for choice in chunk.choices if choice.delta)
        assert text.startswith("I'm unable to provide real-time weather updates.")
        kinds = {
            event.type
            async for event in await client.responses.create(
                model="deepseek-responses-reasoning-1", input="?", stream=True
            )
        }
        assert "response.completed" in kinds


async def test_the_openai_client_retries_what_the_script_refuses_at_first(library: Library):
    script = Script(events_per_s=0, status=503, fail_first=1, retry_after_s=0)
    async with (
        serve(library, script) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=1) as client,
    ):
        stream = await client.chat.completions.create(
            model="openai-refusal-1", messages=[{"role": "user", "content": "?"}], stream=True
        )
        assert [chunk async for chunk in stream]
        with pytest.raises(openai.NotFoundError, match="is a recording of gemini"):
            await client.chat.completions.create(
                model="google-code-2", messages=[{"role": "user", "content": "?"}], stream=True
            )


async def test_the_anthropic_client_reads_it(library: Library):
    async with (
        serve(library, Script(events_per_s=0)) as url,
        anthropic.AsyncAnthropic(base_url=url, api_key="none") as client,
    ):
        async with client.messages.stream(
            model="anthropic-parallel-tools-3", max_tokens=100, messages=[{"role": "user", "content": "?"}]
        ) as stream:
            message = await stream.get_final_message()
        assert [block.name for block in message.content if block.type == "tool_use"] == ["get_weather", "get_time"]
        with pytest.raises(anthropic.RateLimitError):
            await client.with_options(max_retries=0).messages.create(
                model="anthropic-search-3",
                max_tokens=100,
                messages=[{"role": "user", "content": "?"}],
                stream=True,
                extra_headers={"x-script": "status=429"},
            )


# --- as a process ---------------------------------------------------------------------------------


async def test_the_process_serves_and_ends_with_its_block():
    async with provider_process(RECORDINGS, QUICK) as url, HttpSource(url) as opened:
        assert len(await read(opened, "openai-tool-2")) == 13
    async with HttpSource(url) as opened:
        with pytest.raises(HttpProviderError, match="cannot be reached"):
            await read(opened, "openai-tool-2")


async def test_what_keeps_the_process_from_starting_is_said_here(tmp_path: Path):
    with pytest.raises(RecordingError, match="no recordings"):
        async with provider_process(tmp_path):
            pass
    with pytest.raises(ConfigError, match="unknown key"):
        async with provider_process(RECORDINGS, {"pace": 1}):
            pass


def test_the_process_does_not_outlive_a_parent_that_was_killed():
    # The parent says its child's address and is then killed; the port must be free again soon.
    code = (
        "import asyncio\n"
        "from router.demo import RECORDINGS\n"
        "from router.scripted_provider import provider_process\n"
        "async def main():\n"
        "    async with provider_process(RECORDINGS) as url:\n"
        "        print(url, flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline().rpartition(":")[2])
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 15
    while is_listening(port):
        assert time.monotonic() < deadline, "the provider outlived its parent"
        time.sleep(0.05)


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# --- replay ---------------------------------------------------------------------------------------


async def test_replay_keeps_the_pace_and_gives_every_payload(tmp_path: Path):
    payloads = load_payloads(RECORDINGS / "openai-tool-2.sse")
    started = time.monotonic()
    assert [payload async for payload in replay(payloads, events_per_s=100)] == payloads
    assert time.monotonic() - started >= 0.119
    with pytest.raises(RecordingError, match="cannot be read"):
        load_payloads(tmp_path / "nope.sse")
    (tmp_path / "bad.sse").write_text("hello")
    with pytest.raises(RecordingError, match=r"bad.sse: "):
        load_payloads(tmp_path / "bad.sse")


@asynccontextmanager
async def other_server(handler: Any) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
