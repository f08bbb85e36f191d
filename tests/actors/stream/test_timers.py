"""Timers: which of them run, from when, and what each is called in the end that it causes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.settings import StreamSettings
from actors.stop_reasons import StopReason
from actors.stream.session import Session
from actors.stream.timers import Since, running

OPENED_S, CONTENT_S, READ_S = 100.0, 120.0, 130.0
STARTED_AT = {
    "request_timeout_s": OPENED_S,
    "first_message_timeout_s": OPENED_S,
    "stall_timeout_s": CONTENT_S,
    "idle_reader_timeout_s": READ_S,
}

CHOSEN = st.fixed_dictionaries(
    {name: st.one_of(st.none(), st.floats(0.1, 1e6, allow_nan=False)) for name in STARTED_AT}
)


SINCE = Since(OPENED_S, CONTENT_S, READ_S)


@given(CHOSEN, st.booleans(), st.booleans())
def test_each_timer_that_is_set_and_has_been_started_runs_from_what_starts_it(chosen, awaits_first, may_speak):
    found = running(StreamSettings(dialect="chat", **chosen), SINCE, awaits_first=awaits_first, may_speak=may_speak)
    starts = {"first_message_timeout_s": awaits_first, "stall_timeout_s": may_speak}
    expected = {
        name.removesuffix("_timeout_s"): STARTED_AT[name] + seconds
        for name, seconds in chosen.items()
        if seconds is not None and starts.get(name, True)
    }
    assert {timeout.stop_reason.removeprefix("timeout_"): timeout.at for timeout in found} == expected


def test_each_timeout_of_the_settings_has_a_timer_and_an_end_of_its_name():
    """A new setting without one would be taken and do nothing."""
    settings = {name for name in StreamSettings.model_fields if name.endswith("_timeout_s")}
    chosen = StreamSettings(dialect="chat", **dict.fromkeys(settings, 7.5))
    found = running(chosen, SINCE, awaits_first=True, may_speak=True)
    assert {f"{timeout.stop_reason.removeprefix('timeout_')}_timeout_s" for timeout in found} == settings
    for timeout in found:
        assert timeout.stop_reason in set(StopReason)
        assert timeout.detail == f"{timeout.stop_reason.removeprefix('timeout_')}_timeout_s of 7.5 s ran out"


def test_reading_begins_with_the_session_and_the_open_may_lie_before_it():
    """A session of a later epoch: what the request has waited for already counts, the silence of others does not."""
    settings = StreamSettings(dialect="chat", **dict.fromkeys(STARTED_AT, 100.0))
    session = Session("req", 2, settings, 10.0, age_s=60.0)
    assert {timeout.stop_reason: timeout.at for timeout in session._running()} == {
        "timeout_request": 50.0,
        "timeout_first_message": 50.0,
        "timeout_idle_reader": 110.0,
    }


def test_content_and_reading_start_their_timers_anew():
    session = Session("req", 1, StreamSettings(dialect="chat", **dict.fromkeys(STARTED_AT, 100.0)), 10.0)
    session.grant(1000)
    session.feed(1, 1, [b'{"choices":[{"index":0,"delta":{"content":"a"}}]}'], 20.0)
    session.consume("reader", 1, 30.0)
    assert {timeout.stop_reason: timeout.at for timeout in session._running()} == {
        "timeout_request": 110.0,
        "timeout_stall": 120.0,
        "timeout_idle_reader": 130.0,
    }
