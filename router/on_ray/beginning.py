"""What a router actor does before it answers: it clears away what a dead router left, or takes it over.

A router that is new under its name ends the stream actors of one that was killed, else their names would be
taken. A router that Ray has restarted adopts them: quick ones at once, slow ones while it serves the others.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import ray

from actors.errors import RouterUnavailable
from router.config import RouterConfig
from router.core.registry import Registry
from router.on_ray import actors as ray_actors
from router.on_ray.fleet import Fleet

log: logging.Logger = logging.getLogger("router.router_actor")

# After a restart, actors that answer within this are known before anybody is served.
ADOPTION_PATIENCE_S = 1.5
CLEAR_DEADLINE_S = 15.0
CLEAR_RETRY_S = 0.02
# Of the time of day in milliseconds, till the year 2109.
MILLISECOND_BITS = 42


def first_number(restarts: int, time_s: float) -> int:
    """Return a number above all fencing numbers that a router of this name has granted in its earlier lives.

    Ray counts its restarts, whatever becomes of the clock. The time of day tells apart routers that were made anew
    under one name; what the first left behind is ended before the second serves anybody.
    """
    return (restarts << MILLISECOND_BITS) + int(time_s * 1000)


async def clear_away(config: RouterConfig, shard: int) -> None:
    """End what a router of this name that was killed has left behind. Raises RouterUnavailable where it stays."""
    deadline = time.monotonic() + CLEAR_DEADLINE_S
    while found := await asyncio.to_thread(ray_actors.find_stream_actors, config, shard):
        for handle in found.values():
            ray.kill(handle)
        if time.monotonic() > deadline:
            raise RouterUnavailable(
                f"stream actors of an earlier router {config.name!r} are still there {CLEAR_DEADLINE_S:g} s "
                f"after they were killed: {', '.join(found)}; see `ray list actors`, then start it again"
            )
        await asyncio.sleep(CLEAR_RETRY_S)


async def take_over(found: dict[str, Any], registry: Registry, fleet: Fleet, after_event: Callable[[], None]) -> None:
    """Learn from the stream actors of the incarnation before, by name, what they hold."""

    def adopted(actor_ids: list[str]) -> None:
        registry.settle(actor_ids, time.monotonic())
        after_event()

    async def adopt(actor_id: str, handle: Any) -> None:
        try:
            await fleet.adopt(actor_id, handle)
        except Exception:
            # It is given up like one that does not answer: else all that it may hold would be waited for, for ever.
            log.exception("stream actor %s could not be adopted", actor_id)

    async def adopt_later(actor_id: str, adoption: asyncio.Task[None]) -> None:
        log.warning("stream actor %s takes its time to be adopted; others are served meanwhile", actor_id)
        await adoption
        adopted([actor_id])

    registry.expect(found)
    asked = {asyncio.create_task(adopt(*who)): who[0] for who in found.items()}
    if asked:
        await asyncio.wait(asked, timeout=ADOPTION_PATIENCE_S)
    slow = [(actor_id, task) for task, actor_id in asked.items() if not task.done()]
    adopted([actor_id for task, actor_id in asked.items() if task.done()])
    for actor_id, task in slow:  # nobody else waits for it
        fleet.spawn(adopt_later(actor_id, task))
