"""One answer, and one message at a time: what comes when, and what ends with what."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from client_fakes import FakeActor, FakeRouter, door, message, until

from actors.errors import RequestCancelled, RequestFailed, RouterClosed
from actors.messages import GapMessage
from actors.protocol.reads import Operation, PartState
from router import unpack_batch
from router.client.reading.results import Results

FIELDS = {"id": "m", "date": "2026-01-01T00:00:00+00:00", "run_id": "req"}


@pytest.fixture
def router() -> FakeRouter:
    return FakeRouter()


@pytest.fixture
def actor(router) -> FakeActor:
    actor = FakeActor("s1")
    for request_id in ("req", "req-2", "req-3"):
        router.place(request_id, actor)
    return actor


@pytest.fixture
async def client(router):
    client = door(router)
    yield client
    await client.close()


def bring(actor, *segments, number=1, state=PartState.OPEN, gap=None):
    actor.bring([number, int(state), gap, 1, list(segments)])


def ending(seq_id: int, reason: str = "end_turn") -> list[list[Any]]:
    stop = {**FIELDS, "message_type": "stop_reason", "stop_reason": reason}
    return [[seq_id, stop, [None]], [seq_id + 1, {**FIELDS, "message_type": "usage_statistics"}, [None]]]


async def number_of(actor, request_id) -> int:
    def found():
        return [o[2] for o in actor.said(Operation.SUBSCRIBE) if o[3] == request_id]

    await until(found)
    return found()[-1]


async def test_a_text_over_many_batches_is_one_message_and_the_end_is_the_end(client, actor):
    bring(actor, message(1, "Hel"))
    bring(actor, message(2, "lo"))
    bring(actor, message(3, "!"), *ending(4), state=PartState.ENDED)
    messages = [one async for one in client.messages("req")]
    assert [m.message_type for m in messages] == ["assistant_message", "stop_reason", "usage_statistics"]
    assert (messages[0].content, messages[0].seq_id) == ("Hello!", 3)


async def test_tokens_come_one_by_one(client, actor):
    bring(actor, [1, message(1)[1], ["a", "b"]])
    bring(actor, message(3, "c"), *ending(4), state=PartState.ENDED)
    messages = [one async for one in client.messages("req", coalesce="tokens")]
    assert [m.content for m in messages[:3]] == ["a", "b", "c"]
    assert [m.seq_id for m in messages] == [1, 2, 3, 4, 5]


async def test_what_retention_dropped_is_a_message_of_its_own(client, actor):
    bring(actor, message(1, "a"))
    bring(actor, message(5, "b"), *ending(6), gap=[2, 4], state=PartState.ENDED)
    first, gap, second, *_ = [one async for one in client.messages("req")]
    assert isinstance(gap, GapMessage)
    assert (gap.first_seq_id, gap.last_seq_id) == (2, 4)
    assert (first.content, second.content) == ("a", "b")


async def test_leaving_the_loop_gives_the_cursor_up_at_once(client, actor):
    bring(actor, [1, message(1)[1], ["a", "b"]])
    gc.disable()  # by counting references alone
    try:
        async for _ in client.messages("req", coalesce="tokens"):
            break
        await until(lambda: actor.said(Operation.DROP))
    finally:
        gc.enable()


async def test_a_loop_that_was_left_goes_on_without_a_loss(client, actor):
    bring(actor, [1, message(1)[1], ["a", "b"]], [3, {**message(1)[1], "otid": "2"}, ["c"]])
    messages = client.messages("req")
    async for one in messages:
        assert one.content == "ab"
        break
    assert messages.last_seq_id == 2
    await until(lambda: actor.said(Operation.DROP))
    rest = asyncio.ensure_future(_all(messages))
    await until(lambda: len(actor.said(Operation.SUBSCRIBE)) == 2)
    assert actor.said(Operation.SUBSCRIBE)[-1][4] == 3, "what was had, and not yet given, is not asked for again"
    bring(actor, [4, {**message(1)[1], "otid": "2"}, ["d"]], *ending(5), number=2, state=PartState.ENDED)
    assert [m.content for m in (await rest)[:1]] == ["cd"]


async def _all(messages):
    return [one async for one in messages]


async def test_closed_is_closed(client, actor):
    bring(actor, message(1, "a"))
    async with client.messages("req") as messages:
        reading = asyncio.ensure_future(anext(messages))
        await until(lambda: actor.said(Operation.SUBSCRIBE))
    with pytest.raises(StopAsyncIteration):
        await anext(messages)
    reading.cancel()
    await asyncio.wait([reading])


async def test_a_packed_batch_holds_its_messages_though_none_of_them_is_in_its_list(client, actor):
    bring(actor, message(1, "a"), *ending(2), state=PartState.ENDED)
    batches = [batch async for batch in client.subscribe("req", format="packed")]
    assert [m["seq_id"] for batch in batches for m in unpack_batch(batch.packed)] == [1, 2, 3]


# --- results ---------------------------------------------------------------------------------------------


async def test_a_result_has_the_text_and_when_it_came(client, actor):
    bring(actor, message(1, "Hel"))
    bring(actor, message(2, "lo"), *ending(3), state=PartState.ENDED)
    result = await client.result("req")
    assert (result.text, result.stop_reason, result.request_id) == ("Hello", "end_turn", "req")
    assert result.timings.first_message_s is not None
    assert 0 <= result.timings.first_message_s <= result.timings.total_s


async def test_a_failed_end_raises_unless_told_not_to(client, actor):
    bring(actor, message(1, "half"), *ending(2, "cancelled"), state=PartState.ENDED)
    with pytest.raises(RequestCancelled, match="'req' ended as 'cancelled'") as failed:
        await client.result("req")
    assert failed.value.result.text == "half"
    bring(actor, message(1, "half"), *ending(2, "cancelled"), number=2, state=PartState.ENDED)
    assert (await client.result("req", raise_failed=False)).text == "half"


async def test_many_come_as_they_end_and_say_how_far_it_is(client, actor):
    told: list[tuple[int, int]] = []
    results = client.result(["req", "req-2"], progress=lambda done, total: told.append((done, total)))
    assert isinstance(results, Results)
    first = asyncio.ensure_future(anext(results))
    number = await number_of(actor, "req-2")
    bring(actor, message(1, "two"), *ending(2), number=number, state=PartState.ENDED)
    assert (await first).text == "two"
    assert (results.done, results.total) == (1, 2)
    bring(actor, message(1, "one"), *ending(2), number=await number_of(actor, "req"), state=PartState.ENDED)
    assert [one.text async for one in results] == ["one"]
    assert told == [(1, 2), (2, 2)]


async def test_all_of_many_come_in_the_order_in_which_they_were_asked_for(client, actor):
    reading = asyncio.ensure_future(client.result(iter(["req", "req-2"])).all())
    for request_id in ("req-2", "req"):
        number = await number_of(actor, request_id)
        bring(actor, message(1, request_id), *ending(2), number=number, state=PartState.ENDED)
    assert [one.text for one in await reading] == ["req", "req-2"]


async def test_progress_is_a_bar_where_that_is_asked_for(client, actor, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes this for a terminal
    reading = asyncio.ensure_future(client.result(["req", "req-2"], progress=True).all())
    for request_id in ("req-2", "req"):
        number = await number_of(actor, request_id)
        bring(actor, message(1, request_id), *ending(2), number=number, state=PartState.ENDED)
    await reading
    assert "2/2" in capsys.readouterr().err


async def test_one_that_failed_ends_the_reading_of_the_others(client, actor):
    results = client.result(["req", "req-2", "req-3"])
    reading = asyncio.ensure_future(_all(results))
    for request_id in ("req", "req-2", "req-3"):
        number = await number_of(actor, request_id)
    bring(actor, *ending(1, "error"), number=number, state=PartState.ENDED)
    with pytest.raises(RequestFailed, match="'req-3'"):
        await reading
    await until(lambda: len(actor.said(Operation.DROP)) >= 3)
    assert [one async for one in results] == [], "after that there is nothing"


async def test_none_of_none(client):
    assert await client.result([]) == []
    assert [one async for one in client.result([])] == []


async def test_closing_the_router_ends_whoever_waits_for_a_result(router, actor):
    client = door(router)
    one, many = asyncio.ensure_future(client.result("req")), asyncio.ensure_future(client.result(["req-2"]).all())
    await number_of(actor, "req-2")
    await client.close()
    for waiting in (one, many):
        with pytest.raises(RouterClosed):
            await waiting
    with pytest.raises(RouterClosed):
        client.result("req")
