"""The long poll that subscriptions share: nothing of an actor stays when nothing is read from it any more."""

from __future__ import annotations

import asyncio

import pytest
from client_fakes import FakeActor, FakeRouter, door, message, until
from ray.exceptions import ActorDiedError, ActorUnavailableError

import router.client.reading.poller
from actors.protocol.frames import read
from actors.protocol.reads import FORGOTTEN, FollowCall, Operation, PartState


@pytest.fixture
def fake() -> FakeRouter:
    return FakeRouter()


@pytest.fixture
def actor(fake) -> FakeActor:
    actor = FakeActor("s1")
    fake.place("req", actor)
    return actor


@pytest.fixture
async def client(fake):
    client = door(fake)
    yield client
    await client.close()


async def test_a_poller_and_its_handle_are_dropped_when_nothing_is_read(client, actor, monkeypatch):
    monkeypatch.setattr(router.client.reading.poller, "IDLE_S", 0.05)
    monkeypatch.setattr(router.client.reading.poller, "POLL_WAIT_S_MAX", 0.05)
    actor.bring([1, int(PartState.ENDED), None, 1, [message(1)]])
    assert [m.seq_id async for batch in client.subscribe("req") for m in batch] == [1]
    link = client._links[0]
    await until(lambda: not client._pollers._pollers)
    assert link.handles.known("s1") is None
    assert not link.handles._asking


async def test_two_readers_on_one_actor_share_a_poll(client, fake, actor):
    fake.place("other", actor)
    reading = [asyncio.ensure_future(anext(client.subscribe(name))) for name in ("req", "other")]
    await until(lambda: len(actor.said(Operation.SUBSCRIBE)) == 2)
    assert len(client._pollers._pollers) == 1
    assert actor.handle.count("poll") == 1
    assert fake.handle.count("stream_actor") == 1
    parts = [[operation[2], 0, None, 1, [message(1)]] for operation in actor.said(Operation.SUBSCRIBE)]
    actor.bring(*parts)
    await asyncio.wait_for(asyncio.gather(*reading), 5)


async def test_what_an_actor_refuses_one_subscription_is_raised_there_and_the_other_reads_on(client, fake, actor):
    fake.place("other", actor)
    reading = [asyncio.ensure_future(anext(client.subscribe(name))) for name in ("req", "other")]
    await until(lambda: len(actor.said(Operation.SUBSCRIBE)) == 2)
    (refused, *_), (healthy, *_) = ([operation[2]] for operation in actor.said(Operation.SUBSCRIBE))
    told = ["invalid_argument", "subscribe: `after` is 0 or more"]
    actor.bring([refused, int(PartState.REFUSED), None, 0, told], [healthy, 0, None, 1, [message(1)]])
    answers = await asyncio.wait_for(asyncio.gather(*reading, return_exceptions=True), 5)
    assert sorted(type(answer).__name__ for answer in answers) == ["Batch", "InvalidArgument"]


async def test_a_dead_actor_is_looked_after_and_its_readers_go_on_elsewhere(client, fake, actor):
    reading = asyncio.ensure_future(anext(client.subscribe("req")))
    await until(lambda: actor.said(Operation.SUBSCRIBE))

    def dies(_frame):
        raise ActorDiedError

    actor.handle.broken.update(poll=dies, tell=dies)
    actor.bring()
    await until(lambda: fake.handle.count("suspect"))
    other = FakeActor("s2")
    fake.place("req", other, epoch=2)
    await until(lambda: other.said(Operation.SUBSCRIBE))
    other.bring([1, 0, None, 2, [message(1)]])
    assert len(await asyncio.wait_for(reading, 5)) == 1
    assert client._links[0].handles.known("s1") is None


async def test_an_actor_that_has_forgotten_this_process_is_asked_anew(client, actor):
    reading = asyncio.ensure_future(anext(client.subscribe("req")))
    await until(lambda: actor.said(Operation.SUBSCRIBE))
    actor.answers.append(FORGOTTEN)
    actor.changed.set()
    await until(lambda: len(actor.said(Operation.SUBSCRIBE)) == 2)
    actor.bring([1, 0, None, 1, [message(1)]])
    assert len(await asyncio.wait_for(reading, 5)) == 1


async def test_a_poll_without_an_answer_is_made_again_and_the_router_told(client, fake, actor):
    failures = iter(range(3))

    def fails(_frame):
        if next(failures, None) is not None:
            raise ActorUnavailableError("gone for a while", None)

    actor.handle.broken["poll"] = fails
    reading = asyncio.ensure_future(anext(client.subscribe("req")))
    await until(lambda: actor.said(Operation.SUBSCRIBE))
    assert fake.handle.count("suspect") == 2
    actor.bring([1, 0, None, 1, [message(1)]])
    assert len(await asyncio.wait_for(reading, 5)) == 1


async def test_an_answer_that_is_rubbish_is_asked_for_again(client, actor):
    reading = asyncio.ensure_future(anext(client.subscribe("req")))
    await until(lambda: actor.said(Operation.SUBSCRIBE))
    actor.answers += [b"\xc1 rubbish", b"\x01"]
    actor.changed.set()
    actor.bring([1, 0, None, 1, [message(1)]])
    assert len(await asyncio.wait_for(reading, 5)) == 1


async def test_stream_actors_are_told_for_how_long_to_gather(fake, actor):
    client = door(fake, subscriber={"gather_ms": 4})

    def told(of=client):
        poller = of._pollers.of(of._links[0], "s1", actor.handle)
        return read(FollowCall, poller.compose(renews=False)[0]).gather_s

    assert told() == 0.004
    client.gather_reads(7)
    assert told() == 0.007
    assert told(client._beside("of-a-tenant")) == 0.007
    await client.close()
