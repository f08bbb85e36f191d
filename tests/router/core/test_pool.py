"""Placement: packed, or an actor each while the pool may grow; shared beyond that, strict where configured."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.pool import ActorState, Pool


def pool(**changes) -> Pool:
    values = {
        "max_actors": 3,
        "warm_actors": 0,
        "packed_streams_per_actor": 1,
        "max_streams_per_actor": 2,
        "idle_ttl_s": 60.0,
        "recycle_after_requests": 1000,
    }
    return Pool(**{**values, **changes})


def test_each_new_request_gets_an_actor_of_its_own_while_the_pool_may_grow():
    p = pool()
    placed = [p.place(f"r{n}")[0].actor_id for n in range(3)]
    assert len(set(placed)) == 3


def test_requests_are_packed_and_the_fullest_with_room_comes_first():
    p = pool(packed_streams_per_actor=2, max_streams_per_actor=3)
    placed = [p.place(f"r{n}")[0].actor_id for n in range(5)]
    assert placed == ["s1", "s1", "s2", "s2", "s3"]
    p.release("s1", "r0", now=0.0)
    p.release("s1", "r1", now=0.0)
    p.started("s3", 1, "n", now=0.0)
    assert p.place("r5")[0].actor_id == "s3", "the empty one stays empty"
    assert [p.place(f"r{n}")[0].actor_id for n in (6, 7)] == ["s1", "s1"]
    assert [p.place(f"r{n}")[0].load for n in (8, 9, 10)] == [3, 3, 3]
    assert p.place("r11") == (None, False)


def test_an_actor_that_is_packed_has_room_and_counts_as_warm_until_it_is_full():
    p = pool(warm_actors=2, packed_streams_per_actor=2, idle_ttl_s=10.0)
    for slot in p.wanted():
        p.started(slot.actor_id, 1, "n", now=0.0)
    p.place("r0")
    assert p.wanted() == []
    assert p.to_stop(now=20.0) == [], "the empty one stands ready for when the other dies"
    p.place("r1")
    assert len(p.wanted()) == 1


def test_a_request_that_has_lost_its_actor_is_packed_too():
    p = pool(packed_streams_per_actor=2, max_streams_per_actor=3)
    for n in range(3):
        slot, _ = p.place(f"r{n}")
        p.started(slot.actor_id, 1, "n", now=0.0)
    assert p.place("under way", is_under_way=True)[0].actor_id == "s2"
    assert p.place("another", is_under_way=True) == (p.slots["s1"], False), (
        "all are packed: the first of the least loaded"
    )


def test_beyond_that_the_least_loaded_is_shared_up_to_its_bound_and_then_there_is_no_place():
    p = pool()
    slots = [p.place(f"r{n}")[0] for n in range(6)]
    assert sorted(slot.load for slot in p.slots.values()) == [2, 2, 2]
    assert p.place("r6") == (None, False)
    p.release(slots[0].actor_id, "r0", now=1.0)
    assert p.place("r6")[0] is slots[0]


def test_strict_isolation_never_shares():
    p = pool(max_streams_per_actor=1)
    assert all(p.place(f"r{n}")[0] is not None for n in range(3))
    assert p.place("r3") == (None, False)


def test_a_ready_actor_is_preferred_to_one_that_is_starting():
    p = pool()
    starting, ready = p.add(), p.add()
    p.started(ready.actor_id, 1, "n", now=0.0)
    assert p.place("r")[0] is ready
    assert starting.load == 0


def test_a_request_that_has_lost_its_actor_shares_one_that_answers():
    p = pool(max_actors=3)
    busy, _ = p.place("r0")
    p.started(busy.actor_id, 1, "n", now=0.0)
    slot, starts = p.place("under way", is_under_way=True)
    assert (slot, starts) == (busy, False)
    assert p.place("new")[1], "a new request still gets an actor of its own"


def test_the_warm_stand_ready_and_no_more_than_the_pool_holds():
    p = pool(warm_actors=2)
    assert len(p.wanted()) == 2
    assert p.wanted() == []
    for n in range(2):
        p.place(f"r{n}")
    assert len(p.wanted()) == 1  # max_actors is 3
    assert p.wanted() == []


def test_an_actor_that_has_served_enough_takes_nothing_new_and_goes_when_empty():
    p = pool(max_actors=2, recycle_after_requests=2)
    first, _ = p.place("a")
    p.started(first.actor_id, 1, "n", now=0.0)
    p.release(first.actor_id, "a", now=0.0)
    again, _ = p.place("b")
    assert again is first
    p.release(first.actor_id, "b", now=0.0)
    assert first.state is ActorState.RETIRING
    assert p.place("c")[0] is not first
    assert p.to_stop(now=0.0) == [first]


def test_idle_actors_beyond_the_warm_go_after_their_time():
    p = pool(warm_actors=1, idle_ttl_s=10.0)
    slots = [p.add() for _ in range(3)]
    for at, slot in enumerate(slots):
        p.started(slot.actor_id, 1, "n", now=float(at))
    assert p.to_stop(now=5.0) == []
    assert p.to_stop(now=11.5) == slots[:2]


@given(st.lists(st.integers(0, 9), max_size=80), st.integers(1, 4), st.integers(1, 3), st.integers(1, 4))
def test_no_actor_ever_holds_more_than_its_bound_and_loads_add_up(moves, max_actors, max_streams, packed):
    p = pool(max_actors=max_actors, max_streams_per_actor=max_streams, packed_streams_per_actor=packed)
    placed: dict[str, str] = {}
    for move in moves:
        request_id = f"r{move}"
        if request_id in placed:
            p.release(placed.pop(request_id), request_id, now=0.0)
        else:
            slot, _ = p.place(request_id)
            if slot is None:
                assert len(placed) >= max_actors * max_streams
            else:
                placed[request_id] = slot.actor_id
        assert len(p.slots) <= max_actors
        assert all(slot.load <= max_streams for slot in p.slots.values())
        assert sum(slot.load for slot in p.slots.values()) == len(placed)


@pytest.mark.parametrize("actor_id", ["s7", "s12"])
def test_an_adopted_actor_keeps_its_name_and_new_ones_do_not_take_it(actor_id):
    p = pool(max_actors=20)
    p.adopt(actor_id)
    assert actor_id not in {p.add().actor_id for _ in range(15)}
