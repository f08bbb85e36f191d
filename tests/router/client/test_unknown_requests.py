"""Requests that nobody has opened: the answer comes at once, unless the caller waits or the router cannot say yet."""

from __future__ import annotations

import asyncio

import pytest
from client_fakes import FakeActor, FakeRouter, door, message, until

from actors.errors import UnknownRequest
from actors.protocol.reads import Operation, PartState
from actors.protocol.states import ReaderState


@pytest.fixture
def router() -> FakeRouter:
    return FakeRouter()


@pytest.fixture
async def client(router):
    client = door(router)
    yield client
    await client.close()


CALLS = {
    "subscribe": lambda client, wait_s: anext(client.subscribe("req", wait_s=wait_s)),
    "messages": lambda client, wait_s: anext(client.messages("req", wait_s=wait_s)),
    "result": lambda client, wait_s: client.result("req", wait_s=wait_s),
    "locate": lambda client, wait_s: client.locate("req", wait_s=wait_s),
}


def unless_at_once(coroutine):
    """A second is far more than one answer takes, and less than any wait that was here before."""
    return asyncio.wait_for(coroutine, 1.0)


@pytest.fixture(params=CALLS)
def call(request):
    return CALLS[request.param]


async def test_the_answer_comes_at_once(client, call):
    with pytest.raises(UnknownRequest, match=r"no request 'req': never opened here.*give a wait_s"):
        await unless_at_once(call(client, 0.0))


async def test_result_messages_and_locate_do_not_wait_unless_told_to(client):
    for asked in (client.result("req"), anext(client.messages("req")), client.locate("req")):
        with pytest.raises(UnknownRequest):
            await unless_at_once(asked)


async def test_one_that_is_there_is_found_without_a_wait(client, router, call):
    actor = FakeActor("s1")
    router.place("req", actor)
    stop = {**message(1)[1], "message_type": "stop_reason", "stop_reason": "end_turn"}
    actor.bring([1, int(PartState.ENDED), None, 1, [message(1), [2, stop, [None]]]])
    await unless_at_once(call(client, 0.0))


async def test_a_reader_that_comes_before_its_publisher_waits_so_long(client, router, call):
    waiting = asyncio.ensure_future(call(client, 30.0))
    await until(lambda: router.handle.count("locate"))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    actor = FakeActor("s1")
    router.place("req", actor)
    stop = {**message(1)[1], "message_type": "stop_reason", "stop_reason": "end_turn"}
    actor.bring([1, int(PartState.ENDED), None, 1, [message(1), [2, stop, [None]]]])
    await asyncio.wait_for(waiting, 5)


async def test_a_wait_that_is_over_says_how_long_it_was(client, call):
    with pytest.raises(UnknownRequest, match=r"within wait_s = 0.05 s.*a longer wait_s"):
        await unless_at_once(call(client, 0.05))


async def test_a_router_that_cannot_say_yet_is_waited_for(client, router, call):
    router.phase = "recovering"
    waiting = asyncio.ensure_future(call(client, 0.0))
    await until(lambda: router.handle.count("locate"))
    await asyncio.sleep(0.05)
    assert not waiting.done(), "not yet is not no"
    router.say(ReaderState("r", "req", "unknown", None, 0))
    with pytest.raises(UnknownRequest):
        await unless_at_once(waiting)


async def test_a_router_that_restarts_meanwhile_is_asked_again(client, router):
    waiting = asyncio.ensure_future(anext(client.subscribe("req", wait_s=0.3)))
    await until(lambda: router.handle.count("locate"))
    router.phase = "recovering"
    router.restart()
    await until(lambda: router.handle.count("locate") >= 2)
    await asyncio.sleep(0.4)
    assert not waiting.done()
    actor = FakeActor("s1")
    router.place("req", actor)
    await until(lambda: actor.said(Operation.SUBSCRIBE))
    actor.bring([1, int(PartState.OPEN), None, 1, [message(1)]])
    assert len(await asyncio.wait_for(waiting, 5)) == 1


async def test_one_request_that_is_unknown_does_not_take_the_time_of_others(client, router):
    actor = FakeActor("s1")
    router.place("there", actor)
    other = asyncio.ensure_future(anext(client.subscribe("there")))
    with pytest.raises(UnknownRequest):
        await unless_at_once(client.result("req"))
    await until(lambda: actor.said(Operation.SUBSCRIBE))
    actor.bring([1, int(PartState.OPEN), None, 1, [message(1)]])
    assert len(await asyncio.wait_for(other, 5)) == 1


@pytest.mark.parametrize("has_come", [True, False], ids=["and was read", "unread"])
async def test_another_request_under_the_same_id_is_not_read_on_for_the_one_that_was_forgotten(
    client, router, has_come
):
    actor = FakeActor("s1")
    router.place("req", actor, created=7)
    subscription = client.subscribe("req", format="dict")
    reading = asyncio.ensure_future(anext(subscription))
    await until(lambda: actor.said(Operation.SUBSCRIBE))
    if has_come:
        actor.bring([1, int(PartState.OPEN), None, 1, [message(1)]])
        assert len(await asyncio.wait_for(reading, 5)) == 1
        reading = asyncio.ensure_future(anext(subscription))
        router.place("req", FakeActor("s2"), epoch=2, created=7)  # it has only moved
        await asyncio.sleep(0)
    router.place("req", other := FakeActor("s3"), created=8)
    if has_come:
        with pytest.raises(UnknownRequest, match=r"'req' is gone.*under its ID.*last message read was 1"):
            await unless_at_once(reading)
        return
    await until(lambda: other.said(Operation.SUBSCRIBE))
    other.bring([1, int(PartState.OPEN), None, 1, [message(1)]])
    assert len(await asyncio.wait_for(reading, 5)) == 1
