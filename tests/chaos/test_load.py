"""The checks that stand behind the figures can fail: each thing that may go wrong with a stream is counted."""

import copy

import pytest

from .load import Stream, Tally, recordings


@pytest.fixture
def stream() -> Stream:
    recording = recordings(1)[0]
    stream = Stream("whole", recording.chunks)
    stream.sent_at = [float(number) for number in range(len(recording.chunks))]
    stream.messages = copy.deepcopy(stream.right[0])
    stream.read_at = [100.0 + message["seq_id"] for message in stream.messages]
    stream.stop_reason = "end_turn"
    return stream


def counted(stream: Stream, cut_short_by: str | None = None) -> dict[str, int]:
    tally = Tally()
    tally.count(stream, cut_short_by=cut_short_by)
    noughts = ("lost", "duplicated", "out_of_order", "wrong", "without_terminal", "with_several_terminals")
    return {name: getattr(tally, name) for name in noughts if getattr(tally, name)}


def test_a_whole_stream_counts_as_such(stream):
    assert counted(stream) == {}


def test_a_lost_message_counts(stream):
    del stream.messages[3]
    assert counted(stream) == {"lost": 1}


def test_a_duplicate_counts(stream):
    stream.messages.insert(4, stream.messages[3])
    assert counted(stream) == {"duplicated": 1}


def test_two_messages_exchanged_count(stream):
    stream.messages[3], stream.messages[4] = stream.messages[4], stream.messages[3]
    assert counted(stream) == {"out_of_order": 1}


def test_a_wrong_text_counts(stream):
    stream.messages[3]["otid"] = "another"
    assert counted(stream) == {"wrong": 1}


def test_a_missing_terminal_counts(stream):
    del stream.messages[-2:]
    assert counted(stream) == {"lost": 2, "without_terminal": 1}


def test_a_second_terminal_counts(stream):
    stream.messages.append({**stream.messages[-2], "seq_id": stream.messages[-1]["seq_id"] + 1})
    assert counted(stream)["with_several_terminals"] == 1


def test_what_was_cut_short_must_be_a_beginning_and_end_by_name(stream):
    terminal = next(m for m in stream.messages if m["message_type"] == "stop_reason")
    stream.messages = [*stream.messages[:5], {**terminal, "stop_reason": "publisher_lost", "seq_id": 6}]
    stream.stop_reason = "publisher_lost"
    assert counted(stream, "publisher_lost") == {}
    del stream.messages[2]
    assert counted(stream, "publisher_lost")["lost"] == 1


def test_recovery_is_the_wait_for_the_first_message_of_what_was_sent_after_the_blow(stream):
    _, after = stream.right
    dead_at = 10.5  # chunks 0 to 10 were sent before
    first_after = next(m for m in stream.messages if m["seq_id"] > after[10])
    assert stream.recovery_s(10.0, dead_at) == stream.read_at[first_after["seq_id"] - 1] - 10.0


def test_a_stream_that_had_ended_or_not_begun_tells_nothing_of_a_blow(stream):
    assert stream.recovery_s(-2.0, -1.0) is None
    assert stream.recovery_s(500.0, 501.0) is None
