"""Where agents run: each in a Ray task of its own, or as coroutines of a few actors that they share."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import ray

from actors.errors import InvalidArgument, StreamRouterError
from router.client.launch.performing import Order, conduct
from router.client.publishing.encoding import safe_text
from router.on_ray.actors import CONCURRENCY_MAX, remote

if TYPE_CHECKING:
    from router.client.stream_router import StreamRouter

# Agents wait most of the time; Ray's own default, a whole CPU, would let no more run than there are CPUs.
TASK_OPTIONS: dict[str, Any] = {"num_cpus": 0.1, "max_retries": 0, "scheduling_strategy": "SPREAD"}
HOST_OPTIONS: dict[str, Any] = {
    "num_cpus": 0,
    "max_restarts": -1,
    "max_task_retries": 0,
    "max_concurrency": CONCURRENCY_MAX,
    "scheduling_strategy": "SPREAD",
}


def run_in_task(router: StreamRouter, order: Order) -> tuple[str, str] | None:
    """Run one agent in this process; see `conduct`."""

    async def run() -> tuple[str, str] | None:
        try:
            return await conduct(router, order)
        finally:
            await router.close()

    return asyncio.run(run())


class AgentHost:
    """An actor in whose event loop agents run side by side."""

    def __init__(self, router: StreamRouter) -> None:
        self._router = router

    async def run(self, order: Order) -> tuple[str, str] | None:
        """Run one agent; see `conduct`."""
        return await conduct(self._router, order)


class Hosts:
    """The actors of one `StreamRouter` that agents share. They end with it."""

    def __init__(self) -> None:
        self._actors: list[Any] = []
        self._next = 0

    def submit(self, router: StreamRouter, order: Order, actors: int, options: Mapping[str, Any]) -> Any:
        """Have an agent run: in a task (`actors` 0), or in one of so many actors. Raises InvalidArgument.

        Returns Ray's reference to what `conduct` returns.
        """
        try:
            if not actors:
                return remote(run_in_task).options(**{**TASK_OPTIONS, **options}).remote(router, order)
            while len(self._actors) < actors:
                host = remote(AgentHost).options(**{**HOST_OPTIONS, **options})
                self._actors.append(host.remote(router))
        except StreamRouterError:
            raise
        except Exception as error:  # noqa: BLE001  # what Ray says of options
            raise InvalidArgument(f"Ray does not start an agent so: {safe_text(error)[:300]}") from None
        self._next += 1
        return self._actors[self._next % actors].run.remote(order)

    def close(self) -> None:
        """End the actors, and what still runs in them."""
        for actor in self._actors:
            ray.kill(actor)
        self._actors.clear()
