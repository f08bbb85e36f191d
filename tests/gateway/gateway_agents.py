"""Agents that the tests have run on a real Ray."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from router import Publisher

WORDS = 40
LARGE_CHARACTERS = 64 * 1024


def chunk(text: str | None, finish: str | None = None) -> dict[str, Any]:
    """Return a chunk as OpenAI's chat has it."""
    delta = {} if text is None else {"content": text}
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


async def echo(given: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Say the question again, and count."""
    yield chunk(given["messages"][-1]["content"])
    for number in range(WORDS):
        yield chunk(f" {number}")
    yield chunk(None, "stop")


async def endless(stream: Publisher, _given: dict[str, Any]) -> None:
    """Say one word and nothing more, for ever."""
    await stream.chunk(chunk("Wait"))
    await asyncio.Event().wait()


async def steady(given: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Say a word every ten milliseconds, or every `pace_s`, until it is cancelled."""
    for number in itertools.count():
        yield chunk(f" {number}")
        await asyncio.sleep(given.get("pace_s", 0.01))


async def large(_given: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Say three megabytes."""
    for _ in range(48):
        yield chunk("x" * LARGE_CHARACTERS)
    yield chunk(None, "stop")


async def failing(_given: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Say a word, and fail."""
    yield chunk("Oh")
    raise ValueError("no more")


SPOKEN = {"message_type": "assistant_message", "content": "and a message"}


async def speaking(_given: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Say a chunk and a message."""
    yield chunk("A chunk ")
    yield SPOKEN
    yield chunk(None, "stop")


class Crew:
    """An actor whose methods are agents."""

    def __init__(self) -> None:
        self._was_left = asyncio.Event()

    async def run(self, given: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Do as `speaking`."""
        async for said in speaking(given):
            yield said

    async def wait(self, _given: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Say one word and nothing more, until the call is cancelled."""
        yield chunk("Wait")
        try:
            await asyncio.Event().wait()
        finally:
            self._was_left.set()

    async def until_left(self) -> None:
        """Return when a call of `wait` was cancelled."""
        await self._was_left.wait()

    async def fail(self, given: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Do as `failing`."""
        async for said in failing(given):
            yield said


PAGE = Path(__file__).resolve().parents[2] / "docs" / "gateway.md"
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
exec(compile(SNIPPETS[0], str(PAGE), "exec"), globals())  # noqa: S102  # `ada`, the agent that the page shows
