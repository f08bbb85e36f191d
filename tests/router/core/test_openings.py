"""Openings: every way in which a publisher may come with a request, and what it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from registry_driver import HERE, Router, held, restarted, settings

from actors.errors import (
    AgentFenced,
    Draining,
    DuplicateRequest,
    InvalidRequestId,
    LimitExceeded,
    PoolFull,
    Recovering,
    RequestEnded,
    StreamRouterError,
    UnknownRequest,
)
from actors.protocol.calls import FenceCall, OpenCall
from actors.protocol.frames import pack
from actors.protocol.states import Report, RequestPhase, SessionPhase
from router.core import outboxes
from router.core.outboxes import CLIENT_TIMEOUT_S

GONE_AT = CLIENT_TIMEOUT_S + 1.0

# --- what is known of the request when it comes -----------------------------------------------


def unknown() -> Router:
    return Router(HERE)


def open_of_its_own() -> Router:
    router = Router(HERE)
    router.open("req")
    router.sends("req", 1, 4)
    return router


def open_and_its_publisher_gone() -> Router:
    router = open_of_its_own()
    router.passes(GONE_AT)
    return router


def not_whole_and_its_publisher_gone() -> Router:
    router = open_of_its_own()
    router.add_actor(HERE)
    router.dies("s1")
    router.passes(GONE_AT)
    return router


def ended() -> Router:
    router = open_of_its_own()
    router.seals("req")
    return router


def recovering() -> Router:
    return restarted()


def recovering_and_an_actor_is_still_asked() -> Router:
    router = restarted()
    router.registry.expect(["s9"])
    return router


def fenced() -> Router:
    router = open_of_its_own()
    router.registry.fence(FenceCall("ada", 9, "its follower"), 0.0)
    return router


def draining() -> Router:
    router = Router(HERE)
    router.registry.admission.draining = True
    return router


def full() -> Router:
    router = Router(HERE, max_actors=1, max_streams_per_actor=1, when_pool_full="refuse")
    router.open("other")
    return router


OWN: dict[str, Any] = {}
ANOTHER = {"client": "another"}
AGAIN = {"epoch": 1, "sent_seq": 4}
TAKE_OVER = {"take_over": True}
LED = {"agent_id": "ada", "agent_number": 8}
OTHER_SETTINGS = {"packed": settings(stall_timeout_s=1.5)}

TABLE: list[tuple[Callable[[], Router], dict[str, Any], type[StreamRouterError] | None]] = [
    (unknown, OWN, None),
    (unknown, AGAIN, None),
    (unknown, TAKE_OVER, UnknownRequest),
    (unknown, TAKE_OVER | AGAIN, None),
    (open_of_its_own, OWN, None),
    (open_of_its_own, AGAIN, None),
    (open_of_its_own, TAKE_OVER, None),
    (open_of_its_own, OTHER_SETTINGS, DuplicateRequest),
    (open_of_its_own, ANOTHER, DuplicateRequest),
    (open_of_its_own, ANOTHER | AGAIN, DuplicateRequest),
    (open_of_its_own, ANOTHER | TAKE_OVER, DuplicateRequest),
    (open_and_its_publisher_gone, ANOTHER, DuplicateRequest),
    (open_and_its_publisher_gone, ANOTHER | TAKE_OVER, None),
    (open_and_its_publisher_gone, ANOTHER | TAKE_OVER | OTHER_SETTINGS, None),
    (open_and_its_publisher_gone, AGAIN, None),
    (not_whole_and_its_publisher_gone, ANOTHER | TAKE_OVER, RequestEnded),
    (ended, OWN, RequestEnded),
    (ended, ANOTHER, RequestEnded),
    (ended, ANOTHER | TAKE_OVER, RequestEnded),
    (ended, AGAIN, None),
    (ended, TAKE_OVER, None),
    (recovering, OWN, None),
    (recovering, AGAIN, None),
    (recovering, TAKE_OVER, Recovering),
    (recovering_and_an_actor_is_still_asked, OWN, Recovering),
    (recovering_and_an_actor_is_still_asked, AGAIN, Recovering),
    (fenced, OWN | LED, AgentFenced),
    (fenced, AGAIN | LED, AgentFenced),
    (fenced, ANOTHER | TAKE_OVER | LED, AgentFenced),
    (draining, OWN, Draining),
    (draining, AGAIN, None),
    (full, OWN, PoolFull),
    (full, AGAIN, None),
]


@pytest.mark.parametrize(("begin", "how", "error"), TABLE)
def test_whoever_comes_with_a_request_is_let_in_or_told_why_not(begin, how, error):
    router = begin()
    now = GONE_AT if "gone" in begin.__name__ else 0.0
    found = router.opens("req", now, **how)
    assert type(found) is (error or type(None))
    if error is None:
        known = router.request("req")
        assert known.client_id == how.get("client", "publisher")
        assert known.publisher_gone_at is None
    elif error not in (Recovering, RequestEnded, UnknownRequest):
        before = begin().registry.requests.get("req")
        after = router.registry.requests.get("req")
        assert (before is None) == (after is None)
        assert before is None or before.client_id == after.client_id, "a refusal changes no owner"
    refused = {} if error in (None, Recovering) else {error.code: 1}
    assert router.registry.refused_by == refused, "to be asked again is no refusal"


@pytest.mark.parametrize("request_id", ["", "x" * 1_000, "two\nlines", "\ud83d"])
def test_what_is_no_id_opens_nothing(request_id):
    router = Router(HERE)
    assert isinstance(router.opens(request_id), InvalidRequestId)
    assert len(router.registry.requests) == 0


def test_more_than_may_be_open_are_refused_and_those_that_come_again_are_not_counted_as_new():
    router = Router(HERE, max_actors=1)
    router.registry.admission._limits = router.registry.config.limits.model_copy(update={"open_requests_max": 2})
    assert [router.opens(f"r{number}") for number in range(2)] == [None, None]
    assert isinstance(router.opens("r2"), LimitExceeded)
    assert router.opens("r3", epoch=1) is None
    router.seals("r0")
    router.seals("r1")
    assert router.opens("r4") is None


# --- what follows -----------------------------------------------------------------------------


def test_the_publisher_of_an_ended_request_hears_how_it_ended_while_it_was_away():
    router = ended()
    router.registry.news("publisher", ("", 0), 0.0)
    router.opens("req", **AGAIN)
    assert router.publisher_state("req").stop_reason == "end_turn"


def test_a_request_that_is_taken_over_goes_on_behind_the_last_item_and_asks_its_session_how_far_that_is():
    router = open_and_its_publisher_gone()
    router.registry.take_effects()
    router.opens("req", GONE_AT, client="another", take_over=True)
    assert router.publisher_state("req", client="another", now=GONE_AT).phase == RequestPhase.WAITING
    (opened,) = router.sent_to("s1")
    assert (opened.epoch, opened.start_seq, opened.publisher_id) == (1, 5, "another")
    router.says("s1", "req", SessionPhase.OPEN, GONE_AT, next_seq=5, credit_bytes=9)
    state = router.publisher_state("req", client="another", now=GONE_AT)
    assert (state.phase, state.next_seq, state.credit_bytes) == (RequestPhase.OPEN, 5, 9)
    router.sends("req", 5, client="publisher")
    assert router.registry.ignored_by == {"not_its_publisher": 1}, "who was followed writes nothing more"


def test_a_request_that_was_taken_over_and_whose_session_is_gone_is_lost_for_nobody_has_its_beginning():
    router = Router(HERE)
    assert router.opens("req", epoch=2, sent_seq=9, start_seq=5) is None
    assert router.request("req").stop_reason == "lost"
    assert router.publisher_state("req").stop_reason == "lost"


def test_a_request_that_is_registered_again_has_the_age_and_the_items_that_its_publisher_knows():
    router = Router(HERE)
    router.opens("req", epoch=4, sent_seq=9, agent_id="ada", agent_number=3)
    known = router.request("req")
    assert (known.epoch, known.sent_seq, known.high_seq, known.is_whole) == (5, 0, 9, False)
    assert (known.agent_id, known.agent_number) == ("ada", 3)


@pytest.mark.parametrize(("cancel", "reason"), [("now", "cancelled"), ("after_step", None)])
def test_a_cancel_that_only_its_publisher_knows_of_holds_after_a_restart(cancel, reason):
    router = restarted(s1=[held("req", SessionPhase.OPEN)])
    router.opens("req", epoch=1, cancel=cancel)
    known = router.request("req")
    assert known.cancel == cancel
    assert (known.ending and known.ending[0]) == reason


def test_a_fencing_number_never_falls_whatever_comes_late():
    router = Router(HERE)
    router.open("req", agent_id="ada", agent_number=7)
    router.opens("req", epoch=1, agent_id="ada", agent_number=5)
    assert router.request("req").agent_number == 7


def test_an_open_said_twice_is_one_open():
    router = Router(HERE)
    for _ in range(2):
        assert router.opens("req") is None
    assert router.registry.counts["opened"] == 1
    assert len(router.sent_to("s1")) == 1


def test_no_end_comes_before_what_readers_may_have_seen_of_a_session_that_died_with_its_router():
    """Its publisher had begun to send it all again, and has not come as far as it had been."""
    router = Router(HERE)
    router.opens("req", epoch=2, sent_seq=9)
    (opened,) = router.sent_to("s1")
    assert opened.replay_through == 9
    router.sends("req", 1, 4)
    router.add_actor(HERE)
    router.dies("s1")
    router.passes(GONE_AT)
    assert isinstance(router.opens("req", GONE_AT, client="another", take_over=True), RequestEnded)
    assert router.request("req").stop_reason == "lost"


# --- calls that come twice, or late -----------------------------------------------------------


def ended_and_forgotten(router: Router) -> None:
    router.seals("req")
    router.passes(router.request("req").forget_at + 1.0)
    assert "req" not in router.registry.requests


def calls(router: Router, number: int, request_id: str = "req", known: str | None = None) -> StreamRouterError | None:
    """Let a client's call to open with this number come; `known`: the memory of the router that it knows."""
    is_new = router.registry.is_new_open(OpenCall("publisher", number, [known, 0], []), 0.0)
    return router.opens(request_id, is_new=is_new)


@pytest.mark.parametrize("late", [1, 2])
def test_a_call_that_comes_late_does_not_begin_anew_what_has_ended_and_is_forgotten(late):
    router = Router(HERE, max_actors=1)
    assert calls(router, 1, "another") is None
    assert calls(router, 2) is None
    assert calls(router, 2) is None, "its answer was lost"
    ended_and_forgotten(router)
    assert isinstance(calls(router, late), Recovering), "whoever still waits asks again"
    assert "req" not in router.registry.requests
    assert calls(router, 3) is None, "an ID that is forgotten can be used again"
    assert router.registry.refused_by == {}


def test_a_call_that_comes_late_does_not_begin_what_was_refused_and_its_publisher_hears_of_the_refusal():
    router = Router(max_actors=1, open_timeout_s=4.0)
    assert calls(router, 1) is None
    router.passes(5.0)
    assert router.publisher_state("req", now=5.0).phase == RequestPhase.REFUSED
    assert isinstance(calls(router, 1), Recovering)
    assert router.publisher_state("req", now=5.0).phase == RequestPhase.REFUSED
    assert calls(router, 2) is None
    assert router.publisher_state("req", now=5.0).phase == RequestPhase.WAITING


@pytest.mark.parametrize("known", [None, "the router before/1"])
def test_a_restarted_router_begins_nothing_for_a_call_that_may_have_been_at_the_one_before(known):
    router = restarted()
    assert isinstance(calls(router, 7, known=known), Recovering)
    assert calls(router, 8, known=router.registry.clients.known("publisher", 0.0).incarnation) is None


def test_a_router_that_has_forgotten_a_client_knows_which_of_its_calls_it_has_had():
    router = Router(HERE)
    assert calls(router, 1) is None
    known = router.registry.clients.known("publisher", 0.0).incarnation
    ended_and_forgotten(router)
    assert "publisher" not in router.registry.clients
    assert isinstance(calls(router, 1), Recovering)
    assert calls(router, 2, known=known) is None, "it has forgotten the client, and is the router that the client knows"


def test_of_clients_that_were_forgotten_so_many_are_remembered(monkeypatch):
    monkeypatch.setattr(outboxes, "FORGOTTEN_MAX", 2)
    clients = Router(HERE).registry.clients
    for number, client_id in enumerate("abc", 1):
        clients.heard(client_id, 0.0).opens_no = number
        clients.forget(client_id)
    assert [clients.known(client_id, 1.0).opens_no for client_id in "abc"] == [0, 2, 3]


def test_a_router_that_has_restarted_hears_of_its_actors_what_has_ended_and_is_forgotten():
    router = restarted(s1=[[list(Report("req", 2, SessionPhase.GONE)), {}]])
    refused = router.opens("req", epoch=2, sent_seq=4, start_seq=1)
    assert isinstance(refused, RequestEnded)
    assert router.opens("req", epoch=3, sent_seq=4, start_seq=1) is None, "begun anew since then"


@pytest.mark.parametrize(("created", "is_refused"), [(0, True), (6, True), (7, True), (8, False)])
def test_another_request_under_the_id_of_one_that_is_forgotten_is_not_taken_for_that(created, is_refused):
    router = restarted(s1=[[list(Report("req", 2, SessionPhase.GONE)), {"created": 7}]])
    refused = router.opens("req", epoch=1, sent_seq=4, start_seq=1, created=created)
    assert isinstance(refused, RequestEnded) == is_refused


def test_a_publisher_that_has_heard_of_no_session_but_of_its_number_hears_of_the_end_too():
    router = ended()
    known = router.request("req")
    assert router.opens("req", client=known.client_id, created=known.created) is None
    assert router.publisher_state("req", client=known.client_id).stop_reason == known.stop_reason
    assert isinstance(router.opens("req", client=known.client_id), RequestEnded), "an ID is used once"
    router.passes(known.forget_at + 1.0)
    assert isinstance(router.opens("req", client=known.client_id, created=known.created), RequestEnded)
    assert "req" not in router.registry.requests
    assert router.opens("req", client=known.client_id) is None


def test_what_comes_late_for_a_forgotten_request_is_of_another_epoch_than_the_next_one_under_its_id():
    router = ended()
    before = router.request("req")
    router.registry.lifecycle.forget(before)
    router.open("req")
    after = router.request("req")
    assert (before.epoch, after.epoch) == (1, 2)
    router.registry.forward("publisher", [["req", before.epoch, 1, 1, pack([b"late"])]], 0.0)
    assert after.sent_seq == 0
    assert router.registry.ignored_by["other_epoch"] == 1


def test_a_publisher_that_comes_back_to_what_has_ended_and_is_forgotten_does_not_begin_it_anew():
    router = ended()
    request = router.request("req")
    router.registry.lifecycle.forget(request)
    refused = router.opens("req", epoch=request.epoch, sent_seq=4, start_seq=1)
    assert isinstance(refused, RequestEnded)
    assert "forgotten" in str(refused)
    assert router.opens("req") is None, "its ID is free for whoever opens it as new"
