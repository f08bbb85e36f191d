"""The lane: the first item leaves at once, batches grow, nobody waits behind a flood."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.protocol.lane import GATHERED_MAX, Fifo, Lane, Spacing


def fill(lane: Lane, queues: dict, items: list[tuple[str, int]]) -> None:
    for number, (key, size) in enumerate(items):
        queue = queues.setdefault(key, Fifo())
        queue.put((key, number, size), size)
        lane.offer(key, queue)


def test_an_idle_lane_gives_the_first_item_at_once_and_is_then_busy():
    lane: Lane = Lane()
    fill(lane, {}, [("a", 10)])
    assert [key for key, _ in lane.take()] == ["a"]
    assert lane.busy
    assert lane.take() == []


def test_what_came_while_a_call_was_out_rides_in_the_next():
    lane: Lane = Lane()
    queues: dict = {}
    fill(lane, queues, [("a", 10)])
    lane.take()
    fill(lane, queues, [("a", 10), ("b", 10), ("a", 10)])
    lane.done()
    taken = dict(lane.take())
    assert len(taken["a"]) == 2
    assert len(taken["b"]) == 1
    lane.done()
    assert lane.take() == []
    assert not lane.busy


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 300)), max_size=120),
    st.integers(50, 500),
    st.integers(10, 200),
)
def test_everything_leaves_once_in_the_order_of_its_key_within_the_bound(items, frame_bytes_max, quantum_bytes):
    lane: Lane = Lane(frame_bytes_max, quantum_bytes)
    fill(lane, {}, items)
    left: dict[str, list[int]] = {}
    while taken := lane.take():
        size = sum(item[2] for _, batch in taken for item in batch)
        count = sum(len(batch) for _, batch in taken)
        assert size <= frame_bytes_max or count == 1
        for key, batch in taken:
            left.setdefault(key, []).extend(item[1] for item in batch)
        lane.done()
    for key in {key for key, _ in items}:
        assert left[key] == [number for number, (k, _) in enumerate(items) if k == key]


def test_one_that_floods_does_not_keep_others_out_of_the_next_frame():
    lane: Lane = Lane(1000, 100)
    queues: dict = {}
    fill(lane, queues, [("flood", 50)] * 1000)
    fill(lane, queues, [(f"small-{n}", 50) for n in range(9)])
    taken = dict(lane.take())
    assert set(taken) == {"flood", *(f"small-{n}" for n in range(9))}


def test_those_that_had_one_turn_stand_before_those_that_had_several():
    lane: Lane = Lane(1000, 100)
    queues: dict = {}
    fill(lane, queues, [("flood", 50)] * 1000)
    fill(lane, queues, [("small-0", 50), ("small-1", 50)])
    taken = lane.take()
    assert [key for key, _ in taken] == ["small-0", "small-1", "flood"]
    numbers = [number for _, number, _ in taken[-1][1]]
    assert numbers == list(range(8))


def test_an_item_larger_than_a_frame_leaves_alone():
    lane: Lane = Lane(100, 100)
    queues: dict = {}
    fill(lane, queues, [("a", 10), ("b", 500), ("c", 10)])
    frames = []
    while taken := lane.take():
        frames.append([key for key, _ in taken])
        lane.done()
    assert sorted(key for frame in frames for key in frame) == ["a", "b", "c"]
    assert ["b"] in frames


def test_a_dropped_source_gives_nothing_more():
    lane: Lane = Lane()
    fill(lane, {}, [("a", 10), ("b", 10)])
    lane.drop("a")
    assert [key for key, _ in lane.take()] == ["b"]


class _Unreadable:
    """A source whose next item cannot be read."""

    def give(self, _bytes_max: int, *, at_least_one: bool) -> tuple[list, int, bool]:
        raise OSError(5, f"Input/output error ({at_least_one})")


def test_a_source_that_fails_is_dropped_and_named_and_the_others_leave():
    lane: Lane = Lane()
    queues: dict = {}
    fill(lane, queues, [("a", 10)])
    lane.offer("broken", _Unreadable())
    fill(lane, queues, [("b", 10)])
    assert [key for key, _ in lane.take()] == ["a", "b"]
    ((key, error),) = lane.take_failed()
    assert key == "broken"
    assert isinstance(error, OSError)
    assert lane.take_failed() == []
    lane.done()
    assert not lane.waits, "what failed is not asked again"


class OneByOne(Lane):
    """A lane that puts each source in its place as soon as it has had its turn."""

    __slots__ = ()

    def _take_round(self, room, taken, refused):
        sources, quantum = self._sources, self._quantum_bytes
        for _ in range(len(sources)):
            key, source = sources.popitem(last=False)
            try:
                items, size, has_more = source.give(min(quantum, room), at_least_one=not taken)
            except OSError as error:
                self.failed.append((key, error))
                continue
            if items:
                taken[key] = taken.pop(key, []) + items
                room -= size
            elif key not in taken:
                refused[key] = None
            if has_more:
                sources[key] = source
            if room <= 0 or (not items and room < quantum):
                return 0
        return room


OFFERS = st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 300))


@given(st.lists(st.one_of(OFFERS, OFFERS, st.sampled_from(["take", "broken"])), max_size=80), st.integers(10, 500))
def test_sources_are_put_in_order_after_a_round_as_they_would_be_one_by_one(steps, quantum_bytes):
    lanes = Lane(500, quantum_bytes), OneByOne(500, quantum_bytes)
    queues: tuple[dict, dict] = {}, {}
    for step in [*steps, *["take"] * 100]:
        given_now = []
        for lane, its_queues in zip(lanes, queues, strict=True):
            if step == "take":
                given_now.append((lane.take(), [key for key, _ in lane.take_failed()], list(lane._sources)))
                lane.done()
            elif step == "broken":
                lane.offer(f"broken-{len(lane._sources)}", _Unreadable())
            else:
                fill(lane, its_queues, [step])
        assert step != "take" or given_now[0] == given_now[1]
    assert not lanes[0].waits


def test_a_lane_whose_only_source_fails_is_idle():
    lane: Lane = Lane()
    lane.offer("broken", _Unreadable())
    assert lane.take() == []
    assert not lane.busy


# --- spacing ----------------------------------------------------------------------------------

GATHER_S = 0.004


def sent_at_0() -> Spacing:
    spacing = Spacing(GATHER_S)
    spacing.sent(0.0)
    return spacing


def test_the_first_item_and_one_after_a_quiet_time_wait_for_nothing():
    assert Spacing(GATHER_S).wait_s(0.0) == 0
    spacing = sent_at_0()
    spacing.came(at_once=False)
    assert spacing.wait_s(GATHER_S) == 0


def test_what_comes_soon_after_waits_for_what_is_left_of_the_time_and_no_longer():
    spacing = sent_at_0()
    for now in (0.001, 0.002, 0.003):
        spacing.came(at_once=False)
        assert now + spacing.wait_s(now) == GATHER_S


def test_an_item_that_somebody_waits_for_takes_all_others_along_at_once():
    spacing = sent_at_0()
    spacing.came(at_once=False)
    spacing.came(at_once=True)
    assert spacing.wait_s(0.001) == 0
    spacing.sent(0.001)
    spacing.came(at_once=False)
    assert spacing.wait_s(0.002) > 0, "it was for that one call"


def test_many_items_wait_for_no_more():
    spacing = sent_at_0()
    for _ in range(GATHERED_MAX - 1):
        spacing.came(at_once=False)
    assert spacing.wait_s(0.001) > 0
    spacing.came(at_once=False)
    assert spacing.wait_s(0.001) == 0


def test_without_a_time_to_gather_nothing_waits():
    spacing = Spacing(0.0)
    spacing.sent(1.0)
    spacing.came(at_once=False)
    assert spacing.wait_s(1.0) == 0


@pytest.mark.parametrize("left", [0, 1], ids=["all are emptied", "one has more"])
def test_what_is_offered_while_others_give_waits_for_the_next_frame(left):
    lane: Lane[str, str] = Lane()
    lates = Fifo()

    class Ends(Fifo):
        """As it gives, a collection ends whoever publishes the first one and another one."""

        def give(self, bytes_max, *, at_least_one):
            first.put("again", 1)
            lates.put("late", 1)
            lane.offer("first", first)
            lane.offer("late", lates)
            given, size, _ = super().give(bytes_max, at_least_one=at_least_one)
            return given, size, bool(left)

    first, second = Fifo(), Ends()
    first.put("a", 1)
    second.put("b", 1)
    lane.offer("first", first)
    lane.offer("second", second)
    taken = [*lane.take()]
    lane.done()
    taken += lane.take()
    given = [item for _, items in taken for item in items]
    assert {"a", "b", "again", "late"} == {*given}
    assert given.index("a") < given.index("again")
