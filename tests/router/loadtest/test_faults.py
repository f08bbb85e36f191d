"""When faults strike, where one has to wait for something to hit."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from router.loadtest import fault_injector
from router.loadtest.fault_injector import FaultInjector, Struck
from router.loadtest.fault_schedule import KILL_NODE, KILL_ROUTER, Strike


class Router:
    """Describes a cluster in which there is nothing to hit."""

    async def describe(self) -> Any:
        return SimpleNamespace(routers=[], stream_actors=[])


async def test_those_after_a_late_strike_are_late_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fault_injector, "FIND_FOR_S", 0.2)
    monkeypatch.setattr(fault_injector, "FIND_EVERY_S", 0.05)
    started = time.monotonic()
    injector: Any = FaultInjector(
        Router(),  # type: ignore[arg-type]  # as much of one as is asked
        [Strike(0.0, KILL_NODE, 0.5), Strike(0.1, KILL_ROUTER, 0.5)],
        lambda: time.monotonic() - started,
    )
    at_once = injector._try

    async def try_(strike: Strike, description: Any) -> Struck:
        if strike.kind == KILL_ROUTER:
            return Struck(injector.now(), strike.kind, "r")
        return await at_once(strike, description)

    monkeypatch.setattr(injector, "_try", try_)
    await asyncio.wait_for(injector.run(), 10)
    late, next_one = injector.done
    assert late.target is None
    assert late.detail == "kill-node needs a cluster of our own"
    assert next_one.at_s - late.at_s >= 0.09, "the pause between them is kept"
