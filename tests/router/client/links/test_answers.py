"""Which of a router's answers are still true, when answers overtake each other and routers restart."""

from __future__ import annotations

from types import SimpleNamespace

from router.client.links.answers import Answers, Standing
from router.client.links.listeners import Listeners
from router.core.outboxes import Clients

KEY = ("p", "req")


def test_the_first_incarnation_is_no_restart_and_the_next_one_is():
    answers = Answers()
    assert answers.standing("a", 1) == Standing.FIRST
    assert answers.standing("a", 2) == Standing.CURRENT
    assert answers.standing("b", 3) == Standing.RESTARTED
    assert answers.seen == ["b", 0]


def test_an_answer_of_an_earlier_incarnation_that_comes_late_is_overtaken():
    answers = Answers()
    answers.standing("a", 1)
    answers.standing("b", 5)
    assert answers.standing("a", 4) == Standing.OVERTAKEN
    assert answers.incarnation == "b"


def test_versions_do_not_go_back_within_an_incarnation_and_begin_anew_with_the_next():
    answers = Answers()
    answers.standing("a", 1)
    answers.advance(7)
    answers.advance(3)
    assert answers.version == 7
    answers.standing("b", 2)
    assert answers.version == 0


def test_an_older_state_of_a_key_is_not_the_newest_unless_nobody_listened_meanwhile():
    listeners, listener = Listeners(), SimpleNamespace()
    listeners.add(KEY, listener)
    assert listeners.get(KEY).is_newest(5)
    assert listeners.get(KEY).is_newest(5)
    assert not listeners.get(KEY).is_newest(4)
    listeners.begin_anew()
    assert listeners.get(KEY).is_newest(1), "another incarnation counts anew"
    assert listeners.remove(KEY, listener)
    listeners.add(KEY, listener)
    assert listeners.get(KEY).is_newest(0)


def test_listeners_of_a_key_are_those_that_came_in_their_order_each_once():
    listeners, first, second = Listeners(), SimpleNamespace(), SimpleNamespace(name="another")
    for listener in (first, second, first):
        listeners.add(KEY, listener)
    assert listeners.of(KEY) == (first, second)
    assert listeners.all() == [(KEY, first), (KEY, second)]
    assert not listeners.remove(KEY, first), "somebody still listens"
    assert listeners.remove(KEY, second)
    assert not listeners.remove(KEY, second), "nobody did"
    assert KEY not in listeners
    assert listeners.of(KEY) == ()


def test_a_router_that_has_only_forgotten_this_client_has_not_restarted():
    clients = Clients("router", lambda _client_id, _now: None)
    first = clients.heard("client", 0.0).incarnation
    clients.forget("client")
    second = clients.heard("client", 40.0).incarnation
    restarted = Clients("another", lambda _client_id, _now: None).heard("client", 41.0).incarnation
    answers = Answers()
    assert answers.standing(first, 1) == Standing.FIRST
    answers.advance(7)
    assert answers.standing(second, 2) == Standing.FORGOTTEN
    assert answers.seen == [second, 0], "it begins anew all the same"
    assert answers.standing(first, 1) == Standing.OVERTAKEN
    assert answers.standing(restarted, 3) == Standing.RESTARTED
