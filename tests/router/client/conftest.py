"""One real Ray and one router for all tests in this folder; each test has its own door and request IDs."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator

import pytest

from router import RouterConfig, StreamRouter

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def running_router() -> Iterator[str]:
    config = RouterConfig.model_validate(
        {
            "name": "tests",
            "routers": 2,
            "ray": {"num_cpus": 2},
            "stream_actors": {
                "max_actors": 2,
                "warm_actors": 1,
                "packed_streams_per_actor": 1,
                "max_streams_per_actor": 256,
            },
            "limits": {"open_requests_max": 2000},
        }
    )
    with StreamRouter.start(config) as router:
        router.warm()
        yield config.name


@pytest.fixture
async def router(running_router: str) -> AsyncIterator[StreamRouter]:
    async with StreamRouter.connect(name=running_router) as door:
        yield door


@pytest.fixture
def request_id() -> str:
    return f"req-{next(_numbers)}"
