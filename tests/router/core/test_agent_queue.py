"""Agents: one request at a time; a newcomer is turned away, waits, or takes over; who fell silent is fenced out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import AgentBusy, AgentFenced
from actors.protocol.states import ClaimPhase
from router.core.agent_queue import Agents

HELD, INTERRUPTED, QUEUED, UNKNOWN = ClaimPhase.HELD, ClaimPhase.INTERRUPTED, ClaimPhase.QUEUED, ClaimPhase.UNKNOWN
FENCING, BUSY = ClaimPhase.FENCING, ClaimPhase.BUSY


def claim(
    agents: Agents, request_id: str, when_busy: str = "reject", client_id: str = "c", *, held: int = 0, fenced: int = 0
) -> list[str]:
    changed = agents.claim((client_id, "token"), request_id, "ada", when_busy, is_held=held > 0, number=held or fenced)
    return [one.request_id for one in changed]


def release(agents: Agents, request_id: str, client_id: str = "c", *, has_ended: bool = True) -> list[str]:
    return [one.request_id for one in agents.release((client_id, "token"), request_id, has_ended=has_ended)]


def phases(agents: Agents, request_ids: str) -> list[ClaimPhase]:
    return [agents.phase(request_id) for request_id in request_ids]


def test_the_first_holds_and_a_second_is_turned_away_by_name():
    agents = Agents()
    claim(agents, "a")
    assert agents.phase("a") == HELD
    with pytest.raises(AgentBusy, match="'a'"):
        claim(agents, "b")
    assert agents.phase("b") == UNKNOWN


def test_those_that_wait_come_in_their_order_with_rising_numbers():
    agents = Agents()
    agents.grant_above(100)
    for request_id in "abc":
        claim(agents, request_id, "queue")
    assert phases(agents, "abc") == [HELD, QUEUED, QUEUED]
    numbers = []
    for request_id in "abc":
        assert agents.phase(request_id) == HELD
        numbers.append(agents.number(request_id))
        release(agents, request_id)
    assert numbers == [101, 102, 103]
    assert release(agents, "c") == []


def test_an_interrupt_tells_all_before_it():
    agents = Agents()
    claim(agents, "a")
    claim(agents, "b", "queue")
    assert set(claim(agents, "c", "interrupt")) == {"a", "b", "c"}
    assert phases(agents, "abc") == [INTERRUPTED, INTERRUPTED, QUEUED]
    release(agents, "b")
    release(agents, "a")
    assert agents.phase("c") == HELD


def test_who_follows_a_holder_that_gave_up_before_its_end_was_known_must_fence_it_out():
    agents = Agents()
    claim(agents, "a")
    claim(agents, "b", "queue")
    assert release(agents, "a", has_ended=False) == ["b"]
    assert agents.phase("b") == FENCING
    claim(agents, "b", fenced=agents.number("b"))
    assert agents.phase("b") == HELD


def test_who_follows_a_silent_holder_must_fence_it_out_before_it_holds_the_agent():
    agents = Agents()
    claim(agents, "a", client_id="silent")
    claim(agents, "b", "queue")
    changed = agents.release_all("silent")
    assert [one.request_id for one in changed] == ["b"]
    assert agents.phase("b") == FENCING
    claim(agents, "b", fenced=agents.number("b"))
    assert agents.phase("b") == HELD
    release(agents, "b")
    claim(agents, "c")
    assert agents.phase("c") == HELD


def test_the_fence_is_still_owed_when_who_owed_it_goes_away():
    agents = Agents()
    claim(agents, "a", client_id="silent")
    agents.release_all("silent")
    claim(agents, "b")
    assert agents.phase("b") == FENCING
    release(agents, "b")
    claim(agents, "c")
    assert agents.phase("c") == FENCING


def test_a_router_that_knows_of_a_later_grant_makes_the_number_higher():
    agents = Agents()
    agents.grant_above(10)
    agents.recover()
    claim(agents, "a")
    agents.recovered()
    assert (agents.phase("a"), agents.number("a")) == (FENCING, 11)
    claim(agents, "a", fenced=500)
    assert (agents.phase("a"), agents.number("a")) == (FENCING, 501)
    claim(agents, "a", fenced=501)
    assert agents.phase("a") == HELD


def test_after_a_restart_nobody_is_granted_an_agent_before_its_holder_has_had_time_to_say_so():
    agents = Agents()
    agents.grant_above(50)
    agents.recover()
    claim(agents, "waiting", "queue")
    claim(agents, "impatient", "reject")
    assert agents.phase("waiting") == QUEUED
    claim(agents, "holder", held=7)
    agents.recovered()
    assert agents.phase("holder") == HELD
    assert agents.phase("waiting") == QUEUED
    assert agents.phase("impatient") == BUSY
    release(agents, "holder")
    assert agents.phase("waiting") == HELD
    assert agents.number("waiting") > 50


def test_after_a_restart_an_agent_that_nobody_claimed_is_fenced_all_the_same():
    agents = Agents()
    agents.grant_above(50)
    agents.recover()
    agents.recovered()
    claim(agents, "a")
    assert agents.phase("a") == FENCING


def test_a_holder_that_comes_back_too_late_is_told_so():
    agents = Agents()
    agents.grant_above(50)
    agents.recover()
    claim(agents, "next", "queue")
    agents.recovered()
    with pytest.raises(AgentFenced, match="'next'"):
        claim(agents, "holder", held=7)


def test_who_was_overtaken_by_a_holder_with_a_higher_number_hears_when_its_turn_has_come_again():
    agents = Agents()
    agents.recover()
    agents.recovered()
    claim(agents, "next")
    assert agents.phase("next") == FENCING
    claim(agents, "holder", held=7)
    claim(agents, "next", fenced=7)
    assert release(agents, "holder") == ["next"]
    assert (agents.phase("next"), agents.number("next")) == (FENCING, 8)


def test_an_interrupt_that_came_before_the_holder_said_so_reaches_it():
    agents = Agents()
    agents.grant_above(50)
    agents.recover()
    claim(agents, "next", "interrupt")
    claim(agents, "holder", held=7)
    assert phases(agents, ["holder", "next"]) == [INTERRUPTED, QUEUED]


def test_a_refused_duplicate_lets_go_for_itself_alone():
    agents = Agents()
    claim(agents, "a", client_id="first")
    claim(agents, "a", client_id="second")
    assert release(agents, "a", "second") == ["a"], "the other hears of it: it may have let go as well"
    assert agents.phase("a") == HELD
    with pytest.raises(AgentBusy):
        claim(agents, "b")


def test_a_second_publisher_of_the_same_process_lets_go_for_itself_alone():
    agents = Agents()
    for token in ("one", "two"):
        agents.claim(("c", token), "a", "ada", "reject", is_held=False, number=0)
    agents.release(("c", "two"), "a", has_ended=True)
    assert agents.phase("a") == HELD


def test_a_request_cannot_claim_two_agents():
    agents = Agents()
    claim(agents, "a")
    with pytest.raises(AgentBusy, match="'ada'"):
        agents.claim(("c", "token"), "a", "bob", "queue", is_held=False, number=0)


MOVES = st.tuples(st.sampled_from(["queue", "interrupt", "release", "silent", "fence"]), st.integers(0, 5))


@given(st.lists(MOVES, max_size=60))
def test_an_agent_is_granted_to_at_most_one_and_numbers_only_rise(moves):
    agents = Agents()
    granted: list[int] = []
    for move, number in moves:
        request_id = f"r{number}"
        if move in ("queue", "interrupt"):
            claim(agents, request_id, move, f"c{number}")
        elif move == "release":
            release(agents, request_id, f"c{number}")
        elif move == "silent":
            agents.release_all(f"c{number}")
        elif agents.phase(request_id) == FENCING:
            claim(agents, request_id, client_id=f"c{number}", fenced=agents.number(request_id))
        numbers = [agents.number(f"r{n}") for n in range(6) if agents.number(f"r{n}")]
        assert len(numbers) <= 1
        granted += [one for one in numbers if one not in granted]
    assert granted == sorted(granted)
