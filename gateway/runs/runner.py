"""The actor that runs agents for all gateways of a service, and how a gateway reaches it.

It is found by name and made by whichever gateway needs it first; on a cluster it is detached, so that no run ends with
a gateway. It goes by itself when it has been idle for long. What it runs, runs in actors of its own, or in Ray tasks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayActorError, RayError

from actors.errors import LimitExceeded, RouterUnavailable, StreamRouterError, from_wire
from actors.tenants import names_in
from gateway.runs.named_actor import ask_actor
from gateway.runs.order import Order, function_of, request_of
from gateway.runs.provider import ask_provider
from router import StreamRouter

if TYPE_CHECKING:
    from router import AgentRun

log: logging.Logger = logging.getLogger("gateway.runs")

IDLE_TTL_S = 600.0
OPEN_WAIT_S = 60.0
CONCURRENCY_MAX = 100_000
PLACE = "gateway-runs"


class RunnerActor:
    """Runs agents. The class is plain; `Runners` makes an actor of it.

    It has no configuration of its own: each run is started as the gateway says that asks for it.
    """

    def __init__(self, router: StreamRouter) -> None:
        self._router = router
        self._runs: dict[AgentRun, str | None] = {}  # and whose they are
        self._idle: asyncio.TimerHandle | None = None

    async def run(self, order: Order, actors: int, runs_max: int) -> tuple[str, str] | None:
        """Start a run, and return when its request is open; else why it is not, as (code, text).

        `actors`: how many agents share, 0: a Ray task; `runs_max`: how many may be under way, this one among them.
        """
        self._stay()
        try:
            await self._run(order, actors, runs_max)
        except StreamRouterError as error:
            code, text = error.to_wire()
            return code, order.own_text(text)
        return None

    async def check(self, path: str) -> tuple[str, str] | None:
        """Return why a function cannot be imported here, as (code, text); None where it can."""
        self._stay()
        try:
            function_of(path)
        except StreamRouterError as error:
            return error.to_wire()
        return None

    async def _run(self, order: Order, actors: int, runs_max: int) -> None:
        if len(self._runs) >= runs_max:
            raise LimitExceeded(f"{len(self._runs)} runs are under way, and runs_max is {runs_max}; try again")
        of_tenant = sum(tenant == order.tenant for tenant in self._runs.values())
        if order.tenant_runs_max is not None and of_tenant >= order.tenant_runs_max:
            raise LimitExceeded(
                f"{of_tenant} runs are under way, and tenant_runs_max is {order.tenant_runs_max}; try again"
            )
        agent, given = self._agent_of(order)
        run = self._router.start(
            agent,
            *given,
            request_id=order.full_id,
            settings=order.settings(self._router.config.streams),
            agent_id=order.full_agent_id,
            actors=actors,
            raise_failed=False,
            tags=order.all_tags,
            metadata=order.metadata,
        )
        self._runs[run] = order.tenant
        ending = asyncio.ensure_future(run.result())
        ending.add_done_callback(lambda _: self._has_ended(run))
        opening = asyncio.ensure_future(self._router.locate(order.full_id, wait_s=OPEN_WAIT_S))
        try:
            await asyncio.wait([ending, opening], return_when=asyncio.FIRST_COMPLETED)
            if ending.done():
                ending.result()  # raises why its request was not opened
            else:
                opening.result()
        finally:
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)

    def _agent_of(self, order: Order) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Return what is run, and what it is called with. Raises ConfigError, InvalidArgument."""
        endpoint, actor = order.agent.endpoint, order.agent.actor
        if endpoint is not None:
            return ask_provider, (endpoint, order.key, request_of(order.input, endpoint))
        if actor is not None:
            return ask_actor, (actor.in_service(self._router.config.namespace), order.input)
        return function_of(order.agent.run or ""), (order.input,)

    def _has_ended(self, run: AgentRun) -> None:
        self._runs.pop(run, None)
        self._stay()

    def _stay(self) -> None:
        """Begin to be idle anew."""
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(IDLE_TTL_S, self._leave_if_idle)

    def _leave_if_idle(self) -> None:
        """End this actor's process, and with it the actors that it has started, unless agents run in them."""
        if not self._runs:
            ray.kill(ray.get_runtime_context().current_actor)


class Runners:
    """A gateway's way to the actor that runs agents."""

    def __init__(self, router: StreamRouter, *, actors: int, runs_max: int, outlives_us: bool = False) -> None:
        """`outlives_us`: it does not end with this process, also of a service that ends with its driver."""
        self._router = router
        self._outlives_us = outlives_us
        self._actors = actors
        self._runs_max = runs_max
        self._handle: Any = None

    async def run(self, order: Order) -> None:
        """Start a run; return when its request is open. Raises what opening it does, RouterUnavailable."""
        await self._ask("run", order, self._actors, self._runs_max)

    async def check(self, path: str) -> None:
        """Raise ConfigError where a function cannot be imported where agents run."""
        await self._ask("check", path)

    async def _ask(self, method: str, *arguments: Any) -> None:
        for is_last in (False, True):
            if self._handle is None:
                self._handle = await asyncio.to_thread(self._find_or_make)
            try:
                refusal = await getattr(self._handle, method).remote(*arguments)
            except RayActorError as error:
                self._handle = None  # it went, idle or killed, since it was found
                if is_last:
                    raise RouterUnavailable(f"the actor that runs agents died: {_first_line(error)}") from None
            except RayError as error:
                raise RouterUnavailable(f"the actor that runs agents failed: {_first_line(error)}") from None
            else:
                if refusal is not None:
                    raise from_wire(*refusal)
                return

    def _find_or_make(self) -> Any:
        config = self._router.config
        whose = names_in(self._router.client_id).subject if config.tenants.enabled else None
        make: Any = ray.remote(RunnerActor)
        options: dict[str, Any] = {
            "name": f"{config.name}/{PLACE}" if whose is None else f"{config.name}/{PLACE}/{whose}",
            "namespace": config.namespace,
            "get_if_exists": True,
            "num_cpus": 0,
            "max_concurrency": CONCURRENCY_MAX,
        }
        if config.detached or self._outlives_us:
            options["lifetime"] = "detached"
        if config.ray.runtime_env:
            options["runtime_env"] = config.ray.runtime_env
        return make.options(**options).remote(self._router)


def _first_line(error: RayError) -> str:
    return str(error).partition("\n")[0]
