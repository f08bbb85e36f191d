"""A router's side of its archive: it waits for no archivist, and goes on when one could not begin."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError

from actors.errors import RouterUnavailable
from router.config import RouterConfig
from router.on_ray import archiving
from router.on_ray.archiving import Archiving

CONFIG = RouterConfig.model_validate({"archive": {"folder": "/somewhere", "batch_requests": 1, "wait_s": 0.02}})
DEADLINE_S = 10.0


class Archivist:
    """What Ray would give: it writes, unless it has died or the store is full."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.errors: list[Exception] = []
        self.write = SimpleNamespace(remote=self._write)
        self.find = SimpleNamespace(remote=self._find)

    async def _write(self, parts: Any) -> int:
        if self.errors:
            raise self.errors.pop(0)
        self.written += [ended[0] for ended in parts[2]]
        return 1

    async def _find(self, full_name: str) -> bytes | None:
        if self.errors:
            raise self.errors.pop(0)
        return b"its log" if full_name in self.written else None


class Ray:
    """Makes archivists, once it may."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.may_make = threading.Event()
        self.may_make.set()
        self.made: list[Archivist] = []
        self.errors: list[Exception] = []
        monkeypatch.setattr(archiving.ray_actors, "make_archivist", self.make)
        monkeypatch.setattr(archiving, "BACKOFF_S", 0.001)

    def make(self, *_arguments: object) -> Archivist:
        self.may_make.wait(DEADLINE_S)
        if self.errors:
            raise self.errors.pop(0)
        self.made.append(Archivist())
        return self.made[-1]


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Ray:
    return Ray(monkeypatch)


def archiving_of(*request_ids: str) -> Archiving:
    ended = SimpleNamespace(log=b"log", epoch=1, agent_id=None, date="", opened_at=0.0, labels=b"")
    registry: Any = SimpleNamespace(requests=dict.fromkeys(request_ids, ended))
    made = Archiving(CONFIG, 0, "incarnation", registry)
    made.take(request_ids)
    return made


async def until(condition) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  # what is waited for does not tell
            await asyncio.sleep(0.001)


async def test_while_the_control_store_stands_still_the_router_goes_on(ray):
    ray.may_make.clear()
    made = archiving_of("req")
    writing = asyncio.ensure_future(made.keep_writing())
    finding = asyncio.ensure_future(made.find("req"))
    for _ in range(20):
        await asyncio.sleep(0.001)  # this very loop
    assert not finding.done()
    ray.may_make.set()
    await until(lambda: ray.made and ray.made[0].written == ["req"])
    await finding
    assert len(ray.made) == 1, "who asks at once asks the same one"
    assert await made.find("req") == b"its log"
    writing.cancel()


async def test_one_that_could_not_begin_is_made_anew_and_what_waits_is_written(ray):
    ray.errors = [RuntimeError("no control store"), ValueError("nobody had thought of that")]
    made = archiving_of("req")
    with pytest.raises(RouterUnavailable, match="the archive does not answer: no control store"):
        await made.find("req")
    writing = asyncio.ensure_future(made.keep_writing())
    await until(lambda: ray.made and ray.made[0].written == ["req"])
    ray.made[0].errors = [ActorDiedError()]
    with pytest.raises(RouterUnavailable, match="the archive does not answer"):
        await made.find("req")
    assert await made.find("req") is None
    assert len(ray.made) == 2
    writing.cancel()
