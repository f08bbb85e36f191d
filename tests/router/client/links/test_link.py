"""A process's connection to a router: many requests share its loops, and a fault stays with its own."""

from __future__ import annotations

import asyncio
import os

import pytest
from client_fakes import FIRST_NUMBER, FakeRouter, door, until

from actors.errors import (
    InternalError,
    LimitExceeded,
    PoolFull,
    ProtocolViolation,
    Recovering,
    RouterClosed,
    StreamRouterError,
    UnknownRequest,
)
from actors.protocol.calls import WatchCall
from actors.protocol.frames import read, unpack_list
from actors.settings import StreamSettings
from actors.transport.posting import POSTED_BYTES_MAX
from router.client.links import caller
from router.client.publishing.spill_file import SpillFile

CHUNK = b'{"choices": [{"index": 0, "delta": {"content": "%s"}}]}' % (b"x" * 300)


@pytest.fixture
def router() -> FakeRouter:
    return FakeRouter()


async def opened(client, *request_ids):
    return [await client.publish(request_id).open() for request_id in request_ids]


async def chunks_until_refused(publisher):
    for _ in range(200):
        await publisher.chunk(CHUNK)
        await asyncio.sleep(0.001)


def end(publisher, router):
    router.say_publisher(publisher.request_id, "sealed", stop_reason="end_turn")


async def test_a_spill_file_that_cannot_be_read_ends_its_own_stream_only(router, monkeypatch):
    client = door(router, publisher={"replay_bytes_max": 20_000})
    spilled, innocent = await opened(client, "spilled", "innocent")
    router.say_publisher("spilled", "waiting")  # its actor has died: nothing leaves until it has another
    await until(lambda: not spilled._stream.is_placed)
    while not spilled._stream.replay.in_memory_from:
        await spilled.chunk(CHUNK)
    broken = OSError(5, "Input/output error")
    monkeypatch.setattr(SpillFile, "read", lambda _self, _block: (_ for _ in ()).throw(broken))
    router.say_publisher("spilled", epoch=2)
    with pytest.raises(LimitExceeded, match="Input/output error"):
        await chunks_until_refused(spilled)
    for n in range(20):
        await innocent.chunk(b'{"n": %d}' % n)
    await until(lambda: len(router.items.get("innocent", ())) == 20)
    # The log says so too: what could be read has been sent, and then its end.
    await until(lambda: router.items.get("spilled"))
    kind, *_ = router.items["spilled"][-1]
    assert kind == "fail"
    end(spilled, router)
    with pytest.raises(LimitExceeded):
        await spilled.finish()
    await client.close()


async def test_a_spill_file_truncated_by_somebody_is_an_error_of_that_stream(router):
    client = door(router, publisher={"replay_bytes_max": 20_000})
    (stream,) = await opened(client, "req")
    router.say_publisher("req", "waiting")
    await until(lambda: not stream._stream.is_placed)
    while not stream._stream.replay.in_memory_from:
        await stream.chunk(CHUNK)
    os.ftruncate(client._budget.file._file.fileno(), 0)
    router.say_publisher("req", epoch=2)
    with pytest.raises(LimitExceeded, match="could be read"):
        await chunks_until_refused(stream)
    await client.close()


# --- what is gathered -------------------------------------------------------------------------

LONG_MS = 100
"""Far beyond what a call to a fake takes: what leaves sooner has not waited."""


async def test_chunks_that_come_soon_after_a_call_ride_together_in_the_next(router):
    client = door(router, publisher={"gather_ms": LONG_MS})
    publishers = await opened(client, "a", "b")
    for publisher in publishers:
        await publisher.chunk(CHUNK)
    await until(lambda: len(router.items) == 2)
    calls = router.handle.count("feed")
    for publisher in publishers * 3:
        await publisher.chunk(CHUNK)
        await asyncio.sleep(0)
    await until(lambda: [len(items) for items in router.items.values()] == [4, 4])
    assert router.handle.count("feed") == calls + 1
    await client.close()


async def test_first_chunks_ends_and_what_uses_up_credit_wait_for_no_others(router):
    client = door(router, publisher={"gather_ms": LONG_MS})
    router.credit_bytes = 2 * len(CHUNK)
    loop = asyncio.get_running_loop()
    first, second = await opened(client, "first", "second")
    began = loop.time()
    await first.chunk(CHUNK)
    await until(lambda: len(router.items.get("first", ())) == 1)
    await second.chunk(CHUNK)
    await until(lambda: len(router.items.get("second", ())) == 1)
    await first.chunk(b"x" * first._stream.credit_bytes)
    assert not first._stream.has_credit
    await until(lambda: len(router.items["first"]) == 2)
    second._end("finish", {"stop_reason": None, "usage": None})
    await until(lambda: len(router.items["second"]) == 2)
    assert loop.time() - began < LONG_MS / 1000
    for publisher in (first, second):
        end(publisher, router)
    await client.close()


# --- through a socket ---------------------------------------------------------------------------


class FakeSocket:
    """A connection on which nothing is answered until a test says so."""

    means = "local"

    def __init__(self) -> None:
        self.frames: list[list[bytes]] = []
        self.asked_at_once: list[bool] = []
        self.asker = None

    def ask(self, method, arguments, asker):
        assert method == "post"
        _client_id, _seen, frames, at_once = arguments
        self.asker = asker
        self.frames.append(frames)
        self.asked_at_once.append(at_once)
        return len(self.frames)

    def close(self):
        self.asker = None


async def through_a_socket(router, gather_ms=0, **config):
    client = door(router, publisher={"gather_ms": gather_ms}, **config)
    (publisher,) = await opened(client, "req")
    socket = client._links[0].line.connection = FakeSocket()
    return client, publisher, socket


async def test_chunks_through_a_socket_wait_for_no_answers_and_leave_again_in_order_after_a_break(router):
    client, publisher, socket = await through_a_socket(router)
    for number in range(3):
        await publisher.chunk(b'{"n": %d}' % number)
        await until(lambda number=number: len(socket.frames) == number + 1)
    assert socket.asked_at_once == [False] * 3
    client._links[0].line.connection = None
    socket.asker.failed(ConnectionError())
    await until(lambda: len(router.items.get("req", ())) == 3)
    assert router.items["req"] == [b'{"n": 0}', b'{"n": 1}', b'{"n": 2}']
    await client.close()


async def test_what_comes_in_the_turn_in_which_the_time_of_others_is_over_leaves_with_them(router):
    """Else it would wait for as long again."""
    client, publisher, socket = await through_a_socket(router, gather_ms=LONG_MS)
    for _ in range(2):
        await publisher.chunk(CHUNK)
        await until(lambda: socket.frames)
    feed = client._links[0]._feed
    assert (len(socket.frames), feed.waits) == (1, True)
    feed._timer.cancel()
    feed._spacing._may_send_at = 0.0
    feed._ring()
    await publisher.chunk(CHUNK)
    await until(lambda: not feed.waits)
    _, frames = socket.frames
    assert [count for *_, count, _ in unpack_list(frames[0])] == [2]
    await client.close()


async def test_much_through_a_socket_is_followed_by_nothing_until_it_is_answered(router):
    client, publisher, socket = await through_a_socket(router)
    await publisher.chunk(b'{"x": "%s"}' % (b"x" * POSTED_BYTES_MAX))
    await until(lambda: socket.asked_at_once == [True])
    await publisher.chunk(b'{"n": 1}')
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(socket.frames) == 1
    socket.asker.last(1, await router.feed("", [None, 0]))
    await until(lambda: socket.asked_at_once == [True, False])
    await client.close()


async def test_news_comes_with_the_answer_to_a_post(router):
    client, publisher, socket = await through_a_socket(router)
    await publisher.chunk(b'{"n": 0}')
    await until(lambda: socket.frames)
    end(publisher, router)
    socket.asker.last(1, await router.feed("", client._links[0].answers.seen))
    assert publisher.stop_reason == "end_turn"
    await client.close()


async def test_what_a_method_raised_is_an_answer_at_once_and_not_an_outage(router):
    client = door(router)
    router.handle.broken["cancel"] = lambda *_: (_ for _ in ()).throw(ray_error(TypeError("unhashable type: 'list'")))
    with pytest.raises(InternalError, match="TypeError: unhashable"):
        await client.cancel("req")
    assert router.handle.count("cancel") == 1
    router.handle.broken["cancel"] = lambda *_: (_ for _ in ()).throw(ray_error(UnknownRequest("no such request")))
    with pytest.raises(UnknownRequest):
        await client.cancel("req")
    await client.close()


def ray_error(cause: Exception) -> Exception:
    from ray.exceptions import RayTaskError  # noqa: PLC0415

    return RayTaskError("method", "traceback", cause).as_instanceof_cause()


def _refuses(name: str, key: str):
    """A method that fails whenever its frame names a request."""

    def check(*arguments):
        if any(isinstance(part, bytes) and key.encode() in part for part in arguments):
            raise ray_error(TypeError(f"{name} cannot take {key}"))

    return check


async def test_an_open_that_breaks_the_call_is_refused_alone(router):
    client = door(router)
    router.handle.broken["open"] = _refuses("open", "poison")
    opening = [asyncio.ensure_future(client.publish(name).open()) for name in ("a", "poison", "b")]
    done = await asyncio.gather(*opening, return_exceptions=True)
    assert [type(result).__name__ for result in done] == ["Publisher", "InternalError", "Publisher"]
    await client.close()


async def test_items_that_break_the_call_end_their_request_alone(router):
    client = door(router)
    poison, innocent = await opened(client, "poison", "innocent")
    router.handle.broken["feed"] = _refuses("feed", "poison")
    await poison.chunk(b'{"a": 1}')
    await innocent.chunk(b'{"b": 2}')
    await until(lambda: router.items.get("innocent"))
    with pytest.raises(InternalError):
        await chunks_until_refused(poison)
    await innocent.chunk(b'{"b": 3}')
    await until(lambda: len(router.items["innocent"]) == 2)
    await until(lambda: router.handle.count("disown"))  # its router hears that it can go no further
    await client.close()


async def test_a_question_that_breaks_the_call_is_refused_alone(router):
    client = door(router)
    router.handle.broken["locate"] = _refuses("locate", "poison")
    waiting = [asyncio.ensure_future(anext(client.subscribe(name))) for name in ("a", "poison")]
    done, _ = await asyncio.wait(waiting, timeout=5, return_when=asyncio.FIRST_COMPLETED)
    assert done == {waiting[1]}
    assert isinstance(waiting[1].exception(), InternalError)
    assert not waiting[0].done()
    await client.close()
    assert isinstance((await asyncio.gather(waiting[0], return_exceptions=True))[0], RouterClosed)


async def test_a_state_that_cannot_be_read_or_taken_harms_no_other(router, monkeypatch):
    client = door(router)
    first, second = await opened(client, "first", "second")
    monkeypatch.setattr(first._stream, "__class__", first._stream.__class__)
    link = client._links[0]
    good = ["p", "second", 1, "open", 1, 999, None, None, None, 0]
    link._take_states([["p", 3], ["x"], None, good], link.answers.version + 1)
    assert second._stream.credit_bytes == 1 << 20

    def breaks(_state):
        raise ZeroDivisionError

    monkeypatch.setattr(type(first), "on_state", lambda self, state: breaks(state) if self is first else None)
    link._take_states([["p", "first", *good[2:]], good], link.answers.version + 2)
    with pytest.raises(InternalError, match="ZeroDivisionError"):
        await first.chunk(b"{}")
    await second.chunk(b"{}")
    await client.close()


async def test_a_watch_that_is_refused_is_made_again(router):
    client = door(router)
    failures = iter([ProtocolViolation("no"), TypeError("no")])

    def fails_twice(*_):
        failure = next(failures, None)
        if failure is not None:
            raise ray_error(failure)

    router.handle.broken["watch"] = fails_twice
    (stream,) = await opened(client, "req")
    router.say_publisher("req", "sealed", stop_reason="cancelled")
    await until(lambda: stream.stop_reason == "cancelled")
    await client.close()


async def test_a_router_hears_that_an_end_was_heard_which_it_tells_nobody_else_before(router):
    client = door(router)
    (stream,) = await opened(client, "req")
    router.say_publisher("req", "sealed", epoch=0, stop_reason="cancelled")
    await until(lambda: stream.stop_reason == "cancelled")

    def seen() -> list[int]:
        frames = [arguments[0] for name, arguments in router.handle.calls if name == "watch"]
        return [read(WatchCall, frame).seen[1] for frame in frames]

    await until(lambda: seen()[-1] == router.version)  # though nothing is listened for any more
    await client.close()


async def test_a_restarted_router_is_told_again_what_it_should_know(router):
    client = door(router)
    (stream,) = await opened(client, "req")
    router.restart()
    await until(lambda: router.handle.count("open") >= 2)
    await stream.chunk(b"{}")
    await until(lambda: router.items.get("req"))
    await client.close()


@pytest.mark.parametrize("becomes", [FakeRouter.forget, FakeRouter.restart])
async def test_what_is_opened_by_the_call_that_meets_another_router_is_opened_once(router, becomes):
    client = door(router)
    first, other = await opened(client, "first", "other")
    end(first, router)
    await until(lambda: first.stop_reason == "end_turn")
    becomes(router)
    router.refusals["refused"] = PoolFull("no place").to_wire()
    await asyncio.gather(*(client.publish(name).open() for name in ("new", "refused")), return_exceptions=True)
    await until(lambda: router.asked_to_open("other") == 2)  # which that router does not know
    tasks = client._links[0]._tasks
    await until(lambda: not any("open_again" in task.get_coro().__qualname__ for task in tasks))
    assert router.asked_to_open("new") == 1
    await other.chunk(b"{}")
    await client.close()


async def test_a_router_whose_clock_was_set_back_is_told_the_lower_number_by_which_readers_know_a_request(router):
    client = door(router)
    await opened(client, "req")
    for back_us in (1000, 500):  # it goes on from there, and is still behind
        router.first_number = FIRST_NUMBER - back_us
        router.restart()
        asked = router.asked_to_open("req")
        await until(lambda asked=asked: router.asked_to_open("req") == asked + 1)
    said = [registration.created for registration in router.registrations("req")]
    assert said == [0, FIRST_NUMBER, FIRST_NUMBER - 1000]
    await client.close()


async def test_a_request_that_ended_while_its_router_said_not_yet_is_not_opened_again(router, monkeypatch):
    monkeypatch.setattr(caller, "BACKOFF_S", 0.3)
    client = door(router)
    ended, other = await opened(client, "ended", "other")
    router.refusals["ended"] = Recovering("it has restarted").to_wire()
    router.restart()
    await until(lambda: router.asked_to_open("ended") == 2)
    end(ended, router)
    await until(lambda: ended.stop_reason == "end_turn")
    del router.refusals["ended"]
    tasks = client._links[0]._tasks
    await until(lambda: not any("open_again" in task.get_coro().__qualname__ for task in tasks))
    assert router.asked_to_open("ended") == 2
    assert not client._links[0].hears(("p", "ended"))
    await other.chunk(b"{}")
    await client.close()


async def test_what_is_opened_once_more_is_opened_as_it_stands_by_then(router, monkeypatch):
    monkeypatch.setattr(caller, "BACKOFF_S", 0.3)
    client = door(router)
    (publisher,) = await opened(client, "req")
    router.refusals["req"] = Recovering("it has restarted").to_wire()
    router.restart()
    await until(lambda: router.asked_to_open("req") == 2)
    router.say_publisher("req", epoch=7)  # between two tries it hears of a later epoch
    await until(lambda: publisher._stream.epoch == 7)
    del router.refusals["req"]
    await until(lambda: router.asked_to_open("req") == 3)
    assert [registration.epoch for registration in router.registrations("req")] == [0, 1, 7]
    await client.close()


async def test_what_waits_to_be_opened_is_opened_as_it_stands_when_its_turn_comes(router, monkeypatch):
    client = door(router)
    (publisher,) = await opened(client, "first")
    may_answer = hold_opens(router, monkeypatch, are_heard=False)
    opening = asyncio.ensure_future(client.publish("other").open())
    await until(lambda: router.asked_to_open("other") == 1)
    router.restart()
    (link,) = client._links
    await until(lambda: len(link._opens._waiting) == 1)  # of the first, behind the call that is out
    router.say_publisher("first", epoch=7)
    await until(lambda: publisher._stream.epoch == 7)
    may_answer.set()
    await opening
    await until(lambda: router.asked_to_open("first") == 2)
    assert [registration.epoch for registration in router.registrations("first")] == [0, 7]
    await client.close()


def hold_opens(router, monkeypatch, *, are_heard):
    """Let calls to open be answered once the event is set; `are_heard`: by the router that they had come to."""
    may_answer = asyncio.Event()
    answer = router.open

    async def held(frame):
        answered = await answer(frame) if are_heard else None
        await may_answer.wait()
        return answered or await answer(frame)

    monkeypatch.setattr(router, "open", held)
    return may_answer


async def test_a_request_that_was_refused_is_not_opened_by_what_its_publisher_had_said_besides(router, monkeypatch):
    client = door(router)
    refused, _ = await opened(client, "req", "first")
    may_answer = hold_opens(router, monkeypatch, are_heard=False)
    router.refusals["req"] = PoolFull("full").to_wire()
    (link,) = client._links
    router.restart()
    await until(lambda: router.asked_to_open("req") == 2)
    router.restart()
    # What is said to the third router waits for the call that is out.
    await until(lambda: "req" in {opening.request_id for opening in link._opens._waiting})
    may_answer.set()
    await until(lambda: not link._opens._busy)
    with pytest.raises(PoolFull):
        await refused.chunk(CHUNK)
    assert router.asked_to_open("req") == 2
    del router.refusals["req"]
    await client.publish("req").open()
    await client.close()


async def test_a_request_that_is_being_opened_is_said_once_to_a_router_that_has_begun_anew(router, monkeypatch):
    client = door(router)
    await opened(client, "first")
    may_answer = hold_opens(router, monkeypatch, are_heard=False)
    opening = asyncio.ensure_future(client.publish("req").open())
    await until(lambda: router.asked_to_open("req") == 1)
    router.restart()
    (link,) = client._links
    await until(lambda: len(link._opens._waiting) == 1)  # of the first, which that router does not know
    may_answer.set()
    await opening
    await until(lambda: not link._opens._busy)
    assert [router.asked_to_open(name) for name in ("first", "req")] == [2, 1]
    await client.close()


async def test_what_a_router_opened_whose_answer_comes_after_its_death_is_opened_at_the_next_one(router, monkeypatch):
    client = door(router)
    await opened(client, "first")
    may_answer = hold_opens(router, monkeypatch, are_heard=True)
    opening = asyncio.ensure_future(client.publish("req").open())
    await until(lambda: router.asked_to_open("req") == 1)
    router.restart()
    (link,) = client._links
    await until(lambda: len(link._opens._waiting) == 1)
    may_answer.set()
    stream = await opening
    await until(lambda: not link._opens._busy)
    assert [router.asked_to_open(name) for name in ("first", "req")] == [2, 2]
    await stream.chunk(b"{}")
    await until(lambda: router.items.get("req"))
    await client.close()


async def test_a_router_that_had_not_heard_of_this_process_is_told_again_without_an_alarm(router, caplog):
    client = door(router)
    (stream,) = await opened(client, "req")
    router.forget()
    await until(lambda: router.handle.count("open") >= 2)
    await stream.chunk(b"{}")
    await until(lambda: router.items.get("req"))
    assert "restarted" not in caplog.text
    await client.close()


async def test_an_unexpected_failure_of_a_background_task_is_told_to_all_who_wait(router):
    client = door(router)
    waiting = asyncio.ensure_future(anext(client.subscribe("req")))
    await until(lambda: router.handle.count("watch"))

    async def fails() -> None:
        raise KeyError("a bug")

    client._links[0].spawn(fails())
    with pytest.raises(InternalError, match="a bug"):
        await asyncio.wait_for(waiting, 5)
    await client.close()


async def test_errors_told_to_many_are_fresh_each_time(router):
    client = door(router)
    await client.close()
    caught: list[StreamRouterError] = []
    for _ in range(2):
        with pytest.raises(RouterClosed) as info:
            client._links[0].check_usable()
        caught.append(info.value)
    assert caught[0] is not caught[1]


async def test_settings_reach_the_router(router):
    client = door(router)
    await client.publish("req", StreamSettings(dialect="chat")).open()
    assert router.handle.count("open") == 1
    await client.close()
