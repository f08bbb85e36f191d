"""Fleet: each stream actor gets everything once and in order, whatever calls do; one that hangs or dies is replaced."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.exceptions import ActorDiedError, ActorUnavailableError

from actors.errors import ProtocolViolation
from actors.protocol.envelopes import DataEnvelope, ForgetEnvelope, Order
from actors.protocol.frames import pack
from actors.protocol.lane import CALL_BYTES_MAX
from actors.settings import StreamSettings, packed
from actors.stream.host import StreamHost
from actors.stream.router_frames import NOT_MY_ROUTER
from actors.transport.line import Line
from router.config import RouterConfig
from router.core.registry import Registry
from router.on_ray import fleet as module
from router.on_ray.fleet import Fleet, FleetActor

SETTINGS = packed(StreamSettings())


class Refused(ActorUnavailableError):
    """What Ray makes of an error that a method raised."""

    cause = ProtocolViolation("not like that")


class FakeActor:
    """A stream actor's handle: a real host, and calls that go as the test says, one word a call."""

    def __init__(self) -> None:
        self.host = StreamHost()
        self.words: dict[str, list[str]] = {}
        self.fed: list[int] = []
        self.out = self.most_out = 0
        self.begun: list[str] = []
        self.killed = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return SimpleNamespace(remote=lambda *arguments: self._call(name, arguments))

    async def _call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        words = self.words.get(name)
        word = words.pop(0) if words else "ok"
        self.out += 1
        self.most_out = max(self.most_out, self.out)
        try:
            await asyncio.sleep(0)
            if word == "hang":
                await asyncio.Event().wait()
            if word == "died":
                raise ActorDiedError
            if word == "dropped":
                raise ActorUnavailableError("on its way there", None)
            if word == "refused":
                raise Refused("", None)
            answer = getattr(self, f"on_{name}")(*arguments)
            if word == "answer lost":
                raise ActorUnavailableError("on its way back", None)
            return answer
        finally:
            self.out -= 1

    def on_start(self, incarnation: str) -> dict[str, Any] | None:
        self.begun.append(incarnation)
        return {"pid": 1, "node_id": "node"} if self.host.begin(incarnation) else None

    def on_feed(self, incarnation: str, frame_no: int, *frames: bytes) -> bytes:
        self.fed.append(frame_no)
        return self.host.feed(incarnation, frame_no, frames, 0.0)

    def on_inventory(self) -> bytes:
        return pack(self.host.inventory(0.0))

    def on_measure(self, laggards: int) -> dict[str, Any]:
        return {"laggards": laggards}

    def on_unknown_events(self) -> dict[str, int]:
        return {"event x": 1}


class World:
    """A fleet with its registry. What the registry wants done is done, as a router's shell does it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: dict[str, FakeActor] = {}
        self.make: Callable[[str], FakeActor] = lambda _actor_id: FakeActor()
        config = RouterConfig.model_validate(
            {"stream_actors": {"max_actors": 2, "warm_actors": 0, "packed_streams_per_actor": 1}}
        )
        self.registry = Registry(config, "me", 0.0)
        observer = SimpleNamespace(delivered=lambda _s: None, actor_lost=lambda: None, actor_adopted=lambda _id: None)
        self.fleet = Fleet(config, 0, "me", self.registry, observer, self.after_event, "node")  # type: ignore[arg-type]
        self.fleet._reach = None
        monkeypatch.setattr(module.ray_actors, "make_stream_actor", self._make)
        context = SimpleNamespace(current_actor="router")
        ray = SimpleNamespace(kill=lambda handle: loop.call_soon_threadsafe(handle.killed.set))
        ray.get_runtime_context = lambda: context
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(module, "ray", ray)
        for name, seconds in (
            ("CALL_DEADLINE_S", 0.25), ("ACTOR_DEADLINE_S", 20.0), ("START_TRY_S", 0.25), ("START_DEADLINE_S", 20.0),
            ("BACKOFF_S", 0.001), ("BACKOFF_S_MAX", 0.002), ("MAKE_RETRY_S", 0.0),
        ):  # fmt: skip
            monkeypatch.setattr(module, name, seconds)

    def _make(self, _config: Any, _shard: int, actor_id: str, _router: Any) -> FakeActor:
        self.made[actor_id] = actor = self.make(actor_id)
        return actor

    def after_event(self) -> None:
        effects = self.registry.take_effects()
        for actor_id in effects.start:
            self.fleet.start(actor_id)
        for actor_id, request_id, envelope, size_bytes in effects.send:
            actor = self.fleet.actors.get(actor_id)
            if actor is not None:
                actor.put(request_id, envelope, size_bytes)
                self.fleet.pump(actor_id)

    def open(self, request_id: str) -> None:
        assert self.registry.open("publisher", request_id, SETTINGS, 0.0, date="") is None
        self.after_event()

    async def started(self, actor_id: str) -> FakeActor:
        await asyncio.wait_for(self.fleet.actors[actor_id].settled.wait(), 10.0)
        return self.made[actor_id]

    async def until(self, is_so: Callable[[], Any]) -> None:
        async with asyncio.timeout(10.0):
            while not is_so():  # noqa: ASYNC110  # of what is asked for here nothing tells
                await asyncio.sleep(0.001)

    async def ends(self) -> None:
        for task in list(self.fleet._tasks):
            task.cancel()
        await asyncio.gather(*self.fleet._tasks, return_exceptions=True)


@pytest.fixture
async def world(monkeypatch) -> AsyncIterator[World]:
    made = World(monkeypatch)
    yield made
    await made.ends()


# --- feeding ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["dropped"],
        ["answer lost"],
        ["answer lost", "dropped", "answer lost"],
        ["hang"],
        ["ok", "hang", "ok", "answer lost"],
    ],
)
async def test_whatever_calls_do_an_actor_gets_all_once_in_order_and_one_call_at_a_time(world, words):
    world.open("first")
    actor = await world.started("s1")
    actor.words["feed"] = list(words)
    for number in range(5):
        world.fleet.actors["s1"].put(f"r{number}", ForgetEnvelope(Order.FORGET, f"r{number}", 1), 64)
        world.fleet.pump("s1")
        await asyncio.sleep(0)
    world.open("last")
    await world.until(lambda: not world.fleet.actors["s1"].waits and not world.fleet.actors["s1"].busy)
    assert actor.most_out == 1
    assert all(later - earlier in (0, 1) for earlier, later in itertools.pairwise(actor.fed)), actor.fed
    assert actor.host.requests_served == 1
    assert world.registry.requests["first"].credit_bytes > 0, "what the answers said was heard"


class FakeSocket:
    """A connection to an actor whose answers are lost, with all that is on it, when it breaks."""

    def __init__(self, host: StreamHost) -> None:
        self.host = host
        self.asked = 0
        self.asker: Any = None

    def ask(self, method: str, arguments: tuple[Any, ...], asker: Any) -> int:
        assert method == "post"
        incarnation, frame_no, frames, at_once = arguments
        self.asked, self.asker = self.asked + 1, asker
        if at_once:
            answer = self.host.feed(incarnation, frame_no, frames, 0.0)
            asyncio.get_running_loop().call_soon(asker.last, self.asked, answer)
        elif self.asked % 3:  # the others are cut off on their way there
            self.host.take(incarnation, frame_no, frames, 0.0)
        return self.asked


async def test_items_that_go_through_a_socket_wait_for_no_answers_and_come_once_in_order_after_a_break(world):
    world.open("req")
    actor = await world.started("s1")
    entry = world.fleet.actors["s1"]
    await world.until(lambda: not entry.busy)
    socket = entry.line.connection = FakeSocket(actor.host)
    fed = len(actor.fed)
    for seq in range(1, 4):
        items = pack([b'{"choices":[{"index":0,"delta":{"content":"x"}}]}'])
        entry.put("req", DataEnvelope(Order.DATA, "req", 1, seq, items), len(items))
        world.fleet.pump("s1")
    assert (socket.asked, len(actor.fed)) == (3, fed), "nothing was waited for"
    assert actor.host.sessions["req"].next_seq == 3, "the third was cut off"
    entry.line.connection = None
    socket.asker.failed(ConnectionError())
    await world.until(lambda: not entry.busy)
    assert actor.fed[fed:] == [2, 3, 4], "all that was not heard of, through Ray"
    assert actor.host.sessions["req"].next_seq == 4


async def test_what_is_no_items_is_waited_for_through_a_socket(world):
    world.open("req")
    actor = await world.started("s1")
    entry = world.fleet.actors["s1"]
    await world.until(lambda: not entry.busy)
    socket = entry.line.connection = FakeSocket(actor.host)
    world.registry.cancel("req", 0.0)
    world.after_event()
    assert entry.busy
    await world.until(lambda: not entry.busy)
    assert socket.asked >= 1
    assert world.registry.requests["req"].stop_reason == "cancelled", "the report came with the answer"


async def test_an_actor_that_dies_is_replaced_and_its_requests_begin_anew(world):
    world.open("req")
    actor = await world.started("s1")
    await world.until(lambda: "req" in actor.host.sessions)
    actor.words["feed"] = ["died"]
    world.registry.cancel("req", 0.0)
    world.after_event()
    await world.until(lambda: "s2" in world.made)
    await asyncio.wait_for(actor.killed.wait(), 10.0)
    assert "s1" not in world.fleet.actors
    await world.until(lambda: "req" in world.made["s2"].host.sessions)
    assert world.made["s2"].host.sessions["req"].epoch == 2


async def test_an_actor_that_hangs_is_given_up_in_time_and_killed(world, monkeypatch):
    monkeypatch.setattr(module, "ACTOR_DEADLINE_S", 0.3)
    world.open("req")
    actor = await world.started("s1")
    await world.until(lambda: not world.fleet.actors["s1"].busy)
    actor.words["feed"] = ["hang"] * 100
    world.registry.cancel("req", 0.0)
    world.after_event()
    await asyncio.wait_for(actor.killed.wait(), 10.0)
    assert "s1" not in world.fleet.actors
    assert len(actor.fed) < 20


async def test_an_actor_that_has_just_answered_what_left_before_is_given_its_whole_time_for_what_left_with_it(world):
    world.open("req")
    actor = await world.started("s1")
    entry = world.fleet.actors["s1"]
    await world.until(lambda: not entry.busy)
    entry.put("req", DataEnvelope(Order.DATA, "req", 1, 1, pack([])), 1)
    both_left_at = time.monotonic() - 2 * module.ACTOR_DEADLINE_S
    delivery = entry.next_delivery()._replace(left_at=both_left_at)
    entry.heard_at = time.monotonic()  # the first of two has its answer only now
    actor.words["feed"] = ["hang"] * 3
    assert await world.fleet._deliver("s1", entry, delivery) is not None


async def test_an_actor_that_took_another_incarnation_for_its_router_is_told_again_and_loses_nothing(world):
    world.open("req")
    actor = await world.started("s1")
    await world.until(lambda: not world.fleet.actors["s1"].busy)
    actor.host._frames._router = "a call that came late"
    assert actor.host.feed("me", 99, [], 0.0) == NOT_MY_ROUTER
    world.registry.cancel("req", 0.0)
    world.after_event()
    await world.until(lambda: world.registry.requests["req"].stop_reason == "cancelled")
    assert actor.begun == ["me", "me"]


async def test_an_actor_that_another_incarnation_follows_is_let_go(world):
    world.open("req")
    actor = await world.started("s1")
    await world.until(lambda: not world.fleet.actors["s1"].busy)
    actor.host.begin("a later router")
    world.registry.cancel("req", 0.0)
    world.after_event()
    await world.until(lambda: "s1" not in world.fleet.actors)


async def test_a_frame_that_an_actor_refuses_is_given_up_and_the_actor_is_not(world):
    world.open("req")
    actor = await world.started("s1")
    await world.until(lambda: not world.fleet.actors["s1"].busy)
    actor.words["feed"] = ["refused"]
    world.registry.cancel("req", 0.0)
    world.after_event()
    await world.until(lambda: not actor.words["feed"])
    world.open("next")
    await world.until(lambda: not world.fleet.actors["s1"].busy)
    assert "s1" in world.fleet.actors
    assert not actor.killed.is_set()


SIZES = st.one_of(st.integers(1, 2_000), st.integers(CALL_BYTES_MAX // 3, CALL_BYTES_MAX + 10))


@given(st.lists(st.one_of(st.none(), st.tuples(st.sampled_from("abc"), SIZES)), max_size=40))
def test_whatever_waits_comes_out_in_the_order_of_its_request_and_nothing_is_left(steps):
    actor = FleetActor(0.0)
    put: dict[str, list[int]] = {}
    took: dict[str, list[int]] = {}
    sizes: dict[int, int] = {}

    def take() -> None:
        waited = actor.waits
        envelopes = actor.take()
        assert bool(envelopes) == waited
        size = sum(sizes[envelope.first_seq] for envelope in envelopes)
        assert size <= CALL_BYTES_MAX or len(envelopes) == 1 or size - sizes[envelopes[-1].first_seq] <= CALL_BYTES_MAX
        for envelope in envelopes:
            took.setdefault(envelope.request_id, []).append(envelope.first_seq)

    for number, step in enumerate(steps):
        if step is None:
            take()
        else:
            request_id, sizes[number] = step
            actor.put(request_id, DataEnvelope(Order.DATA, request_id, 1, number, b""), sizes[number])
            put.setdefault(request_id, []).append(number)
    for _ in range(10 * len(steps) + 10):
        take()
    assert took == put
    assert not actor.waits
    assert not actor.queues


# --- starting ---------------------------------------------------------------------------------


async def test_an_actor_that_cannot_be_made_is_given_up_and_its_request_waits_for_the_next(world):
    def make(actor_id: str) -> FakeActor:
        if actor_id == "s1":
            raise ValueError("the name is taken")
        return FakeActor()

    world.make = make
    world.open("req")
    first = world.fleet.actors["s1"]
    await asyncio.wait_for(first.settled.wait(), 10.0)
    await world.until(lambda: "s2" in world.made and "req" in world.made["s2"].host.sessions)
    assert not first.is_started


async def test_an_actor_that_never_answers_its_first_words_is_given_up_and_its_request_waits_for_the_next(
    world, monkeypatch
):
    monkeypatch.setattr(module, "START_TRY_S", 0.01)
    monkeypatch.setattr(module, "START_DEADLINE_S", 0.02)

    def make(actor_id: str) -> FakeActor:
        actor = FakeActor()
        actor.words["start"] = ["hang"] * 1000 if actor_id == "s1" else []
        return actor

    world.make = make
    world.open("req")
    first = world.fleet.actors["s1"]
    await asyncio.wait_for(first.settled.wait(), 10.0)
    monkeypatch.setattr(module, "START_DEADLINE_S", 20.0)
    await world.until(lambda: any("req" in made.host.sessions for name, made in world.made.items() if name != "s1"))
    assert not first.is_started


async def test_the_first_words_to_an_actor_are_said_until_they_are_heard(world):
    def make(_actor_id: str) -> FakeActor:
        actor = FakeActor()
        actor.words["start"] = ["dropped", "hang", "answer lost"]
        return actor

    world.make = make
    world.open("req")
    actor = await world.started("s1")
    await world.until(lambda: "req" in actor.host.sessions)
    assert actor.begun == ["me", "me"]


async def test_an_actor_that_is_not_wanted_any_more_when_it_has_been_made_is_killed(world):
    world.fleet.start("s1")
    world.fleet.kill("s1")
    await world.until(lambda: "s1" in world.made)
    await asyncio.wait_for(world.made["s1"].killed.wait(), 10.0)
    assert "s1" not in world.fleet.actors


async def test_the_first_of_all_has_the_machine_to_itself(world, monkeypatch):
    monkeypatch.setattr(module, "HEAD_START_S", 20.0)
    was_ready = {}

    def make(actor_id: str) -> FakeActor:
        was_ready[actor_id] = world.fleet.actors["s1"].is_started
        return FakeActor()

    world.make = make
    world.fleet.start("s1")
    world.fleet.start("s2")
    await world.started("s2")
    assert was_ready == {"s1": False, "s2": True}


async def test_one_that_does_not_come_up_holds_the_others_up_for_a_moment_alone(world, monkeypatch):
    monkeypatch.setattr(module, "HEAD_START_S", 0.01)
    slow = FakeActor()
    slow.words["start"] = ["hang"] * 100
    world.make = lambda actor_id: slow if actor_id == "s1" else FakeActor()
    world.fleet.start("s1")
    world.fleet.start("s2")
    await world.started("s2")
    assert not world.fleet.actors["s1"].is_started


async def test_an_actor_that_is_started_twice_is_one(world):
    world.fleet.start("s1")
    first = world.fleet.actors["s1"]
    world.fleet.start("s1")
    assert world.fleet.actors["s1"] is first


# --- adopting ---------------------------------------------------------------------------------


def one_that_holds(request_id: str) -> FakeActor:
    actor = FakeActor()
    actor.host.begin("the router before")
    opened = (Order.OPEN, request_id, 3, SETTINGS, "publisher", "", 0.0, 0, 1, 0, [None, 0])
    actor.host.feed("the router before", 1, [pack([opened])], 0.0)
    return actor


@pytest.mark.parametrize("words", [[], ["dropped"], ["hang", "answer lost"]])
async def test_an_adopted_actor_is_fed_and_what_it_holds_is_known(world, words):
    actor = one_that_holds("req")
    actor.words = {"start": list(words), "inventory": list(words)}
    await world.fleet.adopt("s1", actor)
    world.registry.settle(["s1"], 0.0)
    world.registry.validate()
    assert world.registry.requests["req"].epoch == 3
    world.registry.cancel("req", 0.0)
    world.after_event()
    await world.until(lambda: world.registry.requests["req"].stop_reason == "cancelled")


@pytest.mark.parametrize("method", ["start", "inventory"])
@pytest.mark.parametrize("word", ["died", "hang"])
async def test_an_actor_that_does_not_answer_is_not_adopted_and_killed(world, monkeypatch, method, word):
    monkeypatch.setattr(module, "ACTOR_DEADLINE_S", 0.3)
    actor = one_that_holds("req")
    actor.words = {method: [word] * 100}
    await world.fleet.adopt("s1", actor)
    await asyncio.wait_for(actor.killed.wait(), 10.0)
    assert "s1" not in world.fleet.actors
    assert "s1" not in world.registry.pool.slots


@pytest.mark.parametrize(
    "said", [7, [7], [[["req"], {}]], [[["req", 1, 0, 1, 0, 0, 0, None, None, 0], {"no": "such"}]]]
)
async def test_an_actor_whose_words_cannot_be_read_is_given_up_and_waited_for_no_longer(world, said):
    actor = FakeActor()
    actor.on_inventory = lambda: pack(said)
    await world.fleet.adopt("s1", actor)
    await asyncio.wait_for(actor.killed.wait(), 10.0)
    assert "s1" not in world.fleet.actors
    assert "s1" not in world.registry.pool.slots
    world.registry.validate()


# --- watching ---------------------------------------------------------------------------------


async def test_only_who_has_been_silent_is_asked_and_who_answers_was_heard(world):
    world.open("req")
    actor = await world.started("s1")
    await world.until(lambda: not world.fleet.actors["s1"].busy)
    now = world.fleet.actors["s1"].heard_at + 5.0
    world.fleet.probe_silent(now, 6.0)
    await asyncio.sleep(0)
    assert actor.begun == ["me"]
    world.fleet.probe_silent(now, 4.0)
    await world.until(lambda: actor.begun == ["me", "me"])
    world.fleet.paused(100.0)
    world.fleet.probe_silent(now + 100.0, 6.0)
    await asyncio.sleep(0)
    assert actor.begun == ["me", "me"], "a pause of this process is no silence of others"


@pytest.mark.parametrize(
    ("word", "silent_s", "goes"), [("hang", 0.0, False), ("hang", 99.0, True), ("died", 0.0, True)]
)
async def test_who_is_asked_and_does_not_answer_goes_if_it_has_been_silent_long_or_is_dead(world, word, silent_s, goes):
    world.open("req")
    actor = await world.started("s1")
    await world.until(lambda: not world.fleet.actors["s1"].busy)
    actor.words["start"] = [word] * 100
    silent = world.fleet.actors["s1"]
    silent.heard_at -= silent_s
    await world.fleet.probe("s1", silent)
    assert ("s1" not in world.fleet.actors) == goes


async def test_a_connection_that_breaks_is_the_first_news_of_a_death(world):
    world.open("req")
    actor = await world.started("s1")
    await world.until(lambda: not world.fleet.actors["s1"].busy)
    line = world.fleet.actors["s1"].line
    line._lost()
    await world.until(lambda: len(actor.begun) > 1)
    assert "s1" in world.fleet.actors, "it lives: only the connection broke"
    actor.words["start"] = ["died"] * 100
    line._lost()
    await world.until(lambda: "s1" not in world.fleet.actors)


async def test_one_that_has_not_started_is_not_asked(world):
    actor, handle = FleetActor(0.0), FakeActor()
    actor.reach_by(handle, Line(handle, None))
    world.fleet.actors["s9"] = actor
    await world.fleet.probe("s9", actor)
    world.fleet.probe_silent(1e9, 1.0)
    assert actor.handle.begun == []


async def test_the_death_of_one_that_was_replaced_under_its_name_harms_nobody(world):
    world.open("req")
    await world.started("s1")
    world.fleet.gone("s1", FleetActor(0.0))
    assert "s1" in world.fleet.actors


async def test_a_look_waits_for_none_that_hangs(world):
    for actor_id, words in (("s1", {}), ("s2", {"measure": ["hang"], "unknown_events": ["hang"]})):
        actor = FakeActor()
        actor.words = words
        await world.fleet.adopt(actor_id, actor)
    world.fleet.actors["s3"] = FleetActor(0.0)
    assert await world.fleet.measure(4) == {"s1": {"laggards": 4}}
    assert await world.fleet.unknown_events(0.05) == {"s1": {"event x": 1}}


async def test_a_stop_of_this_process_takes_nothing_from_an_actor_that_is_to_be_adopted(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(module, "BACKOFF_S", 0.001)
    monkeypatch.setattr(module, "BACKOFF_S_MAX", 0.001)
    tries = itertools.count(1)

    async def answers_the_second_time() -> str:
        if next(tries) == 1:
            clock.now += 60.0
            raise TimeoutError
        return "here"

    assert await module._insist(answers_the_second_time, 9.0, 4.0) == "here"


async def test_an_actor_that_does_not_answer_is_asked_until_the_deadline_and_no_longer(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(module, "BACKOFF_S", 0.001)
    monkeypatch.setattr(module, "BACKOFF_S_MAX", 0.001)

    async def hangs() -> None:
        clock.now += 4.0
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await module._insist(hangs, 9.0, 4.0)
    assert clock.now == 12.0
