"""Publishing: the one program of a request that should, its successor, and rivals."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from actors.errors import (
    AgentBusy,
    AgentFenced,
    BufferFull,
    DuplicateRequest,
    LimitExceeded,
    PoolFull,
    RequestCancelled,
    RequestEnded,
    RequestLost,
    RouterClosed,
    StreamRouterError,
    UnknownRequest,
)
from router.client.stream_router import StreamRouter

from .features import Feature
from .program import Program
from .scenario import tags_of
from .truth import DATE

if TYPE_CHECKING:
    from .judgement import Request

SHORT_TIMER_S = 10.0
DISK_RETRY_S = 5.0
ANSWER_SLACK_S = 5.0


class PublishProgram(Program):
    """Publishes a request; a successor waits for its predecessor's death and takes over."""

    def __init__(self, request: Request, *, takes_over: bool) -> None:
        super().__init__(f"{request.plan.request_id} {'successor' if takes_over else 'publisher'}")
        self.request = request
        self.takes_over = takes_over
        self.stop_reason: str | None = None
        self.error: StreamRouterError | None = None
        self.finished = False
        self.at = "not begun"
        self.has_opened = False
        self.opened_at_s = 0.0
        self.was_timed = False

    def describe(self) -> str:
        return f"{self.name} ({self.at})"

    @property
    def waits_on_door(self) -> bool:
        """Whether it is not only waiting for another program."""
        return self.at not in ("not begun", "waiting for its predecessor")

    @property
    def is_well(self) -> bool:
        """Whether it publishes, and its process has had no trouble of its own."""
        return self.has_opened and not self.is_done and self.number not in self.request.world.faults.process_troubles

    async def act(self, client: StreamRouter) -> None:
        plan = self.request.plan
        if not self.takes_over:
            await asyncio.sleep(plan.starts_s)
            await self._publish(client, take_over=False)
            while isinstance(self.error, PoolFull) and self.request.world.may_try_again:
                self.error = None
                await asyncio.sleep(1.0)
                await self._publish(client, take_over=False)
            return
        first = self.request.publishers[0]
        self.at = "waiting for its predecessor"
        while not first.is_done:
            await asyncio.sleep(0.5)
        while not first.ended:
            await self._publish(client, take_over=True)
            if not isinstance(self.error, DuplicateRequest):
                return
            self.error = None
            await asyncio.sleep(1.0)

    async def _publish(self, client: StreamRouter, *, take_over: bool) -> None:
        plan, world = self.request.plan, self.request.world
        self.at = "opening"
        began_s = world.loop.now
        publisher = None
        try:
            publisher = client.publish(
                plan.request_id,
                plan.settings,
                date=DATE,
                agent_id=plan.agent_id,
                when_busy=plan.when_busy,  # type: ignore[arg-type]  # drawn from the three
                take_over=take_over,
                tags=tags_of(plan.request_id),
            )
            async with publisher as stream:
                self.has_opened = True
                self.opened_at_s = world.loop.now
                self._see_that_open_was_prompt(began_s)
                start = stream.next_seq - 1 if take_over else 0
                if take_over:
                    self.request.was_taken_over = True
                elif not self._nobody_knows_of_another():
                    self.request.opened.append(self.name)
                await self._say_all(stream, start)
                self.at = "finishing"
                self.finished = True
                if world.scenario.disk is not None:
                    await self._insist(stream.finish)
        except StreamRouterError as error:
            self._see_that_open_was_prompt(began_s)
            self.error = error
            self._judge(error)
        self.stop_reason = publisher.stop_reason if publisher is not None else None
        self.at = f"ended ({self.stop_reason}, {self.error!r})"
        world.tell(f"{self.name} {self.at}")

    def _nobody_knows_of_another(self) -> bool:
        """Whether all who published it before have heard its end, and the one router that knew of it too is gone."""
        others = [other for other in self.request.publishers if other is not self and other.has_opened]
        was_placed = self.request.plan.request_id in self.request.world.watch.sealed_seen_at
        if not others or was_placed or not self.request.world.faults.router_downs:
            return False
        return all(other.is_done and other.stop_reason for other in others)

    async def _say_all(self, stream: Any, start: int) -> None:
        seq = 0
        for kind, body in self.request.plan.ops:
            if kind == "sleep":
                if seq >= start:
                    await asyncio.sleep(body)
                continue
            seq += 1
            if seq <= start:
                continue
            self.at = f"item {seq} of {len(self.request.items)}"
            if kind == "chunk":
                say = functools.partial(stream.chunk, body)
            elif kind == "message":
                say = functools.partial(stream.message, body)
            else:
                say = stream.step_end
            if self.request.world.scenario.disk is None:
                await say()
            else:
                await self._insist(say)

    async def _insist(self, say: Callable[[], Awaitable[None]]) -> None:
        """Say something again while the disk is full: it was not taken, and the request stays open."""
        world = self.request.world
        while True:
            try:
                return await say()
            except LimitExceeded:
                disk = world.scenario.disk
                if disk is None or disk.fault != "full" or world.loop.now > disk.until_s + DISK_RETRY_S:
                    raise
            await asyncio.sleep(0.2)

    def _see_that_open_was_prompt(self, began_s: float) -> None:
        """An open is answered within its own deadline, whatever has become of the stream actors."""
        world = self.request.world
        is_watched = world.scenario.features & {Feature.UNPLACED, Feature.CONTROL}
        if not is_watched or self.was_timed or world.is_rough:
            return
        self.was_timed = True
        waits = 2 if self.request.plan.agent_id is not None else 1  # for its agent, then for its place
        allowed_s = waits * world.scenario.config.stream_actors.open_timeout_s + ANSWER_SLACK_S
        took_s = world.loop.now - began_s
        is_hindered = world.faults.was_router_down(began_s) or world.faults.hit_agents_router
        if took_s > allowed_s and not is_hindered and self.number not in world.faults.process_troubles:
            world.fail(f"{self.name}: its open was answered after {took_s:.1f} s, allowed are {allowed_s:g} s")

    def _judge(self, error: StreamRouterError) -> None:
        """Say whether this error may come to a publisher."""
        request, world = self.request, self.request.world
        plan = request.plan
        allowed = {
            RequestCancelled: plan.cancel_s is not None or plan.agent_id is not None,
            # By its timers, by its first step's end, or lost: the readers' end is judged.
            RequestEnded: "was forgotten" not in str(error) or self._may_not_have_heard(),
            AgentBusy: plan.agent_id is not None,
            PoolFull: self._may_find_no_place(),
            LimitExceeded: world.scenario.config.limits.open_requests_max
            < len(world.requests) + len(world.scenario.hostile)
            or request.may_be_unreadable,
            RequestLost: request.may_be_unreadable,
            RouterClosed: self.number in world.faults.closed_at,
            AgentFenced: plan.agent_id is not None,
            BufferFull: plan.settings.when_full == "fail",
            DuplicateRequest: self.takes_over or len(request.publishers) > 1,
            UnknownRequest: self.takes_over,
        }
        if not allowed.get(type(error), False):
            world.fail(f"{self.name} got {type(error).__name__}: {error}")

    def _may_not_have_heard(self) -> bool:
        """Whether it may have been too late to hear that its request has ended, before that was forgotten."""
        faults, watch = self.request.world.faults, self.request.world.watch
        is_forgotten_early = self.request.plan.request_id in watch.forgotten.may_be
        is_hindered = self.request.world.is_rough or self.number in faults.process_troubles or faults.router_downs
        return bool(not is_forgotten_early or is_hindered)

    def _may_find_no_place(self) -> bool:
        """Whether there may be more requests than places, or no stream actor that answers for as long as opens wait."""
        world = self.request.world
        pool = world.scenario.config.stream_actors
        is_hindered = not world.scenario.is_calm and pool.open_timeout_s < SHORT_TIMER_S
        return (
            world.has_few_places
            or is_hindered
            or Feature.UNPLACED in world.scenario.features
            or world.scenario.is_harsh
        )


class RivalProgram(PublishProgram):
    """A second publisher of a request, who knows nothing of the first."""

    def __init__(self, request: Request, at_s: float) -> None:
        super().__init__(request, takes_over=False)
        self.name = f"{request.plan.request_id} rival"
        self._at_s = at_s

    async def act(self, client: StreamRouter) -> None:
        await asyncio.sleep(self._at_s)
        await self._publish(client, take_over=False)
