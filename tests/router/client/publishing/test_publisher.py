"""The producing end: opening, misuse by name, and whose end interrupts whom."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from client_fakes import FakeRouter, door, until
from pydantic import BaseModel

from actors.errors import (
    AgentBusy,
    DuplicateRequest,
    InvalidArgument,
    InvalidRecord,
    MessageTooLarge,
    NotOpened,
    PoolFull,
    RequestCancelled,
    RequestEnded,
    RouterUnavailable,
)
from actors.protocol.calls import ClaimAnswer, ClaimCall, ReleaseCall
from actors.protocol.frames import pack, read, unpack
from actors.protocol.states import ClaimPhase, ClaimState
from router.client.links import link as links
from router.client.publishing import publisher as publishers
from router.client.publishing.interruption import Body
from router.client.publishing.publisher import Publisher


@pytest.fixture
def router() -> FakeRouter:
    return FakeRouter()


@pytest.fixture
async def client(router):
    client = door(router)
    yield client
    await client.close()


def seal(router, request_id, stop_reason="end_turn"):
    router.say_publisher(request_id, "sealed", stop_reason=stop_reason)


def ended_as(router, request_id):
    """How a request ended, by what its publisher said: (kind, stop reason or error type)."""
    kinds = [item for item in router.items.get(request_id, ()) if isinstance(item, list)]
    kind, part, _ = kinds[-1]
    body = unpack(part)
    return kind, body.get("stop_reason") or body.get("error_type")


async def test_a_finish_waits_for_as_long_as_the_router_says_that_the_request_waits_for_a_place(
    client, router, monkeypatch
):
    monkeypatch.setattr(publishers, "SEAL_WAIT_S", 0.001)
    monkeypatch.setattr(publishers, "SEAL_DEADLINE_S", 1e-6)
    stream = client.publish("req")
    await stream.open()
    router.say_publisher("req", "waiting")
    await until(lambda: stream._stream.awaits_place)
    changes: list[float | None] = []
    change = stream._change

    async def counted(wait_s=None):
        changes.append(wait_s)
        await change(wait_s)

    monkeypatch.setattr(Publisher, "_change", lambda _, wait_s=None: counted(wait_s))
    finish = asyncio.ensure_future(stream.finish())
    await until(lambda: len(changes) > 10)
    assert not finish.done(), "the router ends such a wait, by its own time"
    router.say_publisher("req", epoch=1, next_seq=2)
    with pytest.raises(RouterUnavailable, match="not confirmed"):
        await finish


# --- misuse -------------------------------------------------------------------------------------------


async def test_a_publisher_that_was_never_opened_says_so_at_the_first_call(client, router):
    stream = client.publish("req")
    for call in (
        lambda: stream.chunk(b"{}"), lambda: stream.message({"message_type": "system_message", "content": "x"}),
        stream.step_start, stream.step_end, stream.finish, lambda: stream.fail("a", "b"),
        stream.tool_running().__aenter__, lambda: stream.chunks([b"{}"]),
    ):  # fmt: skip
        with pytest.raises(NotOpened, match="never opened"):
            await call()
    assert not router.handle.calls
    await stream.open()
    await stream.chunk(b"{}")


async def test_while_it_is_being_opened_nothing_can_be_published(client, router):
    never = asyncio.Event()

    async def slow(_frame):
        await never.wait()

    router.open = slow
    stream = client.publish("req")
    opening = asyncio.ensure_future(stream.open())
    await asyncio.sleep(0.01)
    with pytest.raises(NotOpened, match="still being opened"):
        await stream.chunk(b"{}")
    with pytest.raises(NotOpened):
        await stream.open()
    opening.cancel()
    await asyncio.wait([opening])


async def test_opening_an_open_one_does_nothing(client, router):
    async with await client.publish("req").open() as stream:
        assert await stream.open() is stream
        finishing = asyncio.ensure_future(stream.finish())
        await until(lambda: router.items.get("req"))
        seal(router, "req")
        await finishing
    assert router.handle.count("open") == 1
    with pytest.raises(RequestEnded):
        await stream.open()


async def test_a_second_publisher_of_one_process_is_refused_before_it_says_a_word(client, router):
    first = await client.publish("req").open()
    with pytest.raises(DuplicateRequest):
        await client.publish("req", agent_id="ada").open()
    assert router.handle.count("open") == 1
    assert not router.handle.count("claim"), "it has not touched the agent of the first"
    seal(router, "req")
    await first.finish()


async def test_of_many_at_once_one_is_let_in(client):
    results = await asyncio.gather(*(client.publish("req").open() for _ in range(30)), return_exceptions=True)
    assert sum(isinstance(result, DuplicateRequest) for result in results) == 29


async def test_a_refused_request_can_be_tried_again(client, router):
    router.refusals["req"] = ("pool_full", "no place")
    with pytest.raises(PoolFull):
        await client.publish("req").open()
    del router.refusals["req"]
    await client.publish("req").open()


class Usage(BaseModel):
    prompt_tokens: int = 1


async def test_an_odd_usage_is_refused_in_the_call_and_the_request_stays_open(client, router):
    stream = await client.publish("req").open()
    for usage in (object(), {"a": object()}, 5, "yesterday", [1], {"a": 1 << 70}):
        with pytest.raises(InvalidRecord):
            await stream.finish(usage=usage)
    with pytest.raises(InvalidArgument):
        await stream.finish(stop_reason=["x"])
    with pytest.raises(InvalidArgument):
        await stream.fail(None, "x")
    await stream.chunk(b"{}")
    finishing = asyncio.ensure_future(stream.finish(usage=Usage()))
    await until(lambda: len(router.items.get("req", ())) == 2)
    seal(router, "req")
    await finishing
    kind, part, _ = router.items["req"][-1]
    assert (kind, unpack(part)["usage"]) == ("finish", {"prompt_tokens": 1})


async def test_messages_wait_for_credit_and_large_ones_travel_in_parts(client, router):
    router.credit_bytes = 1000
    stream = await client.publish("req").open()
    big = {"message_type": "system_message", "content": "x" * 200_000}
    await stream.message(big)
    waiting = asyncio.ensure_future(stream.message({"message_type": "system_message", "content": "y"}))
    await until(lambda: len(router.items.get("req", ())) == 4)
    await asyncio.sleep(0.02)
    assert not waiting.done()
    router.say_publisher("req", credit_bytes=1 << 20)
    await asyncio.wait_for(waiting, 5)
    parts = [item[1] for item in router.items["req"][:4]]
    assert unpack(b"".join(parts))["content"] == "x" * 200_000
    assert max(map(len, parts)) <= 64 * 1024


async def test_a_message_over_its_bound_is_refused_and_an_end_never_is(client, router):
    stream = await client.publish("req", {"message_bytes_max": 100}).open()
    with pytest.raises(MessageTooLarge):
        await stream.message({"message_type": "system_message", "content": "x" * 200})
    failing = asyncio.ensure_future(stream.fail("Broken", "x" * 1000))
    await until(lambda: router.items.get("req"))
    seal(router, "req", "error")
    await failing


# --- interruption -----------------------------------------------------------------------------------------


async def test_a_cancel_interrupts_the_body_and_is_named(client, router):
    async def produce():
        async with client.publish("req"):
            await asyncio.Event().wait()

    task = asyncio.ensure_future(produce())
    await until(lambda: router.handle.count("open"))
    await asyncio.sleep(0.02)
    router.say_publisher("req", cancel="now")
    with pytest.raises(RequestCancelled):
        await asyncio.wait_for(task, 5)
    assert task.cancelling() == 0


async def test_the_end_of_an_outer_request_does_not_end_the_inner_one(client, router):
    left = []

    async def produce():
        try:
            async with client.publish("outer"), client.publish("inner") as inner:
                left.append(inner)
                await asyncio.Event().wait()
        except RequestCancelled:
            await inner.chunk(b'{"still": "open"}')
            return "went on"
        return "not interrupted"

    task = asyncio.ensure_future(produce())
    await until(lambda: left)
    router.say_publisher("outer", cancel="now")
    assert await asyncio.wait_for(task, 5) == "went on"
    await until(lambda: router.items.get("inner"))
    assert router.items["inner"] == [b'{"still": "open"}']
    finishing = asyncio.ensure_future(left[0].finish())
    await until(lambda: len(router.items["inner"]) == 2)
    seal(router, "inner")
    await finishing


async def test_the_end_of_an_inner_request_leaves_the_outer_one_where_it_was(client, router):
    async def produce():
        async with client.publish("outer") as outer:
            try:
                async with client.publish("inner"):
                    await asyncio.Event().wait()
            except RequestCancelled:
                await outer.chunk(b"{}")
                await asyncio.sleep(0)
            seal(router, "outer")

    task = asyncio.ensure_future(produce())
    await until(lambda: ("p", "inner") in router.said)
    await asyncio.sleep(0.02)
    router.say_publisher("inner", cancel="now")
    await asyncio.wait_for(task, 5)
    assert router.items["outer"][0] == b"{}"


async def test_a_task_cancelled_from_outside_ends_what_it_published(client, router):
    async def produce():
        async with client.publish("one"), client.publish("two"):
            await asyncio.Event().wait()

    task = asyncio.ensure_future(produce())
    await until(lambda: ("p", "two") in router.said)
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: router.items.get("one") and router.items.get("two"))
    assert ended_as(router, "one") == ended_as(router, "two") == ("finish", "cancelled")


async def test_a_group_of_tasks_is_cancelled_by_one_failure_and_each_ends_its_own(client, router):
    async def produce(name):
        async with client.publish(name):
            await asyncio.Event().wait()

    async def fails():
        await until(lambda: ("p", "two") in router.said)
        await asyncio.sleep(0.02)
        raise ZeroDivisionError

    async def all_three():
        async with asyncio.TaskGroup() as group:
            for one in (produce("one"), produce("two"), fails()):
                group.create_task(one)

    with pytest.raises(ExceptionGroup):
        await all_three()
    await until(lambda: router.items.get("one") and router.items.get("two"))
    assert ended_as(router, "one") == ("finish", "cancelled")


async def test_a_wait_that_is_given_up_leaves_the_request_open(client, router):
    router.credit_bytes = 10
    stream = await client.publish("req").open()
    stream._stream.credit_bytes = 10
    await stream.chunk(b"{" + b"x" * 50 + b"}")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(stream.chunk(b"{}"), 0.02)
    router.say_publisher("req", credit_bytes=1 << 20)
    await until(lambda: stream.has_credit)
    await stream.chunk(b"{}")


async def test_an_error_whose_text_cannot_be_had_ends_the_request_all_the_same(client, router):
    class Silent(Exception):
        def __str__(self) -> str:
            raise RuntimeError

        __repr__ = __str__

    async def produce():
        async with client.publish("req"):
            seal(router, "req", "error")
            raise Silent

    with pytest.raises(Silent):
        await asyncio.wait_for(produce(), 5)


async def test_a_body_knows_its_own_interruption_from_anothers():
    one, other = Body(), Body()
    one.enter()
    other.enter()
    one.interrupt()
    with pytest.raises(asyncio.CancelledError) as left:
        await asyncio.sleep(1)
    assert other.was_left_for_another(left.value)
    assert not one.was_left_for_another(left.value)
    assert not other.leave(left.value)
    assert one.leave(left.value)
    assert asyncio.current_task().cancelling() == 0


@pytest.mark.parametrize("body_says_something", [True, False])
async def test_an_interruption_that_the_body_never_heard_does_not_reach_what_comes_after_it(
    client, router, monkeypatch, body_says_something
):
    """The request is over as soon as it is open, so that the body's first call fails before it awaits anything."""
    says = router.say_publisher
    ends = {"phase": "sealed", "cancel": "now", "stop_reason": "cancelled"}
    monkeypatch.setattr(router, "say_publisher", lambda request_id: says(request_id, **ends))

    async def careless():
        with contextlib.suppress(RequestCancelled):
            async with client.publish("req") as stream:
                if body_says_something:
                    await stream.chunk(b"{}")
        await asyncio.sleep(0)
        return asyncio.current_task().cancelling()

    assert await asyncio.wait_for(asyncio.ensure_future(careless()), 5) == 0


async def test_a_cancel_from_outside_counts_more_than_an_interruption_that_was_not_heard():
    async def work():
        body = Body()
        body.enter()
        body.interrupt()
        asyncio.current_task().cancel()
        left_by = await body.left_by(ValueError("the body's own"))
        assert not body.leave(left_by)
        return left_by

    left_by = await asyncio.ensure_future(work())
    assert isinstance(left_by, asyncio.CancelledError)


# --- its agent ------------------------------------------------------------------------------------------


async def test_an_agent_is_let_go_as_ended_only_when_the_router_has_said_that_its_request_is_over(client, router):
    released = {}

    async def claim(frame):
        request_id = read(ClaimCall, frame).request_id
        return pack(ClaimAnswer(None, list(ClaimState("a", request_id, ClaimPhase.HELD, 7))))

    async def release(frame):
        call = read(ReleaseCall, frame)
        released[call.request_id] = call.has_ended

    router.claim, router.release = claim, release
    router.refusals["refused"] = PoolFull("full").to_wire()
    with pytest.raises(PoolFull):
        await client.publish("refused", agent_id="a").open()
    for request_id in ("ended", "cut off"):
        await client.publish(request_id, agent_id="a").open()
    seal(router, "ended")
    await until(lambda: "ended" in released)
    (link,) = client._links
    (cut_off,) = link._listeners.of(("p", "cut off"))
    cut_off.on_unreachable(RouterUnavailable("no answer for 60 s"))
    await until(lambda: len(released) == 3)
    assert released == {"refused": False, "ended": True, "cut off": False}


async def test_who_waits_for_its_agent_hears_that_its_request_cannot_be_opened_any_more(client, router):
    async def claim(frame):
        return pack(ClaimAnswer(None, list(ClaimState("a", read(ClaimCall, frame).request_id, ClaimPhase.QUEUED, 0))))

    async def release(_frame):
        pass

    router.claim, router.release = claim, release
    opening = asyncio.ensure_future(client.publish("req", agent_id="a").open())
    await until(lambda: router.handle.count("claim"))
    (link,) = client._links
    (publisher,) = link._listeners.of(("p", "req"))
    publisher.on_unreachable(RouterUnavailable("no answer for 60 s"))
    with pytest.raises(RouterUnavailable):
        await asyncio.wait_for(opening, 5)


async def test_a_publisher_that_was_refused_its_agent_and_opens_again_claims_it_anew(client, router):
    claimed, released = [], []

    async def claim(frame):
        call = read(ClaimCall, frame)
        claimed.append(call.token)
        phase = ClaimPhase.BUSY if len(claimed) == 1 else ClaimPhase.HELD
        return pack(ClaimAnswer(None, list(ClaimState("a", call.request_id, phase, 0))))

    async def release(frame):
        released.append(read(ReleaseCall, frame).token)

    router.claim, router.release = claim, release
    publisher = client.publish("req", agent_id="a")
    with pytest.raises(AgentBusy):
        await publisher.open()
    await publisher.open()
    assert len(set(claimed)) == 2, "what was let go under a token is let go for good"
    await until(lambda: len(released) == 1)
    publisher._claim.release(has_ended=True)
    await until(lambda: len(released) == 2)
    assert released == [*dict.fromkeys(claimed)]


async def test_a_claim_that_was_answered_before_the_first_news_is_made_again_with_these(client, router):
    """Its answer may be of a router that has died since: nothing else was heard of that one."""
    claimed, may_watch, watch = [], asyncio.Event(), router.watch

    async def claim(frame):
        call = read(ClaimCall, frame)
        claimed.append((call.is_held, call.number))
        return pack(ClaimAnswer(None, list(ClaimState("a", call.request_id, ClaimPhase.HELD, 7))))

    async def first_silent(*arguments):
        await may_watch.wait()
        return await watch(*arguments)

    router.claim, router.watch = claim, first_silent
    await client.publish("req", agent_id="a").open()
    may_watch.set()
    await until(lambda: len(claimed) == 2)
    assert claimed == [(False, 0), (True, 7)]


async def test_a_claim_that_comes_after_its_release_is_released_once_more_and_no_other(client, router, monkeypatch):
    released = []

    async def claim(frame):
        call = read(ClaimCall, frame)
        phase = ClaimPhase.BUSY if call.request_id in ("late", "long ago") else ClaimPhase.HELD
        return pack(ClaimAnswer(None, list(ClaimState("a", call.request_id, phase, 0))))

    async def release(frame):
        released.append(read(ReleaseCall, frame))

    router.claim, router.release = claim, release
    monkeypatch.setattr(links, "LET_GO_MAX", 1)
    await client.publish("holds", agent_id="b").open()
    for request_id in ("long ago", "late", "late"):
        with pytest.raises(AgentBusy):
            await client.publish(request_id, agent_id="a").open()
    await until(lambda: len(released) == 3)
    said = [ClaimState("a", request_id, ClaimPhase.HELD, 9) for request_id in ("long ago", "holds", "late")]
    router.say(*said, ClaimState("a", "never claimed", ClaimPhase.HELD, 9))
    await until(lambda: len(released) == 5)
    router.say(ClaimState("a", "late", ClaimPhase.UNKNOWN, 0))
    (link,) = client._links
    await until(lambda: link.answers.version == router.version)
    assert released[3:] == released[1:3], "with the token of each that let go: any of them may have come late"
    assert released[1].token != released[2].token
    assert len(released) == 5
