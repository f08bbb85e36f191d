"""A fence keeps out requests of an agent with a lower number, at the request's router, also those that come late."""

from __future__ import annotations

from actors.errors import AgentFenced
from actors.protocol import frames as wire
from actors.protocol.calls import FenceCall
from actors.protocol.states import RequestPhase, Role
from actors.settings import StreamSettings, packed
from router.config import RouterConfig
from router.core import fences as module
from router.core.fences import Fences
from router.core.registry import Registry

SETTINGS = packed(StreamSettings())
BLOB = wire.pack([b"{}"])


def a_registry() -> Registry:
    registry = Registry(RouterConfig.model_validate({"stream_actors": {"max_actors": 1, "warm_actors": 1}}), "me", 0.0)
    registry.keep_house(0.0)
    registry.actor_started("s1", 1, "node", 0.0)
    return registry


def test_a_fenced_request_ends_and_none_of_its_items_is_accepted_any_more():
    registry = a_registry()
    registry.open("silent", "old", SETTINGS, 0.0, date="", agent_id="ada", agent_number=5)
    registry.forward("silent", [["old", 1, 1, 1, BLOB]], 0.0)
    registry.take_effects()
    highest, ending = registry.fence(FenceCall("ada", 6, "new"), 1.0)
    assert (highest, ending) == (6, ["old"])
    ends = [envelope for _, _, envelope, _ in registry.take_effects().send]
    assert [(end.stop_reason, end.after_seq) for end in ends] == [("cancelled", 0)]
    registry.forward("silent", [["old", 1, 2, 1, BLOB]], 1.0)
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
