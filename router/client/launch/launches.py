"""All agents that one `StreamRouter` runs."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from actors.errors import UnknownRequest
from actors.result import Result
from router.client.arguments import SECONDS_MAX
from router.client.launch.agent_run import AgentRun, Attempts
from router.client.launch.hosts import Hosts
from router.client.launch.performing import Agent, Order, pickled
from router.client.launch.policies import RetryPolicy
from router.client.reading.results import Progress, Results

if TYPE_CHECKING:
    from actors.settings import StreamSettings
    from router.client.publishing.agent_claim import WhenBusy
    from router.client.reading.messages import Messages
    from router.client.stream_router import StreamRouter

NAME_CHARACTERS_MAX = 60


class Terms(NamedTuple):
    """How agents are run."""

    settings: StreamSettings | Mapping[str, Any] | None
    policy: RetryPolicy
    actors: int
    ray_options: Mapping[str, Any]
    raise_failed: bool
    agent_id: str | None = None
    when_busy: WhenBusy = "reject"
    tags: Mapping[str, str] | None = None
    metadata: Mapping[str, Any] | None = None


class Launches:
    """Starts agents, and keeps what runs for them in this process."""

    def __init__(self) -> None:
        self._hosts = Hosts()
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(
        self, router: StreamRouter, agent: Agent, arguments: tuple[Any, ...], request_id: str | None, terms: Terms
    ) -> AgentRun:
        """Start one agent. Raises InvalidArgument."""
        program = pickled(agent, "the agent")
        order = _order(request_id or new_name(agent), terms, program, pickled(arguments, "an agent's argument"))
        view = _View(router, self._tasks)
        return AgentRun(self._attempts(router, view, order, terms), view, raise_failed=terms.raise_failed)

    def map(
        self,
        router: StreamRouter,
        agent: Agent,
        inputs: Iterable[Any],
        terms: Terms,
        *,
        concurrency: int,
        name: str | None,
        progress: bool | Progress,
    ) -> Results:
        """Return the results of an agent of each input; none is started before they are asked for.

        Raises InvalidArgument.
        """
        name = name or new_name(agent)
        program = pickled(agent, "the agent")
        orders = {
            f"{name}-{number}": _order(f"{name}-{number}", terms, program, pickled((given,), f"input {number}"))
            for number, given in enumerate(inputs, 1)
        }
        view = _View(router, self._tasks)
        room = asyncio.Semaphore(concurrency)

        async def run(request_id: str) -> Result:
            async with room:
                result = await self._attempts(router, view, orders.pop(request_id), terms).last()
            if terms.raise_failed and (failure := result.failure()) is not None:
                raise failure
            return result

        return MappedResults(list(orders), run, progress)

    def _attempts(self, router: StreamRouter, view: _View, order: Order, terms: Terms) -> Attempts:
        def submit(one: Order) -> Any:
            return self._hosts.submit(router, one, terms.actors, terms.ray_options)

        return Attempts(view, order, submit, terms.policy)

    def close(self) -> None:
        """End the actors that agents share. What is awaited here ends with the router's own end."""
        self._hosts.close()


def new_name(agent: Agent) -> str:
    """Return a name for an agent's requests, used once."""
    name = str(getattr(agent, "__name__", None) or "agent").strip("<>")
    plain = "".join(character if character.isalnum() or character in "-_" else "-" for character in name)
    return f"{plain[:NAME_CHARACTERS_MAX]}-{uuid.uuid4().hex[:8]}"


def _order(request_id: str, terms: Terms, program: bytes, arguments: bytes) -> Order:
    whose = (terms.agent_id, terms.when_busy)
    return Order(request_id, terms.settings, *whose, program, arguments, terms.tags, terms.metadata)


class _View:
    """The router as an agent's run sees it."""

    def __init__(self, router: StreamRouter, tasks: set[asyncio.Task[Any]]) -> None:
        self._router = router
        self._tasks = tasks

    async def read(self, request_id: str) -> Result:
        return await self._router.result(request_id, raise_failed=False, wait_s=SECONDS_MAX)

    async def is_open(self, request_id: str) -> bool:
        try:
            await self._router.locate(request_id)
        except UnknownRequest:
            return False
        return True

    async def cancel(self, request_id: str, detail: str | None) -> bool:
        return await self._router.cancel(request_id, detail=detail)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def messages(self, request_id: str, *, wait_s: float) -> Messages:
        return self._router.messages(request_id, wait_s=wait_s)


class MappedResults(Results):
    """The results of agents, each as it ends. Made by `StreamRouter.map`.

    Whoever leaves the loop keeps from beginning what has not begun; what has goes on.
    """

    @property
    def request_ids(self) -> list[str]:
        """The requests of the first tries, in the order of the inputs."""
        return list(self._request_ids)
