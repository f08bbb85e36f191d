"""The log of an ended request is on two nodes where there are two, before its end is shown, and stays so."""

from __future__ import annotations

import pytest
from registry_driver import HERE, LOG, SETTINGS, THERE, Router, adopt, held, restarted

from actors.errors import AgentFenced, Recovering
from actors.protocol.envelopes import CopyEnvelope, Order
from actors.protocol.states import RequestPhase, SessionPhase
from actors.stream.host import StreamHost
from actors.terminal import terminal_log
from router.core.copies import SPREAD_AT_ONCE, SPREAD_PAUSE_S
from router.core.lifecycle import COPY_PATIENCE_S


def test_an_end_beside_the_router_is_shown_when_its_log_is_on_another_node():
    router = Router(HERE, THERE)
    assert router.open("req") == "s1"
    router.registry.take_effects()
    router.seals("req")
    effects = router.registry.take_effects()
    assert [(actor_id, type(envelope)) for actor_id, _, envelope, _ in effects.send] == [("s2", CopyEnvelope)]
    assert not [note for note in effects.notes if note.kind == "ended"]
    assert router.publisher_hears("req") == RequestPhase.OPEN
    router.says("s2", "req", SessionPhase.COPY)
    assert router.sent(Order.STORED) == [("s1", "req")]
    assert router.publisher_hears("req") == RequestPhase.SEALED


@pytest.mark.parametrize("nodes", [(THERE, HERE), (HERE, HERE), (HERE,)])
def test_without_need_or_without_another_node_an_end_is_shown_at_once(nodes):
    router = Router(*nodes)
    assert router.open("req") == "s1"
    router.registry.take_effects()
    router.seals("req")
    assert [envelope[0] for _, _, envelope, _ in router.registry.take_effects().send] == [Order.STORED]
    assert router.publisher_hears("req") == RequestPhase.SEALED


def test_an_actor_that_does_not_answer_holds_no_end_up_for_long():
    router = Router(HERE, THERE)
    router.open("req")
    router.seals("req")
    router.registry.take_effects()
    router.registry.tick(COPY_PATIENCE_S - 0.01)
    assert not router.sent(Order.STORED)
    router.registry.tick(COPY_PATIENCE_S + 0.01)
    assert router.sent(Order.STORED) == [("s1", "req")]
    router.says("s2", "req", SessionPhase.COPY)
    assert router.registry.requests["req"].is_copied


def test_the_death_of_the_actor_with_the_copy_gives_another_one_a_copy():
    router = Router(HERE, THERE, THERE)
    router.open("req")
    router.seals("req")
    assert router.sent(Order.COPY) == [("s2", "req")]
    router.registry.actor_died("s2", 1.0)
    router.registry.validate()
    assert router.sent(Order.COPY) == [("s3", "req")]
    router.registry.actor_died("s3", 1.0)
    router.registry.validate()
    assert router.sent(Order.STORED) == [("s1", "req")]  # there is no other node any more
    assert router.registry.requests["req"].copy_id is None


def test_the_death_of_the_actor_that_shows_it_moves_it_to_the_node_of_its_copy():
    router = Router(HERE, THERE, HERE)
    router.open("req")
    router.seals("req")
    router.says("s2", "req", SessionPhase.COPY)
    router.registry.take_effects()
    router.registry.actor_died("s1", 1.0)
    router.registry.validate()
    assert router.sent(Order.RESTORE) == [("s2", "req")]
    router.says("s2", "req", SessionPhase.SEALED, 1.0, stop_reason="end_turn")
    effects = router.registry.take_effects()
    assert [envelope[0] for _, _, envelope, _ in effects.send] == [Order.STORED]  # it is on two nodes by itself
    assert router.registry.requests["req"].copy_id is None


def test_logs_that_stood_alone_get_their_copies_step_by_step_when_another_node_comes():
    router = Router(HERE)
    count = 2 * SPREAD_AT_ONCE + 1
    for number in range(count):
        router.open(f"req-{number}")
        router.seals(f"req-{number}")
    router.registry.take_effects()
    router.add_actor(THERE, 1.0)
    now, steps = 1.0, []
    while len(steps) < 4:
        router.registry.tick(now)
        steps.append(len(router.sent(Order.COPY)))
        router.registry.validate()
        now += SPREAD_PAUSE_S
    assert steps == [SPREAD_AT_ONCE, SPREAD_AT_ONCE, 1, 0]


def test_a_request_that_is_forgotten_leaves_no_copy():
    router = Router(HERE, THERE)
    router.open("req")
    router.seals("req")
    router.says("s2", "req", SessionPhase.COPY)
    router.registry.take_effects()
    router.registry.tick(10_000.0)
    assert sorted(router.sent(Order.FORGET)) == [("s1", "req"), ("s2", "req")]
    assert not router.registry.requests.copied_on("s2")
    router.registry.validate()


def test_a_copy_that_nobody_needs_is_dropped():
    router = Router(THERE, THERE)
    router.open("req")
    router.seals("req")
    router.registry.take_effects()
    router.says("s2", "req", SessionPhase.COPY)
    assert router.sent(Order.FORGET) == [("s2", "req")]


def test_the_last_actor_on_another_node_is_not_stopped_as_idle_while_logs_need_it():
    router = Router(HERE, THERE)
    router.open("req")
    router.seals("req")
    router.says("s2", "req", SessionPhase.COPY)
    assert router.registry.pool.slots["s2"].load == 0
    idle_ttl_s = router.registry.config.stream_actors.idle_ttl_s
    router.registry.keep_house(idle_ttl_s + 1.0)
    router.registry.validate()
    assert "s2" in router.registry.pool.slots
    router.add_actor(THERE, idle_ttl_s + 1.0)
    router.registry.take_effects()
    router.registry.keep_house(2 * idle_ttl_s + 2.0)
    router.registry.validate()
    assert len([slot for slot in router.registry.pool.slots.values() if slot.node_id == THERE]) == 1


def test_a_log_that_is_moved_beside_the_router_is_copied_under_its_epoch_as_soon_as_another_node_comes():
    router = Router(THERE, HERE)
    assert router.open("req") == "s1"
    router.seals("req")
    router.dies("s1")
    assert router.sent(Order.RESTORE) == [("s2", "req")]  # which never answers
    other = router.add_actor(THERE, 1.0)
    router.passes(1.0)
    (copy,) = router.sent_to(other)
    assert (copy[0], copy.epoch) == (Order.COPY, router.request("req").epoch)


# --- after a restart --------------------------------------------------------------------------


@pytest.mark.parametrize("order", [("s1", "s2"), ("s2", "s1")])
def test_a_copy_beside_its_session_is_a_copy_again(order):
    inventories = {"s1": [held("req", SessionPhase.SEALED)], "s2": [held("req", SessionPhase.COPY)]}
    router = restarted(**{actor_id: inventories[actor_id] for actor_id in order})
    request = router.registry.requests["req"]
    assert (request.actor_id, request.copy_id, request.is_copied) == ("s1", "s2", True)
    router.seals("req")
    assert router.sent(Order.STORED) == [("s1", "req")]


def test_a_copy_that_goes_before_its_request_is_none():
    router = restarted(s1=[held("req", SessionPhase.SEALED)], s2=[held("req", SessionPhase.COPY, ttl_s=2.0)])
    assert router.sent(Order.FORGET) == [("s2", "req")]
    assert router.registry.requests["req"].copy_id is None


def test_a_copy_that_was_told_of_late_counts_by_when_it_was_asked_for():
    """A router that was stopped with the answers on their way takes both to live longer than they do."""
    router = Router()
    router.registry.expect(["s1", "s2"])
    adopt(router, "s1", [held("req", SessionPhase.SEALED)], 50.0)
    router.registry.adopt("s2", [held("req", SessionPhase.COPY)], 50.0, 42.0)
    router.registry.actor_started("s2", 1, THERE, 50.0)
    router.registry.settle(["s1", "s2"], 50.0)
    assert router.sent(Order.FORGET) == [("s2", "req")]
    assert router.registry.requests["req"].copy_id is None


def test_a_holder_hears_for_how_long_the_log_is_kept_here():
    router = restarted(s1=[held("req", SessionPhase.SEALED, ttl_s=10.0)])
    router.seals("req")
    (stored,) = (e for _, _, e, _ in router.registry.take_effects().send if e[0] == Order.STORED)
    assert stored.ttl_s == 10.0


def test_a_copy_whose_session_is_gone_is_shown_to_readers():
    router = restarted(s2=[held("req", SessionPhase.COPY)])
    assert router.sent(Order.ADOPT) == [("s2", "req")]
    router.seals("req")
    assert router.sent(Order.STORED) == [("s2", "req")]
    assert router.registry.requests["req"].log == LOG


def test_a_copy_of_an_older_epoch_is_dropped():
    router = restarted(s2=[held("req", SessionPhase.COPY, 1)], s1=[held("req", SessionPhase.SEALED, 2)])
    assert router.sent(Order.FORGET) == [("s2", "req")]
    assert router.registry.requests["req"].copy_id is None


def test_a_copy_that_is_not_there_after_all_ends_the_request():
    router = restarted(s2=[held("req", SessionPhase.COPY)])
    router.says("s2", "req", SessionPhase.UNKNOWN)
    assert "req" not in router.registry.requests


def test_while_an_actor_is_still_asked_others_go_on_and_only_what_it_may_hold_waits():
    router = Router()
    registry = router.registry
    registry.wait_for_publishers(0.0)
    registry.expect(["s1", "s7"])
    registry.adopt("s1", [held("here", SessionPhase.OPEN)], 0.0)
    registry.actor_started("s1", 1, HERE, 0.0)
    registry.settle(["s1"], 0.0)
    assert registry.open("publisher", "here", SETTINGS, 0.0, date="", epoch=1) is None
    assert isinstance(registry.open("publisher", "there", SETTINGS, 0.0, date="", epoch=1), Recovering)
    with pytest.raises(Recovering):
        registry.recovery.check_reporter("s7")
    assert registry.pool.add().actor_id == "s8", "a name that may yet be adopted is given to no other actor"
    registry.tick(1_000.0)
    assert registry.lifecycle.is_recovering
    registry.adopt("s7", [held("there", SessionPhase.OPEN)], 1_000.0)
    registry.actor_started("s7", 1, THERE, 1_000.0)
    registry.settle(["s7"], 1_000.0)
    assert registry.open("publisher", "there", SETTINGS, 1_000.0, date="", epoch=1) is None
    assert registry.lifecycle.is_recovering, "whoever was put off has time to come again"
    registry.tick(2_000.0)
    assert not registry.lifecycle.is_recovering


def test_an_actor_that_is_given_up_is_waited_for_no_longer():
    router = Router()
    router.registry.wait_for_publishers(0.0)
    router.registry.expect(["s1"])
    router.registry.tick(1_000.0)
    assert router.registry.lifecycle.is_recovering
    router.registry.settle(["s1"], 1_000.0)
    assert not router.registry.lifecycle.is_recovering


@pytest.mark.parametrize("order", [Order.COPY, Order.RESTORE])
def test_the_publisher_of_an_end_that_only_another_actor_remembers_hears_it_and_its_agent_stays_fenced(order):
    router = Router(HERE, THERE)
    assert router.open("req", agent_id="agent", agent_number=7) == "s1"
    router.seals("req")
    if order == Order.RESTORE:
        router.says("s2", "req", SessionPhase.COPY)
        router.dies("s1")
    (envelope,) = [envelope for envelope in router.sent_to("s2") if envelope[0] == order]
    actor = StreamHost()
    actor.begin("me")
    actor.handle([list(envelope._replace(log=terminal_log("req", "", "end_turn", "")))], 0.0)  # type: ignore[union-attr]
    after = restarted(s2=[list(one) for one in actor.inventory(0.0)])
    assert after.opens("req", epoch=1, sent_seq=3, agent_id="agent", agent_number=7) is None
    assert after.publisher_hears("req") == RequestPhase.SEALED
    assert isinstance(after.opens("old", epoch=1, client="other", agent_id="agent", agent_number=6), AgentFenced)
