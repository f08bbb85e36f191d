"""Timeouts: whoever is silent too long is given up, whoever comes back in time is not, and every timer ends."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from registry_driver import HERE, Router, settings

from actors.errors import PoolFull
from actors.protocol.calls import ClaimCall
from actors.protocol.states import ClaimPhase, RequestPhase, Role
from router.core.outboxes import CLIENT_FORGET_S, CLIENT_TIMEOUT_S
from router.core.timeouts import TICK_MAX, Timeouts
from router.core.timers import Timer

GRACE_S = 5.0
GRACE = settings(publisher_grace_s=GRACE_S)


def test_each_timer_that_can_be_set_is_looked_at_when_it_comes():
    assert Timeouts._WHEN_DUE.keys() == set(Timer)
    assert all(callable(getattr(Timeouts, name)) for name in Timeouts._WHEN_DUE.values())


# --- publishers -------------------------------------------------------------------------------


def speaks(router: Router, now: float) -> None:
    router.registry.news("publisher", ("", 0), now)


def test_a_silent_publisher_has_its_grace_and_then_its_request_ends_as_publisher_lost():
    router = Router(HERE)
    router.open("req", packed=GRACE)
    router.passes(CLIENT_TIMEOUT_S + GRACE_S - 0.01)
    assert router.request("req").ending is None
    router.passes(CLIENT_TIMEOUT_S + GRACE_S + 0.01)
    assert router.request("req").ending[0] == "publisher_lost"
    assert f"within {GRACE_S:g} s" in router.request("req").ending[1]


@pytest.mark.parametrize(
    "word_s", [1.0, CLIENT_TIMEOUT_S - 0.01, CLIENT_TIMEOUT_S + 0.01, CLIENT_TIMEOUT_S + GRACE_S - 0.1]
)
def test_a_word_in_time_saves_the_request_and_a_new_silence_counts_from_there(word_s):
    router = Router(HERE)
    router.open("req", packed=GRACE)
    router.passes(word_s)
    speaks(router, word_s)
    assert router.request("req").publisher_gone_at is None
    router.passes(word_s + CLIENT_TIMEOUT_S + GRACE_S - 0.01)
    assert router.request("req").ending is None
    router.passes(word_s + 2 * CLIENT_TIMEOUT_S + GRACE_S + 0.01)
    assert router.request("req").ending[0] == "publisher_lost"


def test_a_second_silence_has_a_grace_of_its_own_though_the_timer_of_the_first_comes_in_it():
    router = Router(HERE)
    grace_s = 3 * CLIENT_TIMEOUT_S
    router.open("req", packed=settings(publisher_grace_s=grace_s))
    router.passes(CLIENT_TIMEOUT_S + 1.0)
    back_s = CLIENT_TIMEOUT_S + 1.0
    speaks(router, back_s)
    router.passes(2 * CLIENT_TIMEOUT_S + grace_s - 1.0)
    assert router.request("req").publisher_gone_at is not None
    assert router.request("req").ending is None
    router.passes(3 * CLIENT_TIMEOUT_S + grace_s + 1.0)
    assert router.request("req").ending[0] == "publisher_lost"


def test_of_the_requests_of_a_process_that_died_so_many_end_at_once_and_the_others_soon():
    router = Router(HERE, max_actors=1)
    for number in range(2 * TICK_MAX + 1):
        router.open(f"req-{number}", packed=GRACE)
    router.passes(CLIENT_TIMEOUT_S)
    late, ended = CLIENT_TIMEOUT_S + GRACE_S + 1.0, []
    while router.registry.due_at() <= late:
        router.registry.tick(late)
        ended.append(sum(request.ending is not None for request in router.registry.requests.values()))
    assert ended == [TICK_MAX, 2 * TICK_MAX, 2 * TICK_MAX + 1]


def test_one_whose_watch_is_out_is_not_silent():
    router = Router(HERE)
    router.open("req", packed=GRACE)
    router.registry.clients.get("publisher").watching = 1
    router.passes(1_000.0)
    assert router.request("req").ending is None
    assert router.request("req").publisher_gone_at is None


def test_a_pause_of_the_router_itself_is_no_silence_of_others():
    router = Router(HERE)
    router.open("req", packed=GRACE)
    router.registry.paused(100.0)
    router.passes(100.0 + CLIENT_TIMEOUT_S - 0.01)
    assert router.request("req").publisher_gone_at is None


def test_a_request_that_was_taken_over_in_its_grace_goes_on():
    router = Router(HERE)
    router.open("req", packed=GRACE)
    router.passes(CLIENT_TIMEOUT_S + 1.0)
    now = CLIENT_TIMEOUT_S + 2.0
    assert router.opens("req", now, client="successor", packed=GRACE, take_over=True) is None
    router.registry.clients.get("successor").watching = 1
    router.passes(1_000.0)
    assert router.request("req").ending is None


def test_a_client_is_forgotten_once_it_is_silent_unless_it_publishes_and_may_come_back():
    router = Router(HERE)
    router.open("req", packed=settings(publisher_grace_s=2 * CLIENT_FORGET_S))
    router.registry.news("reader", ("", 0), 0.0)
    router.passes(CLIENT_TIMEOUT_S + 0.01)
    assert "reader" not in router.registry.clients
    assert "publisher" in router.registry.clients
    router.passes(CLIENT_FORGET_S + CLIENT_TIMEOUT_S)
    assert "publisher" not in router.registry.clients


def test_the_agent_of_a_silent_holder_goes_to_the_next_who_must_fence_it_out_first():
    router = Router(HERE)
    for client, request_id in (("publisher", "old"), ("other", "new")):
        router.registry.claim(ClaimCall(client, request_id, "ada", "queue", False, client, 0), 0.0)
    router.registry.clients.get("other").watching = 1
    router.passes(CLIENT_TIMEOUT_S - 0.01)
    assert router.registry.agents.phase("new") == ClaimPhase.QUEUED
    router.passes(CLIENT_TIMEOUT_S + 0.01)
    assert router.registry.agents.phase("new") == ClaimPhase.FENCING
    assert (Role.AGENT, "new") in router.registry.clients.get("other").outbox


@given(
    st.floats(0, 1e9, allow_nan=False),
    st.lists(st.floats(0, 2 * CLIENT_TIMEOUT_S, allow_nan=False), max_size=6),
)
def test_no_timer_is_set_for_the_very_moment_at_which_it_came_however_the_clock_rounds(begin, pauses):
    """Else a router would spin."""
    router = Router(HERE)
    now = begin
    router.open("req", now, packed=GRACE)
    looks = 0
    for pause in [*pauses, 0.0]:
        now += pause
        speaks(router, now)
        for _ in range(3):
            due_at = router.registry.due_at()
            router.registry.tick(due_at)
            assert router.registry.due_at() > due_at
            looks += 1
            now = max(now, due_at)
    assert looks == 3 * (len(pauses) + 1)


# --- opens ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("streams", "words"), [(1, "could be started"), (0, "was full")])
def test_an_open_that_finds_no_actor_fails_in_time_and_its_publisher_hears_why_until_it_could_have(streams, words):
    router = Router(max_actors=1, max_streams_per_actor=1, open_timeout_s=3.0)
    if not streams:
        router.opens("first")
        router.registry.actor_started("s1", 1, HERE, 0.0)
    router.opens("req")
    router.registry.clients.get("publisher").watching = 1
    router.passes(2.9)
    assert router.request("req").phase == RequestPhase.WAITING
    router.passes(3.1)
    assert "req" not in router.registry.requests
    state = router.publisher_state("req")
    assert (state.phase, state.error[0]) == (RequestPhase.REFUSED, PoolFull.code)
    assert words in state.error[1]
    assert router.registry.refused_by == {PoolFull.code: 1}
    router.passes(3.1 + CLIENT_TIMEOUT_S)
    assert router.registry.refusals.get("publisher", "req") is None


def test_an_id_whose_open_failed_late_can_be_opened_again_and_is_not_refused_by_what_was():
    router = Router(max_actors=1, open_timeout_s=3.0)
    router.opens("req")
    router.passes(3.1)
    assert router.opens("req", 3.2) is None
    router.registry.actor_started("s1", 1, HERE, 3.3)
    assert router.publisher_state("req", now=3.3).phase == RequestPhase.OPEN


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("request_timeout_s", "timeout_request"),
        ("first_message_timeout_s", "timeout_first_message"),
        ("idle_reader_timeout_s", "timeout_idle_reader"),
    ],
)
def test_a_requests_own_timers_hold_while_no_actor_watches_over_it(setting, reason):
    router = Router(max_actors=1, open_timeout_s=30.0)
    router.opens("req", packed=settings(**{setting: 2.0}))
    router.passes(1.9)
    assert router.request("req").is_live
    router.passes(2.1)
    assert router.request("req").stop_reason == reason


# --- ends -------------------------------------------------------------------------------------


def test_an_ended_request_is_kept_for_its_time_and_not_longer():
    router = Router(HERE)
    router.open("req", packed=settings(sealed_ttl_s=7.0))
    router.seals("req", 2.0)
    router.passes(8.9)
    assert "req" in router.registry.requests
    router.passes(9.1)
    assert "req" not in router.registry.requests


def test_when_all_is_over_nothing_waits_for_any_time():
    router = Router(HERE)
    for number in range(5):
        router.open(f"r{number}", client=f"c{number}")
        router.seals(f"r{number}")
    router.passes(100_000.0)
    assert router.registry.due_at() == math.inf
    assert len(router.registry.clients) == len(router.registry.requests) == 0
