"""Within a node calls go through sockets, and what happens is the same; `describe()` says what carries them."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from pathlib import Path

import pytest

from tests.transport import TRANSPORT

pytestmark = [pytest.mark.ray, pytest.mark.skipif(TRANSPORT == "ray", reason="TEST_TRANSPORT says that there are none")]

DEADLINE_S = 60.0
TEXT = {"choices": [{"index": 0, "delta": {"content": "word "}}]}
FINISH = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
WORDS = 40


def sockets(pids: set[int]) -> set[str]:
    """Return the sockets on disk that these processes have made: a name begins with its maker's process ID."""
    folder = Path(tempfile.gettempdir()) / f"stream-router-{os.getuid()}"
    names = [path.name for path in folder.iterdir()] if folder.exists() else []
    return {name for name in names if int(name.partition("-")[0]) in pids}


async def described_until(router, condition):
    """Return a description of which the condition holds."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition(described := await router.describe()):  # noqa: ASYNC110  # it does not tell when
            await asyncio.sleep(0.05)
        return described


def met(described):
    """The lines that were of use so far; of two routers one has nothing to say here."""
    return [line for line in described.lines if line.transport_why != "not met yet"]


async def read(router, request_id):
    return [message async for batch in router.subscribe(request_id) for message in batch]


def said(messages) -> str:
    return "".join(m.content for m in messages if m.message_type == "assistant_message")


async def test_all_speak_through_sockets_soon_and_nothing_of_them_is_on_disk(router, request_id):
    reading = asyncio.create_task(read(router, request_id))
    async with router.publish(request_id, {"dialect": "chat"}) as stream:
        for _ in range(WORDS):
            await stream.chunk(TEXT)
            await asyncio.sleep(0.02)
        described = await described_until(
            router, lambda d: len(met(d)) > 1 and _actor_of(d, request_id).transport == "local"
        )
        assert {line.transport_why for line in met(described)} == {""}
        ours = {os.getpid(), *(actor.pid for actor in [*described.routers, *described.stream_actors])}
        there = sockets(ours)  # what is made from now on is not what these calls go through
        async with asyncio.timeout(DEADLINE_S):
            while there & sockets(ours):  # noqa: ASYNC110  # the file system does not tell when
                await asyncio.sleep(0.05)
        await stream.chunk(FINISH)
    assert said(await reading) == "word " * WORDS


async def test_the_death_of_an_actor_that_speaks_through_sockets_loses_nothing(router, request_id):
    reading = asyncio.create_task(read(router, request_id))
    async with router.publish(request_id, {"dialect": "chat"}) as stream:
        for number in range(WORDS):
            await stream.chunk(TEXT)
            if number == WORDS // 2:
                described = await described_until(router, lambda d: _actor_of(d, request_id).transport == "local")
                os.kill(_actor_of(described, request_id).pid, signal.SIGKILL)
        await stream.chunk(FINISH)
    messages = await reading
    assert said(messages) == "word " * WORDS
    assert [m.seq_id for m in messages] == list(range(1, len(messages) + 1))


def _actor_of(described, request_id):
    (request,) = [request for request in described.requests if request.request_id == request_id]
    return next(actor for actor in described.stream_actors if actor.actor_id == request.actor_id)
