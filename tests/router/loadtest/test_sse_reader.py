"""Readers over HTTP read what a subscription gives, and go on where a gateway leaves them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from actors.errors import RouterUnavailable
from gateway.config import FORMATS
from router.demo.recorded_content import received
from router.loadtest.sse_reader import SseReader
from router.loadtest.verify import Assembly
from tests.gateway.fakes import served, until
from tests.gateway.said import RECORDED, messages_of

MESSAGES = messages_of(next(file for file in RECORDED if file.stem == "openai-tool-2"))


async def read(reader: SseReader, request_id: str, said: list[Any], wait_s: float = 10.0) -> None:
    async for batch in reader.read(request_id, wait_s):
        said += batch.messages


@pytest.mark.parametrize("name", FORMATS)
async def test_a_reader_that_is_cut_goes_on_with_another_gateway_and_has_each_message_once(name: Any):
    said: list[dict[str, Any]] = []
    request_id = "agui-req-1"
    async with served() as second, AsyncExitStack() as held:
        first = await held.enter_async_context(served())
        first.router.open(request_id).say(MESSAGES[:5])
        second.router.open(request_id).say(MESSAGES, end=True)
        async with SseReader([first.url, second.url], name) as reader:
            reading = asyncio.create_task(read(reader, request_id, said))
            await until(lambda: len(said) >= 4)
            await held.aclose()
            await reading
    assert [message["seq_id"] for message in said] == list(range(1, len(said) + 1))
    assembly = Assembly()
    for message in said:
        assembly.feed(message)
    (call,) = assembly.content().calls
    assert call == received(MESSAGES).calls[0]
    assert assembly.terminals == 1
    if name == "native":
        assert said == [{**message, "run_id": request_id} for message in MESSAGES]


async def test_a_request_that_no_gateway_knows_is_given_up_in_the_end():
    async with served() as gateway, SseReader([gateway.url], "native") as reader:
        with pytest.raises(RouterUnavailable, match="no gateway has said anything of 'none'"):
            await read(reader, "none", [], wait_s=0.0)
