"""Those who wait for requests that nobody has opened yet: each for its time, with one timer for all."""

from __future__ import annotations

import asyncio

from router.client.links.waits import Waits


class _Waiter:
    def __init__(self, ended: list[str], name: str) -> None:
        self._ended = ended
        self.name = name

    def patience_ends(self) -> None:
        self._ended.append(self.name)


async def test_each_waits_for_its_time_and_all_share_one_timer():
    loop = asyncio.get_running_loop()
    waits, ended = Waits(), list[str]()
    late, soon, gone = (_Waiter(ended, name) for name in ("late", "soon", "gone"))
    before = len(loop._scheduled)
    waits.begin(late, 0.02, loop)
    waits.begin(gone, 0.015, loop)
    began = waits.begin(soon, 0.01, loop)
    assert began <= loop.time()
    assert len([timer for timer in loop._scheduled if not timer.cancelled()]) <= before + 1
    waits.end(gone)
    async with asyncio.timeout(5):
        while len(ended) < 2:  # noqa: ASYNC110  # a loop's timers, which tell nobody
            await asyncio.sleep(0.001)
    assert ended == ["soon", "late"]


async def test_where_nobody_waits_any_more_no_timer_is_left():
    loop = asyncio.get_running_loop()
    waits = Waits()
    waiters = [_Waiter([], str(number)) for number in range(3)]
    for waiter in waiters:
        waits.begin(waiter, 60.0, loop)
    for waiter in waiters:
        waits.end(waiter)
    assert all(timer.cancelled() for timer in loop._scheduled)
