"""An agent function and the publisher that it speaks through.

An async generator yields what is sent: chunks, messages, the events of a framework; so does a generator, which is read
in a thread. A coroutine function gets the open publisher as its first argument. Any other function returns a source, as
`Publisher.pump` takes it: an SDK's stream, say.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import pickle
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import ray

from actors.errors import InvalidArgument, StreamRouterError
from router.client.publishing.encoding import clean, safe_text
from router.client.publishing.publisher import Publisher
from router.client.publishing.pumping import opened, threaded

if TYPE_CHECKING:
    from actors.settings import StreamSettings
    from router.client.publishing.agent_claim import WhenBusy
    from router.client.stream_router import StreamRouter

log: logging.Logger = logging.getLogger("router.launch")

Agent = Callable[..., Any]
"""An async generator, a generator, a coroutine function that gets a publisher, or what returns a source."""


class Order(NamedTuple):
    """One try of one agent, as it crosses to where it runs."""

    request_id: str
    settings: StreamSettings | Mapping[str, Any] | None
    agent_id: str | None
    when_busy: WhenBusy
    program: bytes
    """The agent function, pickled."""
    arguments: bytes
    """Its arguments, pickled."""
    tags: Mapping[str, str] | None = None
    metadata: Mapping[str, Any] | None = None


def pickled(value: Any, what: str) -> bytes:
    """Return a value as bytes that another process can read. Raises InvalidArgument, which says `what` it is."""
    try:
        return bytes(ray.cloudpickle.dumps(value))  # type: ignore[no-untyped-call]
    except Exception as error:  # noqa: BLE001  # whatever a caller's own object does when it is pickled
        raise InvalidArgument(
            f"{what} is to run in another process, so it has to be pickled, and that fails: "
            f"{type(error).__name__}: {safe_text(error)[:300]}; make in the agent what cannot be passed (clients, "
            "locks, files)"
        ) from None


async def conduct(router: StreamRouter, order: Order) -> tuple[str, str] | None:
    """Run an agent; return why its request could not be opened, as (code, text), None where it was.

    Whatever becomes of it then is said in the request's end.
    """
    stream = router.publish(
        order.request_id,
        order.settings,
        agent_id=order.agent_id,
        when_busy=order.when_busy,
        tags=order.tags,
        metadata=order.metadata,
    )
    try:
        await stream.open()
    except StreamRouterError as error:
        return error.to_wire()
    try:
        async with stream, _failing(stream):
            agent, arguments = pickle.loads(order.program), pickle.loads(order.arguments)  # noqa: S301  # our caller's
            await perform(stream, agent, arguments)
    except StreamRouterError as error:
        log.info("agent of request %r: %s", order.request_id, error)
    except Exception:  # it is in the request's end, and here with its traceback
        log.warning("the agent of request %r has failed", order.request_id, exc_info=True)
    return None


async def perform(stream: Publisher, agent: Agent, arguments: tuple[Any, ...]) -> None:
    """Let an agent speak through an open publisher. Raises what the agent raises."""
    if _gets_a_stream(agent):
        await agent(stream, *arguments)
        return
    is_generator = _is(inspect.isgeneratorfunction, agent) or _is(inspect.isasyncgenfunction, agent)
    # A plain function may block, as a client without `await` does until its provider answers.
    source = agent(*arguments) if is_generator else await asyncio.to_thread(agent, *arguments)
    await stream.pump(_told(stream, source))


async def _told(stream: Publisher, source: Any) -> AsyncIterator[Any]:
    """Give what a source gives, but send its messages; say what was wrong where it raises."""
    if hasattr(source, "__iter__") and not hasattr(source, "__aiter__"):
        source = threaded(source)
    async with _failing(stream), opened(source) as events:
        async for event in events:
            if _is_message(event):
                await stream.message(event)
            else:
                yield event


@asynccontextmanager
async def _failing(stream: Publisher) -> AsyncIterator[None]:
    """End the request of an agent that raises, with the last line of its traceback. Raises what it raises."""
    try:
        yield
    except Exception as error:
        if stream.stop_reason is None:
            await stream.fail(type(error).__name__[:100], clean(safe_text(error)), clean(last_line(error)))
        raise


def last_line(error: BaseException) -> str:
    """Return the last line of an error's traceback: its class by its full name, and what it says."""
    kind = type(error)
    name = (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )
    said = safe_text(error)
    return f"{name}: {said}" if said and said != repr(error) else name


def _is_message(event: Any) -> bool:
    if isinstance(event, Mapping):
        return "message_type" in event
    return isinstance(getattr(event, "message_type", None), str)


def _gets_a_stream(agent: Agent) -> bool:
    return _is(inspect.iscoroutinefunction, agent)


def _is(is_such: Callable[[Any], bool], agent: Agent) -> bool:
    """Whether a function is such a one, or an object that is called like one."""
    return is_such(agent) or is_such(getattr(type(agent), "__call__", None))  # noqa: B004  # which kind it is
