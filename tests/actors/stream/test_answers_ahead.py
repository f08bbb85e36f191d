"""Answers ahead: a grant is never exceeded, what is lost is given again, nobody waits longer than they said."""

from __future__ import annotations

import pytest
from host_driver import Driver, text

from actors.protocol.frames import unpack
from actors.protocol.reads import ANSWERS_AHEAD_MAX, FORGOTTEN, NOTHING, FollowCall, Operation, Part, PartState
from actors.shell import Clock
from actors.stream.followers import Followers
from actors.stream.following import Following
from actors.stream.readers import ANSWER_BYTES_MAX, KEPT_BYTES_MAX

WAIT_S = 10.0


@pytest.fixture
def driver():
    driver = Driver()
    driver.open("req")
    driver.subscribe("reader", 1, "req")
    return driver


def call(poll_no: int = 1, answers_max: int = 4, *, renews: bool = False) -> FollowCall:
    return FollowCall("reader", poll_no, 0, [], WAIT_S, answers_max, renews, 0.0)


def follow(driver: Driver, made: FollowCall, renewed: Following | None = None) -> Following:
    driver.host.audience.reader("reader", driver.now).forget_before(made.poll_no)
    return Following(made, WAIT_S, driver.now, renewed)


def given(driver: Driver, following: Following) -> list[int]:
    reader = driver.host.audience.reader("reader", driver.now)
    return [number for number, _ in following.take(reader, driver.now)]


def says(driver: Driver, following: Following, count: int) -> list[int]:
    """Let a request gain messages one by one; return the numbers of the answers given meanwhile."""
    numbers = []
    for _ in range(count):
        driver.say("req", text("a"))
        numbers += given(driver, following)
    return numbers


def test_no_more_answers_are_given_than_were_granted(driver):
    following = follow(driver, call(answers_max=3))
    assert says(driver, following, 5) == [1, 2, 3]
    renewed = follow(driver, call(3, 2, renews=True), following)
    assert given(driver, renewed) == [4], "what was held back comes in one answer"
    assert says(driver, renewed, 2) == []


def test_a_reader_that_asks_for_much_is_granted_no_more_than_all_are(driver):
    following = follow(driver, call(answers_max=1_000_000))
    assert says(driver, following, ANSWERS_AHEAD_MAX + 5) == [*range(1, ANSWERS_AHEAD_MAX + 1)]


def test_a_renewal_that_crosses_answers_gives_none_of_them_twice(driver):
    following = follow(driver, call())
    assert says(driver, following, 3) == [1, 2, 3]
    renewed = follow(driver, call(2, renews=True), following)
    assert says(driver, renewed, 1) == [4]


def test_what_a_break_has_lost_is_given_again_as_it_was(driver):
    reader = driver.host.audience.reader("reader", 0.0)
    following = follow(driver, call())
    says(driver, following, 3)
    kept = [reader.next_answer(number) for number in (2, 3)]
    again = follow(driver, call(2))
    assert [*again.take(reader, driver.now)] == [(2, kept[0]), (3, kept[1])]
    assert reader.next_answer(1) == NOTHING, "nobody asks for it again"


def test_answers_that_may_be_lost_are_bounded_by_bytes(driver):
    for number in range(2, 8):
        driver.open(f"req-{number}", buffer_bytes_max=1 << 30)
        driver.subscribe("reader", number, f"req-{number}")
    reader = driver.host.audience.reader("reader", 0.0)
    following = follow(driver, call(answers_max=ANSWERS_AHEAD_MAX))
    for _ in range(40):
        for number in range(2, 8):
            driver.say(f"req-{number}", *[text("word " * 200)] * 10)
        given(driver, following)
    assert reader.has_news
    assert reader._kept_bytes < KEPT_BYTES_MAX + 2 * ANSWER_BYTES_MAX
    reader.forget_before(following.next_no)
    assert reader._kept_bytes == 0
    assert given(driver, following)


def test_a_reader_that_renews_still_hears_something_as_often_as_it_has_said(driver):
    first = follow(driver, call())
    driver.now = 4.0
    renewed = follow(driver, call(renews=True), first)
    assert renewed.due_at == WAIT_S, "it has had no answer since"
    says(driver, renewed, 1)
    driver.now = 5.0
    assert follow(driver, call(2, renews=True), renewed).due_at == 5.0 + WAIT_S


def test_who_reads_a_request_whose_publisher_will_soon_wait_is_asked_to_hurry():
    driver = Driver()
    driver.open("req", buffer_bytes_max=4096)
    driver.subscribe("reader", 1, "req")
    states = []
    for _ in range(2):
        driver.say("req", text("word " * 250))
        states.append(driver.poll("reader")[1].state)
    assert states == [PartState.OPEN, PartState.HURRIED]
    driver.operate("reader", Operation.CONSUMED, 1, 2)
    driver.say("req", text("a"))
    assert driver.poll("reader")[1].state == PartState.OPEN


# --- the shell --------------------------------------------------------------------------------


class Reply:
    """Takes answers; those of one `end` go through one connection."""

    def __init__(self, end: str = "a") -> None:
        self.end = end
        self.is_open = True
        self.given: list[int] = []
        self.over: bytes | None = None

    def more(self, answer):
        if self.is_open:
            self.given.append(answer[0])
        return self.is_open

    def last(self, answer):
        self.over = answer

    def is_beside(self, other):
        return self.end == other.end


@pytest.fixture
async def followers(driver):
    return Followers(driver.host.audience, Clock(lambda: driver.now))


async def test_a_first_call_on_the_next_connection_ends_the_one_before(driver, followers):
    before, after = Reply("a"), Reply("b")
    followers.enter(call(), WAIT_S, before, 0.0)
    followers.enter(call(), WAIT_S, after, 0.0)
    assert (before.over, after.over) == (NOTHING, None)
    driver.say("req", text("a"))
    followers.give("reader")
    assert (before.given, after.given) == ([], [1])


async def test_a_renewal_that_comes_late_on_a_broken_connection_takes_nothing_from_the_next(driver, followers):
    late, after = Reply("a"), Reply("b")
    followers.enter(call(), WAIT_S, after, 0.0)
    followers.enter(call(renews=True), WAIT_S, late, 0.0)
    driver.say("req", text("a"))
    followers.give("reader")
    assert (late.given, late.over, after.given) == ([], NOTHING, [1])


async def test_who_polls_through_ray_again_follows_no_more_and_is_woken(driver, followers):
    reply = Reply()
    followers.enter(call(), WAIT_S, reply, 0.0)
    reply.is_open = False
    driver.say("req", text("a"))
    assert not followers.give("reader"), "it is gone: whoever polls must be woken"
    followers.enter(call(), WAIT_S, Reply("b"), 0.0)
    followers.leave("reader")
    assert not followers.give("reader")
    (part,) = unpack(driver.host.audience.reader("reader", 0.0).answer(1))
    assert Part(*part).number == 1


async def test_a_reader_that_was_forgotten_hears_so(driver, followers):
    reply = Reply()
    driver.host.audience.operate("gone", 7, [], 0.0)
    followers.enter(call()._replace(reader_id="gone"), WAIT_S, reply, 0.0)
    assert reply.over == FORGOTTEN
