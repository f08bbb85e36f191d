"""What comes in one part and one segment goes a shorter way to its reader, and arrives there as all else does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from actors.protocol.reads import PartState
from router.client.reading.batch import Batch, Shaper
from router.client.reading.reader import Reader

OPEN, ENDED = int(PartState.OPEN), int(PartState.ENDED)
HEAD = {"id": "message-1", "date": "2026-01-02T03:04:05+00:00", "name": None, "otid": None, "sender_id": None}
TEXT = {**HEAD, "message_type": "assistant_message", "run_id": "req"}
CALL = {**HEAD, "message_type": "tool_call_message", "tool_call_id": "call-1", "run_id": "req"}
END = {**HEAD, "message_type": "stop_reason", "stop_reason": "end_turn", "run_id": "req"}

STEPS = st.one_of(
    st.tuples(st.just("text"), st.integers(1, 3), st.integers(0, 2)),
    st.tuples(st.just("text"), st.just(1), st.just(0)),
    st.tuples(st.just("call"), st.integers(1, 2), st.just(0)),
    st.tuples(st.sampled_from(["gap", "several", "again"]), st.integers(1, 3), st.integers(0, 2)),
    st.tuples(st.just("take"), st.just(0), st.just(0)),
    st.tuples(st.sampled_from(["take", "take", "take", "end"]), st.just(0), st.just(0)),
)


class LongWay(Reader):
    """One that takes whatever comes as if it could be many parts."""

    __slots__ = ()

    def _next_batch(self) -> Batch[Any] | None:
        return self._batch_of(*self._take_arrived()) if self._arrived or self._cursor.ended else None


class OneByOne(Shaper):
    """One that shapes each segment by itself."""

    __slots__ = ()

    def _models(self, segments):
        return [self._model(seq_id, fields, *_split(piece)) for seq_id, fields, piece in _each(segments)]


def _each(segments):
    return [(seq_id, fields, piece) for first, fields, row in segments for seq_id, piece in enumerate(row, first)]


def _split(piece):
    return piece if isinstance(piece, tuple) else (piece, None)


def a_reader(kind: type[Reader], shaper: Shaper, after: int) -> Reader:
    link = SimpleNamespace(lose_interest=lambda *_: None)
    pollers = SimpleNamespace(next_number=lambda: 1)
    return kind("req", link, pollers, shaper, after=shaper.begin(after), wait_s=0.0, ping_s=None)


def parts_of(steps) -> list[Any]:
    """Return what polls bring: parts, and `take` where the reader asks."""
    parts: list[Any] = []
    last, known = 0, None
    for kind, count, had in steps:
        had_now = min(had, last)
        if kind == "take":
            parts.append("take")
            continue
        if kind == "end":
            parts.append((ENDED, None, [[last + 1, dict(END), [None]]]))
            break
        if kind == "again" and parts and parts[-1] != "take":
            parts.append(parts[-1])
            continue
        gap = [last + 1, last + count] if kind == "gap" else None
        last += count if gap else 0
        fields = CALL if kind == "call" else TEXT
        pieces = [("{}", {"tool_name": "f"}) if kind == "call" else f"w{last + at}" for at in range(count)]
        goes_on = fields is known and not had_now and gap is None
        if had_now and gap is None:
            segments = [[last + 1 - had_now, dict(fields), ["had"] * had_now + pieces]]
        else:
            segments = [[last + 1, None if goes_on else dict(fields), pieces]]
        last += count
        if kind == "several":
            segments.append([last + 1, dict(CALL), [(None, {"tool_name": "g"})]])
            last, fields = last + 1, CALL
        known = fields
        parts.append((OPEN, gap, segments))
    return [*parts, "take"]


def shown(batch: Batch[Any]) -> tuple[Any, ...]:
    messages = [message if isinstance(message, dict) else message.model_dump() for message in batch]
    return messages, batch.packed, batch.last_seq_id, batch.gap, batch.end, batch.stop_reason


def read(reader: Reader, parts: list[Any]) -> list[Any]:
    told: list[Any] = []
    consumed = lambda _number, cursor, **_: told.append(cursor)  # noqa: E731  # what its poller is told
    reader._poller = SimpleNamespace(consumed=consumed, is_lone=True, drop=lambda _: None)
    for part in parts:
        if part != "take":
            reader.arrive(*part)
            continue
        try:
            while (batch := reader.take()) is not None:
                told.append(shown(batch))
        except StopAsyncIteration:
            told.append("end")
        told.append(reader.last_seq_id)
        if reader.has_ended:
            break
    return told


@given(
    st.lists(STEPS, max_size=30),
    st.sampled_from(["model", "model", "dict", "packed", "openai"]),
    st.sampled_from([0, 0, 3]),
)
def test_what_comes_in_one_part_is_handed_out_as_what_comes_in_many(steps, form, after):
    after = after if form == "openai" else 0
    short = read(a_reader(Reader, Shaper(form, coalesce=False), after), parts_of(steps))
    assert short == read(a_reader(LongWay, OneByOne(form, coalesce=False), after), parts_of(steps))
