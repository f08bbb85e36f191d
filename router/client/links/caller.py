"""Calls from this process to one router actor: each is made until there is an answer.

All methods of a router may be called twice, so a call whose outcome is unknown is made again, with
backoff, until `ROUTER_DEADLINE_S`. What a method raised is an answer, whatever it is: it goes to
whoever called, at once, by name.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from ray.exceptions import ActorDiedError, RayError, RayTaskError

from actors.errors import InternalError, Recovering, RouterUnavailable, StreamRouterError, first_line
from actors.protocol.backoff import Backoff
from router.client.links.patience import Patience

log: logging.Logger = logging.getLogger("router.link")

_T = TypeVar("_T")

ROUTER_DEADLINE_S = 60.0
CALL_DEADLINE_S = 10.0
BACKOFF_S = 0.05
BACKOFF_S_MAX = 1.0


def as_named(error: Exception, doing: str) -> StreamRouterError:
    """Return an error as one of ours; what should never be raised is named for what it is, a fault of this package."""
    if isinstance(error, StreamRouterError):
        return error
    return InternalError(
        f"{doing}: {type(error).__name__}: {first_line(error)}; please report this with the traceback in the log"
    )


def fresh(error: StreamRouterError) -> StreamRouterError:
    """Return an error to raise once more: raised itself, it would keep the frames of all who ever caught it."""
    return type(error)(str(error))


def raised_there(error: BaseException, where: str) -> StreamRouterError | None:
    """Return the error that a remote method raised, by name; None where the call itself has failed."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, StreamRouterError):
        return cause
    if isinstance(error, StreamRouterError):
        return error
    if isinstance(error, RayTaskError) or (isinstance(error, RayError) and isinstance(cause, Exception)):
        return as_named(cause if isinstance(cause, Exception) else error, where)
    return None


async def until_recovered(once: Callable[[], Awaitable[_T]]) -> _T:
    """Ask a router until it can say: one that has restarted does not know yet what it will know in a moment.

    Raises what `once` raises, and Recovering after `ROUTER_DEADLINE_S`.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + ROUTER_DEADLINE_S
    backoff = Backoff(BACKOFF_S, BACKOFF_S_MAX)
    while True:
        try:
            return await once()
        except Recovering:
            if loop.time() > deadline:
                raise
        await asyncio.sleep(backoff.next_s(random.random()))


class RouterCaller:
    """One process's calls to one router actor. `error` is set once no further call can have an answer."""

    def __init__(self, handle: Any, name: str, on_end: Callable[[StreamRouterError], None]) -> None:
        self.name = name
        self.error: StreamRouterError | None = None
        self._handle = handle
        self._on_end = on_end
        self._calls_made = 0

    def end(self, error: StreamRouterError) -> StreamRouterError:
        """Make no further call: `error` is what all of them raise from now on. Only the first one counts."""
        if self.error is None:
            self.error = error
            self._on_end(error)
        return self.error

    def count(self) -> int:
        """Return the number of a call that is made otherwise: numbers say in which order calls were made."""
        self._calls_made += 1
        return self._calls_made

    async def call(self, method: str, *arguments: Any, limit_s: float = CALL_DEADLINE_S) -> tuple[int, Any]:
        """Return the number of the call that was answered, and its answer.

        Raises what the method raised, RouterUnavailable, or the error given to `end`.
        """
        loop = asyncio.get_running_loop()
        patience = Patience(ROUTER_DEADLINE_S)
        backoff = Backoff(BACKOFF_S, BACKOFF_S_MAX)
        while True:
            if self.error is not None:
                raise fresh(self.error)
            began = loop.time()
            try:
                made = self.count()
                return made, await asyncio.wait_for(getattr(self._handle, method).remote(*arguments), limit_s)
            except (RayError, TimeoutError, StreamRouterError) as error:
                patience.spend(loop.time() - began, limit_s)
                self._raise_unless_again(error, method, patience)
            wait_s = backoff.next_s(random.random())
            began = loop.time()
            await asyncio.sleep(wait_s)
            patience.spend(loop.time() - began, wait_s)

    def _raise_unless_again(self, error: Exception, method: str, patience: Patience) -> None:
        """Return where the call is to be made again."""
        answer = raised_there(error, f"router {self.name!r} failed in {method}")
        if answer is not None:
            if isinstance(answer, Recovering) and not patience.is_over:
                return
            raise answer from None
        if isinstance(error, ActorDiedError):
            raise self._unreachable(f"it has died: {first_line(error)}") from None
        if patience.is_over:
            raise self._unreachable(f"no answer for {ROUTER_DEADLINE_S:g} s ({type(error).__name__})") from None
        log.info("router %s: %s failed (%s); trying again", self.name, method, type(error).__name__)

    def _unreachable(self, why: str) -> StreamRouterError:
        return self.end(
            RouterUnavailable(
                f"router {self.name!r} cannot be reached: {why}; see that the process that started it, or its cluster, "
                "still runs, then connect again"
            )
        )
