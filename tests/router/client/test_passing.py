"""A router that is passed on: what arrives is one of its own, and looks for its actors when it is first used."""

from __future__ import annotations

import asyncio
import pickle
from types import SimpleNamespace
from typing import Any

import pytest
from client_fakes import FakeActor, FakeRouter, door, message

from actors.errors import RouterClosed, RouterNotFound
from actors.protocol.reads import PartState
from actors.tenants import Key, Passes, identity_of, process_of
from router.client import passing
from router.client.stream_router import StreamRouter


def again(router: StreamRouter) -> Any:
    return pickle.loads(pickle.dumps(router))  # noqa: S301  # its own bytes


@pytest.fixture
def lookups(monkeypatch) -> list[Any]:
    """What looking a router up gives, time after time: a handle, or an error to raise."""
    answers: list[Any] = []

    def find(_name: str, _namespace: str, _shard: int) -> Any:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(passing, "find", find)
    monkeypatch.setattr(passing.ray, "is_initialized", lambda: True)
    context = SimpleNamespace(gcs_address="head:1", get_node_id=lambda: None)
    monkeypatch.setattr(passing.ray, "get_runtime_context", lambda: context)
    return answers


async def test_what_arrives_is_another_client_of_the_same_routers(lookups):
    sent = door(FakeRouter(), routers=2)
    arrived = again(sent)
    assert not lookups, "nothing was looked up"
    assert type(arrived) is StreamRouter
    assert arrived.config == sent.config
    assert arrived.client_id != sent.client_id
    assert len(arrived._links) == 2
    await arrived.close()
    await sent.close()


async def test_it_looks_its_actors_up_at_its_first_call_and_once(lookups):
    fake, actor = FakeRouter(), FakeActor("s1")
    fake.place("req", actor)
    sent = door(fake)
    arrived = again(sent)
    lookups += [fake.handle, AssertionError("looked up twice")]
    assert await arrived.cancel("req")
    actor.bring([1, int(PartState.OPEN), None, 1, [message(1, "hello")]])
    assert [m.content for m in await anext(arrived.subscribe("req"))] == ["hello"]
    await arrived.close()
    await sent.close()


async def test_where_there_is_none_the_call_says_so_and_can_be_made_again(lookups):
    fake, actor = FakeRouter(), FakeActor("s1")
    fake.place("req", actor)
    sent = door(fake)
    arrived = again(sent)
    lookups.append(RouterNotFound("no router 'agents' here"))
    with pytest.raises(RouterNotFound, match="no router 'agents' here") as failed:
        await asyncio.wait_for(arrived.cancel("req"), 5)
    assert failed.value.__cause__ is None
    assert failed.value.__suppress_context__ or failed.value.__context__ is None
    with pytest.raises(RouterNotFound):
        await asyncio.wait_for(anext(arrived.subscribe("req")), 5)
    with pytest.raises(RouterNotFound):
        await asyncio.wait_for(arrived.publish("req").open(), 5)
    lookups[:] = [fake.handle]
    assert await arrived.cancel("req")
    await arrived.close()
    await sent.close()


async def test_closed_is_not_passed_on():
    sent = door(FakeRouter())
    await sent.close()
    with pytest.raises(RouterClosed):
        pickle.dumps(sent)


async def test_with_tenants_it_is_who_its_sender_is_under_a_name_of_its_own():
    passes = Passes(Key(b"a secret of this test").pass_key)
    shown = passes.make("host-1", identity_of("team-a", ["read"]))
    sent = door(FakeRouter(), tenants={"enabled": True}, client_id=shown)
    arrived = again(sent)
    further = again(arrived)
    assert len({sent.client_id, arrived.client_id, further.client_id}) == 3
    assert len({process_of(one.client_id) for one in (sent, arrived, further)}) == 3
    assert process_of(shown) == "host-1"
    identity = passes.identity(further.client_id)
    assert identity is not None
    assert (identity.subject, identity.scopes) == ("team-a", {"read"})
    assert further.client_id.count("/") == 1, "it grows no longer on the way"
    for one in (sent, arrived, further):
        await one.close()
