"""Copies: what is kept is what was sent last, as long as was said, and every byte of it is counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.protocol.envelopes import CopyEnvelope, Order
from actors.protocol.states import SessionPhase
from actors.stream.copies import Copies

NAMES = st.sampled_from(["a", "b", "c"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("keep"), NAMES, st.integers(1, 4), st.integers(0, 9), st.integers(0, 20)),
        st.tuples(st.just("take"), NAMES, st.one_of(st.none(), st.integers(0, 4))),
        st.tuples(st.just("pass"), st.integers(0, 12)),
    ),
    max_size=40,
)


def envelope(request_id: str, epoch: int, log: bytes, ttl_s: float) -> CopyEnvelope:
    return CopyEnvelope(Order.COPY, request_id, epoch, "end_turn", log, ttl_s, "client", ["agent", 3])


@given(STEPS)
def test_the_newest_epoch_is_kept_until_it_is_taken_or_its_time_is_over(steps):
    copies = Copies()
    now = 0.0
    expected: dict[str, tuple[int, bytes, float]] = {}
    for kind, *step in steps:
        if kind == "keep":
            name, epoch, size, ttl_s = step
            if name not in expected or expected[name][0] <= epoch:
                expected[name] = epoch, b"x" * size, now + ttl_s
            kept = copies.keep(envelope(name, epoch, b"x" * size, ttl_s), now)
            assert (kept.epoch, kept.log, kept.forget_at) == expected[name]
        elif kind == "take":
            name, epoch_max = step
            goes = name in expected and (epoch_max is None or expected[name][0] <= epoch_max)
            assert (copies.take(name, epoch_max) is not None) == goes
            if goes:
                del expected[name]
        else:
            now += step[0]
            copies.tick(now)
            expected = {name: entry for name, entry in expected.items() if entry[2] > now}
        assert {name: copies.get(name)[1] for name in expected} == {name: entry[0] for name, entry in expected.items()}
        assert len(copies) == len(expected)
        assert copies.bytes_held == sum(len(log) for _, log, _ in expected.values())
        assert not expected or copies.due_at() <= min(at for _, _, at in expected.values())


def test_a_router_without_memory_hears_what_is_kept_and_for_how_long_yet():
    copies = Copies()
    copies.keep(envelope("a", 3, b"log", 10.0), 100.0)
    (found,) = copies.inventory(104.0)
    assert found.report == list(copies.get("a").report())
    assert found.report[:3] == ["a", 3, SessionPhase.COPY]
    assert found.record["ttl_s"] == 6.0
    assert copies.get("a").report().log is None, "a copy is bytes at rest: nobody asked for them"


def test_an_end_without_a_reason_is_an_error_and_never_a_success():
    copies = Copies()
    assert copies.keep(envelope("a", 1, b"", 1.0)._replace(stop_reason=None), 0.0).stop_reason == "error"
