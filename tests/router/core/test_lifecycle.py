"""Lifecycle: every request finds a place or is told why not, ends once, is kept for its time, and leaves nothing."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from registry_driver import HERE, LOG, THERE, Router, held, restarted, settings

from actors.errors import PoolFull, Recovering
from actors.protocol.envelopes import Order
from actors.protocol.states import Report, RequestPhase, SessionPhase
from actors.stream.log import Log
from router.core.lifecycle import REPLACE_DEADLINE_S, ROUTER_ITSELF
from router.core.pool import ActorState
from router.core.registry import STARTING_PATIENCE_S
from tests.effort import scaled

OPEN, WAITING, SEALED = RequestPhase.OPEN, RequestPhase.WAITING, RequestPhase.SEALED


def starts(router: Router) -> list[str]:
    return router.registry.take_effects().start


def detail_of(log: bytes) -> str:
    """Return what the terminal of a packed log says."""
    log_ = Log.unpack(log)
    return log_.read(0, through=log_.last_seq, bytes_max=1 << 20).segments[0][1]["detail"]


# --- places -----------------------------------------------------------------------------------


def test_a_new_request_is_open_at_once_where_an_actor_answers_and_waits_for_one_that_starts():
    router = Router(HERE)
    assert router.open("first") == "s1"
    assert router.request("first").phase == OPEN
    assert router.open("second") is None
    assert starts(router) == ["s2"]
    assert (router.request("second").phase, router.request("second").awaits) == (WAITING, "s2")
    router.registry.actor_started("s2", 1, HERE, 1.0)
    assert (router.request("second").phase, router.request("second").actor_id) == (OPEN, "s2")
    assert [envelope[:3] for envelope in router.sent_to("s2")] == [(Order.OPEN, "second", 1)]


def test_those_for_whom_there_is_no_place_get_one_in_their_order():
    router = Router(HERE, max_actors=1, max_streams_per_actor=1)
    for number in range(4):
        router.opens(f"r{number}")
    for number in range(3):
        assert [request.phase for request in router.registry.requests.values()].count(OPEN) == 1
        assert router.request(f"r{number}").phase == OPEN
        router.seals(f"r{number}")
    assert router.request("r3").phase == OPEN


def test_one_that_has_lost_its_actor_goes_before_those_that_have_not_begun():
    router = Router(HERE, max_actors=1, max_streams_per_actor=1)
    router.open("under way")
    router.opens("new")
    router.dies("s1")
    assert router.request("under way").awaits == "s2"
    router.registry.actor_started("s2", 1, HERE, 1.0)
    assert router.request("under way").phase == OPEN
    assert router.request("new").phase == WAITING


def test_one_that_has_waited_long_for_an_actor_to_start_shares_one_that_answers():
    router = Router(HERE)
    router.open("first")
    router.opens("second")
    router.registry.keep_house(STARTING_PATIENCE_S - 0.01)
    assert router.request("second").phase == WAITING
    router.registry.keep_house(STARTING_PATIENCE_S + 0.01)
    router.registry.validate()
    assert router.request("second").actor_id == "s1"
    router.registry.actor_started("s2", 1, HERE, 4.0)
    router.registry.validate()
    assert router.request("second").actor_id == "s1"


def test_an_actor_that_does_not_start_gives_what_waits_for_it_to_the_next():
    router = Router()
    router.opens("req")
    assert starts(router) == ["s1"]
    router.dies("s1", 1.0)
    assert starts(router) == ["s2"]
    assert router.request("req").awaits == "s2"
    assert router.request("req").epoch == 0, "it never had a session"


# --- the death of an actor --------------------------------------------------------------------


def with_items(router: Router) -> None:
    router.sends("req", 1, 5)
    assert router.request("req").actor_id is not None
    router.says(router.request("req").actor_id, "req", SessionPhase.OPEN, next_seq=6, last_seq_id=9, released=4)


def its_publisher_is_forgotten(router: Router) -> None:
    router.registry.clients.forget("publisher")


def its_publisher_gave_up(router: Router) -> None:
    router.request("req").abandon()


def it_was_taken_over(router: Router) -> None:
    router.request("req").start_seq = 4


def test_a_request_whose_actor_dies_begins_anew_elsewhere_and_its_publisher_sends_it_all_again():
    router = Router(HERE, HERE)
    router.open("req")
    with_items(router)
    router.registry.take_effects()
    router.dies("s1", 1.0)
    (opened,) = router.sent_to("s2")
    assert (opened[:3], opened.replay_through, opened.released) == ((Order.OPEN, "req", 2), 5, 4)
    state = router.publisher_state("req")
    assert (state.phase, state.epoch, state.next_seq, state.credit_bytes) == (OPEN, 2, 1, 0)


@pytest.mark.parametrize("nobody_can", [its_publisher_is_forgotten, its_publisher_gave_up, it_was_taken_over])
def test_a_request_that_nobody_can_send_again_is_lost_and_says_how_far_it_is_whole(nobody_can):
    router = Router(HERE, HERE)
    router.open("req")
    with_items(router)
    nobody_can(router)
    router.dies("s1", 1.0)
    known = router.request("req")
    assert (known.stop_reason, known.is_shown) == ("lost", True)
    assert "whole up to seq_id 4, and at least 9 messages" in detail_of(known.log)
    assert Log.unpack(known.log).dropped_through == 9


def test_a_word_of_a_session_that_is_over_changes_nothing_and_the_session_is_dropped():
    router = Router(HERE, HERE)
    router.open("req")
    router.dies("s1")
    router.registry.take_effects()
    report = Report("req", 1, SessionPhase.SEALED, stop_reason="end_turn", log=LOG)
    router.registry.reports("s1", [list(report)], 1.0)
    router.registry.validate()
    assert router.request("req").is_live
    assert [envelope[:3] for envelope in router.sent_to("s1")] == [(Order.FORGET, "req", 1)]


def test_one_that_is_under_way_and_finds_no_other_actor_is_lost_in_time():
    router = Router(HERE, max_actors=1)
    router.open("req")
    router.registry.clients.get("publisher").watching = 1
    router.dies("s1", 10.0)
    router.passes(10.0 + REPLACE_DEADLINE_S - 0.1)
    assert router.request("req").is_live
    router.passes(10.0 + REPLACE_DEADLINE_S + 0.1)
    assert router.request("req").stop_reason == "lost"
    assert f"no other one could be had for {REPLACE_DEADLINE_S:g} s" in detail_of(router.request("req").log)


@pytest.mark.parametrize("ending", ["cancelled", None])
def test_what_was_asked_of_a_session_that_died_is_asked_of_the_next(ending):
    router = Router(HERE, HERE)
    router.open("req")
    router.sends("req", 1, 5)
    router.registry.cancel("req", 0.0, after_step=ending is None)
    router.registry.take_effects()
    router.dies("s1", 1.0)
    wanted = [Order.OPEN, Order.END if ending else Order.CANCEL_AFTER_STEP]
    assert [envelope[0] for envelope in router.sent_to("s2")] == wanted


# --- ends -------------------------------------------------------------------------------------


def test_one_that_never_had_a_place_ends_at_once_and_its_end_can_be_read_though_no_actor_answers():
    router = Router()
    router.opens("req")
    router.registry.cancel("req", 1.0, detail="no more")
    heard = router.registry.news("publisher", ("", 0), 1.0)
    router.registry.saw("publisher", (heard.incarnation, heard.version), 1.0)
    router.registry.validate()
    known = router.request("req")
    assert (known.stop_reason, known.actor_id, known.is_shown) == ("cancelled", ROUTER_ITSELF, True)
    assert detail_of(known.log) == "no more"
    assert router.sent(Order.RESTORE) == [(ROUTER_ITSELF, "req")]
    router.registry.actor_started("s1", 1, HERE, 2.0)
    router.registry.validate()
    assert known.actor_id == "s1"
    effects = [(to, sent[0]) for to, _, sent, _ in router.registry.take_effects().send]
    assert effects == [(ROUTER_ITSELF, Order.FORGET), ("s1", Order.RESTORE)]


@pytest.mark.parametrize(
    ("asks", "reason"),
    [
        (lambda router: router.registry.cancel("req", 1.0), "cancelled"),
        (lambda router: router.registry.disown("publisher", "req", 1.0), "publisher_lost"),
    ],
)
def test_the_first_end_that_is_asked_for_counts_and_the_session_says_when_it_is_there(asks, reason):
    router = Router(HERE)
    router.open("req")
    router.sends("req", 1, 5)
    asks(router)
    router.registry.cancel("req", 2.0)
    router.registry.disown("publisher", "req", 2.0)
    assert router.request("req").ending[0] == reason
    assert router.request("req").is_live, "what is on its way comes before the end"
    router.says("s1", "req", SessionPhase.SEALED, 3.0, stop_reason=reason, log=LOG)
    assert router.request("req").stop_reason == reason
    assert router.registry.ended_by == {reason: 1}


def test_an_end_that_its_session_reports_twice_is_one_end():
    router = Router(HERE)
    router.open("req")
    for _ in range(3):
        router.seals("req")
    assert router.registry.counts["sealed"] == 1
    assert [note.kind for note in router.registry.take_effects().notes].count("ended") == 1


def test_ended_requests_that_are_too_many_bytes_go_oldest_first_and_never_the_last():
    router = Router(HERE)
    limits = router.registry.config.limits.model_copy(update={"sealed_bytes_max": 2 * len(LOG)})
    router.registry.lifecycle.config = router.registry.config.model_copy(update={"limits": limits})
    for number in range(4):
        router.open(f"r{number}")
        router.seals(f"r{number}")
    assert {*router.registry.requests} == {"r2", "r3"}
    assert router.registry.requests.kept_bytes == 2 * len(LOG)


def test_the_actor_of_an_ended_request_dies_and_its_log_goes_to_another():
    router = Router(HERE, HERE)
    router.open("req")
    router.seals("req")
    router.registry.take_effects()
    router.dies("s1", 1.0)
    (restored,) = router.sent_to("s2")
    assert (restored[:3], restored.log, restored.stop_reason) == ((Order.RESTORE, "req", 2), LOG, "end_turn")
    assert 0 < restored.ttl_s < 300.0


def test_a_log_that_only_a_dead_actor_had_makes_its_request_unknown_and_not_for_ever_there():
    router = restarted(s1=[held("req", SessionPhase.SEALED)])
    router.dies("s1", 1.0)
    assert "req" not in router.registry.requests


# --- actors that are not needed ---------------------------------------------------------------


def test_an_idle_actor_stops_and_what_it_shows_moves_first():
    router = Router(HERE, HERE, idle_ttl_s=10.0)
    router.open("req")
    router.seals("req")
    router.open("other")
    router.registry.take_effects()
    assert router.request("other").actor_id == "s2" or router.request("req").actor_id == "s1"
    router.registry.keep_house(11.0)
    router.registry.validate()
    effects = router.registry.take_effects()
    gone = router.request("other").actor_id
    assert effects.stop == [actor_id for actor_id in ("s1", "s2") if actor_id != gone]
    assert router.request("req").actor_id == gone


def test_an_adopted_actor_that_alone_has_a_log_is_not_stopped_before_it_has_reported_it():
    router = restarted(s1=[held("req", SessionPhase.SEALED)], s2=[])
    router.registry.keep_house(10_000.0)
    assert "s1" in router.registry.pool.slots
    router.seals("req", 10_000.0)
    router.registry.keep_house(20_000.0)
    router.registry.validate()
    assert "s1" not in router.registry.pool.slots or "s2" not in router.registry.pool.slots


def test_a_worn_actor_takes_nothing_new_and_goes_when_its_last_request_has_ended():
    router = Router(HERE, recycle_after_requests=2, max_actors=2)
    router.open("first")
    router.seals("first")
    router.open("second")
    router.seals("second")
    assert router.registry.pool.slots["s1"].state is ActorState.RETIRING
    assert router.open("third") is None
    router.registry.actor_started("s2", 1, HERE, 1.0)
    router.registry.keep_house(2.0)
    router.registry.validate()
    assert router.registry.take_effects().stop == ["s1"]
    assert {router.request(name).actor_id for name in ("first", "second", "third")} == {"s2"}


def test_a_full_pool_refuses_at_once_where_it_is_told_to():
    router = Router(HERE, max_actors=1, max_streams_per_actor=1, when_pool_full="refuse")
    router.open("first")
    assert isinstance(router.opens("second"), PoolFull)
    assert "second" not in router.registry.requests


# --- whatever happens -------------------------------------------------------------------------


class Actors:
    """Stream actors that do what they are told, or are dead; what they are told waits until `answer`."""

    def __init__(self, router: Router, nodes: list[str]) -> None:
        self.router = router
        self.nodes = nodes
        self.starting: list[str] = []
        self.told: list[tuple[str, Any]] = []
        self.held: dict[tuple[str, str, bool], int] = {}
        """Epochs of what they hold, by actor, request, and whether it is a copy."""
        self.now = 0.0

    def perform(self) -> None:
        effects = self.router.registry.take_effects()
        self.starting += effects.start
        self.told += [(to, sent) for to, _, sent, _ in effects.send]

    def start(self, number: int) -> None:
        if self.starting:
            actor_id = self.starting.pop(number % len(self.starting))
            self.router.registry.actor_started(actor_id, 1, self.nodes[number % len(self.nodes)], self.now)

    def answer(self) -> None:
        """Let all that was told be done, and reported."""
        told, self.told = self.told, []
        for actor_id, sent in told:
            if actor_id == ROUTER_ITSELF or actor_id in self.router.registry.pool.slots:
                self._hold(actor_id, *sent[:3])
                report = self._report(sent)
                if report is not None:
                    self.router.registry.reports(actor_id, [list(report)], self.now)
                self.router.registry.delivered(actor_id, [sent])

    def _hold(self, actor_id: str, order: Order, request_id: str, epoch: int) -> None:
        if order in (Order.OPEN, Order.RESTORE, Order.COPY):
            is_copy = order == Order.COPY
            known = self.held.get((actor_id, request_id, is_copy), 0)
            self.held[actor_id, request_id, is_copy] = max(known, epoch)
        if order in (Order.FORGET, Order.RESTORE):
            for is_copy in (True, False) if order == Order.FORGET else (True,):
                if self.held.get((actor_id, request_id, is_copy), 0) <= epoch:
                    self.held.pop((actor_id, request_id, is_copy), None)

    def lose(self, actor_id: str, request_id: str | None = None) -> None:
        self.held = {
            (holder, held, is_copy): epoch
            for (holder, held, is_copy), epoch in self.held.items()
            if holder != actor_id or (request_id is not None and (held != request_id or is_copy))
        }

    @staticmethod
    def _report(sent: Any) -> Report | None:
        order, request_id, epoch = sent[:3]
        if order == Order.OPEN:
            return Report(request_id, epoch, SessionPhase.OPEN, credit_bytes=4096)
        if order == Order.END:
            return Report(request_id, epoch, SessionPhase.SEALED, stop_reason=sent.stop_reason, log=LOG)
        if order == Order.COPY:
            return Report(request_id, epoch, SessionPhase.COPY, stop_reason="end_turn")
        if order == Order.RESTORE:
            return Report(request_id, epoch, SessionPhase.SEALED, stop_reason=sent.stop_reason)
        return None


CHOSEN = settings(sealed_ttl_s=9.0)


def opens(on: Actors, number: int, name: str) -> None:
    on.router.registry.open(f"c{number % 2}", name, CHOSEN, on.now, date="")


def comes_again(on: Actors, number: int, name: str) -> None:
    on.router.registry.open(f"c{number % 2}", name, CHOSEN, on.now, date="", epoch=1 + number % 3, sent_seq=number)


def an_actor_starts(on: Actors, number: int, _name: str) -> None:
    on.start(number)


def actors_answer(on: Actors, _number: int, _name: str) -> None:
    on.answer()


def sends(on: Actors, number: int, name: str) -> None:
    known = on.router.registry.requests.get(name)
    if known is not None and known.phase == OPEN:
        items = [name, known.epoch, known.sent_seq + 1, 1 + number, b"\x90"]
        on.router.registry.forward(known.client_id, [items], on.now)


def session_ends(on: Actors, _number: int, name: str) -> None:
    known = on.router.registry.requests.get(name)
    if known is not None and known.actor_id is not None:
        report = Report(name, known.epoch, SessionPhase.SEALED, stop_reason="end_turn", log=LOG)
        on.router.registry.reports(known.actor_id, [list(report)], on.now)


def session_is_gone(on: Actors, _number: int, name: str) -> None:
    known = on.router.registry.requests.get(name)
    if known is not None and known.actor_id is not None:
        on.lose(known.actor_id, name)
        report = Report(name, known.epoch, SessionPhase.UNKNOWN)
        on.router.registry.reports(known.actor_id, [list(report)], on.now)


def is_cancelled(on: Actors, number: int, name: str) -> None:
    if name in on.router.registry.requests:
        on.router.registry.cancel(name, on.now, after_step=number % 3 == 0)


def is_forgotten(on: Actors, number: int, name: str) -> None:
    known = on.router.registry.requests.get(name)
    if known is not None and not known.is_live:
        with contextlib.suppress(Recovering):
            on.router.registry.forgetting.forget(name, known.created - (number == 0), on.now)


def is_disowned(on: Actors, number: int, name: str) -> None:
    on.router.registry.disown(f"c{number % 2}", name, on.now)


def is_fenced_out(on: Actors, _number: int, name: str) -> None:
    known = on.router.registry.requests.get(name)
    if known is not None and known.is_live:
        on.router.registry.lifecycle.fence_out(known, "its follower", on.now)


def an_actor_dies(on: Actors, number: int, _name: str) -> None:
    slots = [*on.router.registry.pool.slots]
    if slots:
        actor_id = slots[number % len(slots)]
        on.starting = [one for one in on.starting if one != actor_id]
        on.lose(actor_id)
        on.router.registry.actor_died(actor_id, on.now)


def house_is_kept(on: Actors, _number: int, _name: str) -> None:
    on.router.registry.keep_house(on.now)


def time_passes(on: Actors, number: int, _name: str) -> None:
    on.now += number
    on.router.registry.tick(on.now)


STEPS = [
    opens, opens, comes_again, an_actor_starts, an_actor_starts, actors_answer, actors_answer, sends, session_ends,
    session_is_gone, is_cancelled, is_forgotten, is_disowned, is_fenced_out, an_actor_dies, house_is_kept, time_passes,
]  # fmt: skip
NAMES = ["r0", "r1", "r2", "r3"]


@hypothesis_settings(max_examples=scaled(200), deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 9), st.sampled_from(NAMES)), max_size=60),
    st.sampled_from([(1, 1, 1), (2, 1, 1), (3, 1, 2), (3, 2, 2), (2, 1, 50), (2, 2, 50), (2, 50, 50)]),
    st.sampled_from([[HERE], [THERE], [HERE, THERE]]),
)
def test_whatever_happens_all_agrees_at_each_step_and_in_the_end_nothing_is_left(steps, pool, nodes):
    """Each request ends, and is forgotten; no place, no byte and nobody who waits stays behind."""
    places = dict(zip(("max_actors", "packed_streams_per_actor", "max_streams_per_actor"), pool, strict=True))
    router = Router(**places, recycle_after_requests=3, idle_ttl_s=5.0)
    registry = router.registry
    on = Actors(router, nodes)
    for step, number, name in steps:
        step(on, number, name)
        registry.validate()
        on.perform()
    for _ in range(400):
        if not registry.requests:
            break
        on.start(0)
        on.answer()
        time_passes(on, 5, "")
        registry.keep_house(on.now)
        registry.validate()
        on.perform()
    assert not [registry.story(name) for name in registry.requests]
    assert not [name for name in NAMES if registry.forgetting.is_under_way(name)]
    assert registry.counts["sealed"] == sum(registry.ended_by.values())
    assert registry.requests.kept_bytes == 0
    assert not registry.lifecycle.waiting
    assert not [slot.open_requests for slot in registry.pool.slots.values() if slot.open_requests]
    assert not registry.requests._by_agent
    assert not registry.requests._by_copy
    on.answer()
    assert not [key for key in on.held if key[0] in registry.pool.slots or key[0] == ROUTER_ITSELF]
