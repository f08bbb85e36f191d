"""The mailbox between threads and event loops."""

from __future__ import annotations

import asyncio
import threading

import pytest

from actors.letta.mailbox import Mailbox


async def test_an_item_from_another_thread_wakes_the_reader() -> None:
    mailbox: Mailbox[str] = Mailbox()
    reading = asyncio.ensure_future(mailbox.next())
    await asyncio.sleep(0)
    thread = threading.Thread(target=mailbox.put, args=("a",))
    thread.start()
    assert await asyncio.wait_for(reading, 5) == "a"
    thread.join()


async def test_each_item_goes_to_one_reader() -> None:
    mailbox: Mailbox[int] = Mailbox()
    readers = [asyncio.ensure_future(mailbox.next()) for _ in range(3)]
    await asyncio.sleep(0)
    for item in range(3):
        mailbox.put(item)
    assert sorted(await asyncio.wait_for(asyncio.gather(*readers), 5)) == [0, 1, 2]


async def test_what_was_put_before_the_close_is_still_read() -> None:
    mailbox: Mailbox[str] = Mailbox()
    mailbox.put("a")
    mailbox.close()
    assert [await mailbox.next(), await mailbox.next()] == ["a", None]


async def test_a_close_ends_every_reader_and_an_open_undoes_it() -> None:
    mailbox: Mailbox[str] = Mailbox()
    readers = [asyncio.ensure_future(mailbox.next()) for _ in range(2)]
    await asyncio.sleep(0)
    mailbox.close()
    assert await asyncio.wait_for(asyncio.gather(*readers), 5) == [None, None]
    mailbox.open()
    with pytest.raises(TimeoutError):
        await mailbox.next(0.01)


def test_a_waiter_of_a_closed_loop_is_forgotten() -> None:
    mailbox: Mailbox[str] = Mailbox()
    loop = asyncio.new_event_loop()
    # The loop stops with its reader still waiting, as when a program leaves without cancelling it.
    reading = loop.create_task(mailbox.next())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    mailbox.put("a")
    mailbox.put("b")
    assert list(mailbox.items) == ["a", "b"]
    assert not mailbox._waiters
    reading.get_coro().close()
