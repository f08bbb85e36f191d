"""What a reader has to say waits for others to ride with, but not for long, and never where somebody waits for it."""

from __future__ import annotations

from actors.protocol.deadlines import NEVER
from actors.protocol.reads import ANSWERS_AHEAD_MAX
from router.client.reading.asking import RENEW_BYTES, RENEW_S, RIDE_S, Asking


def asked(now: float = 0.0) -> Asking:
    made = Asking()
    assert made.asked() == 1
    assert made.due_at == NEVER, now
    return made


def test_what_has_come_is_said_a_little_later_with_all_that_comes_meanwhile():
    asking = asked()
    asking.had(100, 1.0)
    asking.had(100, 1.0 + RIDE_S / 2)
    assert asking.due_at == 1.0 + RENEW_S
    assert asking.asked() == 3
    assert asking.due_at == NEVER


def test_what_has_waited_rides_with_what_comes_next():
    asking = asked()
    asking.had(100, 1.0)
    asking.had(100, 1.01 + RIDE_S)
    assert asking.due_at == 1.01 + RIDE_S


def test_more_is_asked_for_before_what_was_granted_is_used():
    asking = asked()
    for _ in range(ANSWERS_AHEAD_MAX // 2 - 1):
        asking.had(10, 1.0)
    assert asking.due_at > 1.0
    asking.had(10, 1.0)
    assert asking.due_at == 1.0


def test_much_that_has_come_is_said_at_once():
    asking = asked()
    asking.had(RENEW_BYTES - 1, 1.0)
    assert asking.due_at > 1.0
    asking.had(1, 1.0)
    assert asking.due_at == 1.0


def test_an_acknowledgement_that_somebody_waits_for_is_said_at_once():
    asking = asked()
    asking.wants(1.0, at_once=False)
    asking.wants(1.01, at_once=True)
    assert asking.due_at == 1.01


def test_an_answer_that_came_before_is_not_new():
    asking = asked()
    asking.had(10, 1.0)
    assert [asking.is_new(number) for number in (1, 2, 3)] == [False, True, False]
