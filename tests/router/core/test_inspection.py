"""Inspection: how a request stands is told in words, and what contradicts itself is named."""

from __future__ import annotations

import pytest
from registry_driver import HERE, THERE, Router

from actors.protocol.states import SessionPhase
from router.core import inspection
from router.core.registry import Inconsistent


def story(router: Router, request_id: str) -> list[str]:
    return inspection.story(router.registry.lifecycle, request_id)


def test_a_story_tells_what_happened_in_order_and_how_it_stands():
    router = Router(HERE, THERE)
    router.open("req")
    router.sends("req", 1, 3)
    router.dies("s1", 2.0)
    assert story(router, "req") == [
        "0.000 s: epoch 0: opened",
        "0.000 s: epoch 1: placed (s1)",
        "2.000 s: epoch 1: moved (s1)",
        "2.000 s: epoch 2: placed (s2)",
        "now: open, epoch 2, actor s2, items 0 of 3 sent, 0 messages, stop reason None",
    ]


def test_a_story_names_what_a_request_waits_for():
    router = Router(max_actors=1, max_streams_per_actor=1)
    router.opens("starting")
    router.opens("queued")
    assert story(router, "starting")[-1].endswith("waits for stream actor s1 to start")
    assert story(router, "queued")[-1].endswith("waits for a place on a stream actor: all are full")


def test_a_story_names_the_stop_reason_and_where_a_copy_is():
    router = Router(HERE, THERE)
    router.open("req")
    router.seals("req")
    router.says("s2", "req", SessionPhase.COPY)
    assert "stop reason end_turn" in story(router, "req")[-1]
    assert story(router, "req")[-1].endswith("a copy of its log is on s2")


def test_of_a_request_that_is_gone_the_story_is_left():
    router = Router(HERE)
    router.open("req")
    router.seals("req")
    router.passes(10_000.0)
    lines = story(router, "req")
    assert lines[0].endswith("opened")
    assert lines[-1] == "now: not known here"
    assert story(router, "nobody") == ["now: not known here"]


def its_actor_is_gone(router: Router) -> None:
    router.registry.pool.remove("s1")


def its_load_is_not_counted(router: Router) -> None:
    router.registry.pool.slots["s1"].open_requests.discard("open")


def load_is_counted_that_is_not_there(router: Router) -> None:
    router.registry.pool.slots["s1"].open_requests.add("nobody")


def load_is_counted_that_is_elsewhere(router: Router) -> None:
    router.registry.pool.slots["s2"].open_requests.add("open")


def load_is_counted_that_has_ended(router: Router) -> None:
    router.registry.pool.slots["s1"].open_requests.add("ended")


def it_waits_in_no_queue(router: Router) -> None:
    router.registry.lifecycle.waiting.clear()


def the_index_of_agents_is_wrong(router: Router) -> None:
    router.request("open").agent_id = "bob"


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (its_actor_is_gone, "open: it is on s1, which the pool does not know"),
        (its_load_is_not_counted, "open: s1 does not count it as its load"),
        (load_is_counted_that_is_not_there, "s1 counts nobody as its load and does not hold it"),
        (load_is_counted_that_is_elsewhere, "s2 counts open as its load and does not hold it"),
        (load_is_counted_that_has_ended, "s1 counts ended as its load and does not hold it"),
        (it_waits_in_no_queue, "queued: it waits for a place and stands in no queue"),
        (the_index_of_agents_is_wrong, "live requests of agents are listed as [('ada', 'open')]"),
    ],
)
def test_a_contradiction_is_named_with_the_request_that_it_concerns(break_it, said):
    router = Router(HERE, HERE, max_actors=2, max_streams_per_actor=1)
    router.open("open", agent_id="ada", agent_number=1)
    router.open("ended")
    router.seals("ended")
    router.open("beside")
    router.opens("queued")
    assert router.request("open").actor_id == "s1"
    assert router.request("queued").waits_for
    assert inspection.inconsistencies(router.registry.lifecycle) == []
    break_it(router)
    found = inspection.inconsistencies(router.registry.lifecycle)
    assert any(line.startswith(said) for line in found), found
    with pytest.raises(Inconsistent):
        router.registry.validate()
