"""The archive of a service on a real Ray: what is over is read out of it, and a crash leaves nothing out."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors.errors import UnknownRequest
from router import StreamRouter

pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")

from router.archive.query import query

pytestmark = [pytest.mark.ray, pytest.mark.slow]

DEADLINE_S = 60.0
FINISH = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def config(name: str, folder: Path, **archive: Any) -> Any:
    from router import RouterConfig  # noqa: PLC0415  # beside its use

    return RouterConfig.model_validate(
        {
            "name": name,
            "ray": {"num_cpus": 2},
            "stream_actors": {"max_actors": 1, "warm_actors": 1},
            "archive": {"folder": str(folder), "wait_s": 0.2, **archive},
            "streams": {"dialect": "chat", "sealed_ttl_s": 2.0},
        }
    )


async def publish(router: StreamRouter, request_id: str, settings: Any = None) -> None:
    async with router.publish(request_id, settings, agent_id=f"agent of {request_id}") as stream:
        for text in ("Hello ", request_id):
            await stream.chunk({"choices": [{"index": 0, "delta": {"content": text}}]})
        await stream.chunk(FINISH)


async def until(holds: Callable[[], Any], what: str) -> None:
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not holds():  # noqa: ASYNC110  # what it waits for has no event
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"not within {DEADLINE_S:g} s: {what}")


def files(folder: Path) -> list[Path]:
    return [*folder.rglob("*.parquet")]


async def forgotten(router: StreamRouter, request_id: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                await router.locate(request_id)
            except UnknownRequest:
                return
            await asyncio.sleep(0.1)


async def test_what_the_router_knows_no_more_is_read_out_of_the_archive(tmp_path: Path):
    async with StreamRouter.start(config("archived", tmp_path)) as router:
        await asyncio.gather(*(publish(router, f"req-{n}") for n in range(20)))
        live = await router.result("req-7")
        messages = [message async for message in router.messages("req-7", coalesce="tokens")]
        await until(lambda: files(tmp_path), "a file of the archive")
        await forgotten(router, "req-7")
        kept = await router.result("req-7")
        assert (kept.text, kept.stop_reason, kept.messages) == ("Hello req-7", "end_turn", live.messages)
        assert [message async for message in router.messages("req-7", coalesce="tokens")] == messages
        rest = [message async for message in router.messages("req-7", coalesce="tokens", after=1)]
        assert rest == messages[1:]
        with pytest.raises(UnknownRequest):
            await router.result("never-opened")
        with pytest.raises(UnknownRequest):
            await anext(router.messages("never-opened"))
        found = query("select count(*), min(agent_id), min(text) from requests", str(tmp_path))
        assert found.rows == [(20, "agent of req-0", "Hello req-0")]


async def test_a_router_that_dies_before_it_has_written_writes_when_it_is_back(tmp_path: Path):
    settings = {"dialect": "chat", "sealed_ttl_s": 120.0}
    async with StreamRouter.start(config("archived-again", tmp_path, wait_s=5.0)) as router:
        await publish(router, "req-1", settings)
        [shard] = (await router.describe()).routers
        assert not files(tmp_path), "the batch waits still"
        os.kill(shard.pid, signal.SIGKILL)
        await until(lambda: files(tmp_path), "what was not archived before the crash")
        await publish(router, "req-2", settings)
        await until(lambda: len(files(tmp_path)) > 1, "what ended after it")
    assert query("select request_id, text from requests order by 1", str(tmp_path)).rows == [
        ("req-1", "Hello req-1"),
        ("req-2", "Hello req-2"),
    ]


async def test_what_waits_is_written_when_the_service_stops(tmp_path: Path):
    async with StreamRouter.start(config("archived-last", tmp_path, wait_s=600.0)) as router:
        await publish(router, "req-1")
    assert query("select text from requests", str(tmp_path)).rows == [("Hello req-1",)]
