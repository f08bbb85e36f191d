"""A list that finds nothing is held back until something fits, and no longer than was asked for."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from registry_driver import Router

from actors.protocol.finding import LIST_WAIT_S_MAX, ListAnswer, ListCall
from actors.protocol.frames import pack, read
from actors.protocol.labels import pack_labels
from actors.shell import Crowds
from router.core.doors import Doors
from router.on_ray.looking_calls import LookingCalls


class Shell(LookingCalls):
    """As much of a router actor as lists requests."""

    def __init__(self, *nodes: str) -> None:
        self.router = Router(*nodes)
        self._registry = self.router.registry
        self._doors = Doors(self._registry)
        self._lookers = Crowds()

    async def _ready(self) -> None:
        return

    def open(self, request_id: str, **labels: str) -> None:
        self.router.open(request_id, labels=pack_labels(labels, {}))
        for key in self._registry.take_effects().entered:
            self._lookers.wake(key)

    async def found(self, **parts: Any) -> list[str]:
        call = ListCall("", None, [], None, 0, 0, 100, newest_first=False)._replace(**parts)
        return [row[0] for row in read(ListAnswer, await self.list(pack(call))).rows]

    @property
    def is_quiet(self) -> bool:
        """Whether nobody waits, and nothing is watched for anybody."""
        return not len(self._lookers) and not self._registry.requests.catalogue._watched


@pytest.fixture
def shell() -> Shell:
    return Shell("node-a")


async def test_it_answers_when_something_fits_and_not_for_anything_else(shell):
    waiting = asyncio.ensure_future(shell.found(tags=[["team", "blue"]], wait_s=LIST_WAIT_S_MAX))
    await asyncio.sleep(0)
    shell.open("a", team="red")
    await asyncio.sleep(0)
    assert not waiting.done()
    began = time.monotonic()
    shell.open("b", team="blue")
    assert await waiting == ["b"]
    assert time.monotonic() - began < LIST_WAIT_S_MAX / 2
    assert shell.is_quiet


async def test_what_is_there_is_told_at_once_and_without_a_wait_so_is_nothing(shell):
    assert await shell.found() == []
    shell.open("a")
    assert await shell.found(wait_s=LIST_WAIT_S_MAX) == ["a"]


async def test_it_is_held_back_as_long_as_was_asked_for_and_then_says_nothing(shell):
    began = time.monotonic()
    assert await shell.found(wait_s=0.05) == []
    assert 0.05 <= time.monotonic() - began < LIST_WAIT_S_MAX
    assert shell.is_quiet


async def test_one_that_is_given_up_leaves_nothing_behind(shell):
    waiting = asyncio.ensure_future(shell.found(wait_s=LIST_WAIT_S_MAX))
    await asyncio.sleep(0)
    assert not shell.is_quiet
    waiting.cancel()
    await asyncio.wait([waiting])
    assert shell.is_quiet
