"""The calls that run agents, asynchronous and synchronous."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from actors.errors import InvalidArgument
from actors.result import Result
from actors.settings import StreamSettings
from router.client.arguments import check
from router.client.launch.agent_run import BEGIN_WAIT_S, AgentRun
from router.client.launch.launches import Launches, Terms
from router.client.launch.performing import Agent
from router.client.launch.policies import Retries, RetryPolicy
from router.client.publishing.agent_claim import WhenBusy
from router.client.publishing.encoding import load_settings
from router.client.reading.results import Progress, Results
from router.client.reading.sync_calls import SyncMessages, SyncResults

if TYPE_CHECKING:
    from router.client.stream_router import StreamRouter

T = TypeVar("T")
CONCURRENCY = 16
ATTEMPTS = 3


class LaunchingCalls(ABC):
    """What `StreamRouter` says to those who have agents run."""

    _launches: Launches

    @abstractmethod
    def _check_open(self) -> None:
        """Raise RouterClosed where it was closed."""

    def _start_agent(
        self,
        agent: Agent,
        *arguments: Any,
        request_id: str | None = None,
        settings: StreamSettings | Mapping[str, Any] | None = None,
        agent_id: str | None = None,
        when_busy: WhenBusy = "reject",
        retries: Retries = "never",
        attempts: int = ATTEMPTS,
        actors: int = 0,
        raise_failed: bool = True,
        ray_options: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> AgentRun:
        """Run an agent on the cluster, its request opened for it: `result = await router.start(agent, "a question")`.

        `agent`: an async generator or a generator of chunks and messages; a coroutine function, which gets the open
        publisher before its arguments; or a function that returns what `Publisher.pump` takes. It runs in a Ray task of
        its own (`actors=0`), or as a coroutine in one of so many actors, shared by all agents of this router.
        `ray_options` are Ray's own for that. One that raises ends its request as `error`, with the last line of its
        traceback as the stop reason's detail; a cancel of the request stops it. `retries`: `lost` runs it again, as
        `ID.2` and so on, `attempts` times in all, where its process died; `failed` after every failed end but a
        cancel. `agent_id`, `when_busy`, `settings`, `tags`, `metadata`: as for `publish`.

        Returns an `AgentRun`: await it for the `Result`. Raises InvalidArgument (also for what cannot be pickled),
        InvalidRequestId, SettingsError, RouterClosed; awaiting it raises what `AgentRun.result` names.
        """
        given = check(
            "router.start",
            agent=agent,
            request_id=request_id,
            settings=settings,
            agent_id=agent_id,
            when_busy=when_busy,
            retries=retries,
            attempts=attempts,
            actors=actors,
            raise_failed=raise_failed,
            ray_options=ray_options,
            tags=tags,
            metadata=metadata,
        )
        agent, request_id, settings, agent_id, when_busy, retries, attempts, actors, raise_failed, *rest = given
        ray_options, tags, metadata = rest
        self._check_open()
        _check_in_a_loop()
        terms = Terms(
            None if settings is None else load_settings(settings),
            RetryPolicy(retries, attempts),
            actors,
            ray_options or {},
            raise_failed,
            agent_id,
            when_busy,
            tags,
            metadata,
        )
        return self._launches.start(cast("StreamRouter", self), agent, arguments, request_id, terms)

    def map(
        self,
        agent: Agent,
        inputs: Iterable[Any],
        *,
        concurrency: int = CONCURRENCY,
        name: str | None = None,
        settings: StreamSettings | Mapping[str, Any] | None = None,
        retries: Retries = "never",
        attempts: int = ATTEMPTS,
        actors: int = 0,
        raise_failed: bool = True,
        progress: bool | Progress = False,
        ray_options: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Results:
        """Run an agent of each input, `concurrency` at a time; `async for result in router.map(agent, inputs): ...`.

        Gives each `Result` as its agent ends; `await router.map(...)` gives all, in the order of the inputs. The
        requests are `name-1`, `name-2` and so on. The first failed end raises, unless `raise_failed=False`. Once it has
        raised, or the loop was left, no agent begins that has not begun. `progress`: True draws a bar, where standard
        error is a terminal; a function is called with (ended so far, all). All else is as for `start(agent, ...)`.

        Raises InvalidArgument (also for what cannot be pickled), SettingsError, RouterClosed; waiting raises what
        `AgentRun.result` names.
        """
        given = check(
            "StreamRouter.map",
            agent=agent,
            inputs=inputs,
            concurrency=concurrency,
            name=name,
            settings=settings,
            retries=retries,
            attempts=attempts,
            actors=actors,
            raise_failed=raise_failed,
            progress=progress,
            ray_options=ray_options,
            tags=tags,
            metadata=metadata,
        )
        agent, inputs, concurrency, name, settings, retries, attempts, actors, raise_failed, progress, *rest = given
        ray_options, tags, metadata = rest
        self._check_open()
        terms = Terms(
            None if settings is None else load_settings(settings),
            RetryPolicy(retries, attempts),
            actors,
            ray_options or {},
            raise_failed,
            tags=tags,
            metadata=metadata,
        )
        return self._launches.map(
            cast("StreamRouter", self), agent, inputs, terms, concurrency=concurrency, name=name, progress=progress
        )


Run = Callable[[Coroutine[Any, Any, Any]], Any]


class SyncLaunchingCalls(ABC):
    """The same calls without `await`."""

    _router: StreamRouter

    @abstractmethod
    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the router's event loop, and wait for it."""

    def start(self, agent: Agent, *arguments: Any, **options: Any) -> SyncAgentRun:
        """Run an agent on the cluster; see `StreamRouter.start` of an open router."""

        async def start() -> AgentRun:
            return self._router.start(agent, *arguments, **options)

        return SyncAgentRun(self._run(start()), self._run)

    def map(self, agent: Agent, inputs: Iterable[Any], **options: Any) -> SyncResults:
        """Run an agent of each input; see `StreamRouter.map`. Iterate over it, or ask for `all()`."""

        async def begin() -> Results:
            return self._router.map(agent, inputs, **options)

        return SyncResults(self._run(begin()), self._run)


class SyncAgentRun:
    """`AgentRun` without `await`."""

    def __init__(self, run: AgentRun, run_in_loop: Run) -> None:
        self._agent_run = run
        self._run = run_in_loop

    @property
    def request_id(self) -> str:
        """See `AgentRun.request_id`."""
        return self._agent_run.request_id

    @property
    def attempts(self) -> int:
        """See `AgentRun.attempts`."""
        return self._agent_run.attempts

    @property
    def done(self) -> bool:
        """See `AgentRun.done`."""
        return self._agent_run.done

    def result(self) -> Result:
        """See `AgentRun.result`."""
        result: Result = self._run(self._agent_run.result())
        return result

    def messages(self, *, wait_s: float = BEGIN_WAIT_S) -> SyncMessages:
        """See `AgentRun.messages`."""
        return SyncMessages(self._agent_run.messages(wait_s=wait_s), self._run)

    def cancel(self, detail: str | None = None) -> bool:
        """See `AgentRun.cancel`."""
        was_open: bool = self._run(self._agent_run.cancel(detail))
        return was_open


def _check_in_a_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise InvalidArgument(
            "router.start: agents are started within the event loop that opened the router, and this thread runs none; "
            "without one, open the router by a plain `with`"
        ) from None
