"""The session: the same messages however the items were cut into batches; one end; absolute credit."""

from __future__ import annotations

import itertools
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.messages import as_dict
from actors.protocol.items import cut_record, item_bytes, pack_body
from actors.protocol.segments import read_segment
from actors.protocol.states import SessionPhase as Phase
from actors.settings import StreamSettings
from actors.stream.log import Log
from actors.stream.session import Session
from actors.translator import Translator

CHAT = StreamSettings(dialect="chat")


def text(content: str) -> bytes:
    return json.dumps({"choices": [{"index": 0, "delta": {"content": content}}]}).encode()


def finish(reason: str = "stop") -> bytes:
    return json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}).encode()


def record(kind: str, body: dict) -> list:
    (item,) = cut_record(kind, pack_body(kind, body))
    return item


END = record("finish", {"stop_reason": None, "usage": None})
ITEMS = [text("Hello"), text(" "), text("you"), text("!"), finish(), END]


def session(settings: StreamSettings = CHAT, now: float = 0.0, **options) -> Session:
    return Session("req", 1, settings, now, date="2025-05-05T08:44:56+00:00", **options)


def messages(s: Session, after: int = 0) -> list[dict]:
    found = []
    for segment in s.read(after, bytes_max=1 << 30).segments:
        first, fields, pieces = read_segment(segment)
        for seq, piece in enumerate(pieces, first):
            body, extra = piece if isinstance(piece, tuple) else (piece, None)
            found.append(as_dict(fields, body, extra, seq))
    return found


def whole() -> list[dict]:
    s = session()
    s.feed(1, 1, ITEMS, 0.0)
    s.confirm_stored(300.0)
    return messages(s)


def test_every_split_into_batches_gives_the_same_messages():
    expected = whole()
    assert [m["seq_id"] for m in expected] == list(range(1, len(expected) + 1))
    assert [m["message_type"] for m in expected[-2:]] == ["stop_reason", "usage_statistics"]
    for cuts in range(1 << (len(ITEMS) - 1)):
        s = session()
        seq, batch = 1, []
        for index, item in enumerate(ITEMS):
            batch.append(item)
            if cuts >> index & 1 or index == len(ITEMS) - 1:
                s.feed(1, seq, batch, 0.0)
                seq += len(batch)
                batch = []
        s.confirm_stored(300.0)
        assert messages(s) == expected, f"split {cuts:b}"


@given(st.integers(0, 2**32))
def test_duplicates_and_gaps_in_any_order_change_nothing(seed):
    rng = random.Random(seed)
    s = session()
    while s.next_seq <= len(ITEMS):
        first = rng.randint(1, len(ITEMS))
        s.feed(rng.choice([1, 1, 1, 2]), first, ITEMS[first - 1 : first - 1 + rng.randint(1, 4)], 0.0)
        if first > s.next_seq:
            assert s.report().phase in (Phase.GAP, Phase.OPEN, Phase.SEALED)
    s.confirm_stored(300.0)
    assert messages(s) == whole(), f"seed {seed}"


def test_what_is_ahead_is_refused_with_the_number_wanted():
    s = session()
    s.feed(1, 3, ITEMS[2:4], 0.0)
    report = s.report()
    assert (report.phase, report.next_seq, report.last_seq_id) == (Phase.GAP, 1, 0)


def test_items_of_another_epoch_are_ignored():
    s = session()
    s.feed(7, 1, ITEMS, 0.0)
    assert s.next_seq == 1
    assert not s.sealed


def test_the_terminal_is_seen_only_when_another_process_has_the_log():
    s = session()
    s.feed(1, 1, ITEMS, 0.0)
    assert s.sealed
    assert "stop_reason" not in [m["message_type"] for m in messages(s)]
    report = s.report()
    assert report.log is not None
    assert s.report().log is not None, "the log goes with every report until it is confirmed"
    s.confirm_stored(300.0)
    assert s.report().log is None
    assert [m["message_type"] for m in messages(s)][-2:] == ["stop_reason", "usage_statistics"]


@pytest.mark.parametrize(
    ("items", "stop_reason"),
    [
        (ITEMS, "end_turn"),
        ([text("x"), END], "incomplete"),
        ([text("x"), finish("length"), END], "max_tokens"),
        ([text("x"), record("fail", {"error_type": "Boom", "message": "no"})], "error"),
        ([text("x"), record("finish", {"stop_reason": "cancelled"})], "cancelled"),
        ([b"{not json", finish(), END], "error"),
    ],
)
def test_one_end_with_its_reason(items, stop_reason):
    s = session()
    s.feed(1, 1, items, 0.0)
    s.confirm_stored(300.0)
    stops = [m for m in messages(s) if m["message_type"] == "stop_reason"]
    assert [m["stop_reason"] for m in stops] == [stop_reason]
    assert s.stop_reason == stop_reason


def test_nothing_follows_an_end():
    s = session()
    s.feed(1, 1, [*ITEMS, text("late")], 0.0)
    last = s.log.last_seq
    s.feed(1, len(ITEMS) + 2, [text("later")], 0.0)
    s.end("cancelled", None, 0, 0.0)
    assert not s.expire(1e9)
    assert s.log.last_seq == last
    assert s.stop_reason == "end_turn"


def test_an_end_from_outside_waits_for_the_items_before_it():
    s = session()
    s.end("cancelled", "by hand", 2, 0.0)
    assert not s.sealed
    s.feed(1, 1, ITEMS[:1], 0.0)
    assert not s.sealed
    s.feed(1, 2, ITEMS[1:2], 0.0)
    assert s.stop_reason == "cancelled"


def test_cancel_after_the_step_lets_the_step_end():
    s = session()
    s.cancel_after_step()
    s.feed(1, 1, [record("step_start", {}), text("a")], 0.0)
    assert not s.sealed
    s.feed(1, 3, [record("step_end", {}), text("never")], 0.0)
    assert s.stop_reason == "cancelled"


def test_without_multi_step_the_first_step_ends_the_request():
    s = session(StreamSettings(dialect="chat", multi_step=False))
    s.feed(1, 1, [text("a"), finish(), record("step_end", {})], 0.0)
    assert s.stop_reason == "end_turn"


# --- records ----------------------------------------------------------------------------------------


def large_message(characters: int) -> list:
    body = {
        "message_type": "tool_return_message", "tool_return": "x" * characters, "status": "success",
        "tool_call_id": "c",
    }  # fmt: skip
    return cut_record("message", pack_body("message", body))


def test_a_message_in_parts_is_shown_once_whole_wherever_its_parts_are_cut_apart():
    items = [text("a"), *large_message(300_000), END]
    assert len(items) > 4
    shown = []
    for batch in range(1, len(items) + 1):
        s = session()
        for at in range(0, len(items), batch):
            s.feed(1, at + 1, items[at : at + batch], 0.0)
        s.confirm_stored(300.0)
        assert s.received_bytes == sum(map(item_bytes, items))
        shown.append(messages(s))
    assert next(m for m in shown[0] if m["message_type"] == "tool_return_message")["tool_return"] == "x" * 300_000
    assert all(other == shown[0] for other in shown)


def test_records_are_counted_in_credit_as_chunks_are():
    s = session()
    s.grant(10_000)
    items = large_message(50_000)
    s.feed(1, 1, items, 0.0)
    assert s.received_bytes == sum(map(item_bytes, items))
    assert s.credit_bytes < s.received_bytes, "a producer of messages runs out of credit too"


def test_a_message_over_message_bytes_max_ends_its_request_by_name():
    s = session(StreamSettings(dialect="chat", message_bytes_max=100_000))
    s.feed(1, 1, large_message(300_000), 0.0)
    s.confirm_stored(300.0)
    assert s.stop_reason == "error"
    assert "message_too_large" in str(messages(s))


# --- credit -----------------------------------------------------------------------------------------


def test_credit_never_falls_and_stops_when_readers_do():
    s = session(StreamSettings(dialect="chat", buffer_bytes_max=4000))
    s.consume("reader", 0, 0.0)
    seq, granted = 1, []
    s.grant(10_000)
    for _ in range(500):
        if s.credit_bytes <= s.received_bytes:
            break
        s.feed(1, seq, [text("word " * 4)], 0.0)
        seq += 1
        s.grant(10_000)
        granted.append(s.credit_bytes)
    assert granted == sorted(granted)
    assert s.credit_bytes <= s.received_bytes, "a producer whose reader has stopped runs out of credit"
    # Credit counts the bytes of chunks, unread counts what messages cost: tiny chunks overshoot a little.
    assert s.log.unread_bytes < 4000 * 1.5
    s.consume("reader", s.log.last_seq, 0.0)
    assert s.grant(10_000), "the reader's progress is worth a report"
    assert s.credit_bytes > s.received_bytes


def test_the_slowest_attached_reader_counts_and_a_detached_one_does_not():
    s = session()
    s.feed(1, 1, ITEMS[:4], 0.0)
    s.consume("fast", 4, 0.0)
    s.consume("slow", 1, 0.0)
    s.consume("fast", 4, 0.0)
    assert s.log.released == 4, "released never goes back for a late reader"
    t = session()
    t.feed(1, 1, ITEMS[:4], 0.0)
    t.consume("slow", 1, 0.0)
    t.consume("fast", 4, 0.0)
    assert t.log.released == 1
    t.detach("slow")
    assert t.log.released == 4


def test_drop_oldest_keeps_the_producer_going_and_says_what_is_missing():
    s = session(StreamSettings(dialect="chat", buffer_bytes_max=3000, when_full="drop_oldest"))
    for seq in range(1, 400):
        s.feed(1, seq, [text("word " * 4)], 0.0)
        s.grant(10_000)
        assert s.credit_bytes > s.received_bytes
        assert s.log.bytes_held < 3000 + 1000
    reading = s.read(0)
    assert reading.gap is not None
    assert reading.gap[0] == 1


def test_retention_drops_only_what_was_read():
    s = session(StreamSettings(dialect="chat", retain_bytes_max=2000))
    for seq in range(1, 300):
        s.feed(1, seq, [text(f"{seq} " * 10)], 0.0)
        s.consume("r", s.log.last_seq, 0.0)
    assert s.log.bytes_held < 4000
    assert s.read(0).gap == (1, s.log.dropped_through)


# --- timers -----------------------------------------------------------------------------------------


def test_timers_are_named_in_the_terminal():
    for settings, items, at, reason in [
        ({"first_message_timeout_s": 5}, [], 5.0, "timeout_first_message"),
        ({"stall_timeout_s": 5}, [text("a")], 5.0, "timeout_stall"),
        ({"request_timeout_s": 5}, [text("a")], 5.0, "timeout_request"),
        ({"idle_reader_timeout_s": 5}, [text("a")], 5.0, "timeout_idle_reader"),
    ]:
        s = session(StreamSettings.load({"dialect": "chat", **settings}))
        s.grant(1000)
        s.feed(1, 1, items, 0.0)
        s.grant(1000)
        assert s.due_at() == at
        assert not s.expire(at - 0.01)
        assert s.expire(at)
        assert s.stop_reason == reason


def test_keepalives_are_no_content_and_a_running_tool_pauses_the_stall_timer():
    s = session(StreamSettings(dialect="chat", stall_timeout_s=5))
    s.grant(10_000)
    s.feed(1, 1, [text("a")], 0.0)
    s.feed(1, 2, [b"", b'{"choices": []}'], 4.0)
    assert s.due_at() == 5.0
    s.feed(1, 4, [record("tool_running", {"running": True})], 4.0)
    assert not s.expire(100.0)
    s.feed(1, 5, [record("tool_running", {"running": False})], 100.0)
    assert not s.expire(104.0)
    assert s.expire(105.0)


def test_a_producer_without_credit_does_not_stall():
    s = session(StreamSettings(dialect="chat", stall_timeout_s=5, buffer_bytes_max=100, request_timeout_s=None))
    s.grant(1000)
    seq = itertools.count(1)
    while s.credit_bytes > s.received_bytes:
        s.feed(1, next(seq), [text("word " * 20)], 0.0)
        s.grant(1000)
    assert not s.expire(1000.0)


def test_credit_told_to_somebody_who_may_never_hear_it_is_reported_all_the_same():
    s = session(StreamSettings(dialect="chat", buffer_bytes_max=64 * 1024))
    s.grant(10_000)
    assert s.report().credit_bytes == 10_000
    s.feed(1, 1, [b" " * 9_000], 0.0)
    assert s.grant(10_000)
    assert s.state(with_log=False).credit_bytes == 19_000
    assert s.grant(10_000), "an inventory that came late must not swallow it"
    s.report()
    assert not s.grant(10_000)


def test_an_ended_session_says_its_usage_also_when_it_was_made_of_its_log():
    ended = session()
    ended.feed(1, 1, [text("Hello"), record("finish", {"stop_reason": None, "usage": {"prompt_tokens": 3}})], 0.0)
    usage = ended.report().usage
    assert usage is not None
    assert (usage["prompt_tokens"], usage["reported"]) == (3, True)
    log = ended.report().log
    assert log is not None
    restored = Session.restored("req", 2, "end_turn", Log.unpack(log), 9.0)
    assert restored.report().usage == usage
    assert session().report().usage is None


def test_what_came_before_a_fault_stands_before_its_end(monkeypatch):
    def chunk(translator: Translator, payload: bytes) -> list:
        if payload == broken:
            raise RuntimeError("no such thing")
        return translate(translator, payload)

    translate, broken = Translator.chunk, text("broken")
    monkeypatch.setattr(Translator, "chunk", chunk)
    s = session()
    between = record("message", {"message_type": "user_message", "content": "between"})
    s.feed(1, 1, [text("one "), text("two"), between, text("three"), broken, text("never")], 0.0)
    s.confirm_stored(300.0)
    *told, error, stop, _usage = messages(s)
    assert [message["content"] for message in told] == ["one ", "two", "between", "three"]
    assert (error["message_type"], stop["stop_reason"]) == ("error_message", "error")
    assert [message["seq_id"] for message in messages(s)] == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("cut_at", range(1, 7))
@pytest.mark.parametrize("after_seq", range(5))
def test_an_end_from_outside_stands_right_behind_what_it_waits_for(after_seq, cut_at):
    s = session(replay_through=2)
    s.end("cancelled", None, after_seq, 0.0)
    assert not s.sealed, "an earlier session had two items"
    for first, items in ((1, ITEMS[:cut_at]), (cut_at + 1, ITEMS[cut_at:])):
        s.feed(1, first, items, 0.0)
    s.confirm_stored(300.0)
    *told, stop, _usage = messages(s)
    assert [message["content"] for message in told] == ["Hello", " ", "you", "!"][: max(after_seq, 2)]
    assert stop["stop_reason"] == "cancelled", "not the end that its publisher said behind that"
