"""Programs that neither publish nor read: they cancel, close doors, and say what makes no sense."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from actors.errors import RouterClosed, StreamRouterError, UnknownRequest
from router.client.stream_router import StreamRouter

from .program import Program
from .scenario import _chunk

if TYPE_CHECKING:
    from .judgement import Request
    from .world import World

HOSTILE_SETTINGS = {"dialect": "chat", "sealed_ttl_s": 2.0}
CLOSE_DEADLINE_S = 15.0
ANSWER_SLACK_S = 5.0
OPEN_DEADLINE_S = 60.0


class CancelProgram(Program):
    """Cancels a request at its time."""

    def __init__(self, request: Request) -> None:
        super().__init__(f"{request.plan.request_id} canceller")
        self.request = request

    async def act(self, client: StreamRouter) -> None:
        plan, world = self.request.plan, self.request.world
        await asyncio.sleep(plan.cancel_s or 0.0)
        while not self.request.is_published:
            self.request.cancel_is_asked = True
            # Before the call: what opens while the answer is on its way may be unknown in it.
            is_there = any(publisher.is_well for publisher in self.request.publishers)
            try:
                was_open = await client.cancel(plan.request_id, after_step=plan.cancel_after_step)
            except UnknownRequest as error:
                # Where calls are lost as well, a publisher may come later than a restarted router waits for it.
                is_well = is_there and any(publisher.is_well for publisher in self.request.publishers)
                if is_well and not (world.is_rough or self.request.is_out_of_time()):
                    world.fail(f"{self.name}: its publisher is well, but: {error}")
                await asyncio.sleep(0.5)
                continue
            if was_open and not plan.cancel_after_step:
                ends_itself = not plan.settings.multi_step or any(p.finished for p in self.request.publishers)
                self.request.must_be_cancelled = not ends_itself
            world.tell(f"{plan.request_id} cancelled; it was {'open' if was_open else 'over'}")
            if was_open and not plan.cancel_after_step and world.scenario.is_calm:
                await self._see_that_it_is_prompt()
            return

    async def _see_that_it_is_prompt(self) -> None:
        publisher = self.request.publishers[0]
        for _ in range(20):
            if publisher.ended:
                return
            await asyncio.sleep(0.1)
        if publisher.at != "not begun":
            self.request.world.fail(f"{publisher.describe()}: 2 s after a cancel it still runs")


class CloseProgram(Program):
    """Closes its process's door; from then on every call there must say so."""

    def __init__(self, world: World, at_s: float) -> None:
        super().__init__("close")
        self._world = world
        self._at_s = at_s

    async def act(self, client: StreamRouter) -> None:
        world = self._world
        await asyncio.sleep(self._at_s)
        world.tell(f"client-{self.number} closes")
        world.faults.closes(self.number)
        began_s = world.loop.now
        await client.close()
        if world.loop.now - began_s > CLOSE_DEADLINE_S and not self._was_stopped():
            world.fail(f"close of client-{self.number} took {world.loop.now - began_s:.1f} s")
        await client.close()
        for name, call in (
            ("publish", lambda: client.publish("after-close").open()),
            ("subscribe", lambda: anext(aiter(client.subscribe("after-close", wait_s=3.0)))),
            ("cancel", lambda: client.cancel("after-close")),
            ("forget", lambda: client.forget("after-close")),
            ("describe", client.describe),
        ):
            try:
                async with asyncio.timeout(ANSWER_SLACK_S):
                    await call()
            except RouterClosed:
                continue
            except Exception as error:
                world.fail(f"{name} after close() raised {type(error).__name__}: {error}")
            else:
                world.fail(f"{name} after close() was answered")

    def _was_stopped(self) -> bool:
        troubles = self._world.faults.process_troubles.get(self.number, ())
        return any(kind == "stop_process" for _, kind, _ in troubles)


class _Odd:
    """What no program can take for anything."""

    def __repr__(self) -> str:
        return "_Odd()"  # no address: a seed tells the same each time


async def _first(subscription: Any) -> None:
    async for _ in subscription:
        return


async def _say_odd(client: StreamRouter, number: int, odd: Callable[[Any], Awaitable[None]]) -> None:
    async with client.publish(f"hostile-{number}", HOSTILE_SETTINGS) as stream:
        await stream.chunk(_chunk("well "))
        await odd(stream)


HOSTILE: dict[str, Callable[[StreamRouter, int], Awaitable[Any]]] = {
    "subscribe after=None": lambda client, _: _first(client.subscribe("request-0", after=None)),  # type: ignore[arg-type]
    "subscribe after='7'": lambda client, _: _first(client.subscribe("request-0", after="7")),  # type: ignore[arg-type]
    "subscribe after=1.5": lambda client, _: _first(client.subscribe("request-0", after=1.5)),  # type: ignore[arg-type]
    "subscribe after=10**30": lambda client, _: _first(client.subscribe("request-0", after=10**30)),
    "subscribe after=-1": lambda client, _: _first(client.subscribe("request-0", after=-1)),
    "subscribe format": lambda client, _: _first(client.subscribe("request-0", format="bad")),  # type: ignore[arg-type]
    "subscribe a list": lambda client, _: _first(client.subscribe(["x"])),  # type: ignore[arg-type]
    "publish date": lambda client, n: client.publish(f"hostile-{n}", date="yesterday").open(),
    "publish agent": lambda client, n: client.publish(f"hostile-{n}", agent_id=["a"]).open(),  # type: ignore[arg-type]
    "publish a list": lambda client, _: client.publish(["x"]).open(),  # type: ignore[arg-type]
    "cancel a list": lambda client, _: client.cancel(["x"]),  # type: ignore[arg-type]
    "cancel detail": lambda client, _: client.cancel("nobody", detail=_Odd()),  # type: ignore[arg-type]
    "locate None": lambda client, _: client.locate(None),  # type: ignore[arg-type]
    "finish usage": lambda client, n: _say_odd(client, n, lambda s: s.finish(usage={"odd": _Odd()})),
    "finish reason": lambda client, n: _say_odd(client, n, lambda s: s.finish(stop_reason=_Odd())),
    "fail text": lambda client, n: _say_odd(client, n, lambda s: s.fail(_Odd(), "x")),
    "message": lambda client, n: _say_odd(client, n, lambda s: s.message({"message_type": _Odd()})),
    "chunk": lambda client, n: _say_odd(client, n, lambda s: s.chunk(_Odd())),
    "step date": lambda client, n: _say_odd(client, n, lambda s: s.step_start(date=_Odd())),
    "not opened": lambda client, n: client.publish(f"hostile-{n}").chunk(b"{}"),
}


class HostileProgram(Program):
    """Calls something with what makes no sense there; it must hear so, and nobody else."""

    def __init__(self, world: World, at_s: float) -> None:
        super().__init__("hostile")
        self._world = world
        self._at_s = at_s

    async def act(self, client: StreamRouter) -> None:
        world = self._world
        await asyncio.sleep(self._at_s)
        world.hostile_made += 1
        what = world.random.choice(list(HOSTILE))
        self.name = f"hostile: {what}"
        began_s = world.loop.now
        try:
            await HOSTILE[what](client, world.hostile_made)
        except StreamRouterError as error:
            world.tell(f"client-{self.number} {self.name}: {error!r}"[:200])
        except Exception as error:
            world.fail(f"client-{self.number} {self.name} raised {type(error).__name__}: {error}")
        else:
            world.fail(f"client-{self.number} {self.name} was taken")
        if world.loop.now - began_s > OPEN_DEADLINE_S + ANSWER_SLACK_S and not world.faults.process_troubles:
            world.fail(f"client-{self.number} {self.name} was answered after {world.loop.now - began_s:.0f} s")
