"""Observers: they see what readers see, and nothing waits for them."""

from __future__ import annotations

import itertools

import pytest
from host_driver import Driver, text

from actors.protocol.frames import unpack
from actors.protocol.reads import Operation, Part, PartState
from router.client.reading.inbox import Cursor

KB = "x" * 1000
BUFFER = 200_000


@pytest.fixture
def driver() -> Driver:
    made = Driver()
    made.open("req", buffer_bytes_max=BUFFER, retain_bytes_max=BUFFER)
    return made


def observe(driver: Driver, reader: str, number: int, after: int = 0, epoch: int = 1) -> None:
    driver.operate(reader, Operation.OBSERVE, number, "req", after, epoch, False)


def texts(cursor: Cursor, part) -> list[str]:
    runs = cursor.take(part.segments, part.gap)
    return [piece for _, _, pieces in runs for piece in pieces if isinstance(piece, str)]


def credit(driver: Driver, count: int, cursor: Cursor) -> bool:
    """Publish so many kilobytes as far as there is credit, with a counted reader that takes everything; True if all."""
    session = driver.host.sessions["req"]
    for n in range(count):
        if session.received_bytes >= session.credit_bytes:
            return False
        driver.say("req", text(f"{n} {KB}"))
        part = (driver.poll("reader") or {}).get(1)
        if part is not None:
            cursor.take(part.segments, part.gap)
            driver.operate("reader", Operation.CONSUMED, 1, cursor.last_seq_id)
    return True


def test_an_observer_that_stops_reading_stops_nobody_where_a_reader_would(driver):
    driver.subscribe("reader", 1, "req")
    observe(driver, "window", 1)
    driver.poll("window")
    cursor = Cursor(0)
    assert credit(driver, 2000, cursor)
    driver.subscribe("stopped", 1, "req", after=driver.host.sessions["req"].log.last_seq)
    assert not credit(driver, 2000, cursor), "the same as a reader would have stopped it"


def test_an_observer_that_lags_gets_a_gap_and_then_what_is_retained(driver):
    driver.subscribe("reader", 1, "req")
    observe(driver, "window", 1)
    assert credit(driver, 2000, Cursor(0))
    cursor = Cursor(0)
    gaps, seen = [], 0
    for poll_no in itertools.count(2):
        answer = driver.host.audience.reader("window", 0.0).answer(poll_no)
        if answer is None:
            break
        for part in (Part(*parts) for parts in unpack(answer)):
            if part.gap is not None:
                gaps.append(tuple(part.gap))
            seen += len(texts(cursor, part))
        driver.operate("window", Operation.CONSUMED, 1, cursor.last_seq_id)
    session = driver.host.sessions["req"]
    assert cursor.last_seq_id == session.log.last_seq
    [(first, last)] = gaps
    assert (first, last) == (1, session.log.dropped_through)
    assert seen == session.log.last_seq - last
    assert seen * 1000 > BUFFER / 2, "what the log retains is there for it"


def test_one_that_keeps_up_sees_everything_and_the_end(driver):
    observe(driver, "window", 1)
    cursor = Cursor(0)
    said = []
    for n in range(50):
        driver.say("req", text(str(n)))
        said += texts(cursor, driver.poll("window")[1])
        driver.operate("window", Operation.CONSUMED, 1, cursor.last_seq_id)
    driver.end("req")
    part = driver.poll("window")[1]
    assert said == [str(n) for n in range(50)]
    assert part.state == PartState.ENDED


def test_a_request_that_only_observers_read_waits_as_one_that_nobody_reads(driver):
    observe(driver, "window", 1)
    session = driver.host.sessions["req"]
    cursor = Cursor(0)
    while session.received_bytes < session.credit_bytes:
        driver.say("req", text(KB))
        for part in (driver.poll("window") or {}).values():
            cursor.take(part.segments, part.gap)
        driver.operate("window", Operation.CONSUMED, 1, cursor.last_seq_id)
    assert session.log.released == 0
    assert session.log.unread_bytes >= BUFFER
    assert len(session.cursors) == 0


def test_an_observer_does_not_keep_the_idle_reader_timer_from_running_out():
    driver = Driver()
    driver.open("req", idle_reader_timeout_s=5)
    driver.say("req", text("a"))
    observe(driver, "window", 1)
    driver.poll("window")
    for _ in range(8):
        driver.passes(1)
        driver.operate("window", Operation.CONSUMED, 1, 1)
    assert driver.host.sessions["req"].stop_reason == "timeout_idle_reader"


@pytest.mark.parametrize("is_early", [True, False], ids=["parked", "attached"])
def test_after_a_crash_it_goes_on_where_it_stood_and_still_counts_for_nothing(driver, is_early):
    observe(driver, "window", 1)
    driver.say("req", text("a"), text("b"))
    cursor = Cursor(0)
    assert texts(cursor, driver.poll("window")[1]) == ["a", "b"]
    driver.operate("window", Operation.CONSUMED, 1, 2)
    if is_early:
        observe(driver, "window", 2, after=2, epoch=2)
    driver.open("req", 2)
    driver.say("req", text("a"), text("b"), text("c"), epoch=2)
    part = driver.poll("window")[2 if is_early else 1]
    assert texts(cursor, part) == ["c"]
    assert len(driver.host.sessions["req"].cursors) == 0


def test_one_that_leaves_leaves_nothing_behind(driver):
    observe(driver, "window", 1)
    driver.operate("window", Operation.DROP, 1)
    assert not driver.host.audience.readers["window"].subscriptions
    assert driver.host.sessions["req"].subscribed is None
