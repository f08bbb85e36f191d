"""Readers and the audience: what waits for a request, who is woken, what a lost answer costs, who is forgotten."""

from __future__ import annotations

import pytest
from host_driver import Driver, text

from actors.protocol.envelopes import Order
from actors.protocol.frames import unpack
from actors.protocol.reads import FORGOTTEN, NOTHING, Operation, Part, PartState
from actors.protocol.segments import read_segment
from actors.stream.audience import READER_TIMEOUT_S
from actors.stream.readers import SUBSCRIPTION_BYTES_MAX


@pytest.fixture
def driver():
    driver = Driver()
    driver.open("req")
    return driver


def pieces(part) -> list[tuple[int, str]]:
    found = []
    for segment in part.segments:
        first, _, texts = read_segment(segment)
        found += list(enumerate(texts, first))
    return found


def test_an_answer_that_was_lost_is_given_again_under_its_number(driver):
    driver.subscribe("reader", 1, "req")
    driver.say("req", text("a"))
    reader = driver.host.audience.reader("reader", 0.0)
    first = reader.answer(1)
    driver.say("req", text("b"))
    assert reader.answer(1) == first
    (parts,) = unpack(reader.answer(2))
    assert pieces(Part(*parts)) == [(2, "b")]
    assert reader.answer(1) == NOTHING, "a poll from before it comes late"


def test_a_subscription_waits_for_a_request_that_is_still_on_its_way(driver):
    driver.subscribe("reader", 1, "later")
    driver.subscribe("reader", 2, "req", epoch=2)
    assert driver.poll("reader") is None
    driver.open("later")
    driver.say("later", text("a"))
    driver.open("req", epoch=2)
    driver.say("req", text("b"), epoch=2)
    assert driver.wakes() == {"reader"}
    assert {number: pieces(part) for number, part in driver.poll("reader").items()} == {1: [(1, "a")], 2: [(1, "b")]}
    assert driver.host.audience._parked == {}


def test_subscriptions_go_on_with_the_next_session_of_their_request(driver):
    driver.subscribe("reader", 1, "req")
    driver.say("req", text("a"), text("b"))
    assert pieces(driver.poll("reader")[1]) == [(1, "a"), (2, "b")]
    driver.operate("reader", Operation.CONSUMED, 1, 1)
    driver.open("req", epoch=2)
    driver.say("req", text("a"), text("b"), text("c"), epoch=2)
    part = driver.poll("reader")[1]
    assert (part.epoch, pieces(part)) == (2, [(2, "b"), (3, "c")]), "from what it had acknowledged"


def test_a_reader_that_stops_is_sent_to_no_further_and_holds_back_its_own_request_alone(driver):
    driver.open("other")
    driver.subscribe("slow", 1, "req")
    driver.subscribe("quick", 1, "other")
    driver.host.sessions["req"].settings = driver.host.sessions["req"].settings.model_copy(
        update={"buffer_bytes_max": 1 << 30}
    )
    sent = 0
    for _ in range(300):
        driver.say("req", *[text("word " * 200)] * 3)
        driver.say("other", text("a"))
        answer = driver.poll("slow")
        sent += sum(len(piece) for _, piece in pieces(answer[1])) if answer else 0
        assert driver.poll("quick")
        driver.operate("quick", Operation.CONSUMED, 1, driver.host.sessions["other"].log.last_seq)
    assert SUBSCRIPTION_BYTES_MAX / 2 < sent < SUBSCRIPTION_BYTES_MAX * 1.2
    assert driver.host.sessions["other"].log.unread_bytes == 0


def test_a_message_that_goes_on_says_its_head_once(driver):
    driver.subscribe("reader", 1, "req")
    for _ in range(3):
        driver.say("req", *[text("word ")] * 2_000)
    heads = [segment[1] for segment in driver.poll("reader")[1].segments]
    heads += [segment[1] for segment in driver.poll("reader")[1].segments]
    assert len([head for head in heads if head is not None]) == 1


def test_an_operation_that_a_later_one_has_followed_is_not_done(driver):
    audience = driver.host.audience
    audience.operate("reader", 0, [[2, Operation.DROP, 1]], 0.0)
    audience.operate("reader", 0, [[1, Operation.SUBSCRIBE, 1, "req", 0, 1, False]], 0.0)
    assert audience.readers["reader"].subscriptions == {}
    audience.operate("reader", 5, [[4, Operation.SUBSCRIBE, 2, "req", 0, 1, False]], 0.0)
    assert audience.readers["reader"].subscriptions == {}, "settled: its caller had given it up"


def test_a_silent_reader_is_forgotten_and_hears_so_when_it_comes_back(driver):
    driver.subscribe("reader", 1, "req")
    driver.say("req", text("a"))
    driver.poll("reader")
    driver.passes(READER_TIMEOUT_S - 1)
    driver.host.audience.reader("reader", driver.now)
    driver.passes(READER_TIMEOUT_S - 1)
    assert len(driver.host.audience) == 1, "it has been heard meanwhile"
    driver.passes(2)
    assert len(driver.host.audience) == 0
    assert len(driver.host.sessions["req"].cursors) == 0, "it holds its producer back no more"
    driver.host.audience.operate("reader", 7, [], driver.now)
    assert driver.host.audience.reader("reader", driver.now).answer(9) == FORGOTTEN


def test_a_silent_bare_pull_is_forgotten_and_its_request_goes_on(driver):
    driver.say("req", text("a"))
    driver.host.audience.peek("req", "bare", 0, 10, driver.now)
    assert driver.host.sessions["req"].log.released == 0
    driver.subscribe("reader", 1, "req")
    driver.poll("reader")
    driver.operate("reader", Operation.CONSUMED, 1, 1)
    assert driver.host.sessions["req"].log.released == 0, "the bare pull has not acknowledged it"
    for _ in range(2):
        driver.passes(READER_TIMEOUT_S * 0.6)
        driver.host.audience.reader("reader", driver.now)
    assert driver.host.sessions["req"].log.released == 1


def test_messages_that_cannot_be_packed_end_their_subscription_and_the_others_hear_theirs(driver):
    driver.open("bad")
    for number, request_id in enumerate(("req", "bad"), 1):
        driver.subscribe("reader", number, request_id)
        driver.say(request_id, text("a"))
    driver.host.sessions["bad"].log._segments[0].pieces[0] = ("b", {"odd": object()})
    found = driver.poll("reader")
    assert (found[1].state, pieces(found[1])) == (PartState.OPEN, [(1, "a")])
    assert found[2].state == PartState.REFUSED
    assert found[2].segments[0] == "internal_error"


def test_who_waits_for_a_request_is_woken_by_its_news_and_by_its_end(driver):
    driver.host.audience.expect("req", 1)
    driver.say("req", text("a"))
    assert driver.wakes() == {"req"}
    driver.send((Order.FORGET, "req", 1))
    assert driver.wakes() == {"req"}
    driver.host.audience.expect("req", -1)
    assert driver.host.audience._awaited == {}
