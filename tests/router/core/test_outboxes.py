"""What clients are told: whatever is lost or comes late, each hears the present state of all that concerns it."""

from __future__ import annotations

from actors.protocol.states import Role
from router.core.outboxes import Clients


def clients() -> Clients:
    made = Clients("incarnation", lambda _client_id, _now: None)
    made.heard("c", 0.0)
    return made


def test_a_lost_answer_loses_nothing_and_a_key_is_told_once():
    c = clients()
    client = c.heard("c", 0.0)
    for _ in range(3):
        c.tell("c", (Role.READER, "a"))
    c.tell("c", (Role.READER, "b"))
    for _ in range(2):
        assert c.unseen(client, (client.incarnation, 0)) == [(Role.READER, "a"), (Role.READER, "b")]
    assert c.unseen(client, (client.incarnation, 3)) == [(Role.READER, "b")]
    assert not c.unseen(client, (client.incarnation, client.version))
    assert not c.has_unseen("c", (client.incarnation, client.version))


def test_a_version_of_another_incarnation_counts_for_nothing():
    c = clients()
    client = c.heard("c", 0.0)
    c.tell("c", (Role.READER, "a"))
    assert c.unseen(client, ("an earlier router", 99)) == [(Role.READER, "a")]
    assert c.has_unseen("c", ("an earlier router", 99))


def test_one_who_was_forgotten_notices_it():
    c = clients()
    before = c.heard("c", 0.0).incarnation
    c.forget("c")
    assert c.heard("c", 1.0).incarnation != before


def test_only_who_is_interested_is_told():
    c = clients()
    c.heard("d", 0.0)
    c.take_interest("c", ["a"], 1)
    c.tell_readers("a")
    assert c.take_wakes() == {"c": True}
    c.lose_interest("c", ["a"], 2)
    c.tell_readers("a")
    assert not c.wakes
    assert not c.interesting


def test_a_word_of_no_interest_that_comes_late_does_not_undo_a_later_interest():
    c = clients()
    c.take_interest("c", ["a"], 1)
    c.take_interest("c", ["a"], 3)
    c.lose_interest("c", ["a"], 2)
    c.tell_readers("a")
    assert c.take_wakes() == {"c": True}
    c.take_interest("c", ["a"], 1)
    c.lose_interest("c", ["a"], 4)
    assert not c.interesting


def test_a_word_of_no_interest_that_comes_after_its_request_was_forgotten_keeps_nobody_from_hearing_so():
    for others in ([], ["d"]):
        c = clients()
        client = c.heard("c", 0.0)
        c.take_interest("c", ["a"], 3)
        c.tell_readers("a")
        c.forget_request("a")
        for other in others:
            c.take_interest(other, ["a"], 1)
        c.lose_interest("c", ["a"], 2)
        assert c.unseen(client, (client.incarnation, 0)) == [(Role.READER, "a")]
        assert c.interesting == ["a"] * len(others)


def test_a_pause_of_the_router_is_no_silence_of_its_clients():
    c = clients()
    c.heard("c", 10.0)
    c.paused(15.0)
    client = c.get("c")
    assert client is not None
    assert client.last_seen == 25.0
