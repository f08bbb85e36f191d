"""Closing: whoever waits for anything hears RouterClosed at once, and so does every call from then on."""

from __future__ import annotations

import asyncio
import gc
import threading
import time

import pytest
from client_fakes import FakeActor, FakeRouter, door, message

from actors.errors import InvalidArgument, RouterClosed
from actors.protocol.frames import pack
from router.client.sync import SyncStreamRouter


@pytest.fixture
def router() -> FakeRouter:
    router = FakeRouter()
    router.place("req", FakeActor("s1"))
    return router


async def read(client):
    async for _ in client.subscribe("req"):
        pass


async def wait_for_a_request(client):
    await anext(client.subscribe("not-yet", wait_s=100))


async def write_without_credit(client):
    stream = await client.publish("w").open()
    stream._stream.credit_bytes = 10
    for _ in range(5):
        await stream.chunk(b"{" + b"x" * 50 + b"}")


async def finish(client):
    stream = await client.publish("f").open()
    await stream.finish()


async def stand_in_a_body(client):
    async with client.publish("b"):
        await asyncio.Event().wait()


async def open_slowly(client):
    await client.publish("slow").open()


async def wait_for_an_agent(client):
    await client.publish("a", agent_id="ada", when_busy="queue").open()


async def locate(client):
    await client.locate("nowhere", wait_s=100)


async def describe(client):
    await client.describe()


async def cancel(client):
    await client.cancel("req")


async def wait_for_a_message(client):
    await anext(client.messages("req"))


async def wait_for_a_result(client):
    await client.result("req")


async def wait_for_results(client):
    await client.result(["req", "not-yet"], wait_s=100)


async def merge_what_is_named(client):
    await anext(client.merge(["req", "not-yet"], wait_s=100))


async def merge_what_comes(client):
    await anext(client.merge(agent="ada"))


async def show(client):
    await client.show(["req", "not-yet"], wait_s=100)


async def find(client):
    await client.list()


async def look_up(client):
    await client.request("req")


WAITS = [
    read, wait_for_a_request, write_without_credit, finish, stand_in_a_body, open_slowly, wait_for_an_agent, locate,
    describe, cancel, wait_for_a_message, wait_for_a_result, wait_for_results, merge_what_is_named, merge_what_comes,
    show, find, look_up,
]  # fmt: skip


def hang(router, *methods):
    """Let calls of these methods never come back."""
    for method in methods:

        async def never(*_arguments):
            await asyncio.Event().wait()

        setattr(router, method, never)


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("by", ["close", "all tasks cancelled"])
async def test_whoever_waits_hears_so_at_once(wait, by, router):
    hang(router, "describe", "cancel", "claim", "request")
    if wait is find:
        hang(router, "list")
    if wait is open_slowly:
        hang(router, "open")
    client = door(router)
    task = asyncio.ensure_future(wait(client))
    await asyncio.sleep(0.05)
    assert not task.done()
    if by == "close":
        await client.close()
    else:
        for other in asyncio.all_tasks() - {asyncio.current_task(), task}:
            other.cancel()
    # Where one of its own tasks was cancelled too, that is what it hears.
    expected = RouterClosed if by == "close" else (RouterClosed, asyncio.CancelledError)
    with pytest.raises(expected):
        await asyncio.wait_for(task, 5)
    if by != "close":
        await client.close()


async def test_garbage_collection_closes_for_those_who_kept_a_part_of_it(router):
    client = door(router)
    stream = await client.publish("kept").open()
    subscription = client.subscribe("req")
    reading = asyncio.ensure_future(anext(subscription))
    await asyncio.sleep(0.02)
    del client
    gc.collect()
    with pytest.raises(RouterClosed, match="no longer held"):
        await asyncio.wait_for(reading, 5)
    with pytest.raises(RouterClosed):
        await stream.chunk(b"{}")
    with pytest.raises(RouterClosed):
        await anext(subscription)


async def test_every_call_after_close_says_so(router):
    client = door(router)
    stream = await client.publish("open").open()
    subscription = client.subscribe("req")
    await client.close()
    for call in (
        lambda: client.publish("x"), lambda: client.subscribe("x"), lambda: client.messages("x"),
        lambda: client.merge("x"), lambda: client.result("x"), lambda: client.result(["x"]),
        lambda: client.start(print), lambda: client.map(print, [1]),
    ):  # fmt: skip
        with pytest.raises(RouterClosed):
            call()
    for later in (
        client.cancel("x"), client.locate("x"), client.describe(), client.overview(), client.drain(), client.resume(),
        client.stop(), client.warm(), client.list(), client.request("x"),
        stream.chunk(b"{}"), stream.message({"message_type": "system_message", "content": "x"}),
        stream.finish(), stream.fail("a", "b"), stream.step_end(), anext(subscription), client.show("x"),
    ):  # fmt: skip
        with pytest.raises(RouterClosed):
            await later


async def test_closing_twice_and_by_two_tasks_is_closing_once(router):
    client = door(router)
    await asyncio.gather(client.close(), client.close())
    await client.close()


async def test_a_cancelled_close_closes_all_the_same(router):
    client = door(router)
    closing = asyncio.ensure_future(client.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    await client.close()
    with pytest.raises(RouterClosed):
        client.publish("x")


async def test_what_has_arrived_is_read_before_the_close_is_heard(router):
    client = door(router)
    actor = router.actors["s1"]
    subscription = client.subscribe("req")
    actor.bring([1, 0, None, 1, [message(1)]])
    reading = asyncio.ensure_future(anext(subscription))
    assert len(await reading) == 1
    await client.close()
    with pytest.raises(RouterClosed):
        await anext(subscription)


def test_another_event_loop_is_refused_by_name_and_one_that_has_ended_counts_as_closed(router):
    client = door(router)

    async def use():
        await client.publish("req-1").open()

    asyncio.run(use())
    with pytest.raises(RouterClosed, match="event loop"):
        asyncio.run(use())


async def test_a_loop_beside_the_one_that_opened_it_is_refused(router):
    client = door(router)
    await client.publish("req-1").open()

    def elsewhere():
        with pytest.raises(InvalidArgument, match="event loop"):
            asyncio.run(client.cancel("req-1"))

    await asyncio.to_thread(elsewhere)
    await client.close()


# --- the synchronous face ------------------------------------------------------------------------------


def sync_door(router) -> SyncStreamRouter:
    async def open_door():
        router.changed = asyncio.Event()
        for actor in router.actors.values():
            actor.changed = asyncio.Event()
        return door(router)

    return SyncStreamRouter(open_door)


def wait_in_thread(call):
    result: list[BaseException | object] = []

    def run():
        try:
            result.append(call())
        except BaseException as error:  # noqa: BLE001
            result.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    time.sleep(0.1)  # until it waits; too early, the test is still right
    return thread, result


def test_threads_that_wait_hear_of_a_close(router):
    client = sync_door(router)
    stream = client.publish("f").open()
    waits = [
        wait_in_thread(lambda: next(client.subscribe("req"))),
        wait_in_thread(lambda: list(client.subscribe("not-yet", wait_s=100))),
        wait_in_thread(stream.finish),
        wait_in_thread(lambda: client.locate("nowhere", wait_s=100)),
    ]
    client.close()
    for thread, result in waits:
        thread.join(5)
        assert isinstance(result[0], RouterClosed)
    client.close()
    for call in (client.describe, lambda: client.cancel("x"), lambda: stream.chunk(b"{}"), client.drain):
        with pytest.raises(RouterClosed):
            call()


def test_a_dropped_synchronous_router_leaves_no_thread(router):
    client = sync_door(router)
    background = client._background._thread
    stream = client.publish("f").open()
    thread, result = wait_in_thread(stream.finish)
    del client
    gc.collect()
    thread.join(5)
    background.join(5)
    assert isinstance(result[0], RouterClosed)
    assert not background.is_alive()
    with pytest.raises(RouterClosed):
        stream.chunk(b"{}")


def test_leaving_a_plain_loop_gives_the_cursor_up(router):
    client = sync_door(router)
    actor = router.actors["s1"]
    actor.answers.append(pack([[1, 0, None, 1, [message(1)]]]))
    subscription = client.subscribe("req")
    for batch in subscription:
        assert len(batch) == 1
        break
    for _ in range(500):
        if any(operation[1] == 2 for operation in actor.operations):
            break
        time.sleep(0.01)
    assert any(operation[1] == 2 for operation in actor.operations)
    with subscription:
        pass
    assert list(subscription) == []
    client.close()
