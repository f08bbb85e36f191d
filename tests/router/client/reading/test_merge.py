"""A merge has each message of each request once, is fair, costs no task a request, and stands where its cursor says."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter

import pytest
from client_fakes import FakeRouter, LogActor, door, until

from actors.errors import AlreadyReading, InvalidArgument, RouterClosed, UnknownRequest
from actors.messages import ErrorMessage
from actors.protocol.reads import Operation
from router.client.reading.merge_cursor import MergeCursor
from router.client.reading.merging import AHEAD, TURN


@pytest.fixture
def router() -> FakeRouter:
    return FakeRouter()


@pytest.fixture
def actor() -> LogActor:
    return LogActor("s1")


@pytest.fixture
async def client(router):
    client = door(router)
    yield client
    await client.close()


def have(router, actor, *request_ids, messages=3, ends=True):
    for request_id in request_ids:
        router.place(request_id, actor)
        actor.writes(request_id, messages, ends=ends)


def seen(merged) -> list[tuple[str, int]]:
    return [(request_id, message.seq_id) for request_id, message in merged]


@pytest.mark.parametrize("coalesce", ["message", "tokens"])
async def test_each_message_once_with_its_request_and_in_its_order(client, router, actor, coalesce):
    names = [f"r{number}" for number in range(2 * AHEAD + 10)]
    have(router, actor, *names)
    merge = client.merge(names, coalesce=coalesce)
    merged = [one async for one in merge]
    had: dict[str, list[int]] = {name: [] for name in names}
    for request_id, message in merged:
        had[request_id].append(message.seq_id)
    assert all(seq_ids == [1, 2, 3] for seq_ids in had.values())
    assert merged[0].message.content == f"{merged[0].request_id} 1"
    assert not merge.failed
    assert [one async for one in client.merge(names, after=merge.cursor)] == [], "all is over"


async def test_one_that_says_much_does_not_keep_out_one_that_says_little(client, router, actor):
    have(router, actor, "loud", messages=20 * TURN)
    have(router, actor, "quiet")
    merged = [one async for one in client.merge(["loud", "quiet"])]
    first = next(at for at, one in enumerate(merged) if one.request_id == "quiet")
    assert first <= TURN
    assert Counter(one.request_id for one in merged) == {"loud": 20 * TURN, "quiet": 3}


async def test_no_task_is_made_for_a_request(client, router, actor):
    names = [f"r{number}" for number in range(100)]
    have(router, actor, *names, ends=False)
    merge = client.merge(names)
    for _ in range(300):
        await anext(merge)
    assert len(asyncio.all_tasks()) < 10
    assert actor.handle.count("poll") < 30
    await merge.aclose()


async def leave_by_break(merge):
    async for _ in merge:
        break


async def leave_by_close(merge):
    await anext(merge)
    await merge.aclose()


async def leave_by_cancel(merge):
    read = []

    async def reads_on():
        async for one in merge:
            read.append(one)  # noqa: PERF401  # whoever cancels it looks at this meanwhile

    reading = asyncio.create_task(reads_on())
    await until(lambda: len(read) == 9)  # all that there is of three: then it waits
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def leave_by_letting_go(merge):
    await anext(merge)


@pytest.mark.parametrize("leave", [leave_by_break, leave_by_close, leave_by_cancel, leave_by_letting_go])
async def test_leaving_gives_all_cursors_up(client, router, actor, leave):
    have(router, actor, "a", "b", "c", ends=False)
    await leave(client.merge(["a", "b", "c"]))
    gc.collect()
    await until(lambda: len(actor.said(Operation.DROP)) == 3)


async def test_a_loop_that_was_left_goes_on_and_so_does_another_merge_by_the_cursor(client, router, actor):
    have(router, actor, "a", "b")
    merge = client.merge(["a", "b"])
    merged = []
    async for one in merge:
        merged.append(one)
        if len(merged) == 2:
            break
    cursor = merge.cursor
    rest = [one async for one in merge]
    assert sorted(seen(merged + rest)) == [(name, seq_id) for name in "ab" for seq_id in (1, 2, 3)]
    again = client.merge(["a", "b"], after=cursor)
    assert sorted(seen([one async for one in again])) == sorted(seen(rest))


async def test_the_cursor_stands_behind_what_was_handed_out_of_each_however_their_turns_change(client, router, actor):
    names = ["a", "b", "c"]
    have(router, actor, *names, ends=False)
    merge = client.merge(names, coalesce="tokens")
    for _ in range(9):
        await anext(merge)
    cursor = merge.cursor
    assert MergeCursor.of_text(cursor).read == dict.fromkeys(names, 3)
    await merge.aclose()
    again = client.merge(names, coalesce="tokens", after=cursor)
    actor.writes("b", 1)
    assert seen([await anext(again)]) == [("b", 4)]
    await again.aclose()


async def test_one_that_cannot_be_read_says_so_and_the_others_go_on(client, router, actor):
    have(router, actor, "a")
    merge = client.merge(["a", "never"])
    merged = [one async for one in merge]
    (error,) = [message for request_id, message in merged if request_id == "never"]
    assert isinstance(error, ErrorMessage)
    assert (error.error_type, error.seq_id) == ("unknown_request", None)
    assert len(merged) == 4
    assert isinstance(merge.failed["never"], UnknownRequest)
    assert [one async for one in client.merge(["a", "never"], after=merge.cursor)] == []


async def test_one_that_is_not_open_yet_is_waited_for(client, router, actor):
    have(router, actor, "a")
    reading = asyncio.ensure_future(anext(client.merge("b", wait_s=5.0)))
    await until(lambda: router.handle.count("locate"))
    have(router, actor, "b")
    assert (await reading).request_id == "b"
    merge = client.merge("c", wait_s=0.05)
    (only,) = [one async for one in merge]
    assert "within wait_s" in only.message.message


async def test_what_appears_is_followed_until_the_loop_is_left(client, router, actor):
    have(router, actor, "a")
    router.lists("a")
    merge = client.merge(all=True)
    merged = [await anext(merge) for _ in range(3)]
    have(router, actor, "b", ends=False)
    router.lists("b")
    merged += [await anext(merge) for _ in range(3)]
    assert seen(merged) == [(name, seq_id) for name in "ab" for seq_id in (1, 2, 3)]
    cursor = merge.cursor
    await merge.aclose()
    assert '"read":{"b":3}' in cursor, "as long as what is open"
    again = client.merge(all=True, after=cursor)
    actor.writes("b", 1)
    assert seen([await anext(again)]) == [("b", 4)]
    await again.aclose()


async def test_without_follow_it_ends_with_what_is_there(client, router, actor):
    for name in ("a", "b"):
        have(router, actor, name)
        router.lists(name)
    merged = [one async for one in client.merge(tag="x", follow=False)]
    assert Counter(one.request_id for one in merged) == {"a": 3, "b": 3}


async def test_a_router_that_is_closed_ends_it_by_name(client, router, actor):
    have(router, actor, "a", ends=False)
    merge = client.merge(["a"])
    for _ in range(3):
        await anext(merge)
    waiting = asyncio.ensure_future(anext(merge))
    await asyncio.sleep(0)
    with pytest.raises(AlreadyReading):
        await anext(merge)
    await client.close()
    with pytest.raises(RouterClosed):
        await waiting


async def test_what_was_handed_out_is_acknowledged(client, router, actor):
    have(router, actor, "a", ends=False)
    merge = client.merge(["a"], coalesce="tokens")
    for _ in range(3):
        await anext(merge)
    waiting = asyncio.ensure_future(anext(merge))
    await until(lambda: [said[3] for said in actor.said(Operation.CONSUMED)][-1:] == [3])
    waiting.cancel()
    await asyncio.wait([waiting])


@pytest.mark.parametrize(
    "wrong", [{}, {"request_ids": "a", "all": True}, {"agent": "a", "all": True}, {"request_ids": ["a"], "tag": "t"}]
)
async def test_what_to_merge_is_said_in_one_way(client, wrong):
    with pytest.raises(InvalidArgument, match="either requests are named"):
        client.merge(**wrong)
