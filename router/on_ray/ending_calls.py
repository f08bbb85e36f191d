"""The calls of a router actor that end requests, and that forget those that have ended."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod

from actors.errors import Recovering
from router.core.doors import Doors, Told
from router.core.registry import Registry
from router.on_ray.ends import Ends

END_WAIT_S = 6.0
"""An answer to a cancel, a fence, or a wish to forget waits so long for what it brings about."""


class EndingCalls(ABC):
    """What a `RouterActor` does at the word of somebody else than a request's publisher."""

    _registry: Registry
    _doors: Doors
    _ends: Ends

    @abstractmethod
    async def _ready(self) -> None:
        """Return when this router knows what it is to know."""

    @abstractmethod
    def _after_event(self) -> None:
        """Perform what the registry wants done."""

    async def cancel(
        self,
        request_id: str,
        after_step: bool = False,  # noqa: FBT001, FBT002  # a Ray method
        detail: str | None = None,
        caller: str = "",
    ) -> tuple[Told | None, bool]:
        """Cancel a request: (error or None, whether it was still open). `caller`: the client ID, where it counts.

        The answer waits for the end, shortly: should this router die now, a cancel that only it knows of
        would be lost, and whoever asked for it would believe it done.
        """
        await self._ready()
        done = self._doors.cancel(caller, request_id, time.monotonic(), after_step=after_step, detail=detail)
        if done.error is not None:
            return done.error, False
        ends = self._ends.expect([done.full] if done.was_open and not after_step else [])
        self._after_event()
        await self._ends.wait(ends, END_WAIT_S)
        return None, done.was_open

    async def forget(self, request_id: str, number: int = 0, caller: str = "") -> tuple[Told | None, int]:
        """Forget the ended request with this number: (error or None, its number); 0: only say which number that is.

        The answer comes when no stream actor holds it any more: should this router die before, the next one would
        find it there. Raises Recovering while one may.
        """
        await self._ready()
        done = self._doors.forget(caller, request_id, number, time.monotonic())
        if done.error is not None or not number:
            return done.error, done.number
        under_way = self._registry.forgetting.is_under_way
        drops = self._ends.expect([done.full] if under_way(done.full) else [])
        self._after_event()
        await self._ends.wait(drops, END_WAIT_S)
        if under_way(done.full):
            raise Recovering("stream actors are still being told to drop the request; ask again in a moment")
        return None, done.number

    async def disown(self, client_id: str, request_id: str) -> None:
        """A process does not know the request that it is the publisher of."""
        await self._ready()
        self._doors.disown(client_id, request_id, time.monotonic())
        self._after_event()
