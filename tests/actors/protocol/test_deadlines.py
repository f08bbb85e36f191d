"""Deadlines and schedules: due in order, once a key, and nothing left of what was set anew or given up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.protocol.deadlines import NEVER, STALE_MAX, Deadlines, Schedule

TIMES = st.one_of(st.integers(0, 20).map(float), st.just(NEVER))
STEPS = st.lists(st.tuples(st.sampled_from(("set", "set_by", "cancel", "tick")), st.integers(0, 5), TIMES), max_size=60)


@given(st.lists(st.integers(0, 20), max_size=30), st.integers(0, 20))
def test_what_is_due_comes_in_order_and_what_is_set_first_comes_first(times, now):
    deadlines: Deadlines[int] = Deadlines()
    for what, at in enumerate(times):
        deadlines.set(float(at), what)
    due = [(float(at), what) for what, at in enumerate(times) if at <= now]
    assert list(deadlines.take_due(now)) == sorted(due)
    assert deadlines.due_at() == min((at for at in times if at > now), default=NEVER)
    assert len(deadlines) == len(times) - len(due)


@given(STEPS)
def test_a_schedule_says_what_a_plain_table_of_times_says(steps):
    schedule: Schedule[int] = Schedule()
    table: dict[int, float] = {}
    for step, key, at in steps:
        if step == "set":
            schedule.set(key, at)
            table[key] = at
        elif step == "set_by":
            schedule.set_by(key, at)
            table[key] = min(at, table.get(key, NEVER))
        elif step == "cancel":
            schedule.cancel(key)
            table.pop(key, None)
        elif at != NEVER:
            due = sorted((when, key) for key, when in table.items() if when <= at)
            assert {*schedule.take_due(at)} == {key for _, key in due}
            for _, key_due in due:
                del table[key_due]
        table = {key: when for key, when in table.items() if when != NEVER}
        assert len(schedule) == len(table)
        assert schedule.due_at() <= min(table.values(), default=NEVER)


def test_what_is_set_anew_or_cancelled_leaves_nothing_behind():
    schedule: Schedule[int] = Schedule()
    for n in range(10_000):
        schedule.set(1, 1e6 - n)
        schedule.set(n, 1e9)
        schedule.cancel(n)
    assert len(schedule) <= 1
    assert len(schedule._heap) <= STALE_MAX + 2


def test_what_is_set_for_now_while_others_are_taken_is_taken_too():
    schedule: Schedule[str] = Schedule()
    schedule.set("first", 1.0)
    taken = []
    for key in schedule.take_due(2.0):
        taken.append(key)
        if key == "first":
            schedule.set("second", 2.0)
    assert taken == ["first", "second"]


def test_what_is_due_at_one_time_comes_in_the_order_it_was_set_and_stays_where_it_was_not_taken():
    schedule: Schedule[str] = Schedule()
    for key in ("first", "second", "third"):
        schedule.set(key, 1.0)
    due = schedule.take_due(1.0)
    assert next(due) == "first"
    due.close()
    schedule.cancel("third")
    assert schedule.due_at() == 1.0
    assert list(schedule.take_due(1.0)) == ["second"]
    assert schedule.due_at() == NEVER
