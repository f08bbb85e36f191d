"""The calls of a router actor for whoever looks on: which requests there are, and how all stands."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from typing import Any

from actors.errors import StreamRouterError
from actors.protocol.finding import ListCall
from actors.protocol.frames import pack, read
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

    @abstractmethod
    async def _ready(self) -> None:
        """Return when this router knows what it is to know."""

    async def list(self, frame: bytes) -> bytes:
        """List requests: a `ListCall` to a `ListAnswer`."""
        await self._ready()
        return pack(self._doors.find(read(ListCall, frame)))

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
