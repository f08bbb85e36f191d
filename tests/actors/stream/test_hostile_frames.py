"""What another process sends a stream actor and the protocol does not allow: refused by name, counted, harmless."""

from __future__ import annotations

import json
import random

import pytest

from actors.protocol import frames as wire
from actors.protocol.envelopes import Order
from actors.protocol.reads import Operation, Part, PartState
from actors.protocol.states import Report
from actors.protocol.states import SessionPhase as Phase
from actors.settings import StreamSettings, packed
from actors.stream.host import StreamHost
from actors.stream.router_frames import NOT_MY_ROUTER

DATA, OPEN, END, STORED = Order.DATA, Order.OPEN, Order.END, Order.STORED
SUBSCRIBE, CONSUMED = Operation.SUBSCRIBE, Operation.CONSUMED

ROUTER = "router"
SETTINGS = packed(StreamSettings(dialect="chat"))
DATE = "2026-01-02T03:04:05+00:00"


def text(content: str) -> bytes:
    return json.dumps({"choices": [{"index": 0, "delta": {"content": content}}]}).encode()


def opened(request_id: str, epoch: int = 1) -> tuple:
    return (OPEN, request_id, epoch, SETTINGS, "client", DATE, 0.0, 0, 1, 0, [])


def data(request_id: str, first_seq: int, *contents: str, epoch: int = 1) -> tuple:
    return (DATA, request_id, epoch, first_seq, wire.pack([text(content) for content in contents]))


class Actor:
    """A host with an honest request `mine` on it, which nothing here may harm."""

    def __init__(self) -> None:
        self.host = StreamHost()
        self.host.begin(ROUTER)
        self.router = ROUTER
        self.frame_no = 0
        self.feed(opened("mine"), data("mine", 1, "a"))

    def feed_frame(self, *frames: bytes) -> list[Report]:
        self.frame_no += 1
        return [Report(*parts) for parts in wire.unpack(self.host.feed(self.router, self.frame_no, frames, 0.0))]

    def feed(self, *envelopes) -> list[Report]:
        return self.feed_frame(wire.pack(envelopes))

    def check_mine_is_unharmed(self) -> None:
        before = self.host.sessions["mine"].log.last_seq
        self.feed(data("mine", self.host.sessions["mine"].next_seq, "b"))
        session = self.host.sessions["mine"]
        assert session.log.last_seq == before + 1
        assert not session.sealed


@pytest.fixture
def actor():
    actor = Actor()
    yield actor
    actor.check_mine_is_unharmed()


@pytest.mark.parametrize("cut", [0, 1, 7, -1])
def test_a_frame_cut_short_is_refused_and_those_beside_it_are_taken(actor, cut):
    whole = wire.pack([opened("other")])
    actor.feed_frame(whole[:cut] if cut else b"", wire.pack([data("mine", 2, "x")]))
    assert actor.host.refusals.refused == {"frame": 1}
    assert actor.host.sessions["mine"].next_seq == 3


def test_a_frame_that_is_no_list_is_refused(actor):
    for value in (7, "text", {"a": 1}, None):
        actor.feed_frame(wire.pack(value))
    assert actor.host.refusals.refused == {"frame": 4}


def test_a_frame_nested_without_end_is_refused(actor):
    actor.feed_frame(b"\x91" * 100_000)
    assert actor.host.refusals.refused == {"frame": 1}


def test_pickled_bytes_are_data_like_any_other(actor):
    # An unpickler would call what this names; msgpack reads numbers and text.
    actor.feed_frame(b"cos\nsystem\n(S'false'\ntR.")
    assert actor.host.refusals.refused == {"frame": 1}


@pytest.mark.parametrize(
    "envelope",
    [[], [99, "mine", 1], [DATA], [DATA, "mine", 1], [DATA, ["mine"], 1, 2, b""], [OPEN, "new", 1, b"\xc1"], "DATA",
     [OPEN, "new", 1, wire.pack({"no_such": 1}), "client", DATE, 0.0, 0, 1, 0, []], [DATA, "mine", "1", 2, b"\x90"],
     [END, "mine", 1], None, 3],
)  # fmt: skip
def test_an_envelope_of_another_shape_is_refused_and_its_neighbours_are_taken(actor, envelope):
    actor.feed(envelope, data("mine", 2, "x"))
    assert actor.host.refusals.refused == {"envelope": 1}
    assert actor.host.sessions["mine"].next_seq == 3


def test_items_that_cannot_be_read_end_their_own_request_and_no_other(actor):
    for number, packed_items in enumerate((b"\xc1", wire.pack(7), wire.pack([3]), wire.pack([["finish"]]), "text")):
        actor.feed(opened(f"bad-{number}"), (DATA, f"bad-{number}", 1, 1, packed_items))
        session = actor.host.sessions[f"bad-{number}"]
        assert session.stop_reason == "error"
        failed = [fields for _, fields, *_ in session.log.read(0, through=9, bytes_max=1 << 20).segments]
        assert "protocol_violation" in str(failed)


def test_a_foreign_epoch_is_ignored_counted_and_answered_with_how_things_stand(actor):
    actor.feed(opened("moved", epoch=3))
    (report,) = actor.feed(data("moved", 1, "old", epoch=2))
    assert (report.epoch, report.phase, report.next_seq) == (3, Phase.OPEN, 1)
    (report,) = actor.feed(data("moved", 1, "future", epoch=4))
    assert (report.epoch, report.phase) == (4, Phase.UNKNOWN)
    assert actor.host.refusals.ignored == {"other_epoch": 1, "not_here": 1}
    assert actor.host.sessions["moved"].log.last_seq == 0


def test_items_from_the_future_are_not_taken_and_the_wanted_number_is_said(actor):
    (report,) = actor.feed(data("mine", 40, "later"))
    assert (report.phase, report.next_seq) == (Phase.GAP, 2)
    assert actor.host.refusals.ignored == {"ahead": 1}


def test_items_sent_before_are_skipped_whatever_they_say_now(actor):
    actor.feed(data("mine", 1, "a lie", "b"))
    session = actor.host.sessions["mine"]
    assert session.next_seq == 3
    assert "a lie" not in str(session.log.read(0, through=9, bytes_max=1 << 20).segments)


def test_items_and_ends_of_a_request_that_is_not_here_are_answered_so(actor):
    reports = actor.feed(data("nobody", 1, "x"), (END, "nobody-2", 1, "cancelled", None, 0))
    assert {(report.request_id, report.phase) for report in reports} == {
        ("nobody", Phase.UNKNOWN), ("nobody-2", Phase.UNKNOWN)
    }  # fmt: skip


def test_a_terminal_is_not_shown_because_somebody_says_that_it_is_stored_before_it_is_there(actor):
    actor.feed((STORED, "mine", 1, 300.0))
    assert not actor.host.sessions["mine"].complete


def test_an_acknowledgement_of_what_was_never_sent_is_clipped_and_counted(actor):
    actor.host.audience.operate("reader", 0, [(1, SUBSCRIBE, 1, "mine", 0, 1, False)], 0.0)
    assert actor.host.audience.reader("reader", 0.0).answer(1)
    actor.host.audience.operate("reader", 0, [(0, CONSUMED, 1, 1_000_000)], 0.0)
    assert actor.host.refusals.ignored == {"consumed_ahead": 1}
    assert actor.host.sessions["mine"].log.released == 1


def parts(actor: Actor, reader_id: str, poll_no: int = 1) -> dict[int, Part]:
    """Return what a reader's poll is answered, by subscription."""
    answer = actor.host.audience.reader(reader_id, 0.0).answer(poll_no)
    return {} if answer is None else {found[0]: Part(*found) for found in wire.unpack(answer)}


@pytest.mark.parametrize(
    "operation",
    [[1, 77, 5], [1, SUBSCRIBE, 5], ["x", SUBSCRIBE, 5, "mine", 0, 1, False], [1, SUBSCRIBE, 5, ["mine"], 0, 1, False],
     [1, SUBSCRIBE, 5, "mine", 1.5, 1, False], [1, SUBSCRIBE, 5, "mine", None, 1, False],
     [1, SUBSCRIBE, 5, "mine", "7", 1, False], [1, SUBSCRIBE, 5, "mine", -1, 1, False], [0, CONSUMED, 5, 1.5],
     [0, CONSUMED, 5, []], [1, SUBSCRIBE, 5, "mine", 0, "1", False], [1, Operation.DROP, 5, 3]],
)  # fmt: skip
def test_an_operation_that_cannot_be_done_is_answered_to_its_subscription_alone(actor, operation):
    """Twenty other subscriptions of the same process, in the same call, are made and read."""
    good = [[number, SUBSCRIBE, number, "mine", 0, 1, False] for number in range(10, 30)]
    actor.host.audience.operate("reader", 0, [*good[:10], operation, *good[10:]], 0.0)
    found = parts(actor, "reader")
    refused = found.pop(5)
    assert refused.state == PartState.REFUSED
    code, _text = refused.segments
    assert code in {"protocol_violation", "invalid_argument"}
    assert found.keys() == set(range(10, 30))
    assert all(part.state == PartState.OPEN and part.segments for part in found.values())
    assert actor.host.refusals.refused == {"operation": 1}


@pytest.mark.parametrize(
    "operation", [3, [], None, "text", [1], [[], {}, {}], [1, SUBSCRIBE, "5", "mine", 0, 1, False]]
)
def test_an_operation_that_concerns_no_subscription_is_counted_and_left_out(actor, operation):
    actor.host.audience.operate("reader", 0, [operation, [1, SUBSCRIBE, 1, "mine", 0, 1, False]], 0.0)
    assert parts(actor, "reader").keys() == {1}
    assert actor.host.refusals.refused == {"operation": 1}


def test_a_router_that_another_has_followed_is_never_obeyed_again(actor):
    """Its late `start` would otherwise let its late frames in, and the session they open would be nobody's."""
    assert actor.host.begin("its successor")
    assert not actor.host.begin(ROUTER)
    assert actor.host.feed(ROUTER, 50, [wire.pack([opened("ghost")])], 0.0) == NOT_MY_ROUTER
    assert actor.host.feed("its successor", 1, [wire.pack([opened("new")])], 0.0) != NOT_MY_ROUTER
    assert actor.host.sessions.keys() == {"mine", "new"}
    assert actor.host.refusals.refused == {"router": 2}
    actor.router = "its successor"


def test_a_frame_of_another_router_is_refused(actor):
    frame = wire.pack([(END, "mine", 1, "cancelled", None, 0)])
    assert actor.host.feed("impostor", 99, [frame], 0.0) == NOT_MY_ROUTER
    assert actor.host.refusals.refused == {"router": 1}


@pytest.mark.parametrize("seed", range(20))
def test_frames_with_flipped_bytes_set_off_nothing_unnamed(seed):
    """Whatever they hit, no exception leaves the host, and requests that they do not name stay whole."""
    random_ = random.Random(seed)
    actor = Actor()
    actor.feed(opened("victim"))
    frames = [
        wire.pack([data("victim", 1, "x", "y"), opened("victim-2")]),
        wire.pack([(END, "victim", 1, "cancelled", "why", 0), (STORED, "victim", 1, 300.0)]),
        wire.pack([opened("victim-3", epoch=2), data("victim-3", 1, "z", epoch=2)]),
    ]
    for _ in range(300):
        broken = bytearray(random_.choice(frames))
        for _ in range(random_.randint(1, 4)):
            broken[random_.randrange(len(broken))] = random_.randrange(256)
        del broken[random_.randint(len(broken) // 2, len(broken)) :]
        actor.feed_frame(bytes(broken))
        actor.host.tick(0.0)
    actor.check_mine_is_unharmed()
