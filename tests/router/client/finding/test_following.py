"""What fits is told once it appears, each request at least once, and none is missed that comes back after a restart."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import RouterUnavailable
from actors.protocol.finding import ListAnswer, ListCall, Row
from router.client.finding.following import follow_requests
from router.client.finding.listing import ListCursor

WANTED = ListCall("", None, [], None, 0, 0, 2, newest_first=False)


class WaitingRouter:
    """Lists its numbers, and holds an answer back as a router does."""

    def __init__(self, *numbers: int, is_partial: bool = False) -> None:
        self.numbers = [*numbers]
        self.is_partial = is_partial
        self.calls = 0
        self._changed = asyncio.Event()

    def change(self, *numbers: int, is_partial: bool = False) -> None:
        self.numbers += numbers
        self.is_partial = is_partial
        self._changed.set()

    async def __call__(self, call: ListCall) -> ListAnswer:
        self.calls += 1
        was_partial = self.is_partial
        while call.wait_s and not self._behind(call.after) and self.is_partial == was_partial:
            self._changed.clear()
            await self._changed.wait()
        await asyncio.sleep(0)
        left = self._behind(call.after)
        page = left[: call.limit]
        rows = [list(Row(f"r{n}", n, "open", "host", None, b"", 0, None, None)) for n in page]
        return ListAnswer(rows, page[-1] if page else call.after, len(page) == len(left), self.is_partial)

    def _behind(self, after: int) -> list[int]:
        return sorted(number for number in self.numbers if number > after)


class Told:
    def __init__(self) -> None:
        self.names: Counter[str] = Counter()
        self.place = ListCursor(False, ())
        self.is_sure = False

    def __call__(self, names: list[str], place: ListCursor, is_sure: bool) -> None:  # noqa: FBT001
        self.names.update(names)
        self.place, self.is_sure = place, is_sure


def following(told: Told, *routers: WaitingRouter, follows: bool = True) -> asyncio.Task[None]:
    cursor = ListCursor.at_the_beginning(len(routers), newest_first=False)
    return asyncio.ensure_future(follow_requests(routers, WANTED, cursor, told, follows=follows))


async def settled() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_what_appears_is_told_at_once_and_waiting_asks_nothing():
    one, two, told = WaitingRouter(1, 2, 3), WaitingRouter(), Told()
    task = following(told, one, two)
    await settled()
    assert (told.names, told.place, told.is_sure) == (Counter(["r1", "r2", "r3"]), ListCursor(False, (3, 0)), True)
    calls = one.calls
    two.change(7)
    await settled()
    assert told.names["r7"] == 1
    assert told.place == ListCursor(False, (3, 7))
    assert one.calls == calls
    task.cancel()
    await asyncio.wait([task])
    assert len(asyncio.all_tasks()) == 1, "nothing goes on"


async def test_without_following_it_ends_with_what_is_there():
    told = Told()
    await following(told, WaitingRouter(1, 2, 3), WaitingRouter(4), follows=False)
    assert told.names == Counter(["r1", "r2", "r3", "r4"])


@pytest.mark.parametrize("follows", [True, False])
async def test_a_request_that_comes_back_with_its_old_number_is_told(follows):
    router, told = WaitingRouter(2, 5, 6, is_partial=True), Told()
    task = following(told, router, follows=follows)
    await settled()
    assert told.names == Counter(["r2", "r5", "r6"]), "what is known is told at once"
    assert (told.place, told.is_sure) == (ListCursor(False, (0,)), False)
    router.change(3, is_partial=True)
    await settled()
    assert not task.done()
    router.change()
    await settled()
    assert told.names["r3"] == 1
    assert (told.place, told.is_sure) == (ListCursor(False, (6,)), True)
    assert task.done() is not follows
    task.cancel()
    await asyncio.wait([task])


async def test_what_one_router_raises_ends_it_and_leaves_nothing_behind():
    async def gone(_call: ListCall) -> ListAnswer:
        raise RouterUnavailable("gone")

    routers = (WaitingRouter(), gone)
    with pytest.raises(RouterUnavailable):
        await follow_requests(routers, WANTED, ListCursor(False, (0, 0)), Told(), follows=True)
    await settled()
    assert len(asyncio.all_tasks()) == 1


@given(st.lists(st.tuples(st.booleans(), st.lists(st.integers(1, 30), max_size=3)), max_size=8))
def test_none_is_missed_whatever_comes_back_while_not_all_is_known(steps):
    """New requests have numbers behind all; while the router is partial, any come back that were not told for sure."""

    async def run() -> None:
        router, told = WaitingRouter(), Told()
        task = following(told, router)
        newest = 0
        for is_partial, numbers in steps:
            least = told.place.positions[0] if router.is_partial and told.place.positions else newest
            allowed = [n for n in numbers if n not in router.numbers and n > least]
            newest = max([newest, *allowed])
            router.change(*dict.fromkeys(allowed), is_partial=is_partial)
            await settled()
        router.change()
        await settled()
        assert told.names.keys() == {f"r{number}" for number in router.numbers}
        assert told.is_sure
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(run())
