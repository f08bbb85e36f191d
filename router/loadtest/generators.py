"""The load generators' processes: started as Ray actors, and called until they answer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.errors import RouterUnavailable, StreamRouterError, first_line
from actors.tenants import TOKEN_VARIABLE
from router.loadtest.publishing_actor import PublishingActor, Setup
from router.loadtest.reading_actor import ReadingActor

CALL_DEADLINE_S = 20.0
CALL_TRIES_MAX = 10
CALL_BACKOFF_S = 0.1
CONNECT_TIMEOUT_S = 90.0
CONCURRENCY_MAX = 1_000_000


class Generators:
    """The Ray handles of all load generators."""

    def __init__(self, publishers: list[Any], readers: list[Any]) -> None:
        self.publishers = publishers
        self.readers = readers

    @property
    def all(self) -> list[Any]:
        """Publishing and reading ones."""
        return [*self.publishers, *self.readers]


@asynccontextmanager
async def start_generators(setup: Setup, urls: Sequence[str]) -> AsyncIterator[Generators]:
    """Start the load generators and connect them; they end with the block. Raises RouterUnavailable."""
    wanted = setup.workload.generators
    endpoint = setup.workload.target.endpoint
    key = endpoint.key() if endpoint is not None else None
    options: dict[str, Any] = {"num_cpus": 0, "max_concurrency": CONCURRENCY_MAX, "max_restarts": 0}
    if wanted.placement == "spread":
        options["scheduling_strategy"] = "SPREAD"
    else:
        node_id = ray.get_runtime_context().get_node_id()
        options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node_id=node_id, soft=False)
    shared = ray.put(setup)
    make_publishers: Any = ray.remote(PublishingActor)  # Ray's types do not know `options` of a class that is given so
    make_readers: Any = ray.remote(ReadingActor)
    generators = Generators(
        [make_publishers.options(**options).remote(shared, n, wanted.publishers) for n in range(wanted.publishers)],
        [make_readers.options(**options).remote(shared, n, wanted.readers) for n in range(wanted.readers)],
    )
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            token = os.environ.get(TOKEN_VARIABLE)  # they run where it is not set
            await asyncio.gather(*(ask(call_of(reader.connect.remote, token)) for reader in generators.readers))
            connects = [
                call_of(publisher.connect.remote, urls, key, generators.readers, token)
                for publisher in generators.publishers
            ]
            await asyncio.gather(*(ask(connect) for connect in connects))
        yield generators
    except TimeoutError:
        raise RouterUnavailable(f"the load generators did not start within {CONNECT_TIMEOUT_S:.0f} s") from None
    finally:
        for handle in generators.all:
            ray.kill(handle)


def call_of(method: Callable[..., Awaitable[Any]], *arguments: Any) -> Callable[[], Awaitable[Any]]:
    """Return a remote call with its arguments, as `ask` takes it."""
    return lambda: method(*arguments)


async def ask(call: Callable[[], Awaitable[Any]]) -> Any:
    """Make a call again until it is answered: with rpc-failures, the calls of the test itself fail too.

    For calls that may run twice. Raises RouterUnavailable, and what the generator itself raised.
    """
    for attempt in range(1, CALL_TRIES_MAX + 1):
        try:
            return await asyncio.wait_for(call(), CALL_DEADLINE_S)
        except (RayError, TimeoutError) as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, StreamRouterError):
                raise cause from None
            if attempt == CALL_TRIES_MAX:
                raise RouterUnavailable(f"a load generator does not answer: {first_line(error)}") from error
        await asyncio.sleep(CALL_BACKOFF_S * attempt)
    return None
