"""What waits in a router is bounded in all; whoever finds no room waits his turn, and loses nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from registry_driver import SETTINGS

from actors.protocol import frames as wire
from actors.protocol.envelopes import DataEnvelope, Order
from actors.protocol.states import RequestPhase, Role
from router.config import RouterConfig
from router.core.backlog import Backlog, _Queue
from router.core.registry import Registry

KIB = 1024


def a_registry(*, actors: int = 1, bytes_max: int = 8 * KIB) -> Registry:
    pool = {"max_actors": actors, "warm_actors": actors, "packed_streams_per_actor": 1}
    config = RouterConfig.model_validate({"stream_actors": pool, "limits": {"queued_bytes_max": bytes_max}})
    registry = Registry(config, "me", 0.0)
    registry.keep_house(0.0)
    for number in range(1, actors + 1):
        registry.actor_started(f"s{number}", 1, "node", 0.0)
    return registry


def opens(registry: Registry, *request_ids: str) -> None:
    for request_id in request_ids:
        assert registry.open(f"client of {request_id}", request_id, SETTINGS, 0.0, date="") is None


def sends(registry: Registry, request_id: str, seq: int, size: int) -> list[DataEnvelope]:
    """Let a publisher send one item; return the envelopes of items that go to actors."""
    packed_items = wire.pack([b"x" * size])
    registry.forward(f"client of {request_id}", [[request_id, 1, seq, 1, packed_items]], 0.0)
    return [envelope for _, _, envelope, _ in registry.take_effects().send if isinstance(envelope, DataEnvelope)]


def hears(registry: Registry, request_id: str) -> tuple[str, int]:
    states = registry.news(f"client of {request_id}", ("", 0), 0.0).states
    state = next(state for state in states if state[:2] == (Role.PUBLISHER, request_id))
    return state.phase, state.next_seq


def test_items_without_room_are_not_taken_and_wanted_again_when_there_is_some():
    registry = a_registry()
    opens(registry, "a", "b")
    taken = sends(registry, "a", 1, 6 * KIB)
    assert len(taken) == 1
    assert sends(registry, "b", 1, 4 * KIB) == []
    assert hears(registry, "b") == (RequestPhase.WAITING, 1)
    assert sends(registry, "b", 2, 1) == [], "what its publisher had sent before it heard"
    registry.delivered("s1", taken)
    assert registry.has_effects
    assert hears(registry, "b") == (RequestPhase.GAP, 1)
    assert len(sends(registry, "b", 1, 4 * KIB)) == 1
    assert registry.ignored_by == {"held": 2}


def test_an_actor_that_hangs_takes_nobody_elses_room():
    registry = a_registry(actors=2, bytes_max=16 * KIB)
    opens(registry, "a", "b")
    where = {request_id: registry.requests[request_id].actor_id for request_id in ("a", "b")}
    assert where == {"a": "s1", "b": "s2"}
    assert len(sends(registry, "a", 1, 7 * KIB)) == 1
    assert sends(registry, "a", 2, 7 * KIB) == []
    assert len(sends(registry, "b", 1, 7 * KIB)) == 1


def test_an_item_larger_than_the_share_goes_alone():
    registry = a_registry()
    opens(registry, "a", "b")
    taken = sends(registry, "a", 1, 64 * KIB)
    assert len(taken) == 1
    assert sends(registry, "b", 1, 10) == []
    registry.delivered("s1", taken)
    assert hears(registry, "b") == (RequestPhase.GAP, 1)


def test_who_is_held_goes_before_who_comes_later():
    registry = a_registry()
    opens(registry, "a", "b", "late")
    first = sends(registry, "a", 1, 4 * KIB)
    second = sends(registry, "a", 2, 3 * KIB)
    assert sends(registry, "b", 1, 4_800) == []
    assert sends(registry, "late", 1, 900) == [], "there is room, and somebody waits for more"
    registry.delivered("s1", first)
    assert hears(registry, "b")[0] == RequestPhase.GAP
    assert hears(registry, "late")[0] == RequestPhase.WAITING, "the room is the other one's"
    registry.delivered("s1", second)
    assert hears(registry, "late")[0] == RequestPhase.GAP


def test_a_publisher_that_is_called_and_does_not_come_holds_nobody_up():
    registry = a_registry()
    opens(registry, "a", "dead", "alive")
    taken = sends(registry, "a", 1, 8 * KIB)
    assert sends(registry, "dead", 1, 8 * KIB) == []
    assert sends(registry, "alive", 1, 8 * KIB) == []
    registry.delivered("s1", taken)
    assert hears(registry, "alive")[0] == RequestPhase.WAITING
    registry.keep_house(3.0)
    assert hears(registry, "alive") == (RequestPhase.GAP, 1)


def test_an_actor_that_dies_leaves_nothing_behind_and_nobody_held():
    registry = a_registry(actors=2, bytes_max=16 * KIB)
    opens(registry, "a")
    sends(registry, "a", 1, 8 * KIB)
    assert sends(registry, "a", 2, 8 * KIB) == []
    registry.actor_died("s1", 1.0)
    backlog = registry.lifecycle.backlog
    assert (backlog.size_bytes, backlog.held_count) == (0, 0)
    assert hears(registry, "a") == (RequestPhase.OPEN, 1)
    assert registry.requests["a"].epoch == 2


def test_a_share_that_is_too_small_is_refused_by_name():
    with pytest.raises(ValidationError, match=r"queued_bytes_max is 8192.*set it to 16384 or more"):
        RouterConfig.model_validate({"stream_actors": {"max_actors": 4}, "limits": {"queued_bytes_max": 8192}})


def test_the_kinds_of_envelopes_that_are_no_items_are_not_counted():
    registry = a_registry()
    opens(registry, "a")
    envelopes = [envelope for _, _, envelope, _ in registry.take_effects().send]
    assert [envelope[0] for envelope in envelopes] == [Order.OPEN]
    registry.delivered("s1", envelopes)
    assert registry.lifecycle.backlog.size_bytes == 0


@given(st.data())
def test_whatever_comes_in_whatever_order_the_bound_holds_and_everybody_gets_through(data):
    """Each of some publishers sends sizes in order; what was refused it says again once it is called."""
    backlog = Backlog(20, 2)
    sizes = st.lists(st.integers(1, 14), min_size=1, max_size=6)
    left = {
        name: list(data.draw(sizes)) for name in data.draw(st.lists(st.sampled_from("abcd"), min_size=1, unique=True))
    }
    actor_of = {name: "s1" if name < "c" else "s2" for name in left}
    on_its_way: dict[str, list[int]] = {"s1": [], "s2": []}
    held: set[str] = set()
    while left or any(on_its_way.values()):
        ready = [("send", name) for name in left if name not in held]
        busy = [("deliver", actor) for actor, waiting in on_its_way.items() if waiting]
        assert ready or busy, f"all wait for room, and nothing is on its way: {held}"
        kind, who = data.draw(st.sampled_from(ready + busy))
        if kind == "deliver":
            held.difference_update(backlog.delivered(who, on_its_way[who].pop(0)))
        elif backlog.take(actor_of[who], who, left[who][0]):
            on_its_way[actor_of[who]].append(left[who].pop(0))
            if not left[who]:
                del left[who]
        else:
            held.add(who)
        assert backlog.size_bytes == sum(map(sum, on_its_way.values()))
        assert all(sum(waiting) <= 10 or len(waiting) == 1 for waiting in on_its_way.values())
    assert (backlog.size_bytes, backlog.held_count) == (0, 0)


class LongWay(Backlog):
    """One that looks at who waits also where nobody does."""

    def take(self, actor_id: str, request_id: str, size_bytes: int) -> bool:
        queue = self._queues.setdefault(actor_id, _Queue())
        was_called = queue.called.pop(request_id, "no") != "no"
        fits = queue.size_bytes + size_bytes <= self._share_bytes
        if not queue.size_bytes or (fits and (was_called or not queue.held)):
            queue.size_bytes += size_bytes
            return True
        queue.held[request_id] = size_bytes
        if was_called:
            queue.held.move_to_end(request_id, last=False)
        return False


@given(st.lists(st.one_of(st.just("deliver"), st.tuples(st.sampled_from("abcd"), st.integers(1, 14))), max_size=60))
def test_where_there_is_room_and_nobody_waits_items_are_taken_as_they_are_among_others(steps):
    backlogs = Backlog(10, 1), LongWay(10, 1)
    on_its_way: list[int] = []
    for step in steps:
        if step == "deliver":
            size = on_its_way.pop(0) if on_its_way else 0
            one, other = (backlog.delivered("s1", size) for backlog in backlogs)
        else:
            one, other = (backlog.take("s1", *step) for backlog in backlogs)
            on_its_way += [step[1]] if one else []
        assert one == other
        assert backlogs[0]._queues == backlogs[1]._queues
