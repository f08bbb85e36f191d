"""Ray runs its actors, and so a gateway's workers, on uvloop wherever that is installed."""

from __future__ import annotations

import asyncio

import pytest

from tests.gateway.fakes import served, until
from tests.gateway.said import RECORDED, messages_of

uvloop = pytest.importorskip("uvloop")  # it comes with Ray Serve

MESSAGES = messages_of(next(file for file in RECORDED if file.stem == "openai-tool-2"))


async def read() -> tuple[int, str]:
    async with served() as gateway:
        stream = gateway.router.open("req-1")
        reading = asyncio.create_task(gateway.text("/v1/streams/req-1/events"))
        stream.say(MESSAGES[:1])
        await until(lambda: bool(stream.readers) or reading.done())
        stream.say(MESSAGES[1:], end=True)
        return await reading


def test_a_stream_is_read_where_the_loop_is_uvloops():
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        status, text = runner.run(read())
    assert (status, text.count("\ndata: ")) == (200, len(MESSAGES) + 1)
    assert text.endswith('event: end\ndata: {"stop_reason":"tool_call","last_seq_id":13}\n\n')
