"""Recovery: a router without memory takes in what others know, believes the latest, and says "not yet" till then."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from registry_driver import HERE, SETTINGS, Router, adopt, held, restarted

from actors.errors import Recovering, UnknownRequest
from actors.protocol.calls import OpenCall
from actors.protocol.envelopes import Order
from actors.protocol.states import Inventory, Report, RequestPhase, Role, SessionPhase, SessionRecord
from router.core.outboxes import CLIENT_TIMEOUT_S
from router.core.recovery import AGAIN_S

OPEN, SEALED, COPY = SessionPhase.OPEN, SessionPhase.SEALED, SessionPhase.COPY


def reader_hears(router: Router, request_id: str, now: float = 0.0) -> str:
    (state,) = router.registry.locate("reader", 1, [request_id], [], now).states
    return state.phase


# --- what actors hold -------------------------------------------------------------------------


def test_all_that_a_session_says_of_itself_is_known_again():
    report = Report("req", 3, OPEN, 8, 21, 13, 4_000, None, None, 2_500)
    ending, owner = ["cancelled", "why"], ["ada", 6]
    record = SessionRecord(SETTINGS, "publisher", "2026-01-02", 40.0, 0.0, 2, 9, ending, True, owner)
    router = Router()
    router.registry.adopt("s1", [list(Inventory(list(report), record._asdict()))], 100.0)
    router.registry.validate()
    known = router.request("req")
    assert (known.epoch, known.phase, known.actor_id) == (3, RequestPhase.OPEN, "s1")
    assert (known.sent_seq, known.high_seq, known.start_seq, known.is_whole) == (7, 9, 2, False)
    assert (known.last_seq_id, known.released) == (21, 13)
    assert (known.credit_bytes, known.received_bytes) == (4_000, 2_500)
    assert (known.client_id, known.date, known.opened_at) == ("publisher", "2026-01-02", 60.0)
    assert (known.agent_id, known.agent_number) == ("ada", 6)
    assert known.ending == ("cancelled", "why")
    assert known.cancel == "now"


def test_an_ended_request_is_kept_for_what_was_left_of_its_time_and_its_end_is_known():
    router = restarted(s1=[held("req", SEALED)])
    assert router.request("req").forget_at == 100.0
    assert router.request("req").is_shown
    assert router.request("req").stop_reason == "end_turn"
    router.passes(99.0)
    assert "req" in router.registry.requests
    router.passes(101.0)
    assert "req" not in router.registry.requests


# Each session has an epoch of its own; a copy has that of a session, which may be gone.
SESSIONS = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from([OPEN, SEALED, COPY]), st.integers(1, 3)),
    min_size=1,
    max_size=6,
    unique_by=(lambda held: (held[0], held[1] == COPY), lambda held: (held[2], held[1] == COPY and held[0])),
)


@given(SESSIONS, st.data())
def test_of_several_sessions_of_a_request_the_latest_is_believed_in_whatever_order_they_are_heard(drawn, data):
    """And a session that is not believed is dropped, so that it is nobody's."""
    actors = sorted({actor for actor, _, _ in drawn})
    router = Router()
    router.registry.expect(f"s{actor}" for actor in actors)
    for actor in data.draw(st.permutations(actors)):
        adopt(router, f"s{actor}", [held("req", phase, epoch) for on, phase, epoch in drawn if on == actor])
    router.registry.settle([f"s{actor}" for actor in actors], 0.0)
    router.registry.validate()
    known = router.request("req")
    latest = max(epoch for _, _, epoch in drawn)
    assert known.epoch == latest
    there = {(f"s{actor}", phase) for actor, phase, epoch in drawn if epoch == latest}
    sessions = [(actor, phase) for actor, phase in there if phase != COPY]
    if sessions:  # it goes before a copy
        assert [(known.actor_id, known.is_live)] == [(actor, phase == OPEN) for actor, phase in sessions]
    else:
        assert (known.actor_id, COPY) in there
    told = {actor for actor, _, envelope, _ in router.registry.take_effects().send if envelope[0] == Order.FORGET}
    assert {f"s{actor}" for actor in actors} <= {known.actor_id, known.copy_id} | told


def test_a_session_of_an_older_epoch_leaves_no_load_behind():
    router = restarted(s1=[held("req", OPEN, 1)], s2=[held("req", OPEN, 2)])
    assert router.registry.pool.slots["s1"].load == 0
    assert router.registry.pool.slots["s2"].load == 1
    assert router.sent(Order.FORGET) == [("s1", "req")]


def test_the_publisher_of_an_adopted_request_has_the_time_of_any_silent_client_to_say_that_it_lives():
    router = restarted(s1=[held("req", OPEN)])
    router.passes(CLIENT_TIMEOUT_S - 0.01)
    assert router.request("req").publisher_gone_at is None
    router.passes(CLIENT_TIMEOUT_S + 0.01)
    assert router.request("req").publisher_gone_at is not None


def test_an_actor_reports_to_a_router_that_has_adopted_it_and_not_before():
    router = Router()
    router.registry.expect(["s1"])
    with pytest.raises(Recovering):
        router.registry.recovery.check_reporter("s1")
    router.registry.recovery.check_reporter("s2")
    router.registry.adopt("s1", [], 0.0)
    router.registry.recovery.check_reporter("s1")


# --- what publishers know ---------------------------------------------------------------------


def test_a_publisher_that_knows_of_a_later_epoch_makes_the_adopted_session_begin_again():
    """It is a session that its router had given up, and that lives on."""
    router = restarted(s1=[held("req", OPEN, 2, next_seq=5)])
    router.registry.take_effects()
    router.opens("req", epoch=3, sent_seq=8)
    known = router.request("req")
    assert (known.epoch, known.high_seq, known.sent_seq) == (4, 8, 0)
    opened = [envelope for envelope in router.sent_to("s1") if envelope[0] == Order.OPEN]
    assert [envelope.epoch for envelope in opened] == [4]


def test_a_publisher_that_has_sent_more_than_came_hears_from_where_to_go_on():
    router = restarted(s1=[held("req", OPEN, 2, next_seq=5)])
    router.opens("req", epoch=2, sent_seq=8)
    state = router.publisher_state("req")
    assert (state.phase, state.next_seq, state.epoch) == (RequestPhase.GAP, 5, 2)


# --- "not yet" --------------------------------------------------------------------------------


def test_what_is_unknown_is_not_called_so_before_publishers_have_had_their_time():
    router = restarted()
    assert reader_hears(router, "req") == RequestPhase.RECOVERING
    with pytest.raises(Recovering):
        router.registry.cancel("req", 0.0)
    router.passes(CLIENT_TIMEOUT_S - 0.01)
    assert reader_hears(router, "req", CLIENT_TIMEOUT_S - 0.01) == RequestPhase.RECOVERING
    router.registry.clients.get("reader").outbox.clear()
    router.passes(CLIENT_TIMEOUT_S + 0.01)
    assert (Role.READER, "req") in router.registry.clients.get("reader").outbox, "and then it is told so"
    assert reader_hears(router, "req", CLIENT_TIMEOUT_S) == RequestPhase.UNKNOWN
    with pytest.raises(UnknownRequest):
        router.registry.cancel("req", CLIENT_TIMEOUT_S)


def test_a_router_that_has_lost_nothing_says_unknown_at_once():
    assert reader_hears(Router(HERE), "req") == RequestPhase.UNKNOWN


@given(st.permutations(["time", "s1", "s2"]))
def test_it_goes_on_until_all_who_may_know_more_were_heard_or_given_up(order):
    router = Router()
    router.registry.wait_for_publishers(0.0)
    router.registry.expect(["s1", "s2"])
    for number, who in enumerate(order, 1):
        assert router.registry.lifecycle.is_recovering
        if who == "time":
            router.passes(CLIENT_TIMEOUT_S + 1.0)
        else:
            router.registry.settle([who], CLIENT_TIMEOUT_S)
        assert router.registry.lifecycle.is_recovering == (number < 3)


def test_who_was_put_off_because_an_actor_was_asked_has_time_to_come_again():
    router = restarted()
    router.registry.expect(["s9"])
    assert isinstance(router.opens("req", epoch=1), Recovering)
    router.passes(100.0)
    router.registry.settle(["s9"], 100.0)
    assert router.registry.lifecycle.is_recovering
    assert router.opens("req", 101.0, epoch=1) is None
    router.passes(100.0 + CLIENT_TIMEOUT_S + 1.0)
    assert not router.registry.lifecycle.is_recovering


def test_who_was_put_off_shortly_before_publishers_had_had_their_time_has_time_to_come_again():
    router = restarted()
    router.registry.expect(["s9"])
    assert isinstance(router.opens("req", epoch=1), Recovering)
    router.registry.settle(["s9"], CLIENT_TIMEOUT_S - 0.1)
    router.passes(CLIENT_TIMEOUT_S)
    assert router.registry.lifecycle.is_recovering, "the timer of the earlier wait ends nothing"
    router.passes(2 * CLIENT_TIMEOUT_S)
    assert not router.registry.lifecycle.is_recovering


def test_who_has_not_heard_of_the_restart_has_time_to_come_again_and_holders_of_agents_are_not_waited_for_so_long():
    router = restarted()
    late = CLIENT_TIMEOUT_S - 0.1
    router.passes(late)
    assert not router.registry.is_new_open(OpenCall("publisher", 1, ["the router before/1", 7], []), late)
    assert isinstance(router.opens("req", late, epoch=1, is_new=False), Recovering)
    router.passes(late + AGAIN_S - 0.1)
    assert router.registry.lifecycle.is_recovering
    assert not router.registry.agents.is_recovering
    router.passes(late + AGAIN_S)
    assert not router.registry.lifecycle.is_recovering


def test_processes_that_come_for_the_first_time_do_not_keep_a_router_from_knowing_all():
    router = restarted()
    for moment in range(int(CLIENT_TIMEOUT_S) + 1):
        assert not router.registry.is_new_open(OpenCall(f"new-{moment}", 1, [None, 0], []), float(moment))
        router.passes(float(moment))
    assert not router.registry.lifecycle.is_recovering


def test_a_router_that_is_stopped_while_it_waits_for_publishers_gives_them_that_time_and_to_holders_of_agents_too():
    router = restarted()
    router.registry.paused(30.0)
    router.passes(CLIENT_TIMEOUT_S + 20.0)
    assert router.registry.lifecycle.is_recovering
    assert router.registry.agents.is_recovering
    router.passes(CLIENT_TIMEOUT_S + 31.0)
    assert not router.registry.lifecycle.is_recovering
    assert not router.registry.agents.is_recovering
    router.registry.paused(30.0)
    router.registry.wait_for_publishers(100.0)
    router.passes(100.0 + CLIENT_TIMEOUT_S)
    assert not router.registry.lifecycle.is_recovering, "a pause that was over before costs nothing"


@pytest.mark.parametrize(("router", "phase"), [(Router(), "unknown"), (restarted(), "recovering")])
def test_a_reader_is_not_told_that_a_request_is_gone_that_waits_for_a_place_after_a_restart(router, phase):
    assert router.opens("req") is None
    assert router.request("req").phase == RequestPhase.WAITING
    router.passes(20.0)
    (state,) = router.registry.locate("reader", 1, ["req"], [], 20.0).states
    assert state[:3] == (Role.READER, "req", phase)
