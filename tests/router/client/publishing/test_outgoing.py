"""The publishing end: numbering, credit, replay from memory and from disk."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import LimitExceeded, PoolFull, RequestCancelled, RequestEnded
from actors.protocol.calls import Registration
from actors.protocol.items import item_bytes
from actors.protocol.states import PublisherState
from router.client.publishing.outgoing import FAILED, OPEN, SEALED, PublishedStream, without_id
from router.client.publishing.replay_store import ReplayBudget, ReplayStore

WANTED = Registration("req", b"", "", None, False, 0, 0, 1, None, 0)


def state(epoch=1, phase="open", next_seq=1, credit=1 << 20, cancel=None, stop_reason=None, error=None):
    return PublisherState("p", "req", epoch, phase, next_seq, credit, cancel, stop_reason, error)


def stream(bytes_max: int = 1 << 20) -> PublishedStream:
    s = PublishedStream("req", ReplayBudget(bytes_max))
    s.update(state())
    return s


def drain(s: PublishedStream, bytes_max: int = 100) -> list[tuple[int, int, list]]:
    sent = []
    while s.has_items():
        for _, epoch, first, count, packed_items in s.give(bytes_max, at_least_one=True)[0]:
            items = msgpack.unpackb(packed_items)
            assert len(items) == count
            sent.append((epoch, first, items))
    return sent


def test_items_are_numbered_from_one_and_sent_once():
    s = stream()
    for n in range(5):
        assert s.next_seq == n + 1
        s.accept(b"x%d" % n)
    sent = drain(s, 12)
    assert [item for _, _, items in sent for item in items] == [b"x%d" % n for n in range(5)]
    assert sent[0][:2] == (1, 1)
    assert not s.has_items()


def test_nothing_is_sent_before_there_is_a_place():
    s = PublishedStream("req", ReplayBudget(1000))
    s.accept(b"x")
    assert not s.has_items()
    s.update(state(phase="waiting"))
    assert not s.has_items()
    s.update(state())
    assert s.phase == OPEN
    assert s.has_items()


def test_a_wait_for_a_place_lasts_while_the_router_that_said_so_watches_over_it():
    s = stream()
    for is_over in (
        lambda: s.update(state(epoch=2)),
        lambda: s.update(state(phase="unknown")),
        s.forget_place,
        lambda: s.register(WANTED, 0),
    ):
        s.update(state(phase="waiting"))
        assert s.waits_for_others
        is_over()
        assert not s.waits_for_others


def test_a_new_epoch_replays_everything_under_the_same_numbers():
    s = stream()
    for n in range(3):
        s.accept(b"%d" % n)
    drain(s)
    s.update(state(epoch=2, next_seq=1))
    assert drain(s, 1000) == [(2, 1, [b"0", b"1", b"2"])]


def test_a_gap_goes_back_to_the_number_wanted_and_no_further():
    s = stream()
    for n in range(5):
        s.accept(b"%d" % n)
    drain(s)
    s.update(state(phase="gap", next_seq=4))
    assert drain(s, 1000) == [(1, 4, [b"3", b"4"])]
    s.update(state(phase="gap", next_seq=6))
    assert drain(s) == []


def test_nothing_is_sent_between_a_registration_and_the_word_where_the_request_stands():
    s = stream()
    s.accept(b"0")
    drain(s)
    s.accept(b"1")
    assert s.register(WANTED, 0).sent_seq == 1
    assert not s.has_items(), "a router that has restarted would drop it, and take the registration's word for all"
    s.update(state(phase="gap", next_seq=1))
    assert drain(s, 1000) == [(1, 1, [b"0", b"1"])]


def test_requests_that_are_opened_alike_share_what_they_are_opened_with_and_each_has_its_own_id():
    kept = [without_id(WANTED._replace(request_id=name)) for name in ("a", "b")]
    other = without_id(WANTED._replace(agent_id="agent"))
    assert kept[0] is kept[1] is not other
    streams = [PublishedStream(name, ReplayBudget(1000)) for name in ("a", "b")]
    streams[1].is_taken_in(7)
    first, second = (one.register(wanted, 0) for one, wanted in zip(streams, kept, strict=True))
    assert first == WANTED._replace(request_id="a")
    assert second == WANTED._replace(request_id="b", created=7)
    assert PublishedStream("req", ReplayBudget(1000)).register(other, 0) == WANTED._replace(agent_id="agent")


def test_credit_is_absolute_and_an_old_report_does_not_lower_it():
    s = PublishedStream("req", ReplayBudget(1000))
    s.update(state(credit=10_000))
    s.update(state(credit=5_000))
    assert s.credit_bytes == 10_000
    while s.has_credit:
        s.accept(b"x" * 100)
    assert s.accepted_bytes == 10_000


def test_a_replay_waits_for_the_credit_of_its_own_epoch_and_what_is_new_for_the_highest():
    s = PublishedStream("req", ReplayBudget(1 << 20))
    s.update(state(credit=100_000))
    for _ in range(50):
        s.accept(b"x" * 1000)
    drain(s, 10_000)
    s.update(state(epoch=2, credit=0))
    assert s.has_credit, "it had been promised"
    assert sum(len(items) for _, _, items in drain(s, 10_000)) == 5, "a session's smallest window, and one beyond"
    assert s.is_held
    s.update(state(epoch=2, credit=10_000))
    assert sum(len(items) for _, _, items in drain(s, 10_000)) == 5
    s.update(state(epoch=1, credit=90_000))
    assert not s.has_items(), "an old word about an earlier epoch grants nothing"
    s.update(state(epoch=2, credit=100_000))
    assert sum(len(items) for _, _, items in drain(s, 10_000)) == 40


def test_ends_wait_for_no_credit_once_it_is_their_turn():
    s = PublishedStream("req", ReplayBudget(1 << 20))
    s.update(state(credit=5_000))
    for _ in range(5):
        s.accept(b"x" * 1000)
    end = ["finish", b"\x80", 3]
    s.accept(end)
    drain(s, 10_000)
    s.update(state(epoch=2, credit=4_500))
    assert drain(s, 10_000)[-1][2][-1] == end


def test_a_gap_during_a_replay_counts_back_what_is_sent_again():
    s = PublishedStream("req", ReplayBudget(1 << 20))
    s.update(state(credit=100_000))
    for _ in range(20):
        s.accept(b"x" * 1000)
    drain(s, 10_000)
    s.update(state(epoch=2, credit=10_000))
    assert sum(len(items) for _, _, items in drain(s, 10_000)) == 10
    s.update(state(epoch=2, phase="gap", next_seq=6, credit=10_000))
    assert drain(s, 10_000) == [(2, 6, [b"x" * 1000] * 5)]


@given(st.lists(st.tuples(st.sampled_from(["accept", "give", "epoch", "gap"]), st.integers(1, 6)), max_size=40))
def test_how_far_it_has_ever_been_is_known_whatever_was_sent_back(steps):
    """A router and an actor die together in the middle of a replay: no end may come before what readers have seen."""
    s = PublishedStream("req", ReplayBudget(1 << 20))
    s.update(state(credit=100_000))
    epoch, highest = 1, 0
    for kind, number in steps:
        if kind == "accept":
            s.accept(b"x")
        elif kind == "give":
            for envelope in s.give(8 * number, at_least_one=True)[0]:
                highest = max(highest, envelope.first_seq + envelope.item_count - 1)
        elif kind == "gap":
            s.update(state(epoch=epoch, phase="gap", next_seq=number, credit=100_000))
        else:
            epoch += 1
            s.update(state(epoch=epoch, credit=100_000))
        assert s.high_seq == highest


class ItemByItem(PublishedStream):
    """One that looks at each item, however many fit."""

    __slots__ = ()

    def give(self, bytes_max, *, at_least_one):
        return self._give_some(bytes_max, at_least_one=at_least_one)


_NUMBERS = {
    "accept": (0, 60),
    "record": (0, 60),
    "give": (0, 200),
    "epoch": (1, 40),
    "gap": (1, 40),
    "credit": (0, 999),
}
STEPS = st.one_of(
    *(st.tuples(st.just(kind), st.integers(*numbers)) for kind, numbers in _NUMBERS.items()),
    st.tuples(st.just("give"), st.just(10_000)),
    st.tuples(st.sampled_from(["spill", "fail", "forget"]), st.just(0)),
)


@given(st.lists(STEPS, max_size=60))
def test_all_that_waits_is_given_at_once_as_it_is_item_by_item(steps):
    twins = [kind("req", ReplayBudget(1 << 30)) for kind in (PublishedStream, ItemByItem)]
    epoch, credit, has_spilled = 1, 1_000, False
    for kind, number in [("epoch", 1), *steps]:
        if kind == "epoch":
            epoch, credit = epoch + 1, number * 100
        credit += number * 100 if kind == "credit" else 0
        given = []
        for s in twins:
            if kind in ("accept", "record"):
                s.accept(b"x" * number * 40 if kind == "accept" else ["step_start", b"x" * number, 3])
            elif kind == "give":
                given.append(s.give(number * 10, at_least_one=number % 2 == 0))
            elif kind == "spill" and s.replay.bytes_held:
                s.replay.spill()
                has_spilled = True
            elif kind == "fail":
                s.break_off(["fail", b"\x80", 3])
            elif kind == "forget":
                s.forget_place()
            elif kind in ("epoch", "gap", "credit"):
                s.update(state(epoch, "gap" if kind == "gap" else "open", number if kind == "gap" else 1, credit))
        if given and not has_spilled:
            assert given[0] == given[1]
        elif given:  # where a part of a block was sent again, the sizes are rough
            assert (given[0][0], given[0][2]) == (given[1][0], given[1][2])
        one, other = twins
        assert (one.sent_seq, one.high_seq, one.is_held) == (other.sent_seq, other.high_seq, other.is_held)
        assert one.has_items() == other.has_items()
        waiting = sum(map(item_bytes, (one.replay.get(seq) for seq in range(one.sent_seq + 1, one.next_seq))))
        waiting_bytes = one.accepted_bytes - one.sent_bytes
        assert waiting_bytes >= waiting if has_spilled else waiting_bytes == waiting
    for s in twins:
        s.replay.clear()
        s.replay._budget.close()


def test_what_cannot_be_sent_is_cut_off_and_its_end_comes_in_its_place():
    s = stream()
    for n in range(6):
        s.accept(b"%d" % n)
    s.give(2 + 6 + 6, at_least_one=True)
    sent = s.sent_seq
    assert 0 < sent < 6
    end = ["fail", b"\x80", 3]
    assert s.break_off(end)
    assert drain(s, 1000) == [(1, sent + 1, [end])]
    assert not s.break_off(end), "its end stands there already"
    s.update(state(epoch=2))
    assert drain(s, 1000) == [(2, 1, [*(b"%d" % n for n in range(sent)), end])]


@pytest.mark.parametrize("arrived", range(6))
def test_the_end_of_what_cannot_be_sent_is_taken_whatever_of_the_first_try_arrives_late(arrived):
    """The items were sent, the router did not get them, and the disk does not give them back; then some come late."""
    s = stream()
    for n in range(5):
        s.accept(b"%d" % n)
    drain(s, 1000)
    s.update(state(phase="gap", next_seq=3))
    end = ["fail", b"\x80", 3]
    assert s.break_off(end)
    taken = {first + at: item for _, first, items in drain(s, 1000) for at, item in enumerate(items)}
    next_seq = max(3, arrived + 1)
    assert taken[next_seq] == end, "the number that the session wants next"
    s.update(state(epoch=2, next_seq=1))
    assert len(drain(s, 1000)) > 0


def test_what_was_cut_off_does_not_count_in_the_credit_of_a_later_epoch():
    """Else what is left waits for ever for a credit that only what was cut off would need."""
    s = stream()
    for n in range(20):
        s.accept(b"%d" % (n % 10) * 1_000)
    s.give(2_500, at_least_one=True)
    sent = s.sent_seq
    end = ["fail", b"\x80", 3]
    assert s.break_off(end)
    s.update(state(epoch=2, credit=0))
    s.update(state(epoch=2, credit=4_096))
    assert [item for _, _, items in drain(s, 10_000) for item in items][sent:] == [end]


def test_the_end_of_what_the_disk_does_not_give_back_is_not_given_to_the_disk(monkeypatch):
    """Else it could not be sent either, and its request would end as if its publisher were gone."""
    budget = ReplayBudget(200)
    s, other = PublishedStream("req", budget), PublishedStream("other", budget)
    s.update(state())
    for n in range(4):
        s.accept(b"%d" % n * 100)
    monkeypatch.setattr(budget.file, "read", lambda _block: (_ for _ in ()).throw(OSError("no")))
    end = ["fail", b"\x80", 3]
    with pytest.raises(LimitExceeded):
        drain(s)
    assert s.break_off(end)
    for _ in range(20):
        other.accept(b"y" * 100)
    assert [items for _, _, items in drain(s)] == [[end]]
    s.update(state(epoch=2))
    assert drain(s) == [(2, 1, [end])]
    s.update(state(epoch=2, phase="sealed", stop_reason="error"))
    assert other.replay.bytes_held == budget.bytes_held


def test_what_waits_for_the_disk_or_is_many_is_not_given_at_once():
    s = stream()
    for n in range(3):
        s.accept(b"%d" % n)
    assert s.replay.all_from(2, 2) == [b"1", b"2"]
    assert s.replay.all_from(2, 1) == []
    assert s.replay.all_from(4, 9) == []
    s.replay.spill()
    s.accept(b"3")
    assert s.replay.all_from(4, 9) == [b"3"]
    assert s.replay.all_from(3, 9) == []
    assert drain(s) == [(1, 1, [b"0", b"1", b"2"]), (1, 4, [b"3"])]


def test_a_sealed_request_keeps_nothing():
    s = stream()
    s.accept(b"x" * 100)
    s.update(state(phase="sealed", stop_reason="end_turn"))
    assert (s.phase, s.stop_reason) == (SEALED, "end_turn")
    s.update(state(epoch=9))
    assert s.phase == SEALED


def test_a_router_that_does_not_know_us_is_told_again_but_not_while_opening():
    s = PublishedStream("req", ReplayBudget(1000))
    assert not s.update(state(epoch=0, phase="unknown"))
    s.update(state())
    assert s.update(state(epoch=0, phase="unknown"))


def test_a_refusal_comes_back_as_its_own_class():
    s = PublishedStream("req", ReplayBudget(1000))
    s.update(state(error=["pool_full", "no place"]))
    assert s.phase == FAILED
    assert isinstance(s.error, PoolFull)


@given(st.lists(st.binary(max_size=60), max_size=60), st.integers(0, 2000), st.data())
def test_what_was_spilled_to_disk_comes_back_the_same(items, bytes_max, data):
    budget = ReplayBudget(bytes_max)
    store = ReplayStore(budget)
    for item in items:
        store.append(item, len(item))
    assert store.next_seq == len(items) + 1
    start = data.draw(st.integers(1, len(items) + 1))
    found = []
    while start + len(found) <= len(items):
        found += store.tail(start + len(found), data.draw(st.integers(1, 9)))
    assert found == items[start - 1 :]
    assert [store.get(seq) for seq in range(1, len(items) + 1)] == items
    assert budget.bytes_held <= bytes_max + 60 + 64
    store.clear()
    assert (budget.bytes_held, budget.file.size_bytes) == (0, 0)
    budget.close()


def test_streams_share_one_budget_and_give_it_back():
    budget = ReplayBudget(10_000)
    stores = [ReplayStore(budget) for _ in range(20)]
    for _ in range(20):
        for store in stores:
            store.append(b"x" * 100, 100)
            assert budget.bytes_held <= 10_000 + 164
    for store in stores:
        assert [store.get(seq) for seq in range(1, 21)] == [b"x" * 100] * 20
    for store in stores:
        store.clear()
    assert (budget.bytes_held, budget.file.size_bytes) == (0, 0)
    budget.close()


def test_over_budget_many_items_are_written_at_once_and_what_is_new_stays_in_memory():
    budget = ReplayBudget(100_000)
    writes = []
    budget.file.write = lambda data, write=budget.file.write: (writes.append(len(data)), write(data))[1]
    store, old = ReplayStore(budget), ReplayStore(budget)
    for _ in range(100):
        old.append(b"x" * 436, 436)
    for _ in range(2000):
        store.append(b"x" * 436, 436)
        assert store.next_seq - 1 >= store.first_seq + store.in_memory_from, "the newest item is in memory"
    assert old.in_memory_from == 100
    assert len(writes) < 2100 / 20
    budget.close()


def test_the_spill_file_does_not_grow_with_what_goes_through_it():
    """One stream that never ends must not keep the room of all that have ended beside it."""
    budget = ReplayBudget(20_000)
    endless = ReplayStore(budget)
    sizes = []
    for _ in range(200):
        passing = ReplayStore(budget)
        for _ in range(50):
            passing.append(b"x" * 936, 936)
        endless.append(b"y" * 436, 436)
        sizes.append(budget.file.size_bytes)
        passing.clear()
    # In all 10 MB went through; at no time were there more than 150 kB.
    assert all(0 < size < 500_000 for size in sizes)
    assert {endless.get(seq) for seq in range(1, 201)} == {b"y" * 436}
    budget.close()


def test_a_disk_that_refuses_is_an_error_by_name_and_nothing_is_lost(tmp_path):
    budget = ReplayBudget(1000, str(tmp_path / "no such folder"))
    store = ReplayStore(budget)
    for number in range(7):
        store.append(b"%03d" % number + b"x" * 97, 100)
    with pytest.raises(LimitExceeded, match="spill_dir"):
        store.append(b"one too many", 12)
    assert store.next_seq == 8
    assert [store.get(seq)[:3] for seq in range(1, 8)] == [b"%03d" % number for number in range(7)]


def test_an_item_never_kept_is_an_error():
    with pytest.raises(LookupError):
        ReplayStore(ReplayBudget(1), first_seq=5).get(4)


def test_whoever_knows_that_it_was_cancelled_is_told_so_where_all_else_is_forgotten():
    s = stream()
    s.update(state(cancel="now"))
    s.update(state(phase="unknown"))
    s.update(state(phase="refused", error=("request_ended", "it has ended and was forgotten")))
    assert s.phase == FAILED
    assert isinstance(s.error, RequestCancelled)
    other = stream()
    other.update(state(phase="refused", error=("request_ended", "it has ended and was forgotten")))
    assert isinstance(other.error, RequestEnded)
