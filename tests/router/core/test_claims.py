"""Claims: those whose claim changed hear it, a former holder's requests end, and each is told why."""

from __future__ import annotations

import pytest
from registry_driver import HERE, Router, held, restarted

from actors.errors import AgentBusy, AgentFenced
from actors.protocol.calls import ClaimCall, FenceCall, ReleaseCall
from actors.protocol.states import ClaimPhase, Role, SessionPhase
from router.core.effects import CANCELLED


def claims(router: Router, request_id: str, *, client: str = "c", when_busy: str = "queue", number: int = 0) -> str:
    """Claim the agent `ada`; return the phase of the claim, or the code of the refusal."""
    call = ClaimCall(client, request_id, "ada", when_busy, number > 0, f"{client}-token", number)
    error, state = router.registry.claim(call, 0.0)
    return state.phase if error is None else error.code


def releases(router: Router, request_id: str, *, client: str = "c") -> None:
    router.registry.release(ReleaseCall(client, request_id, f"{client}-token", has_ended=True))


def hears(router: Router, client: str) -> set[str]:
    """Return the requests of whose claims a client hears, and let it have heard."""
    known = router.registry.clients.get(client)
    keys = {request_id for role, request_id in known.outbox if role == Role.AGENT}
    known.outbox.clear()
    return keys


def test_the_next_in_the_queue_hears_that_it_holds_the_agent_and_those_behind_it_nothing_new():
    router = Router(HERE)
    assert claims(router, "a", client="first") == ClaimPhase.HELD
    assert [claims(router, name, client=name) for name in ("b", "c")] == [ClaimPhase.QUEUED] * 2
    for client in ("first", "b", "c"):
        hears(router, client)
    releases(router, "a", client="first")
    assert router.registry.agents.phase("b") == ClaimPhase.HELD
    assert "b" in hears(router, "b")
    assert router.registry.agents.phase("c") == ClaimPhase.QUEUED


def test_all_claimants_of_one_request_hear_of_it():
    router = Router(HERE)
    claims(router, "a")
    for client in ("one", "two"):
        assert claims(router, "b", client=client) == ClaimPhase.QUEUED
        hears(router, client)
    releases(router, "a")
    assert hears(router, "one") == hears(router, "two") == {"b"}


def test_a_claim_that_comes_after_its_release_holds_the_agent_for_nobody():
    router = Router(HERE)
    claims(router, "a", client="first")
    releases(router, "a", client="first")
    assert claims(router, "a", client="first") == ClaimPhase.UNKNOWN
    assert claims(router, "b", client="second", when_busy="reject") == ClaimPhase.HELD


def test_one_that_is_turned_away_is_refused_by_name_counted_and_holds_nobody_up():
    router = Router(HERE)
    claims(router, "a")
    assert claims(router, "b", when_busy="reject") == AgentBusy.code
    assert router.registry.refused_by == {AgentBusy.code: 1}
    assert router.registry.agents.phase("b") == ClaimPhase.UNKNOWN


def test_an_interrupted_holder_hears_so():
    router = Router(HERE)
    claims(router, "a", client="holder")
    hears(router, "holder")
    claims(router, "b", client="other", when_busy="interrupt")
    assert hears(router, "holder") == {"a"}
    assert router.registry.agents.phase("a") == ClaimPhase.INTERRUPTED


# --- fences -----------------------------------------------------------------------------------


def test_a_fence_ends_all_former_requests_of_its_agent_and_names_those_whose_end_is_under_way():
    router = Router(HERE, max_actors=1)
    for number in range(1, 4):
        router.open(f"r{number}", agent_id="ada", agent_number=number)
    router.open("bob's", agent_id="bob", agent_number=1)
    router.open("ended", agent_id="ada", agent_number=4)
    router.seals("ended")
    assert router.registry.fence(FenceCall("ada", 3, "r3"), 0.0) == (3, ["r1", "r2"])
    assert router.registry.fence(FenceCall("ada", 5, "r5"), 0.0) == (5, ["r1", "r2", "r3"])
    assert not router.request("bob's").is_fenced_out
    assert not router.request("ended").is_fenced_out
    router.seals("r1")
    assert router.registry.fence(FenceCall("ada", 5, "r5"), 0.0) == (5, ["r2", "r3"])
    router.registry.validate()


def test_who_is_fenced_out_twice_is_cancelled_once():
    router = Router(HERE)
    router.open("old", agent_id="ada", agent_number=1)
    for number in (2, 3):
        router.registry.fence(FenceCall("ada", number, "new"), 0.0)
        assert isinstance(router.opens("old", epoch=1, agent_id="ada", agent_number=1), AgentFenced)
    notes = router.registry.take_effects().notes
    assert [note.detail for note in notes if note.kind == CANCELLED] == [
        "fenced out: agent 'ada' has gone on to request 'new'"
    ]


def test_the_former_publisher_hears_who_follows_it():
    router = Router(HERE)
    router.open("old", agent_id="ada", agent_number=1)
    router.registry.fence(FenceCall("ada", 2, "new"), 0.0)
    code, text = router.publisher_state("old").error
    assert code == AgentFenced.code
    assert "'old'" in text
    assert "'new'" in text


@pytest.mark.parametrize("number", [0, 1, 5, 6])
def test_a_registration_of_a_lower_number_is_refused_also_where_the_request_was_never_here(number):
    router = Router(HERE)
    router.registry.fence(FenceCall("ada", 6, "new"), 0.0)
    error = router.opens("old", agent_id="ada", agent_number=number)
    assert isinstance(error, AgentFenced) == (number < 6)
    assert ("old" in router.registry.requests) == (number == 6)


# --- a router that has lost its memory --------------------------------------------------------


def test_after_a_restart_a_holder_keeps_its_agent_and_its_number():
    router = restarted()
    assert claims(router, "b", client="other") == ClaimPhase.QUEUED
    assert claims(router, "a", number=7) == ClaimPhase.HELD, "it has fenced the others out before"
    for client in ("c", "other"):
        router.registry.clients.get(client).watching = 1
    router.passes(100.0)
    assert router.registry.agents.number("a") == 7
    assert router.registry.agents.phase("b") == ClaimPhase.QUEUED


def test_a_number_that_an_actor_still_holds_is_named_to_a_follower_whose_router_granted_a_lower_one():
    """The clock of the agent's router had gone back: the follower must get a higher number, not a fence in vain."""
    router = restarted(s1=[held("old", SessionPhase.OPEN, owner=("ada", 50))])
    assert router.registry.fence(FenceCall("ada", 40, "new"), 0.0) == (50, [])
    assert router.registry.fence(FenceCall("ada", 51, "new"), 0.0) == (51, ["old"])


def test_a_request_without_a_number_claims_no_agent_and_fences_nobody():
    router = restarted(s1=[held("old", SessionPhase.OPEN, owner=("ada", 0))])
    router.opens("other", client="other", epoch=1, agent_id="ada", agent_number=0)
    assert not router.request("old").is_fenced_out
    assert router.registry.fences.number("ada") == 0
