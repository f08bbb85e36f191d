"""The calls of a router actor for whoever looks on: which requests there are, and how all stands."""

from __future__ import annotations

import asyncio
import os
import time
from abc import ABC, abstractmethod
from typing import Any

from actors.errors import StreamRouterError
from actors.protocol.finding import LIST_WAIT_S_MAX, ListAnswer, ListCall
from actors.protocol.frames import pack, read
from actors.shell import Crowds, wait_at_most
from router.config import RouterConfig
from router.core.doors import Doors
from router.core.registry import Registry
from router.on_ray import descriptions
from router.on_ray.fleet import Fleet
from router.status import overview

DESCRIBE_DEADLINE_S = 2.0


class LookingCalls(ABC):
    """What `RouterActor` answers to those who look, and change nothing."""

    _config: RouterConfig
    _shard: int
    _node_id: str
    _registry: Registry
    _doors: Doors
    _fleet: Fleet
    _lookers: Crowds

    @abstractmethod
    async def _ready(self) -> None:
        """Return when this router knows what it is to know."""

    async def list(self, frame: bytes) -> bytes:
        """List requests: a `ListCall` to a `ListAnswer`."""
        await self._ready()
        call = read(ListCall, frame)
        answer = self._doors.find(call)
        if call.wait_s > 0 and _says_nothing(answer):
            answer = await self._find_later(call, answer)
        return pack(answer)

    async def _find_later(self, call: ListCall, answer: ListAnswer) -> ListAnswer:
        """Return what fits once something does, once all is known again, or when the call's time is over."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + min(call.wait_s, LIST_WAIT_S_MAX)
        was_partial = answer.is_partial
        key = self._doors.watch(call)
        entered = self._lookers.enter(key)
        try:
            while _says_nothing(answer) and answer.is_partial == was_partial and loop.time() < deadline:
                await wait_at_most(entered, deadline - loop.time())
                self._lookers.leave(key, entered)
                entered = self._lookers.enter(key)  # before looking, so that nothing enters unseen
                answer = self._doors.find(call)
            return answer
        finally:
            self._lookers.leave(key, entered)
            self._doors.unwatch(key)

    async def request(self, request_id: str, caller: str = "") -> tuple[tuple[str, str] | None, bytes]:
        """Say how a request stands: (error or None, a `Row`)."""
        await self._ready()
        try:
            return None, pack(self._doors.look_up(caller, request_id))
        except StreamRouterError as error:
            return error.to_wire(), b""

    async def describe(self, caller: str = "") -> dict[str, Any]:
        """Return actors, requests and counters as plain data, as far as the caller may see them."""
        await self._ready()
        names = self._doors.look(caller)
        unknown = await self._fleet.unknown_events(DESCRIBE_DEADLINE_S)
        return descriptions.of_router(
            self._registry,
            self._config,
            self._shard,
            unknown,
            pid=os.getpid(),
            node_id=self._node_id,
            names=names,
            transports=self._fleet.transports(),
        )

    async def overview(self, streams_max: int = 0, caller: str = "") -> dict[str, Any]:
        """Return counters, actors with their measures, and `streams_max` of the most lagging streams, as plain data."""
        await self._ready()
        names = self._doors.look(caller)
        looks = await self._fleet.measure(streams_max if names.sees_all else overview.ALL_STREAMS)
        now, node_id = time.monotonic(), self._node_id
        return overview.of_shard(self._registry, self._config, self._shard, now, looks, node_id, names)


def _says_nothing(answer: ListAnswer) -> bool:
    return answer.is_all and not answer.rows
