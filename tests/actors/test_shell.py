"""What both actors' shells share: a clock that stands still with its process, one timer, waits by name."""

from __future__ import annotations

import asyncio
import sys
import time
from types import SimpleNamespace

import pytest
from ray.util.tracing import tracing_helper

from actors import shell
from actors.shell import PAUSE_S_MIN, Alarm, Clock, Crowds, Waits, call_directly, keep_freed_memory, wait_at_most


class Machine:
    """The time of a machine, as its processes are told it."""

    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at

    def passes(self, seconds: float) -> None:
        self.at += seconds


def test_a_clock_that_is_looked_at_goes_as_the_machine_does():
    machine = Machine()
    clock = Clock(machine.monotonic)
    began = clock.now()
    for _ in range(100):
        machine.passes(1.0)
        clock.now()
    assert clock.now() - began == pytest.approx(100.0)
    assert clock.paused_s == 0.0


@pytest.mark.parametrize("pause_s", [PAUSE_S_MIN + 0.1, 12.0, 3600.0])
def test_a_process_that_was_stopped_has_not_heard_others_be_silent(pause_s):
    machine = Machine()
    clock = Clock(machine.monotonic)
    heard_at = clock.now()
    machine.passes(1.0)
    clock.now()
    machine.passes(pause_s)
    assert clock.now() - heard_at == pytest.approx(1.0)
    machine.passes(1.0)
    assert clock.now() - heard_at == pytest.approx(2.0), "and goes on from there"
    assert clock.paused_s == pytest.approx(pause_s)


async def test_an_alarm_rings_once_for_what_is_due_first():
    rung: list[float] = []
    clock = Clock(time.monotonic)
    alarm = Alarm(clock.now, lambda: rung.append(clock.now()))
    begin = clock.now()
    alarm.set(begin + 30.0)
    alarm.set(begin + 0.02)
    alarm.set(begin + 20.0)
    await asyncio.sleep(0.2)
    assert len(rung) == 1
    alarm.set(begin)  # long due: at once, and it can be set again
    await asyncio.sleep(0.05)
    assert len(rung) == 2


async def test_a_wait_ends_with_news_and_an_older_one_of_its_name_at_once():
    waits = Waits()
    older = asyncio.create_task(waits.wait("reader", 30.0))
    other = asyncio.create_task(waits.wait("other", 30.0))
    await asyncio.sleep(0)
    newer = asyncio.create_task(waits.wait("reader", 30.0))
    await asyncio.wait_for(older, 5.0)
    assert not newer.done()
    waits.wake("reader")
    await asyncio.wait_for(newer, 5.0)
    assert not other.done()
    other.cancel()
    await asyncio.gather(other, return_exceptions=True)
    assert len(waits) == 0, "nothing stays of a wait that is over, or was cancelled"


async def test_a_wait_that_runs_out_is_no_error():
    waits = Waits()
    await waits.wait("reader", 0.01)
    waits.wake("nobody")
    await wait_at_most(asyncio.Event().wait(), 0.01)
    assert len(waits) == 0


async def test_news_that_can_wait_end_the_wait_they_were_for_and_no_later_one():
    waits = Waits()
    older = asyncio.create_task(waits.wait("client", 30.0))
    await asyncio.sleep(0)
    waits.wake_within("client", 0.02)
    await asyncio.sleep(0)
    assert not older.done()
    waits.wake_within("nobody", 0.0)
    newer = asyncio.create_task(waits.wait("client", 30.0))
    await asyncio.wait_for(older, 5.0)
    await asyncio.sleep(0.1)
    assert not newer.done()
    waits.wake_within("client", 0.02)
    await asyncio.wait_for(newer, 5.0)
    assert len(waits) == 0


async def test_all_of_a_crowd_hear_the_news_of_their_name():
    crowds = Crowds()
    first, second, other = crowds.enter("request"), crowds.enter("request"), crowds.enter("other")
    second.cancel()  # was given up, and has not left yet
    crowds.wake("request")
    crowds.wake("nobody")
    assert first.done()
    assert not other.done()
    crowds.leave("request", second)
    assert len(crowds) == 2
    crowds.leave("request", first)
    crowds.leave("other", other)
    assert len(crowds) == 0


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What an allocator is told."""
    calls: list[tuple[int, int]] = []
    libc = SimpleNamespace(mallopt=lambda *call: calls.append(call))
    monkeypatch.setattr(shell.ctypes, "CDLL", lambda _: libc)
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    return calls


def test_a_process_of_ours_keeps_some_megabytes_that_it_frees(told):
    keep_freed_memory()
    assert told == [(-3, 4 << 20), (-1, 32 << 20)]


def test_whoever_has_set_the_allocator_is_left_alone(told, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    keep_freed_memory()
    assert told == []


def test_an_allocator_without_such_a_word_is_left_alone(told, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shell.ctypes, "CDLL", lambda _: SimpleNamespace())
    keep_freed_memory()
    assert told == []


class Plain:
    """As `StreamActor` and `RouterActor` are, before Ray has them."""

    async def called_by_ray(self, number: int) -> list[str]:
        return self._shown(number)

    def _shown(self, number: int) -> list[str]:
        # What called this: the method itself, or something between.
        return [str(number), sys._getframe(1).f_code.co_name]


class Traced(Plain):
    """What Ray makes of it."""


async def test_an_actor_calls_its_own_methods_without_what_ray_puts_round_them():
    tracing_helper._inject_tracing_into_class(Traced)
    through_ray = Traced.called_by_ray
    assert await Traced().called_by_ray(1) == ["1", "_resume_span"]
    actor = Traced()
    call_directly(actor)
    assert await actor.called_by_ray(2) == ["2", "called_by_ray"]
    assert await through_ray(actor, 3, _ray_trace_ctx=None) == ["3", "called_by_ray"], "Ray's own way in is Ray's"
    assert Traced.called_by_ray is through_ray


def test_what_ray_has_not_touched_stays_as_it_is():
    actor = Plain()
    call_directly(actor)
    assert not vars(actor)
