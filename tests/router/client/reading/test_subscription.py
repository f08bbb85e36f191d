"""Reading ends when the loop ends: whoever leaves gives the cursor up at once, and can go on later."""

from __future__ import annotations

import asyncio
import contextlib
import gc

import pytest
from client_fakes import FakeActor, FakeRouter, door, message, until

from actors.errors import AlreadyReading, InternalError, UnknownRequest
from actors.protocol.reads import Operation, PartState
from router.client.reading.poller import Poller
from router.client.reading.turns import BATCH_MESSAGES


@pytest.fixture
def router() -> FakeRouter:
    return FakeRouter()


@pytest.fixture
def actor(router) -> FakeActor:
    actor = FakeActor("s1")
    router.place("req", actor)
    return actor


@pytest.fixture
async def client(router):
    client = door(router)
    yield client
    await client.close()


def bring(actor, *segments, number=1, state=PartState.OPEN):
    actor.bring([number, int(state), None, 1, list(segments)])


async def dropped(actor, count=1):
    await until(lambda: len(actor.said(Operation.DROP)) >= count)


async def leave_by_break(client):
    async for _ in client.subscribe("req"):
        break


async def leave_by_an_error(client):
    with contextlib.suppress(ZeroDivisionError):
        async for _ in client.subscribe("req"):
            raise ZeroDivisionError


async def leave_by_return(client):
    async for batch in client.subscribe("req"):
        return batch
    return None


async def leave_a_generator(client):
    async def texts():
        async for batch in client.subscribe("req"):
            for one in batch:
                yield one.content

    async for _ in texts():
        break


async def leave_a_context(client):
    async with client.subscribe("req") as subscription:
        await anext(subscription)


async def leave_one_batch(client):
    await anext(client.subscribe("req"))


async def leave_by_cancel(client):
    async def read():
        async for _ in client.subscribe("req"):
            await asyncio.Event().wait()

    task = asyncio.ensure_future(read())
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait([task])


async def leave_by_timeout(client):
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.05):
            async for _ in client.subscribe("req"):
                pass


@pytest.mark.parametrize(
    "leave",
    [leave_by_break, leave_by_an_error, leave_by_return, leave_a_generator, leave_a_context, leave_one_batch,
     leave_by_cancel, leave_by_timeout],
)  # fmt: skip
async def test_leaving_in_whatever_way_gives_the_cursor_up_at_once(leave, client, actor):
    bring(actor, message(1))
    gc.disable()  # by counting references alone
    try:
        await leave(client)
        await dropped(actor)
    finally:
        gc.enable()
    assert not client._links[0]._listeners


async def test_a_subscription_can_be_left_and_goes_on_where_it_stood(client, actor):
    bring(actor, message(1), message(2))
    subscription = client.subscribe("req")
    async for batch in subscription:
        assert [m.seq_id for m in batch] == [1, 2]
        break
    await dropped(actor)
    again = asyncio.ensure_future(anext(subscription))
    await until(lambda: len(actor.said(Operation.SUBSCRIBE)) == 2)
    bring(actor, message(3), number=2, state=PartState.ENDED)
    assert [m.seq_id for m in await asyncio.wait_for(again, 5)] == [3]
    assert [operation[4] for operation in actor.said(Operation.SUBSCRIBE)] == [0, 2]
    assert [batch async for batch in subscription] == [], "after its end there is nothing"


async def test_a_batch_not_had_in_time_is_not_the_end(client, actor):
    subscription = client.subscribe("req")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(subscription), 0.05)
    again = asyncio.ensure_future(anext(subscription))
    await until(lambda: any(operation[2] == 2 for operation in actor.said(Operation.SUBSCRIBE)))
    bring(actor, message(1), number=2)
    assert [m.seq_id for m in await asyncio.wait_for(again, 5)] == [1]


async def test_one_that_says_much_does_not_keep_those_that_say_little_waiting(client, router, actor):
    router.place("small", actor)
    handed_out: list[tuple[str, int]] = []

    async def read(request_id: str) -> None:
        async for batch in client.subscribe(request_id):
            handed_out.append((request_id, len(batch)))  # noqa: PERF401  # of both, in the order in which they come

    reading = [asyncio.ensure_future(read(request_id)) for request_id in ("req", "small")]
    await until(lambda: len(actor.said(Operation.SUBSCRIBE)) == 2)
    ended, much = int(PartState.ENDED), BATCH_MESSAGES + 1
    flood = [[1, 0, None, 1, [message(first, texts=much)]] for first in range(1, 4 * much, much)]
    actor.bring(*flood, [1, ended, None, 1, []], [2, ended, None, 1, [message(1, request_id="small")]])
    await asyncio.wait_for(asyncio.gather(*reading), 5)
    assert handed_out == [("req", much), ("small", 1), *[("req", much)] * 3]


async def test_of_all_that_has_come_only_the_last_is_said_at_once_to_be_consumed(client, actor, monkeypatch):
    said = []
    monkeypatch.setattr(Poller, "consumed", lambda *_, has_more=False: said.append(has_more))

    async def read() -> None:
        async for _ in client.subscribe("req"):
            pass

    reading = asyncio.ensure_future(read())
    await until(lambda: actor.said(Operation.SUBSCRIBE))
    much = BATCH_MESSAGES
    actor.bring(*([1, 0, None, 1, [message(first, texts=much)]] for first in (1, 1 + much, 1 + 2 * much)))
    await until(lambda: len(said) == 3)
    assert said == [True, True, False]
    reading.cancel()


async def test_a_loop_within_a_loop_keeps_the_cursor_until_both_are_left(client, actor):
    bring(actor, message(1))
    subscription = client.subscribe("req")
    async for _ in subscription:
        bring(actor, message(2))
        async for _ in subscription:
            break
        await asyncio.sleep(0.02)
        assert not actor.said(Operation.DROP)
        break
    await dropped(actor)


async def test_closed_is_closed(client, actor):
    bring(actor, message(1))
    subscription = client.subscribe("req")
    await anext(subscription)
    await subscription.aclose()
    await subscription.aclose()
    await dropped(actor)
    with pytest.raises(StopAsyncIteration):
        await anext(subscription)


async def test_two_tasks_at_one_subscription_are_told_so(client, actor):
    subscription = client.subscribe("req")
    first = asyncio.ensure_future(anext(subscription))
    await until(lambda: actor.said(Operation.SUBSCRIBE))
    with pytest.raises(AlreadyReading, match="subscribe once for each task"):
        await anext(subscription)
    bring(actor, message(1))
    assert len(await asyncio.wait_for(first, 5)) == 1


async def test_a_subscription_that_nobody_ever_read_costs_nothing(client):
    client.subscribe("req")
    await asyncio.sleep(0.01)
    assert not client._links[0]._listeners


async def test_an_unknown_request_is_an_error_and_can_be_tried_again(router):
    client = door(router)
    subscription = client.subscribe("later", wait_s=0.05)
    with pytest.raises(UnknownRequest):
        await anext(subscription)
    actor = FakeActor("s2")
    router.place("later", actor)
    bring(actor, message(1), number=2)
    assert len(await asyncio.wait_for(anext(subscription), 5)) == 1
    await client.close()


async def test_what_an_actor_brings_and_cannot_be_read_ends_its_own_reader_only(client, router, actor):
    router.place("other", actor)
    reading = asyncio.ensure_future(anext(client.subscribe("req")))
    other = asyncio.ensure_future(anext(client.subscribe("other")))
    await until(lambda: len(actor.said(Operation.SUBSCRIBE)) == 2)
    numbers = {operation[3]: operation[2] for operation in actor.said(Operation.SUBSCRIBE)}
    actor.bring(["rubbish"], [numbers["req"], 0, None, 1, [[1, 2]]], [numbers["other"], 0, None, 1, [message(1)]])
    assert len(await asyncio.wait_for(other, 5)) == 1
    with pytest.raises(Exception, match="segment"):
        await asyncio.wait_for(reading, 5)


async def test_an_operation_that_breaks_the_poll_is_its_own_readers_fault_only(client, router, actor):
    router.place("poison", actor)

    def refuses(frame):
        if b"poison" in frame:
            raise _raised(TypeError("'<' not supported"))

    actor.handle.broken.update(poll=refuses, tell=refuses)
    poisoned = asyncio.ensure_future(anext(client.subscribe("poison")))
    innocent = asyncio.ensure_future(anext(client.subscribe("req")))
    with pytest.raises(InternalError, match="TypeError"):
        await asyncio.wait_for(poisoned, 5)
    await until(lambda: any(operation[3] == "req" for operation in actor.said(Operation.SUBSCRIBE)))
    number = next(operation[2] for operation in actor.said(Operation.SUBSCRIBE) if operation[3] == "req")
    bring(actor, message(1), number=number)
    assert len(await asyncio.wait_for(innocent, 5)) == 1


def _raised(cause: Exception) -> Exception:
    from ray.exceptions import RayTaskError  # noqa: PLC0415

    return RayTaskError("poll", "traceback", cause).as_instanceof_cause()
