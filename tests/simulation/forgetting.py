"""Requests that are forgotten before their time: gone for good, whoever dies meanwhile, and their IDs free again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from actors.errors import LimitExceeded, PoolFull, RequestOpen, RouterUnavailable, StreamRouterError, UnknownRequest
from router.client.stream_router import StreamRouter

from .program import Program
from .scenario import tags_of
from .truth import DATE

if TYPE_CHECKING:
    from .judgement import Request

ASKS_EVERY_S = 0.1
ANEW_SETTINGS = {"dialect": "chat", "sealed_ttl_s": 12.0}
TIMES_ANEW = 2
KEPT_S = 4.0  # so that a call that comes late may find it
SOON_S = 8.0  # well within its time-to-live


class ForgetProgram(Program):
    """Forgets a request as soon as it has ended, or some time later; then, if so planned, its ID is used again."""

    def __init__(self, request: Request) -> None:
        super().__init__(f"{request.plan.request_id} forgetter")
        self.request = request

    @property
    def is_beside(self) -> bool:
        """See `Program`."""
        return True

    async def act(self, client: StreamRouter) -> None:
        plan = self.request.plan
        await asyncio.sleep(plan.forget_s or 0.0)
        if plan.is_published_anew:
            while not self.request.is_read:
                await asyncio.sleep(ASKS_EVERY_S)
        await self._forget(client)
        number = 0
        while plan.is_published_anew and number < TIMES_ANEW and self._has_time:
            await self._publish_anew(client, f"anew {number}")
            number += 1

    @property
    def _has_time(self) -> bool:
        """Whether an open may yet wait for its whole time before all programs are to be done."""
        world = self.request.world
        timeout_s = world.scenario.config.stream_actors.open_timeout_s
        return world.loop.now + timeout_s + 2 * SOON_S < world.scenario.quiet_at_s + world.patience_s

    async def _forget(self, client: StreamRouter) -> None:
        """Ask until it has ended, and was forgotten, or nobody is left who would publish it."""
        request_id, watch = self.request.plan.request_id, self.request.world.watch
        while True:
            watch.forgotten.may_be.add(request_id)
            try:
                await client.forget(request_id)
            except (RequestOpen, UnknownRequest) as error:
                if isinstance(error, UnknownRequest) and self.request.is_published:
                    return
                await asyncio.sleep(ASKS_EVERY_S)
                continue
            except RouterUnavailable:
                return
            watch.forgotten.add(request_id)
            await self._see_that_it_is_gone(client)
            return

    async def _see_that_it_is_gone(self, client: StreamRouter) -> None:
        request_id, world = self.request.plan.request_id, self.request.world
        try:
            info = await client.request(request_id)
        except (UnknownRequest, RouterUnavailable):
            return
        if request_id in world.watch.forgotten:
            world.fail(f"{self.name}: it was forgotten, and is told of still: {info}")

    async def _publish_anew(self, client: StreamRouter, text: str) -> None:
        """Publish another request under the same ID, of which nobody may know the first one."""
        request_id, world = self.request.plan.request_id, self.request.world
        said: list[str] = []
        is_calm = world.loop.now >= world.scenario.quiet_at_s
        try:
            async with client.publish(request_id, ANEW_SETTINGS, date=DATE, tags=tags_of(request_id)) as stream:
                await stream.chunk(self.request.plan.piece(text))
            ended_at_s = world.loop.now  # reading it may take longer than it lives
            async for batch in client.subscribe(request_id, format="dict", wait_s=5.0):
                said += [m["content"] for m in batch if m["message_type"] == "assistant_message"]
        except StreamRouterError as error:
            if is_calm and not isinstance(error, (PoolFull, LimitExceeded)):
                world.fail(f"{self.name}: {text!r} could not be published under its ID: {error!r}")
            return
        if said != [text] and (is_calm or said):
            world.fail(f"{self.name}: {text!r} was published under its ID, and {said} read")
        await asyncio.sleep(KEPT_S)
        try:
            await client.forget(request_id)
        except UnknownRequest:
            if world.loop.now < ended_at_s + SOON_S and not world.faults.have_died_together():
                world.fail(f"{self.name}: {text!r} was forgotten by nobody who meant it")
            return
        world.watch.forgotten.add(request_id)
        await self._see_that_it_is_gone(client)
