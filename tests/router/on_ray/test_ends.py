"""Callers of a router actor that wait for the ends of requests."""

from __future__ import annotations

import asyncio

from router.core.effects import ENDED, FORGOTTEN, PLACED, Note
from router.on_ray.ends import Ends


async def test_a_wait_is_over_when_all_that_it_expects_have_ended():
    ends = Ends()
    waiting = asyncio.create_task(ends.wait(ends.expect(["first", "second"]), 30.0))
    cancel = asyncio.create_task(ends.wait(ends.expect(["first"]), 30.0))
    await asyncio.sleep(0)
    ends.tell([Note(PLACED, "second", 1, "actor"), Note(ENDED, "first", 1, "end_turn"), Note(ENDED, "other", 1, None)])
    await asyncio.wait_for(cancel, 5.0)
    assert not waiting.done(), "placed is not ended"
    ends.tell([Note(ENDED, "second", 1, "end_turn")])
    await asyncio.wait_for(waiting, 5.0)
    assert len(ends) == 0


async def test_an_end_told_before_the_wait_begins_is_not_missed():
    ends = Ends()
    expected = ends.expect(["request"])
    ends.tell([Note(ENDED, "request", 1, "cancelled")])
    await asyncio.wait_for(ends.wait(expected, 30.0), 5.0)
    assert len(ends) == 0


async def test_nothing_stays_of_a_wait_that_ran_out_or_was_given_up_or_expected_nothing():
    ends = Ends()
    await ends.wait(ends.expect([]), 30.0)
    await ends.wait(ends.expect(["late"]), 0.01)
    given_up = asyncio.create_task(ends.wait(ends.expect(["late"]), 30.0))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    assert len(ends) == 0


async def test_a_wait_says_what_has_not_ended():
    ends = Ends()
    expected = ends.expect(["ended", "under way"])
    ends.tell([Note(ENDED, "ended", 1, "end_turn")])
    assert await ends.wait(expected, 0.01) == ["under way"]
    assert await ends.wait(ends.expect([]), 0.01) == []


async def test_one_that_was_forgotten_everywhere_is_waited_for_in_the_same_way():
    ends = Ends()
    expected = ends.expect(["request"])
    ends.tell([Note(FORGOTTEN, "request", 1, None)])
    assert await ends.wait(expected, 5.0) == []
