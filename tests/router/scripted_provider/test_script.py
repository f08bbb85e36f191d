"""The plan of a scripted stream: pace, faults, bytes. Pure."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import ConfigError
from router.scripted_provider import Library, Script
from router.scripted_provider.script import Plan, Refusal, is_end_marker, parse_header, plan, split_events


@given(
    st.lists(st.sampled_from([b"data: {}", b": note", b"", b"event: x", b"data: a"])),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
)
def test_the_events_of_a_body_joined_are_the_body(lines: list[bytes], end: bytes):
    body = end.join(lines)
    assert b"".join(split_events(body)) == body


def test_every_recording_is_played_byte_by_byte_as_it_was_sent(library: Library):
    for recording in library.recordings.values():
        played = plan(recording.events, recording.api, Script(events_per_s=0), "k")
        assert isinstance(played, Plan)
        assert b"".join(step.data for step in played.steps) == recording.body
        assert len(recording.events) > 1


EVENTS = [b'data: {"choices":[]}\n\n'] * 9 + [b"data: [DONE]\n\n"]


def played(**script: Any) -> Plan:
    made = plan(EVENTS, "openai-chat", Script.load(script), "k")
    assert isinstance(made, Plan)
    return made


def test_pace_speed_and_first_wait():
    waits = [step.wait_s for step in played(events_per_s=10, first_event_s=2, speed=4).steps]
    assert waits == pytest.approx([0.5, *[0.025] * 9])


def test_jitter_keeps_within_twice_the_wait_and_comes_from_the_seed():
    waits = [step.wait_s for step in played(events_per_s=10, jitter=1, seed=3).steps]
    assert len(set(waits)) > 5
    assert all(0 <= wait <= 0.2 for wait in waits)
    assert waits == [step.wait_s for step in played(events_per_s=10, jitter=1, seed=3).steps]
    assert waits != [step.wait_s for step in played(events_per_s=10, jitter=1, seed=4).steps]


def test_a_stall_is_one_long_wait_where_it_was_asked_for_or_somewhere():
    assert [i for i, step in enumerate(played(events_per_s=0, stall_s=5, stall_after=4).steps) if step.wait_s] == [4]
    assert sum(step.wait_s for step in played(events_per_s=0, stall_s=5).steps) == 5


def test_a_cut_ends_in_the_middle_of_an_event():
    cut = played(cut_after=3)
    assert cut.ending == "cut"
    assert len(cut.steps) == 4
    assert EVENTS[3].startswith(cut.steps[-1].data)
    assert cut.steps[-1].data != EVENTS[3]


def test_an_end_marker_can_be_left_out():
    assert [step.data for step in played(omit_done=True).steps] == EVENTS[:-1]
    assert is_end_marker(b"event: message_stop\ndata: {}\n\n")
    assert not is_end_marker(EVENTS[0])


def test_split_writes_are_small_and_whole():
    steps = played(events_per_s=10, split_bytes_max=3).steps
    assert b"".join(step.data for step in steps) == b"".join(EVENTS)
    assert max(len(step.data) for step in steps) <= 3


@pytest.mark.parametrize("api", ["openai-chat", "openai-responses", "anthropic-messages", "gemini"])
def test_an_error_in_mid_stream_is_an_event_of_that_provider(api: str):
    made = plan(EVENTS, api, Script(error_after=2), "k")
    assert isinstance(made, Plan)
    *before, last = made.steps
    assert len(before) == 2
    assert b"scripted" in last.data
    assert last.data.endswith((b"\n\n", b"\r\n\r\n"))


def test_faults_hit_their_share_and_only_the_first_where_asked():
    script = Script(status=503, fault_rate=0.3, seed=1)
    hit = sum(isinstance(plan(EVENTS, "openai-chat", script, "k", n), Refusal) for n in range(400))
    assert 80 < hit < 160
    first_two = Script(status=503, fail_first=2)
    got = [isinstance(plan(EVENTS, "openai-chat", first_two, "k", n), Refusal) for n in range(4)]
    assert got == [True, True, False, False]


def test_a_script_is_read_from_a_header_and_wrong_keys_are_named():
    assert Script.load({"events_per_s": 0}, parse_header("stall_s=2&cut_after=5&omit_done=true")) == Script(
        events_per_s=0, stall_s=2, cut_after=5, omit_done=True
    )
    with pytest.raises(ConfigError, match="stal_s: unknown key; did you mean 'stall_s'"):
        Script.load({"stal_s": 1})
