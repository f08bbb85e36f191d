"""The host: sessions as the router orders them, timers, copies, and nothing left of what is over."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from host_driver import Driver, record, text

from actors.messages import Head, MessagePiece
from actors.protocol.envelopes import Order
from actors.protocol.frames import pack
from actors.protocol.gone import Gone
from actors.protocol.reads import PartState
from actors.protocol.states import SessionPhase as Phase
from actors.stream import windows
from actors.stream.floods import FLOOD_BYTES
from actors.stream.host import UNSTORED_TTL_S, StreamHost
from actors.stream.log import Log


@pytest.fixture
def driver():
    return Driver()


def test_an_open_said_twice_makes_one_session(driver):
    first = driver.open("req")["req"]
    driver.say("req", text("a"))
    again = driver.open("req")["req"]
    assert (first.phase, first.next_seq, again.next_seq) == (Phase.OPEN, 1, 2)
    assert driver.host.requests_served == 1


def test_a_frame_sent_again_under_its_number_does_nothing_and_is_answered_alike(driver):
    driver.open("req")
    frame_no = driver._frame_no
    answer = driver.host.feed("router", frame_no, [b"never read"], 0.0)
    assert answer == driver.host.feed("router", frame_no, [], 0.0)
    assert driver.host.refusals.refused == {}


def test_readers_are_given_what_a_few_have_brought_before_a_flood_is_taken(driver):
    for number, request_id in enumerate(("small", "flood"), 1):
        driver.open(request_id)
        driver.subscribe("reader", number, request_id)
    given = []
    driver.host.on_wakes = lambda: given.append((driver.wakes(), driver.poll("reader")))
    little = (Order.DATA, "small", 1, 1, pack([text("a")]))
    much = [(Order.DATA, "flood", 1, n, pack([text("x" * FLOOD_BYTES)])) for n in (1, 2, 3)]
    driver.send(much[0], little, *much[1:])
    ((woken, parts),) = given
    assert (woken, list(parts)) == ({"reader"}, [2, 1])
    assert driver.wakes() == {"reader"}
    assert list(driver.poll("reader")) == [2]


class BrokenTranslator:
    """Raises at whatever it is asked."""

    provider = "auto"
    interface = SimpleNamespace(unknown={})

    def __init__(self, why: str = "it is broken") -> None:
        self.why = why

    def __getattr__(self, name: str):
        raise RuntimeError(f"{name}: {self.why}")


def test_an_exception_that_one_request_sets_off_ends_it_and_no_other(driver):
    driver.open("bad")
    driver.open("good")
    driver.host.sessions["bad"].translator = BrokenTranslator()
    items = (Order.DATA, "bad", 1, 1, pack([text("a")]))
    reports = driver.send(items, (Order.END, "good", 1, "cancelled", None, 0))
    assert (reports["bad"].stop_reason, reports["good"].stop_reason) == ("error", "cancelled")


def test_a_timer_whose_end_cannot_be_written_ends_its_request_and_lets_the_others_tick(driver):
    driver.open("bad", request_timeout_s=5)
    driver.open("good", request_timeout_s=5)
    driver.host.sessions["bad"].translator = BrokenTranslator()
    driver.passes(6)
    assert driver.host.sessions["bad"].stop_reason == "error"
    assert driver.host.sessions["good"].stop_reason == "timeout_request"


def test_an_error_that_quotes_what_no_message_can_hold_still_ends_its_request_by_name(driver):
    driver.open("bad", request_timeout_s=5)
    driver.host.sessions["bad"].translator = BrokenTranslator("half a pair: \ud83d")
    driver.passes(6)
    assert driver.host.sessions["bad"].stop_reason == "error"


UNPACKABLE = [
    MessagePiece(Head("assistant_message", {}), "half a pair: \ud83d"),
    MessagePiece(Head("ping", {}), None, {"n": 1 << 70}),
]


@pytest.mark.parametrize("piece", UNPACKABLE)
@pytest.mark.parametrize("is_reported_by", ["feed", "tick", "inventory"])
def test_a_log_that_cannot_be_packed_ends_its_request_as_error_and_the_others_report(driver, piece, is_reported_by):
    """What its readers have had stays numbered as it was: they get a gap for the rest, and the end."""
    for request_id in ("bad", "good"):
        driver.open(request_id, request_timeout_s=5)
        driver.say(request_id, text("a"))
    driver.subscribe("quick", 1, "bad", after=2)
    driver.subscribe("late", 1, "bad")
    driver.host.sessions["bad"].log.append([piece])
    if is_reported_by == "feed":
        ends = [(Order.END, request_id, 1, "cancelled", None, 0) for request_id in ("bad", "good")]
        reports = driver.send(*ends)
    else:
        driver.passes(6)
        if is_reported_by == "inventory":
            driver.host.take_reports()
            assert len(pack(driver.host.inventory(driver.now))) > 0
        reports = {report.request_id: report for report in driver.host.take_reports()}
    assert reports["good"].stop_reason in ("cancelled", "timeout_request")
    assert reports["good"].log is not None
    assert reports["bad"].stop_reason == "error"
    assert Log.unpack(reports["bad"].log).last_seq == reports["bad"].last_seq_id == 4
    driver.send((Order.STORED, "bad", 1, 300.0))
    for reader, gap in (("quick", None), ("late", (1, 2))):
        part = driver.poll(reader)[1]
        assert part.state == PartState.ENDED
        assert [segment[0] for segment in part.segments] == [3, 4]
        assert part.segments[0][1]["stop_reason"] == "error"
        assert (part.gap and tuple(part.gap)) == gap


# --- time -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("others", [{"first_message_timeout_s": None, "request_timeout_s": None}, {}])
def test_a_stall_is_noticed_when_it_is_one_whatever_other_timers_run(driver, others):
    driver.open("req", stall_timeout_s=10, **others)
    driver.passes(1)
    driver.say("req", text("a"))
    driver.passes(10.5)
    assert driver.host.sessions["req"].stop_reason == "timeout_stall"


def test_a_stall_after_a_tool_has_run_is_noticed_too(driver):
    driver.open("req", stall_timeout_s=10, first_message_timeout_s=None, request_timeout_s=None)
    driver.say("req", text("a"), record("tool_running", running=True))
    driver.passes(100)
    assert not driver.host.sessions["req"].sealed
    driver.say("req", record("tool_running", running=False))
    driver.passes(20)
    assert driver.host.sessions["req"].stop_reason == "timeout_stall"


def test_an_ended_request_is_kept_and_reported_until_the_router_has_it(driver):
    driver.open("req", sealed_ttl_s=1)
    driver.say("req", record("finish", stop_reason=None))
    driver.host.take_reports()
    driver.passes(2 * UNSTORED_TTL_S)
    assert [report.request_id for report in driver.host.take_reports()] == ["req"]
    driver.send((Order.STORED, "req", 1, 10.0))
    driver.passes(11)
    assert driver.host.sessions == {}


def test_an_ended_request_of_which_the_router_heard_late_stays_as_long_as_with_the_router(driver):
    driver.open("req", sealed_ttl_s=10)
    driver.say("req", record("finish", stop_reason=None))
    driver.passes(8)
    driver.send((Order.STORED, "req", 1, 10.0))
    driver.passes(9)
    assert "req" in driver.host.sessions
    driver.passes(2)
    assert driver.host.sessions == {}


def test_an_ended_request_that_a_router_without_memory_asked_for_stays_until_that_has_its_log(driver):
    driver.open("req", sealed_ttl_s=10)
    driver.end("req", ttl_s=10.0)
    driver.passes(2)
    (found,) = driver.host.inventory(driver.now)
    assert found.record["ttl_s"] == 8.0
    driver.host.take_reports()
    driver.passes(9)  # the router was stopped meanwhile, and takes it to live for 8 s from now on
    assert [report.log is not None for report in driver.host.take_reports()] == [True]
    driver.send((Order.STORED, "req", 1, 8.0))
    driver.passes(7)
    assert "req" in driver.host.sessions
    driver.passes(2)
    assert driver.host.sessions == {}


def left_of(host: StreamHost) -> dict[str, int]:
    """Return all that the host still holds of requests and readers, by where."""
    places = {
        **{name: getattr(host, name) for name in ("sessions", "_reports", "_timeouts", "copies")},
        "_timeouts._heap": host._timeouts._heap,
        "readers": host.audience,
        "audience._timeouts": host.audience._timeouts,
        "audience._timeouts._heap": host.audience._timeouts._heap,
        **{name: getattr(host.audience, name) for name in ("readers", "_pullers", "_parked", "_wakes", "_awaited")},
    }
    return {name: len(place) for name, place in places.items() if len(place)}


def test_nothing_stays_of_closed_requests_and_their_readers(driver):
    """With the default timers of 600 and 3,600 s: their places in the heap do not wait that long either."""
    for n in range(1_000):
        request_id = f"req-{n}"
        driver.open(request_id, sealed_ttl_s=1)
        driver.subscribe("process", n, request_id)
        driver.host.audience.peek(request_id, "bare", 0, 10, driver.now)
        driver.say(request_id, text("a"))
        driver.end(request_id, ttl_s=1.0)
        driver.poll("process")
        driver.passes(2)
        assert len(driver.host._timeouts._heap) < 200
    driver.passes(60)
    driver.host.take_reports()
    driver.wakes()
    assert set(left_of(driver.host)) <= {"_timeouts._heap", "audience._timeouts._heap"}
    assert sum(left_of(driver.host).values()) < 200


# --- copies -----------------------------------------------------------------------------------------


def test_a_copy_is_kept_adopted_and_then_read_like_the_first(driver):
    driver.open("req")
    driver.say("req", text("hello"))
    log = driver.end("req")
    other = Driver()
    report = other.send((Order.COPY, "req", 1, "incomplete", log, 100.0, "", []))["req"]
    assert (report.phase, report.stop_reason) == (Phase.COPY, "incomplete")
    assert other.host.sessions == {}, "nobody reads a copy"
    report = other.send((Order.ADOPT, "req", 1))["req"]
    assert (report.phase, report.stop_reason) == (Phase.SEALED, "incomplete")
    assert report.log is not None, "the router may have lost its own"
    assert len(other.host.copies) == other.host.copies.bytes_held == 0
    for each in (driver, other):
        each.subscribe("reader", 1, "req")
    assert other.poll("reader") == driver.poll("reader")


def test_a_copy_lives_as_long_as_it_is_said_to_and_an_adopted_one_as_well(driver):
    for request_id in ("copy", "adopted"):
        driver.open(request_id)
    log = driver.end("copy")
    other = Driver()
    other.send(
        (Order.COPY, "copy", 1, "incomplete", log, 10.0, "", []),
        (Order.COPY, "adopted", 1, "incomplete", log, 10.0, "", []),
    )
    other.send((Order.ADOPT, "adopted", 1), (Order.STORED, "adopted", 1, 10.0))
    other.passes(9)
    assert (len(other.host.copies), len(other.host.sessions)) == (1, 1)
    other.passes(2)
    assert (len(other.host.copies), len(other.host.sessions)) == (0, 0)


def test_a_router_without_memory_hears_which_ended_requests_were_forgotten_last(driver, monkeypatch):
    monkeypatch.setattr(driver.host, "_gone", Gone(2))
    for request_id in ("first", "second", "third", "open"):
        driver.open(request_id)
    for request_id in ("first", "second", "third"):
        driver.end(request_id)
        driver.send((Order.STORED, request_id, 1, 10.0))
    driver.passes(11)
    found = [one.report[:3] for one in driver.host.inventory(driver.now)]
    assert found == [["open", 1, Phase.OPEN], ["second", 1, Phase.GONE], ["third", 1, Phase.GONE]]


def test_a_router_without_memory_hears_of_copies_and_can_have_them_forgotten(driver):
    driver.open("req")
    log = driver.end("req")
    other = Driver()
    other.send((Order.COPY, "req", 3, "incomplete", log, 10.0, "", []))
    (found,) = other.host.inventory(4.0)
    assert found.report[:3] == ["req", 3, Phase.COPY]
    assert found.record["ttl_s"] == 6.0
    other.send((Order.FORGET, "req", 2))
    assert len(other.host.copies) == 1, "an order of an epoch that is over"
    other.send((Order.FORGET, "req", 3))
    assert len(other.host.copies) == other.host.copies.bytes_held == 0


def test_an_adoption_of_what_is_not_here_is_answered_so(driver):
    assert driver.send((Order.ADOPT, "req", 1))["req"].phase == Phase.UNKNOWN


@pytest.mark.parametrize(
    "log",
    [b"", b"\xc1", pack(7), pack([0, "two", 0, []]), pack([0, 1, 0, [[1, {"message_type": "x"}, "a", [1 << 40], {}]]])],
)
def test_a_log_that_cannot_be_read_shows_that_to_its_readers_who_would_wait_for_ever(driver, log):
    driver.subscribe("reader", 1, "restored", epoch=2)
    driver.subscribe("reader", 2, "adopted", epoch=2)
    driver.send((Order.COPY, "adopted", 2, "end_turn", log, 10.0, "", []))
    reports = driver.send((Order.RESTORE, "restored", 2, "end_turn", log, 10.0, "", []), (Order.ADOPT, "adopted", 2))
    assert driver.host.refusals.refused == {"log": 2}
    assert reports["restored"].stop_reason == reports["adopted"].stop_reason == "error"
    driver.send((Order.STORED, "adopted", 2, 300.0))
    parts = driver.poll("reader")
    assert [part.state for part in parts.values()] == [PartState.ENDED] * 2
    assert all("cannot be read" in part.segments[0][1]["detail"] for part in parts.values())


def test_the_actor_that_shows_a_request_keeps_no_second_copy_of_it(driver):
    driver.open("req")
    log = driver.end("req")
    assert driver.send((Order.COPY, "req", 1, "incomplete", log, 10.0, "", []))["req"].phase == Phase.SEALED
    assert len(driver.host.copies) == 0


# --- replay -----------------------------------------------------------------------------------------


def test_a_replay_always_has_room_to_go_on_so_that_an_end_can_come(driver):
    """Nobody reads, and all readers' progress was lost: the buffer is full before the replay is through."""
    driver.open("req", epoch=2, replay_through=400, buffer_bytes_max=2_000)
    session = driver.host.sessions["req"]
    driver.send((Order.END, "req", 2, "cancelled", None, 0))
    for _ in range(400):
        assert session.credit_bytes > session.received_bytes or session.sealed
        driver.say("req", text("word " * 4), epoch=2)
    assert session.stop_reason == "cancelled"


def test_beyond_what_was_had_a_session_grants_by_its_buffer_again(driver):
    driver.open("req", epoch=2, replay_through=10, buffer_bytes_max=2_000)
    session = driver.host.sessions["req"]
    for _ in range(200):
        if session.credit_bytes <= session.received_bytes:
            break
        driver.say("req", text("word " * 4), epoch=2)
    assert session.credit_bytes <= session.received_bytes
    assert session.log.unread_bytes < 2_000 + 2 * 4096


def test_what_may_be_on_the_way_is_shared_out_among_open_requests_only(driver, monkeypatch):
    monkeypatch.setattr(windows, "IN_FLIGHT_BYTES_MAX", 4 * 64 * 1024)
    names = ["finished", "cancelled", "stalled", "forgotten"]
    for name in names:
        driver.open(name, **({"first_message_timeout_s": 5.0} if name == "stalled" else {}))
    assert driver.open("fifth")["fifth"].credit_bytes == 4 * 64 * 1024 // 5
    driver.end("finished")
    driver.send((Order.END, "cancelled", 1, "cancelled", None, 0))
    driver.send((Order.FORGET, "forgotten", 1))
    driver.passes(6.0)
    assert driver.host.sessions["stalled"].sealed
    assert driver.open("sixth")["sixth"].credit_bytes == 4 * 64 * 1024 // 2
    driver.send((Order.RESTORE, "ended", 1, "end_turn", driver.end("fifth"), 60.0, "client", []))
    assert driver.open("seventh")["seventh"].credit_bytes == 4 * 64 * 1024 // 2


def test_a_forgotten_request_is_told_to_its_readers(driver):
    driver.open("req")
    driver.subscribe("reader", 1, "req")
    driver.wakes()
    driver.send((Order.FORGET, "req", 1))
    assert driver.wakes() == {"reader"}
    assert driver.poll("reader")[1].state == PartState.UNKNOWN
