"""Measures: totals from which differences can be taken, in a bounded number of series, and who lags most."""

from __future__ import annotations

import itertools

from host_driver import Driver, record, text
from hypothesis import given
from hypothesis import strategies as st

from actors.protocol.frames import pack
from actors.stream.measures import FIRST_MESSAGE_BOUNDS_S, UNKNOWN_KINDS, Histogram, Measures, look, unknown_by_kind


@given(st.lists(st.one_of(st.floats(0, 200, allow_nan=False), st.sampled_from(FIRST_MESSAGE_BOUNDS_S)), max_size=50))
def test_each_value_is_counted_once_in_the_first_bucket_that_reaches_it(values):
    histogram = Histogram(FIRST_MESSAGE_BOUNDS_S)
    for value in values:
        histogram.observe(value)
    counts, sums = histogram.totals()
    lows = [float("-inf"), *FIRST_MESSAGE_BOUNDS_S]
    highs = [*FIRST_MESSAGE_BOUNDS_S, float("inf")]
    expected = [[value for value in values if low < value <= high] for low, high in zip(lows, highs, strict=True)]
    assert counts == [len(found) for found in expected]
    assert sums == [sum(found) for found in expected]


def test_what_was_told_once_is_not_changed_by_what_comes_later():
    histogram = Histogram((1.0,))
    before = histogram.totals()
    histogram.observe(0.5)
    assert before == [[0, 0], [0.0, 0.0]]


def test_what_no_adapter_knows_is_counted_by_its_first_word():
    found = unknown_by_kind({"event response.new": 1, "events": 2, "part.video": 3, "tool_x": 4, "what is this": 5})
    assert found == {"event": 3, "part": 3, "tool": 4, "other": 5}


@given(st.dictionaries(st.text(max_size=30), st.integers(1, 100)))
def test_a_provider_that_invents_names_makes_no_new_series_and_loses_no_count(unknown):
    found = unknown_by_kind(unknown)
    assert found.keys() <= {*UNKNOWN_KINDS, "other"}
    assert sum(found.values()) == sum(unknown.values())


def test_a_provider_has_one_total_however_often_it_is_asked_for():
    measures = Measures()
    measures.by_provider["gemini"].chunks += 2
    measures.by_provider["gemini"].chunks += 3
    assert {name: of.chunks for name, of in measures.by_provider.items()} == {"gemini": 5}


def test_a_look_tells_how_things_stand_in_plain_data_and_who_lags_most():
    driver = Driver()
    for number, count in enumerate((2, 5, 1, 4), 1):
        driver.open(f"r{number}")
        driver.say(f"r{number}", *[text("x")] * count)
    driver.say("r1", record("finish", stop_reason=None))
    host = driver.host
    found = look(host.measures, host.sessions.values(), 7, 2, {"event x": 1})
    assert (found["open"], found["sealed"], found["readers"], found["unknown"]) == (3, 1, 7, {"event": 1})
    assert [row[0] for row in found["laggards"]] == ["r2", "r4"], "an ended request keeps nobody waiting"
    assert [row[2:4] for row in found["laggards"]] == [[5, 5], [4, 4]]
    assert found["lag_max"] == 5
    assert found["unread_bytes"] == sum(host.sessions[f"r{n}"].log.unread_bytes for n in (2, 3, 4))
    assert found["bytes_held"] == sum(session.log.bytes_held for session in host.sessions.values())
    (totals,) = found["providers"].values()
    assert totals[0] == 13, "the items that came, the end among them"
    assert pack(found)


def test_a_look_at_nothing_is_a_look_too():
    found = look(Measures(), [], 0)
    assert (found["lag_max"], found["laggards"], found["providers"]) == (0, [], {})


def test_two_who_look_take_nothing_from_each_other():
    driver = Driver()
    driver.open("req")
    driver.say("req", text("x"))
    host = driver.host
    looks = [look(host.measures, host.sessions.values(), 0, 1) for _ in range(3)]
    assert all(a == b for a, b in itertools.pairwise(looks))
