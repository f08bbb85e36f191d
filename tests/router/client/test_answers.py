"""Which of a router's answers are still true, when answers overtake each other and routers restart."""

from __future__ import annotations

from router.client.answers import Answers, Standing

KEY = ("p", "req")


def test_the_first_incarnation_is_no_restart_and_the_next_one_is():
    answers = Answers()
    assert answers.standing("a", 1) == Standing.CURRENT
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
    answers = Answers()
    assert answers.is_newest(KEY, 5)
    assert answers.is_newest(KEY, 5)
    assert not answers.is_newest(KEY, 4)
    answers.forget(KEY)
    assert answers.is_newest(KEY, 4)
