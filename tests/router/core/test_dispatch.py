"""Dispatch: what is said of a request goes to the actor that holds it, under its epoch, and to nobody else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from registry_driver import SETTINGS

from actors.protocol.envelopes import ENVELOPES, Order
from actors.protocol.frames import checked
from actors.protocol.states import Role
from actors.settings import StreamSettings
from router.core.dispatch import Dispatch
from router.core.effects import ENDED
from router.core.outboxes import Clients
from router.core.request import Request

WORDS: dict[Order, Callable[[Dispatch, Request], None]] = {
    Order.OPEN: lambda dispatch, request: dispatch.send_open(request, 50.0),
    Order.CANCEL_AFTER_STEP: lambda dispatch, request: dispatch.send_cancel_after_step(request),
    Order.END: lambda dispatch, request: dispatch.send_end(request),
    Order.STORED: lambda dispatch, request: dispatch.send_stored(request, 0.0),
    Order.FORGET: lambda dispatch, request: dispatch.send_forget(request),
}


@pytest.fixture
def dispatch() -> Dispatch:
    clients = Clients("incarnation", lambda _client_id, _now: None)
    for client_id in ("publisher", "other"):
        clients.heard(client_id, 0.0)
    return Dispatch(clients)


def a_request() -> Request:
    request = Request("req", SETTINGS, StreamSettings(), "publisher", "2026-01-02", 10.0, "ada", 7, start_seq=3)
    request.place("s1")
    request.take_items(3, 8)
    request.ask_end("cancelled", "why")
    return request


@pytest.mark.parametrize("order", WORDS)
def test_each_word_goes_to_the_actor_of_the_request_under_its_epoch_in_the_shape_that_actors_take(dispatch, order):
    WORDS[order](dispatch, a_request())
    ((actor_id, request_id, envelope, size_bytes),) = dispatch.effects.send
    assert (actor_id, request_id) == ("s1", "req")
    assert envelope[:3] == (order, "req", 1)
    assert checked(ENVELOPES[order], [*envelope]) == envelope
    assert size_bytes > 0


@pytest.mark.parametrize("order", WORDS)
def test_of_a_request_that_no_actor_holds_nothing_is_said(dispatch, order):
    request = a_request()
    request.unplace(1.0)
    WORDS[order](dispatch, request)
    assert not dispatch.effects


def test_an_open_says_all_that_a_session_must_know_of_those_before_it(dispatch):
    request = a_request()
    request.unplace(20.0)
    request.place("s2")
    dispatch.send_open(request, 50.0)
    ((actor_id, _, opened, _),) = dispatch.effects.send
    assert (actor_id, opened.epoch) == ("s2", 2)
    assert (opened.age_s, opened.start_seq, opened.replay_through) == (40.0, 3, 8)
    assert (opened.publisher_id, opened.date, opened.owner) == ("publisher", "2026-01-02", ["ada", 7, 0, b""])


def test_an_end_waits_for_what_was_sent_unless_nobody_will_send_it_again(dispatch):
    request = a_request()
    dispatch.send_end(request)
    request.abandon()
    dispatch.send_end(request)
    assert [envelope.after_seq for _, _, envelope, _ in dispatch.effects.send] == [8, 0]
    assert [envelope.stop_reason for _, _, envelope, _ in dispatch.effects.send] == ["cancelled", "cancelled"]


def test_no_end_is_passed_on_that_nobody_asked_for(dispatch):
    request = a_request()
    request.ending = None
    dispatch.send_end(request)
    assert not dispatch.effects


def test_a_session_that_is_over_is_dropped_where_it_is_whoever_holds_the_request_now(dispatch):
    dispatch.forget_session("s9", "req", 4)
    ((actor_id, _, envelope, _),) = dispatch.effects.send
    assert (actor_id, envelope) == ("s9", (Order.FORGET, "req", 4))


@pytest.mark.parametrize("urgent", [True, False])
def test_its_publisher_hears_of_a_request_and_no_other_client_does(dispatch, urgent):
    dispatch.tell_publisher(a_request(), urgent=urgent)
    assert dispatch._clients.take_wakes() == {"publisher": urgent}
    assert [*dispatch._clients.get("publisher").outbox] == [(Role.PUBLISHER, "req")]
    assert not dispatch._clients.get("other").outbox


def test_what_happened_is_noted_for_those_who_look_on_and_in_the_story_of_the_request(dispatch):
    dispatch.note(ENDED, a_request(), 60.0, "end_turn")
    (note,) = dispatch.effects.take().notes
    assert (note.kind, note.request_id, note.epoch, note.detail) == (ENDED, "req", 1, "end_turn")
    assert note.at == 60.0
    assert [*dispatch.stories.of("req")] == [note]
