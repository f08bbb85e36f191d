"""One real Ray and one router for the tests of this folder; a scripted provider over real HTTP for each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from router import RouterConfig, StreamRouter
from router.demo import RECORDINGS
from router.scripted_provider import Library, Script, serve

Serve = Callable[..., AbstractAsyncContextManager[str]]


@pytest.fixture(scope="session")
def library() -> Library:
    return Library.load(RECORDINGS)


@pytest.fixture
def provider(library: Library) -> Serve:
    """Serves the demo's recordings under a script, as quickly as it goes; gives the base URL."""

    def start(**script: Any) -> AbstractAsyncContextManager[str]:
        return serve(library, Script.load({"events_per_s": 0}, script))

    return start


@pytest.fixture(scope="session")
def running_router_of_runs() -> Iterator[str]:
    config = RouterConfig.model_validate(
        {"name": "tests-runs", "ray": {"num_cpus": 2}, "stream_actors": {"max_actors": 1, "warm_actors": 1}}
    )
    with StreamRouter.start(config):
        yield config.name


@pytest.fixture
async def router(running_router_of_runs: str) -> AsyncIterator[StreamRouter]:
    async with StreamRouter.connect(name=running_router_of_runs) as door:
        yield door
