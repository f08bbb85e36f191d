"""Gathered answers: what comes soon after an answer comes together, never later than said, and what hurries at once."""

from __future__ import annotations

from collections import Counter

import pytest
from host_driver import Driver, text
from hypothesis import given, settings
from hypothesis import strategies as st

import actors.stream.followers
from actors.protocol.deadlines import NEVER
from actors.protocol.frames import unpack
from actors.protocol.lane import GATHERED_MAX
from actors.protocol.reads import ANSWERS_AHEAD_MAX, GATHER_S_MAX, FollowCall, Operation, Part, PartState
from actors.protocol.segments import read_segment
from actors.shell import Clock
from actors.stream.followers import Followers

GATHER_S = 0.01
WAIT_S = 10.0
REQUESTS = 3


class Bell:
    """An `Alarm` that rings when its world says so."""

    def __init__(self, _now, ring):
        self._ring = ring
        self.at = NEVER

    def set(self, due_at):
        self.at = min(self.at, due_at)

    def ring(self):
        self.at = NEVER
        self._ring()


class Reply:
    """Takes answers while it is open; those that are not taken by a reader are lost with it."""

    def __init__(self):
        self.is_open = True
        self.given: list[tuple[int, list[Part]]] = []

    def more(self, answer):
        if self.is_open:
            self.given.append((answer[0], [Part(*part) for part in unpack(answer[1])]))
        return self.is_open

    def last(self, _answer):
        pass

    def is_beside(self, other):
        return self is other


class World:
    """One stream actor, and one process that follows it."""

    def __init__(self, gather_s: float = GATHER_S, **request: object) -> None:
        self.driver = Driver()
        self.gather_s = gather_s
        self.reply = Reply()
        for number in range(1, REQUESTS + 1):
            self.driver.open(f"req-{number}", **request)
            self.driver.subscribe("reader", number, f"req-{number}")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(actors.stream.followers, "Alarm", Bell)
            self.followers = Followers(self.driver.host.audience, Clock(lambda: self.driver.now))
        self.call(1)

    @property
    def bell(self) -> Bell:
        return self.followers._gathered

    @property
    def reader(self):
        return self.driver.host.audience.readers["reader"]

    def call(self, poll_no: int, answers_max: int = ANSWERS_AHEAD_MAX, *, renews: bool = False) -> None:
        call = FollowCall("reader", poll_no, 0, [], WAIT_S, answers_max, renews, self.gather_s)
        self.followers.enter(call, WAIT_S, self.reply, self.driver.now)

    def wake(self) -> None:
        for reader_id in self.driver.host.audience.take_wakes():
            self.followers.give(reader_id)

    def say(self, number: int, *contents: str) -> None:
        self.driver.say(f"req-{number}", *map(text, contents))
        self.wake()

    def begin(self) -> None:
        """Let each subscription have its first message, and a while pass."""
        for number in range(1, REQUESTS + 1):
            self.say(number, "first")
        self.passes(1.0)
        self.reply.given.clear()

    def passes(self, seconds: float) -> None:
        until = self.driver.now + seconds
        while self.bell.at <= until:
            self.driver.now = max(self.driver.now, self.bell.at)
            self.bell.ring()
        self.driver.now = until

    def answers(self) -> list[list[int]]:
        """Which subscriptions each answer was for."""
        return [[part.number for part in parts] for _, parts in self.reply.given]


@pytest.fixture
def world() -> World:
    made = World()
    made.begin()
    return made


def test_what_comes_soon_after_an_answer_comes_together_and_what_came_before_at_once(world):
    world.say(1, "a")
    assert world.answers() == [[1]], "nothing had come for a while: it waits for nobody"
    for number in (1, 2, 3, 2):
        world.passes(GATHER_S / 8)
        world.say(number, "b")
    assert world.answers() == [[1]]
    world.passes(0.51 * GATHER_S)
    assert world.answers() == [[1], [1, 2, 3]], "so long after the first"
    world.passes(GATHER_S)
    world.say(3, "c")
    assert world.answers()[2:] == [[3]]


def test_without_a_wish_nothing_is_gathered():
    world = World(gather_s=0.0)
    for number in (1, 1, 2, 3):
        world.say(number, "a")
    assert world.answers() == [[1], [1], [2], [3]]
    assert world.bell.at == NEVER


def test_nobody_is_made_to_wait_longer_than_all_are():
    world = World(gather_s=1e9)
    world.begin()
    world.say(1, "a")
    world.say(2, "a")
    world.passes(GATHER_S_MAX)
    assert world.answers() == [[1], [2]]


def test_the_first_that_a_subscription_is_given_waits_for_nobody(world):
    world.say(1, "a")
    world.driver.open("new")
    world.driver.subscribe("reader", 9, "new")
    world.driver.say("new", text("a"))
    world.wake()
    assert world.answers() == [[1], [9]]


def test_an_end_waits_for_nobody_and_takes_along_what_waits(world):
    world.say(1, "a")
    world.say(2, "b")
    world.driver.end("req-1")
    world.wake()
    assert [[(part.number, part.state) for part in parts] for _, parts in world.reply.given][1:] == [
        [(2, PartState.OPEN), (1, PartState.ENDED)]
    ]


def test_a_refusal_waits_for_nobody(world):
    world.say(1, "a")
    world.driver.operate("reader", Operation.SUBSCRIBE, 9, "req-1", -1, 1, False)
    world.wake()
    assert world.answers() == [[1], [9]]


@pytest.mark.parametrize("is_observer", [False, True])
def test_what_a_publisher_will_soon_wait_for_hurries_but_not_to_an_observer(is_observer):
    world = World(buffer_bytes_max=4096)
    world.begin()
    if is_observer:
        world.driver.operate("reader", Operation.OBSERVE, 1, "req-1", 1, 1, False)
    world.say(1, "word " * 250)
    world.reply.given.clear()
    world.passes(GATHER_S / 4)
    world.say(1, "word " * 250)
    assert bool(world.answers()) is not is_observer


def test_much_does_not_wait_for_more(world):
    world.say(1, "a")
    for _ in range(GATHERED_MAX - 1):
        world.say(2, "b")
    assert world.answers() == [[1]]
    world.say(3, "b")
    assert world.answers() == [[1], [2, 3]]


def test_a_renewal_hurries_nothing_and_a_first_call_on_the_next_connection_does(world):
    first_no = world.followers._followers["reader"].following.next_no
    world.say(1, "a")
    world.say(2, "b")
    world.call(first_no + 1, renews=True)
    assert world.answers() == [[1]]
    world.passes(GATHER_S)
    world.say(3, "c")
    assert world.answers() == [[1], [2]]
    world.reply.is_open = False
    world.reply = Reply()
    world.call(first_no + 1)
    assert world.answers() == [[2], [3]]


def test_a_reader_that_has_left_is_not_waited_for(world):
    world.say(1, "a")
    world.say(2, "b")
    world.followers.leave("reader")
    world.passes(GATHER_S)
    assert world.bell.at == NEVER
    assert len(world.followers._gathering) == 0
    (part,) = unpack(world.reader.answer(world.reader._last_no + 1))
    assert part[0] == 2, "whoever polls through Ray has it at once"


events = st.one_of(
    st.tuples(st.just("say"), st.integers(1, REQUESTS)),
    st.tuples(st.just("pass"), st.floats(0.0, 2 * GATHER_S)),
    st.tuples(st.just("renew"), st.integers(1, 6)),
    st.tuples(st.just("break"), st.integers(0, 2)),
    st.tuples(st.just("end"), st.integers(1, REQUESTS)),
)


class Reading:
    """What the process has had of its world, and asks for."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.had: Counter[int] = Counter()
        self.had_no = 0
        self.granted_through = 0

    def take(self, most: int = 1_000_000) -> None:
        """Have the answers that have come; of those behind `most` nothing is known."""
        for number, parts in self.world.reply.given[:most]:
            assert number == self.had_no + 1
            self.had_no = number
            for part in parts:
                for segment in part.segments:
                    first, _, pieces = read_segment(segment)
                    assert first == self.had[part.number] + 1
                    self.had[part.number] += len(pieces)
        self.world.reply.given.clear()

    def ask(self, answers_max: int, *, renews: bool) -> None:
        self.granted_through = self.had_no + answers_max
        self.world.call(self.had_no + 1, answers_max, renews=renews)

    @property
    def is_granted(self) -> bool:
        return self.world.followers._followers["reader"].following.next_no <= self.granted_through


@settings(deadline=None)
@given(happens=st.lists(events, max_size=40))
def test_whatever_happens_all_comes_once_in_order_and_nothing_late(happens):
    world = World()
    reading = Reading(world)
    reading.ask(2, renews=False)
    said, ended = Counter(), set()
    for kind, what in happens:
        if kind == "say" and what not in ended:
            world.say(what, "a")
            said[what] += 1
        elif kind == "end" and what not in ended:
            ended.add(what)
            world.driver.end(f"req-{what}")
            said[what] += 2  # why it stopped, and what it used
            world.wake()
        elif kind == "pass":
            world.passes(what)
        elif kind == "renew":
            reading.take()
            reading.ask(what, renews=True)
        elif kind == "break":
            reading.take(what)
            world.reply = Reply()
            reading.ask(3, renews=False)
        if world.reader.has_news and reading.is_granted:
            assert world.driver.now < world.bell.at <= world.driver.now + GATHER_S + 1e-9
    for _ in happens:
        world.passes(GATHER_S)
        reading.take()
        reading.ask(2, renews=True)
    assert +reading.had == +said
    assert not world.reader.has_news
    world.passes(GATHER_S)
    assert world.bell.at == NEVER
