"""A stop of this process is noticed by whichever timer runs first, and once."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from router.on_ray import pauses
from router.on_ray.pauses import LOOK_S, PauseWatch


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=100.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(pauses, "time", clock)
    return clock


async def test_a_stop_is_told_once_whoever_looks_first(clock):
    told = []
    watch = PauseWatch(3.0, told.append)
    clock.now += 50.0
    watch.begin(lambda: False)
    assert told == [], "before it began nobody looked"
    clock.now += 10.0 + LOOK_S
    watch.look()
    watch.look()
    assert told == [10.0]


async def test_what_a_process_usually_takes_is_no_stop(clock):
    told = []
    watch = PauseWatch(3.0, told.append)
    watch.begin(lambda: False)
    for _ in range(10):
        clock.now += 3.0 + LOOK_S
        watch.look()
    assert told == []


async def test_the_clock_is_looked_at_again_and_again_until_it_is_over(clock, monkeypatch):
    monkeypatch.setattr(pauses, "LOOK_S", 0.001)
    looked = asyncio.Event()
    is_over = False
    watch = PauseWatch(3.0, lambda _gap_s: looked.set())
    watch.begin(lambda: is_over)
    clock.now += 10.0
    await asyncio.wait_for(looked.wait(), 10.0)
    is_over = True
