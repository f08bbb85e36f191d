"""A stream actor's readers where the service has tenants: what is another's is not there, whatever holds it."""

from __future__ import annotations

from typing import Any

import pytest
from host_driver import Driver, text

from actors.errors import UnknownRequest
from actors.protocol.envelopes import Order
from actors.protocol.reads import PartState
from actors.tenants import SEPARATOR, Key, Passes, identity_of

PASSES = Passes(Key(b"a secret of this test").pass_key)
FULL = f"team-a{SEPARATOR}req"
DATE = "2026-01-02T03:04:05+00:00"


def a_pass(subject: str, *scopes: str, process: str = "host-1") -> str:
    return PASSES.make(process, identity_of(subject, scopes or ("read",)))


OWN = [(f"{a_pass('team-a')}/1", "req"), (f"{a_pass('*')}/1", "team-a:req")]
FOREIGN = [
    (f"{a_pass('team-b')}/1", "req"),
    (f"{a_pass('team-a', 'publish')}/1", "req"),  # it may not read
    (f"{a_pass('*')}/1", "req"),
    (f"{a_pass('team-b')}/1", "team-a:req"),
    ("host-1/1", "req"),
    ("host-1/1", FULL),
    ("", FULL),
    (f"host-1|team-a|read|{32 * '0'}/1", "req"),
    (f"x{a_pass('team-a')}/1", "req"),
]


@pytest.fixture
def driver() -> Driver:
    made = Driver()
    made.host.audience.check_passes(Key(b"a secret of this test").pass_key)
    made.open(FULL)
    made.say(FULL, text("hello"))
    return made


def seal(driver: Driver) -> None:
    driver.end(FULL)


def move(driver: Driver) -> None:
    """The sealed log comes back from the router, on an actor that never knew of a publisher."""
    log = driver.end(FULL)
    driver.send((Order.FORGET, FULL, 1))
    driver.send((Order.RESTORE, FULL, 2, "end_turn", log, 300.0, "", []))


def adopt_copy(driver: Driver) -> None:
    """What was kept as the second copy is shown to readers."""
    log = driver.end(FULL)
    driver.send((Order.FORGET, FULL, 1))
    driver.send((Order.COPY, FULL, 2, "end_turn", log, 300.0, "", []))
    driver.send((Order.ADOPT, FULL, 2), (Order.STORED, FULL, 2, 300.0))


def stay_open(_driver: Driver) -> None:
    pass


STATES = [stay_open, seal, move, adopt_copy]


def peek(driver: Driver, reader_id: str, request_id: str) -> Any:
    full = driver.host.audience.names(reader_id).full(request_id)
    return driver.host.audience.peek(full, reader_id, 0, 10, driver.now)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(("reader_id", "request_id"), OWN)
def test_who_has_the_request_reads_it_and_in_its_own_name(state, reader_id, request_id, driver):
    state(driver)
    epoch = driver.host.sessions[FULL].epoch
    driver.subscribe(reader_id, 1, request_id, epoch=epoch)
    parts = driver.poll(reader_id)
    assert parts is not None
    assert "hello" in repr(parts[1].segments)
    assert SEPARATOR not in repr(parts)
    assert {segment[1]["run_id"] for segment in parts[1].segments if segment[1] is not None} == {"req"}
    assert peek(driver, reader_id, request_id).segments


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(("reader_id", "request_id"), FOREIGN)
def test_for_anybody_else_it_is_not_there(state, reader_id, request_id, driver):
    state(driver)
    epoch = driver.host.sessions[FULL].epoch
    for number, name in enumerate((request_id, "missing"), 1):
        driver.subscribe(reader_id, number, name, epoch=epoch)
        with pytest.raises(UnknownRequest):
            peek(driver, reader_id, name)
    parts = driver.poll(reader_id)
    # A name with the separator in it is refused: no caller of the product sends one.
    assert parts is None or (SEPARATOR in request_id and parts[1].state == PartState.REFUSED)
    driver.wakes()
    if state is stay_open:
        driver.say(FULL, text(" more"))
        assert reader_id not in driver.wakes()
    assert driver.poll(reader_id) is None


def test_a_foreign_subscription_is_not_there_when_the_request_comes_either(driver):
    stranger = f"{a_pass('team-b')}/1"
    driver.subscribe(stranger, 1, "later")
    driver.open(f"team-a{SEPARATOR}later")
    driver.say(f"team-a{SEPARATOR}later", text("secret"))
    assert driver.poll(stranger) is None
    driver.open(f"team-b{SEPARATOR}later")
    driver.say(f"team-b{SEPARATOR}later", text("own"))
    parts = driver.poll(stranger)
    assert parts is not None
    assert "own" in repr(parts[1].segments)


def test_a_reader_does_not_hold_up_the_producer_of_another_tenant(driver):
    stranger = f"{a_pass('team-b')}/1"
    driver.subscribe(stranger, 1, "req")
    assert not len(driver.host.sessions[FULL].cursors)


def test_without_tenants_everybody_reads_everything():
    driver = Driver()
    driver.open("req")
    driver.say("req", text("hello"))
    driver.subscribe("anybody", 1, "req")
    parts = driver.poll("anybody")
    assert parts is not None
    assert "hello" in repr(parts[1].segments)
