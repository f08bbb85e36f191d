"""One real Ray and one router for the tests of this folder that need them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from router import RouterConfig, StreamRouter


@pytest.fixture(scope="session")
def running_router_of_gateway() -> Iterator[str]:
    config = RouterConfig.model_validate(
        {
            "name": "tests-gateway",
            "ray": {"num_cpus": 2},
            "stream_actors": {"max_actors": 1, "warm_actors": 1},
            "streams": {"dialect": "chat"},
        }
    )
    with StreamRouter.start(config):
        yield config.name


@pytest.fixture
async def router(running_router_of_gateway: str) -> AsyncIterator[StreamRouter]:
    async with StreamRouter.connect(name=running_router_of_gateway) as door:
        yield door
