"""A fence keeps out requests of an agent with a lower number, at the request's router, also those that come late."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from registry_driver import HERE, THERE, Router, adopt, held, restarted

from actors.errors import AgentFenced
from actors.protocol import frames as wire
from actors.protocol.calls import FenceCall
from actors.protocol.envelopes import Order
from actors.protocol.states import RequestPhase, Role, SessionPhase
from actors.settings import StreamSettings, packed
from actors.stream.host import StreamHost
from actors.stream.log import Log
from router.config import RouterConfig
from router.core import fences as module
from router.core.fences import Fences
from router.core.registry import Registry

SETTINGS = packed(StreamSettings())
ITEMS = wire.pack([b"{}"])


def a_registry() -> Registry:
    registry = Registry(RouterConfig.model_validate({"stream_actors": {"max_actors": 1, "warm_actors": 1}}), "me", 0.0)
    registry.keep_house(0.0)
    registry.actor_started("s1", 1, "node", 0.0)
    return registry


def test_a_fenced_request_ends_and_none_of_its_items_is_accepted_any_more():
    registry = a_registry()
    registry.open("silent", "old", SETTINGS, 0.0, date="", agent_id="ada", agent_number=5)
    registry.forward("silent", [["old", 1, 1, 1, ITEMS]], 0.0)
    registry.take_effects()
    highest, ending = registry.fence(FenceCall("ada", 6, "new"), 1.0)
    assert (highest, ending) == (6, ["old"])
    ends = [envelope for _, _, envelope, _ in registry.take_effects().send]
    assert [(end.stop_reason, end.after_seq) for end in ends] == [("cancelled", 0)]
    registry.forward("silent", [["old", 1, 2, 1, ITEMS]], 1.0)
    assert not registry.take_effects().send
    assert registry.ignored_by == {"fenced": 1}
    _, _, states = registry.news("silent", ("", 0), 1.0)
    (state,) = [state for state in states if state[:2] == (Role.PUBLISHER, "old")]
    assert state.error[0] == AgentFenced.code
    registry.validate()


def test_a_late_open_of_a_fenced_request_is_refused_and_says_who_runs():
    registry = a_registry()
    registry.fence(FenceCall("ada", 6, "new"), 1.0)
    error = registry.open("silent", "old", SETTINGS, 2.0, date="", agent_id="ada", agent_number=5)
    assert isinstance(error, AgentFenced)
    assert "'new'" in str(error)
    assert registry.open("c", "new", SETTINGS, 2.0, date="", agent_id="ada", agent_number=6) is None


def test_a_fence_spares_its_own_request_other_agents_and_those_without_one():
    registry = a_registry()
    registry.open("c", "own", SETTINGS, 0.0, date="", agent_id="ada", agent_number=1)
    registry.open("c", "other", SETTINGS, 0.0, date="", agent_id="bob", agent_number=1)
    registry.open("c", "none", SETTINGS, 0.0, date="")
    assert registry.fence(FenceCall("ada", 9, "own"), 1.0)[1] == []
    assert all(not registry.requests[request_id].is_fenced_out for request_id in ("own", "other", "none"))


def test_a_request_that_waits_for_a_place_ends_at_once():
    registry = Registry(RouterConfig.model_validate({"stream_actors": {"max_actors": 1, "warm_actors": 0}}), "me", 0.0)
    registry.open("silent", "old", SETTINGS, 0.0, date="", agent_id="ada", agent_number=5)
    assert registry.requests["old"].phase == RequestPhase.WAITING
    assert registry.fence(FenceCall("ada", 6, "new"), 1.0) == (6, [])
    assert registry.requests["old"].stop_reason == "cancelled"


def test_the_answer_names_a_higher_number_that_is_known():
    fences = Fences()
    assert fences.set("ada", 7, "x") == 7
    assert fences.set("ada", 3, "y") == 7
    assert fences.follower("ada") == "x"
    assert fences.keeps_out("ada", 6)
    assert not fences.keeps_out("ada", 7)
    assert not fences.keeps_out(None, 0)


def test_no_more_than_so_many_agents_are_remembered(monkeypatch):
    monkeypatch.setattr(module, "AGENTS_MAX", 3)
    fences = Fences()
    for number in range(1, 6):
        fences.set(f"agent-{number}", number, "x")
    assert [fences.number(f"agent-{number}") for number in range(1, 6)] == [0, 0, 3, 4, 5]


# --- after a restart --------------------------------------------------------------------------

OLD, NEW = ("ada", 5), ("ada", 6)


@pytest.mark.parametrize("follower", [SessionPhase.OPEN, SessionPhase.SEALED])
@pytest.mark.parametrize("is_apart", [False, True])
@pytest.mark.parametrize("comes_first", ["old", "new"])
def test_a_router_without_memory_sets_the_fence_again_by_the_numbers_that_actors_hold(follower, is_apart, comes_first):
    parts = {"old": held("old", SessionPhase.OPEN, owner=OLD), "new": held("new", follower, owner=NEW)}
    order = sorted(parts, key=lambda part: part != comes_first)
    inventory = [parts[part] for part in order]
    router = restarted(s1=inventory[:1], s2=inventory[1:]) if is_apart else restarted(s1=inventory)
    assert router.request("old").is_fenced_out
    assert not router.request("new").is_fenced_out
    (end,) = [sent for _, _, sent, _ in router.registry.take_effects().send if sent[0] == Order.END]
    assert (end.request_id, end.stop_reason, end.after_seq) == ("old", "cancelled", 0)
    assert "'new'" in end.detail
    router.sends("old", 1)
    assert router.registry.ignored_by == {"fenced": 1}


def test_a_publisher_that_registers_again_sets_the_fence_for_what_was_adopted():
    router = restarted(s1=[held("old", SessionPhase.OPEN, owner=OLD)])
    assert not router.request("old").is_fenced_out
    assert router.opens("new", epoch=2, agent_id="ada", agent_number=6, client="other") is None
    assert router.request("old").is_fenced_out
    assert isinstance(router.opens("old", epoch=1, agent_id="ada", agent_number=5), AgentFenced)


@pytest.mark.parametrize("seconds", [1.0, 1_000.0])
def test_the_first_open_of_a_follower_that_told_only_the_router_that_died_sets_the_fence(seconds):
    """It has told all routers its number, and will not do so again."""
    router = restarted(s1=[held("old", SessionPhase.OPEN, owner=OLD)])
    assert router.opens("new", seconds, agent_id="ada", agent_number=6, client="other") is None
    assert router.request("old").is_fenced_out
    router.registry.cancel("new", seconds)
    assert isinstance(router.opens("late", seconds, epoch=1, agent_id="ada", agent_number=5), AgentFenced)


def test_an_actor_that_is_adopted_late_brings_nothing_back_that_is_fenced_out():
    router = restarted(s1=[held("new", SessionPhase.OPEN, owner=NEW)])
    router.registry.expect(["s2"])
    adopt(router, "s2", [held("old", SessionPhase.OPEN, owner=OLD)], 1.0)
    router.registry.settle(["s2"], 1.0)
    router.registry.validate()
    assert router.request("old").is_fenced_out


def test_a_fenced_request_that_is_not_whole_ends_as_lost_and_not_when_nobody_sends_the_rest():
    old = held("old", SessionPhase.OPEN, owner=OLD, replay_through=9)
    router = restarted(s1=[old, held("new", SessionPhase.OPEN, owner=NEW)])
    assert (router.request("old").stop_reason, router.request("old").is_live) == ("lost", False)


@pytest.mark.parametrize("kind", [Order.RESTORE, Order.COPY])
def test_a_log_that_has_moved_sets_the_fence_after_a_second_restart_too(kind):
    """The follower's log has come to another actor, and that is all that is left of it."""
    router = restarted(s1=[held("new", SessionPhase.SEALED, owner=NEW)])
    router.says("s1", "new", SessionPhase.SEALED, stop_reason="end_turn", log=Log().pack())
    moved_to = router.add_actor(THERE)
    if kind == Order.RESTORE:
        router.dies("s1")
    router.passes(1.0)
    sent = [envelope for envelope in router.sent_to(moved_to) if envelope[0] == kind]
    host = StreamHost()
    host.begin("me")
    host.feed("me", 1, [wire.pack(sent)], 0.0)
    again = restarted(s9=[list(one) for one in host.inventory(0.0)])
    assert isinstance(again.opens("old", epoch=1, agent_id="ada", agent_number=5), AgentFenced)


def test_a_follower_that_has_ended_and_was_forgotten_keeps_others_out_after_a_restart_too():
    host = StreamHost()
    host.begin("me")
    opened = (Order.OPEN, "new", 1, SETTINGS, "client", "", 0.0, 0, 1, 0, list(NEW))
    sent = [opened, (Order.END, "new", 1, "cancelled", None, 0), (Order.FORGET, "new", 1)]
    host.feed("me", 1, [wire.pack(sent)], 0.0)
    assert not host.sessions
    again = restarted(s9=[list(one) for one in host.inventory(0.0)])
    assert isinstance(again.opens("old", epoch=1, agent_id="ada", agent_number=5), AgentFenced)
    assert again.opens("next", agent_id="ada", agent_number=7, client="other") is None


def test_after_a_restart_other_agents_and_requests_without_one_go_on():
    others = [held("bob", SessionPhase.OPEN, owner=("bob", 1)), held("none", SessionPhase.OPEN)]
    router = restarted(s1=[*others, held("new", SessionPhase.OPEN, owner=NEW)])
    assert router.opens("free", epoch=1, client="other") is None
    assert not [request.request_id for request in router.registry.requests.values() if request.is_fenced_out]


def test_the_follower_itself_may_come_with_a_number_that_it_had_before():
    """Its claim got a higher one since it was opened; its session still has the first."""
    router = restarted(s1=[held("new", SessionPhase.OPEN, owner=NEW)])
    assert router.registry.fence(FenceCall("ada", 9, "new"), 0.0) == (9, [])
    assert router.opens("new", epoch=1, agent_id="ada", agent_number=6) is None
    assert not router.request("new").is_fenced_out


def test_a_router_that_remembers_takes_no_number_for_a_fence():
    """Each open would cost a place in what is remembered, and tells nothing: who was left behind was fenced out."""
    router = Router(HERE)
    for number in range(1, 4):
        assert router.opens(f"r{number}", agent_id=f"agent-{number}", agent_number=number) is None
    assert [router.registry.fences.number(f"agent-{number}") for number in range(1, 4)] == [0, 0, 0]


@given(
    st.lists(st.tuples(st.sampled_from(["ada", "bob"]), st.booleans(), st.booleans()), min_size=1, max_size=7),
    st.data(),
)
def test_after_a_restart_one_request_of_an_agent_is_accepted_whatever_comes_in_whatever_order(drawn, data):
    """Each has a number of its own; it is adopted, or registered again, or opened for the first time."""
    requests = [
        (f"r{number}", agent_id, number, is_adopted, is_new)
        for number, (agent_id, is_adopted, is_new) in enumerate(drawn, 1)
    ]
    router = Router()
    router.registry.wait_for_publishers(0.0)
    for request_id, agent_id, number, is_adopted, is_new in data.draw(st.permutations(requests)):
        if is_adopted:
            adopt(
                router, f"s{number}", [held(request_id, SessionPhase.OPEN, owner=(agent_id, number), client=request_id)]
            )
        else:
            router.opens(
                request_id, epoch=0 if is_new else 2, agent_id=agent_id, agent_number=number, client=request_id
            )
        router.registry.validate()
    for agent_id in {agent_id for _, agent_id, *_ in requests}:
        mine = [request_id for request_id, its_agent, *_ in requests if its_agent == agent_id]
        known = [router.registry.requests.get(request_id) for request_id in mine]
        accepted = [one.request_id for one in known if one is not None and one.is_live and not one.is_fenced_out]
        assert accepted == mine[-1:], "the one with the highest number"
