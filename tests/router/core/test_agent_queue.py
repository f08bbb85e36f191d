"""Agents: one request at a time; a newcomer is turned away, waits, or takes over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import AgentBusy
from actors.protocol.states import ClaimPhase
from router.core.agent_queue import Agents, Claim

HELD, INTERRUPTED, QUEUED, UNKNOWN = ClaimPhase.HELD, ClaimPhase.INTERRUPTED, ClaimPhase.QUEUED, ClaimPhase.UNKNOWN


def claim(agents: Agents, request_id: str, when_busy: str = "reject", client_id: str = "c", *, is_held: bool = False):
    return agents.claim(Claim(request_id, "ada", client_id), when_busy, is_held=is_held)


def test_the_first_holds_and_a_second_is_turned_away_by_name():
    agents = Agents()
    claim(agents, "a")
    assert agents.phase("a") == HELD
    with pytest.raises(AgentBusy, match="'a'"):
        claim(agents, "b")
    assert agents.phase("b") == UNKNOWN


def test_those_that_wait_come_in_their_order():
    agents = Agents()
    for request_id in "abc":
        claim(agents, request_id, "queue")
    assert [agents.phase(r) for r in "abc"] == [HELD, QUEUED, QUEUED]
    assert [c.request_id for c in agents.release("a")] == ["b"]
    assert [c.request_id for c in agents.release("b")] == ["c"]
    assert agents.release("c") == []
    assert agents.release("c") == []


def test_an_interrupt_tells_all_before_it():
    agents = Agents()
    claim(agents, "a")
    claim(agents, "b", "queue")
    assert {c.request_id for c in claim(agents, "c", "interrupt")} == {"a", "b", "c"}
    assert [agents.phase(r) for r in "abc"] == [INTERRUPTED, INTERRUPTED, QUEUED]
    agents.release("b")
    agents.release("a")
    assert agents.phase("c") == HELD


def test_a_silent_process_lets_go_of_everything():
    agents = Agents()
    claim(agents, "a", client_id="dead")
    claim(agents, "b", "queue", client_id="alive")
    assert [c.request_id for c in agents.release_all("dead")] == ["b"]


def test_who_held_its_agent_when_the_router_died_goes_to_the_front_again():
    agents = Agents()
    claim(agents, "waiting", "queue")
    claim(agents, "holder", is_held=True)
    assert [agents.phase(r) for r in ("holder", "waiting")] == [HELD, QUEUED]


@given(st.lists(st.tuples(st.sampled_from(["claim", "release"]), st.integers(0, 5)), max_size=40))
def test_an_agent_is_held_by_exactly_one_of_those_who_claim_it(moves):
    agents = Agents()
    present = set()
    for move, number in moves:
        if move == "claim":
            claim(agents, f"r{number}", "queue")
            present.add(f"r{number}")
        else:
            agents.release(f"r{number}")
            present.discard(f"r{number}")
        assert sum(agents.phase(r) == HELD for r in present) == bool(present)
