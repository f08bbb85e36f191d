"""What of the archive is written when, and that nothing which was not written is forgotten."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from router.archive.plan import Ended, Pending, day_of, folder_of, hidden_name

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC).timestamp()
DAY_S = 86_400.0


def ended(number: int, *, at: float = NOON, size: int = 10) -> Ended:
    return Ended(f"req-{number}", 1, None, "2026-11-28T12:00:00+00:00", at - 1, at, b"x" * size)


def pending(**changes) -> Pending:
    return Pending("w", **{"requests_max": 3, "bytes_max": 1000, "wait_s": 10.0, "queue_bytes_max": 10_000, **changes})


def names(batch) -> list[str]:
    return [one.request_id for one in batch.requests]


def test_a_batch_is_cut_when_it_is_full_of_requests_or_of_bytes_or_has_waited():
    full = pending()
    assert [full.offer(ended(n), 0.0) for n in range(3)] == [False, False, True]
    assert names(full.take(0.0)) == ["req-0", "req-1", "req-2"]
    heavy = pending()
    assert heavy.offer(ended(1, size=1000), 0.0)
    assert heavy.take(0.0) is not None
    waiting = pending()
    waiting.offer(ended(1), 5.0)
    assert waiting.due_at() == 15.0
    assert waiting.take(14.9) is None
    assert names(waiting.take(15.0)) == ["req-1"]
    assert waiting.due_at() is None


def test_each_day_has_a_file_of_its_own_and_each_file_a_name():
    both = pending()
    for number, at in enumerate((NOON, NOON + DAY_S, NOON)):
        both.offer(ended(number, at=at), 0.0)
    first, second = both.take(0.0), both.take(0.0)
    assert (first.day, names(first)) == ("2026-11-28", ["req-0", "req-2"])
    assert (second.day, names(second)) == ("2026-11-29", ["req-1"])
    assert first.name == "w-000001.parquet"
    assert second.name == "w-000002.parquet"
    assert both.take(99.0) is None


def test_what_may_not_have_been_written_comes_again_under_its_name():
    again = pending()
    again.offer(ended(1), 0.0)
    batch = again.take(10.0)
    again.offer(ended(2), 10.0)
    again.put_back(batch)
    assert len(again) == 2
    assert again.take(10.0) == batch
    again.written(batch)
    assert again.bytes_held == 10
    assert names(again.take(10.0, at_once=True)) == ["req-2"]


def test_beyond_its_bound_the_oldest_go_counted():
    small = pending(requests_max=100, bytes_max=10_000, queue_bytes_max=35)
    for number in range(5):
        small.offer(ended(number), 0.0)
    assert small.dropped == 2
    assert names(small.take(0.0, at_once=True)) == ["req-2", "req-3", "req-4"]


def test_days_are_those_of_utc_and_what_is_being_written_is_hidden():
    assert day_of(NOON) == "2026-11-28"
    assert folder_of("2026-11-28") == "day=2026-11-28"
    assert hidden_name("a.parquet").startswith(".")
    assert not hidden_name("a.parquet").endswith(".parquet")


@given(
    st.lists(st.tuples(st.sampled_from(["offer", "take", "fail"]), st.integers(0, 3), st.integers(1, 600)), max_size=60)
)
def test_each_request_is_written_once_whatever_fails(steps):
    queue = pending(queue_bytes_max=1 << 40)
    offered, written, now = 0, [], 0.0
    for what, days, size in steps:
        now += 3.0
        if what == "offer":
            queue.offer(ended(offered, at=NOON + days * DAY_S, size=size), now)
            offered += 1
        elif (batch := queue.take(now)) is not None:
            if what == "fail":
                queue.put_back(batch)
            else:
                written += names(batch)
                queue.written(batch)
    while (batch := queue.take(now, at_once=True)) is not None:
        written += names(batch)
        queue.written(batch)
    assert sorted(written) == sorted(f"req-{number}" for number in range(offered))
    assert queue.bytes_held == 0
    assert len(queue) == 0
