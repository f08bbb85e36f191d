"""An agent that is a method of a named Ray actor: calls it, and gives what it yields.

The call is one of Ray's streaming generators: each thing that the method yields is an object of its own, read as soon
as it is there. An actor is looked up anew for each run, so it may be started after the gateway, and started again.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError, TaskCancelledError

from gateway.config import NamedActor

_COLOUR = re.compile("\x1b\\[[0-9;]*m")


class NamedActorFailed(Exception):  # none of the router's errors: its run's log is to have the traceback
    """A named actor is not there, cannot be called, died or raised; the text says what to do."""


async def ask_actor(actor: NamedActor, given: Mapping[str, Any]) -> AsyncIterator[Any]:
    """Call an actor's method, and give what it yields; left before its end, the call is cancelled.

    `actor`: with its namespace. Raises NamedActorFailed.
    """
    try:
        handle = await asyncio.to_thread(ray.get_actor, actor.name, actor.namespace)
    except (ValueError, AssertionError):  # the latter where it went just now, and its class (see `find_actor`)
        raise NamedActorFailed(
            f"there is no actor {actor.name!r} in the Ray namespace {actor.namespace!r}: start it there (its options "
            "name, namespace and lifetime='detached'), or name its namespace in gateway.agents (actor.namespace)"
        ) from None
    except RayError as error:
        raise NamedActorFailed(why_failed(actor, error)) from error
    yielded = _call(handle, actor, given)
    try:
        async for reference in yielded:
            yield await reference
    except RayError as error:
        raise NamedActorFailed(why_failed(actor, error)) from error
    except BaseException:
        ray.cancel(yielded)  # its run was cancelled, or has ended: nobody will read the rest
        raise


def _call(handle: Any, actor: NamedActor, given: Mapping[str, Any]) -> Any:
    method = getattr(handle, actor.method, None)
    if method is None:
        raise NamedActorFailed(
            f"{_said_of(actor)} has no method {actor.method!r}: name one that it has in gateway.agents (actor.method)"
        )
    try:
        # A call that Ray made again would be a second answer, told from where the first one broke off.
        once = method.options(num_returns="streaming", max_task_retries=0, retry_exceptions=False)
        return once.remote(given)
    except (TypeError, ValueError) as error:
        raise NamedActorFailed(
            f"the method {actor.method!r} of {_said_of(actor)} cannot be called as an agent: {_short(error)}; it is to "
            "take one dict and to be a generator, best an asynchronous one: `async def run(self, given): yield ...`"
        ) from error


def why_failed(actor: NamedActor, error: RayError) -> str:
    """Return what became of a call, and what to do about it."""
    who, method = _said_of(actor), actor.method
    if isinstance(error, RayTaskError):
        cause = error.cause
        said = _short(cause) if isinstance(cause, RayError) else cause  # it has called others itself
        return (
            f"{who} raised in {method!r}: {type(cause).__name__}: {said}; the log of the process that ran this agent "
            "(router.launch) has the actor's traceback"
        )
    if isinstance(error, RayActorError):
        return (
            f"{who} died or cannot be reached, and {method!r} cannot go on: {_short(error)}; see that it runs "
            "(its option max_restarts has Ray start it again), then start a new run"
        )
    if isinstance(error, TaskCancelledError):
        return f"the call of {method!r} of {who} was cancelled, and not by a cancel of its run; start a new run"
    return f"{who} cannot be asked, or what {method!r} yields cannot be read: {_short(error)}; Ray's logs say more"


def _said_of(actor: NamedActor) -> str:
    return f"the actor {actor.name!r} (namespace {actor.namespace!r})"


def _short(error: BaseException) -> str:
    """Return the first and the last line of what Ray says, which has what became of it and why, without colours."""
    lines = [line.strip() for line in _COLOUR.sub("", str(error)).splitlines() if line.strip()]
    return " ... ".join(dict.fromkeys([lines[0], lines[-1]])).rstrip(".") if lines else type(error).__name__
