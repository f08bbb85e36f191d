"""Reading without a task: who listens is told batches in order, and how it ended once; faults stay with their own."""

from __future__ import annotations

from typing import Any

import pytest
from client_fakes import FakeActor, FakeRouter, door, message, until

from actors.errors import AlreadyReading, InternalError, RouterClosed, StreamRouterError, UnknownRequest
from actors.protocol.reads import Operation, PartState
from router.client.reading import poller


class Ear:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.subscription: Any = None
        self.had: list[int] = []
        self.ends: list[StreamRouterError | None] = []

    def hear(self, batch: Any) -> None:
        self.had += [one["seq_id"] for one in batch]

    def ended(self, error: StreamRouterError | None) -> None:
        self.ends.append(error)


@pytest.fixture
def router() -> FakeRouter:
    return FakeRouter()


@pytest.fixture(autouse=True)
def actor(router) -> FakeActor:
    actor = FakeActor("s1")
    for name in ("req", "other"):
        router.place(name, actor)
    return actor


@pytest.fixture
async def client(router):
    client = door(router)
    yield client
    await client.close()


def part(number: int, *segments: Any, state: PartState = PartState.OPEN) -> list[Any]:
    return [number, int(state), None, 1, list(segments)]


def listen(client, ear: Ear, request_id: str = "req", **options: Any) -> Any:
    ear.subscription = client.subscribe(request_id, format="dict", **options)
    ear.subscription.listen(ear.hear, ear.ended)
    return ear.subscription


async def test_batches_are_told_in_order_and_counted_as_consumed_and_the_end_once(client, actor):
    ear = Ear()
    actor.bring(part(1, message(1), message(2)))
    listen(client, ear)
    await until(lambda: ear.had == [1, 2])
    await until(lambda: [operation[3] for operation in actor.said(Operation.CONSUMED)] == [2])
    actor.bring(part(1, message(3)), part(1, message(4), state=PartState.ENDED))
    await until(lambda: ear.ends == [None])
    assert ear.had == [1, 2, 3, 4]
    assert not client._links[0]._listeners


async def test_where_many_read_a_listener_keeps_its_message_packed_and_goes_on_with_it(client, actor, monkeypatch):
    monkeypatch.setattr(poller, "CROWD", 0)
    ear = Ear()
    actor.bring(part(1, message(1)))
    subscription = listen(client, ear)
    await until(lambda: ear.had == [1])
    assert isinstance(subscription._reader._cursor._fields, bytes)
    actor.bring(part(1, [2, None, ["more"]]))
    await until(lambda: ear.had == [1, 2])
    assert ear.ends == []


async def test_an_end_without_a_message_is_told(client, actor):
    ear = Ear()
    listen(client, ear, after=7)
    actor.bring(part(1, state=PartState.ENDED))
    await until(lambda: ear.ends == [None])
    assert ear.had == []


async def test_a_request_that_nobody_opens_ends_by_name(client):
    ear = Ear()
    listen(client, ear, "none", wait_s=0)
    await until(lambda: len(ear.ends) == 1)
    assert isinstance(ear.ends[0], UnknownRequest)


async def test_a_router_that_is_closed_ends_it_by_name(client, actor):
    ear = Ear()
    listen(client, ear)
    await until(lambda: actor.said(Operation.SUBSCRIBE))
    await client.close()
    (error,) = ear.ends
    assert isinstance(error, RouterClosed)


async def test_what_a_listener_raises_ends_its_own_reading_and_no_other(client, actor, caplog):
    deaf, ear = Ear(), Ear()
    deaf.hear = lambda _: 1 // 0  # type: ignore[method-assign,return-value,assignment]
    listen(client, deaf)
    listen(client, ear, "other")
    await until(lambda: len(actor.said(Operation.SUBSCRIBE)) == 2)
    actor.bring(part(1, message(1)), part(2, message(1, request_id="other")))
    await until(lambda: ear.had == [1])
    (error,) = deaf.ends
    assert isinstance(error, InternalError)
    assert "ZeroDivisionError" in str(error)
    assert "whoever listens failed" in caplog.text
    await until(lambda: [operation[2] for operation in actor.said(Operation.DROP)] == [1])
    assert ear.ends == []


@pytest.mark.parametrize("how", ["end", "error"])
async def test_what_a_listener_raises_at_its_end_keeps_nothing_from_others(client, actor, caplog, how):
    deaf, ear = Ear(), Ear()
    deaf.ended = lambda _: 1 // 0  # type: ignore[method-assign,return-value,assignment]
    if how == "error":
        deaf.hear = deaf.ended  # type: ignore[method-assign,assignment]
    listen(client, deaf)
    listen(client, ear, "other")
    await until(lambda: len(actor.said(Operation.SUBSCRIBE)) == 2)
    actor.bring(part(1, message(1), state=PartState.ENDED), part(2, message(1, request_id="other")))
    await until(lambda: ear.had == [1])
    assert "whoever listens failed at its end" in caplog.text


async def test_who_closes_it_hears_nothing_more_also_in_the_midst_of_a_batch(client, actor):
    ear = Ear()
    subscription = listen(client, ear)
    ear.hear = lambda _: subscription.close()  # type: ignore[method-assign]
    subscription.close()
    again = Ear()
    closing = client.subscribe("req", format="dict")
    closing.listen(lambda batch: (again.hear(batch), closing.close()), again.ended)
    await until(lambda: len(actor.said(Operation.SUBSCRIBE)) == 1)
    actor.bring(part(2, message(1)), part(2, message(2)))
    await until(lambda: actor.said(Operation.DROP))
    assert (again.had, again.ends, ear.ends) == ([1], [], [])


async def test_a_subscription_that_nobody_holds_reads_no_more(client, actor):
    ear = Ear()
    listen(client, ear)
    await until(lambda: actor.said(Operation.SUBSCRIBE))
    ear.subscription = None
    await until(lambda: actor.said(Operation.DROP))
    assert ear.ends == []


async def test_it_listens_once(client):
    ear = Ear()
    subscription = listen(client, ear)
    with pytest.raises(AlreadyReading, match="subscribe once for each that listens"):
        subscription.listen(ear.hear, ear.ended)
    subscription.close()
    with pytest.raises(AlreadyReading):
        subscription.listen(ear.hear, ear.ended)
