"""What the runner says to the load generators, and in which order."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from router.loadtest.generators import Generators
from router.loadtest.runner import State, _Run
from router.loadtest.workload import Workload


def generator(name: str, turns: int, begun: list[str]) -> Any:
    """Return one that takes so many turns of the event loop to begin."""

    async def begin(_zero: float) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        begun.append(name)

    return SimpleNamespace(begin=SimpleNamespace(remote=begin))


async def test_no_publisher_begins_before_every_reader_knows_when_the_run_began():
    begun: list[str] = []
    generators = Generators(
        [generator(f"publisher {n}", 0, begun) for n in range(2)],
        [generator("reader 0", 50, begun), generator("reader 1", 0, begun)],
    )
    workload = Workload.model_validate({"streams": 4})
    nobody: Any = None
    await _Run(workload, nobody, generators, State(workload, 1.0), nobody, None)._begin()
    assert sorted(begun[:2]) == ["reader 0", "reader 1"]
    assert len(begun) == 4
