"""One agent, from its first try to its last, as its caller sees it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, Protocol

import ray
from ray.exceptions import RayError

from actors.errors import AgentNotStarted, StreamRouterError, UnknownRequest, from_wire
from actors.result import Result
from router.client.arguments import check
from router.client.launch.performing import Order
from router.client.launch.policies import RetryPolicy, name_of_attempt
from router.client.publishing.encoding import clean, safe_text

if TYPE_CHECKING:
    from router.client.reading.messages import Messages

log: logging.Logger = logging.getLogger("router.launch")

BEGIN_WAIT_S = 60.0


class Router(Protocol):
    """What an agent's run needs of its router."""

    async def read(self, request_id: str) -> Result:
        """Read a request to its end, also one that is opened later."""
        ...

    async def is_open(self, request_id: str) -> bool:
        """Whether a request was opened."""
        ...

    async def cancel(self, request_id: str, detail: str | None) -> bool:
        """Cancel a request. Raises UnknownRequest."""
        ...

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something in the background."""
        ...

    def messages(self, request_id: str, *, wait_s: float) -> Messages:
        """See `StreamRouter.messages`."""
        ...


Submit = Callable[[Order], Any]
"""Has an agent run; returns Ray's reference to what `conduct` returns."""


class Attempts:
    """The tries of one agent. `request_id`: the request of the latest one."""

    def __init__(self, router: Router, order: Order, submit: Submit, policy: RetryPolicy) -> None:
        self._router = router
        self._order = order
        self._submit = submit
        self._policy = policy
        self._reference: Any = None
        self._is_given_up = False
        self.request_id: str = order.request_id
        self.made: int = 0

    async def last(self) -> Result:
        """Run the agent until it ends well or is not to be run again; return what the last request came to.

        Cancelled, it lets an agent go on that has begun, and keeps one from beginning that has not. Raises
        AgentNotStarted, and what opening a request and reading it raise.
        """
        while True:
            self.made += 1
            self.request_id = name_of_attempt(self._order.request_id, self.made)
            try:
                result = await self._try_once()
            except AgentNotStarted:
                pause_s = self._pause_s(None)
                if pause_s is None:
                    raise
            else:
                pause_s = self._pause_s(result.stop_reason)
                if pause_s is None:
                    return result
            log.info("the agent of request %r is run again in %.1f s", self.request_id, pause_s)
            await asyncio.sleep(pause_s)

    async def cancel(self, detail: str | None) -> bool:
        """Cancel the latest try, and make no other; False where it had ended."""
        self._is_given_up = True
        try:
            return await self._router.cancel(self.request_id, detail)
        except UnknownRequest:
            if self._reference is not None:
                ray.cancel(self._reference)
            return True

    def _pause_s(self, stop_reason: str | None) -> float | None:
        return None if self._is_given_up else self._policy.wait_s(self.made, stop_reason, random.Random())

    async def _try_once(self) -> Result:
        request_id = self.request_id
        if self._is_given_up:
            raise AgentNotStarted(f"the agent of request {request_id!r} was cancelled before it began")
        self._reference = self._submit(self._order._replace(request_id=request_id))
        working = asyncio.ensure_future(_outcome(self._reference, request_id))
        reading = asyncio.ensure_future(self._router.read(request_id))
        try:
            await asyncio.wait([working, reading], return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                await self._check_opened(request_id, working.result())
            return await reading
        except asyncio.CancelledError:
            if not working.done():
                self._router.spawn(self._keep_from_beginning(self._reference, request_id))
            raise
        finally:
            working.cancel()
            reading.cancel()

    async def _check_opened(self, request_id: str, error: StreamRouterError | None) -> None:
        if error is None or (isinstance(error, AgentNotStarted) and await self._router.is_open(request_id)):
            return  # that its process died with its request open is the router's to notice
        raise error

    async def _keep_from_beginning(self, reference: Any, request_id: str) -> None:
        try:
            if not await self._router.is_open(request_id):
                ray.cancel(reference)
        except StreamRouterError as error:
            log.info("the agent of request %r may still begin: %s", request_id, error)


async def _outcome(reference: Awaitable[tuple[str, str] | None], request_id: str) -> StreamRouterError | None:
    """Return why an agent's request was not opened, as far as the agent's process can say."""
    try:
        refusal = await reference
    except RayError as error:
        said = clean(safe_text(error)).splitlines()
        return AgentNotStarted(
            f"the agent of request {request_id!r} was not started, or its process died before it began: "
            f"{said[-1] if said else type(error).__name__}; Ray's own logs say more"
        )
    return None if refusal is None else from_wire(*refusal)


class AgentRun:
    """An agent that runs somewhere on the cluster. Made by `StreamRouter.start`.

    `await run` gives what it came to, a `Result`. What it says is read along from the start, so that it waits for
    nobody; `messages` shows it meanwhile, and so does every other way of reading its `request_id`.
    """

    def __init__(self, attempts: Attempts, router: Router, *, raise_failed: bool) -> None:
        self._attempts = attempts
        self._router = router
        self._raise_failed = raise_failed
        self._task = asyncio.ensure_future(attempts.last())
        self._task.add_done_callback(_note)

    @property
    def request_id(self) -> str:
        """The request of the latest try."""
        return self._attempts.request_id

    @property
    def attempts(self) -> int:
        """How often it has been started."""
        return self._attempts.made

    @property
    def done(self) -> bool:
        """Whether it has ended, and is not run again."""
        return self._task.done()

    def __await__(self) -> Generator[Any, None, Result]:
        return self.result().__await__()

    async def result(self) -> Result:
        """Wait for its end; return what the last try came to.

        A failed end raises as `StreamRouter.result` does, unless `start` was told `raise_failed=False`. Raises
        AgentNotStarted, RouterClosed, and what opening its request raises (AgentBusy, DuplicateRequest, LimitExceeded).
        """
        result = await asyncio.shield(self._task)
        if self._raise_failed and (failure := result.failure()) is not None:
            raise failure
        return result

    def messages(self, *, wait_s: float = BEGIN_WAIT_S) -> Messages:
        """Return an asynchronous iterator over the messages of the latest try, one at a time.

        `wait_s`: how long it is waited for the agent to begin. Raises InvalidArgument, RouterClosed.
        """
        (wait_s,) = check("AgentRun.messages", wait_s=wait_s)
        return self._router.messages(self.request_id, wait_s=wait_s)

    async def cancel(self, detail: str | None = None) -> bool:
        """Cancel it, and run it no more; False where it had ended. The agent is stopped where it waits.

        Raises InvalidArgument (it runs on), RouterUnavailable, RouterClosed.
        """
        (detail,) = check("AgentRun.cancel", detail=detail)
        return await self._attempts.cancel(detail)


def _note(task: asyncio.Task[Result]) -> None:
    if not task.cancelled():
        task.exception()  # whoever asks for it gets it; nobody need
