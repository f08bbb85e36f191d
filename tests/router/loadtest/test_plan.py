"""Arrivals, distributions, plans and faults: pure, and the same again from the same seed."""

from __future__ import annotations

import random
from collections import Counter
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.recording_format import read_recording
from router.demo.recorded_content import recorded
from router.loadtest.arrivals import planned_starts, start_times
from router.loadtest.distributions import Distribution
from router.loadtest.fault_schedule import Chaos, parse_faults, rpc_failure_setting, schedule
from router.loadtest.plan import Planner, all_recordings
from router.loadtest.workload import Arrival, Workload


def starts(count: int, **arrival) -> list[float]:
    return list(islice(start_times(Arrival.model_validate(arrival), 1), count))


def per_second(times: list[float], first_s: float, last_s: float) -> float:
    return sum(first_s <= at_s < last_s for at_s in times) / (last_s - first_s)


# --- arrivals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("poisson", [True, False])
def test_a_rate_is_kept_on_the_average(poisson):
    times = starts(5000, kind="rate", rate_per_s=50, poisson=poisson)
    assert per_second(times, 0, 90) == pytest.approx(50, rel=0.05)


def test_independent_users_come_unevenly_and_a_timetable_evenly():
    waits = [after - before for before, after in pairwise(starts(500, kind="rate", rate_per_s=10))]
    assert max(waits) > 0.3
    assert min(waits) < 0.01
    even = [after - before for before, after in pairwise(starts(50, kind="rate", rate_per_s=10, poisson=False))]
    assert all(wait == pytest.approx(0.1) for wait in even)


@given(st.floats(0, 50), st.floats(0.5, 50), st.floats(1, 100))
def test_a_ramp_has_its_rate_at_every_moment(first: float, last: float, over_s: float):
    times = starts(400, kind="ramp", from_per_s=first, to_per_s=last, over_s=over_s, poisson=False)
    assert times == sorted(times)
    for before, after in pairwise(times):
        middle = (before + after) / 2
        rate = max(first, 0.01) + (last - max(first, 0.01)) * min(middle / over_s, 1)
        assert (after - before) * rate == pytest.approx(1, rel=0.35, abs=0.1) or before < over_s < after or rate < 1


def test_a_ramp_stays_at_its_last_rate():
    times = starts(3000, kind="ramp", from_per_s=1, to_per_s=40, over_s=20, poisson=False)
    assert per_second(times, 0, 20) == pytest.approx(20.5, rel=0.05)
    assert per_second(times, 30, 60) == pytest.approx(40, rel=0.05)


def test_spikes_come_at_the_end_of_each_period():
    times = starts(3000, kind="spikes", rate_per_s=5, spike_per_s=100, spike_s=2, every_s=20, poisson=False)
    for period in range(4):
        start_s = 20 * period
        assert per_second(times, start_s, start_s + 18) == pytest.approx(5, rel=0.1)
        assert per_second(times, start_s + 18, start_s + 20) == pytest.approx(100, rel=0.05)


def test_streams_and_duration_both_bound_a_run():
    base = {"arrival": {"kind": "rate", "rate_per_s": 10, "poisson": False}}
    assert len(planned_starts(Workload.load({"streams": 30, **base})) or []) == 30
    assert len(planned_starts(Workload.load({"duration_s": 2, **base})) or []) == 20
    assert len(planned_starts(Workload.load({"duration_s": 2, "streams": 5, **base})) or []) == 5
    assert planned_starts(Workload.load({"streams": 5})) is None, "a fixed concurrency has no times"


# --- distributions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "mean"),
    [
        ({"fixed": 7}, 7),
        ({"uniform": [2, 8]}, 5),
        ({"normal": {"mean": 10, "sd": 2}}, 10),
        ({"exponential": 4}, 4),
        ({"choice": [1, 1, 4]}, 2),
        ({"lognormal": {"median": 10, "sigma": 0.5}}, 11.33),
    ],
)
def test_a_distribution_has_its_mean(shape, mean: float):
    rng = random.Random(3)
    distribution = Distribution.model_validate(shape)
    values = [distribution.sample(rng) for _ in range(20_000)]
    assert sum(values) / len(values) == pytest.approx(mean, rel=0.03)
    assert min(values) >= 0


def test_a_distribution_keeps_to_its_maximum():
    distribution = Distribution.model_validate({"exponential": 10, "max": 12})
    rng = random.Random(3)
    assert max(distribution.sample(rng) for _ in range(1000)) == 12


# --- plans ------------------------------------------------------------------------------------------


def planner(recordings, **workload) -> Planner:
    loaded = Workload.load({"streams": 10, **workload})
    return Planner(loaded, all_recordings(loaded, recordings))


def test_a_plan_follows_from_the_seed_and_the_number_alone(recordings):
    mine, yours = planner(recordings, seed=4), planner(recordings, seed=4)
    assert [mine.stream(n) for n in range(20)] == [yours.stream(n) for n in reversed(range(20))][::-1]
    assert [mine.stream(n) for n in range(20)] != [planner(recordings, seed=5).stream(n) for n in range(20)]


def test_kinds_come_in_the_shares_of_their_weights(recordings):
    mix = [{"weight": 3, "apis": ["openai-chat"]}, {"weight": 1, "recordings": ["anthropic-*"]}]
    made = planner(recordings, mix=mix)
    kinds = Counter(made.stream(n).kind for n in range(2000))
    assert kinds[0] / 2000 == pytest.approx(0.75, abs=0.04)
    for number in range(200):
        plan = made.stream(number)
        assert plan.recording is not None
        assert plan.recording.api == "openai-chat" if plan.kind == 0 else plan.recording.name.startswith("anthropic-")


def test_readers_are_slow_and_late_in_their_shares(recordings):
    readers = {"per_stream": {"choice": [1, 3]}, "slow": {"share": 0.2}, "late": {"share": 0.5, "delay_s": 4}}
    made = planner(recordings, readers=readers)
    all_readers = [reader for n in range(1000) for reader in made.stream(n).readers]
    assert len(all_readers) == pytest.approx(2000, rel=0.1)
    assert sum(reader.messages_per_s is not None for reader in all_readers) / len(all_readers) == pytest.approx(
        0.2, abs=0.04
    )
    assert sum(reader.late_s == 4 for reader in all_readers) / len(all_readers) == pytest.approx(0.5, abs=0.05)


def test_synthetic_streams_have_the_length_that_was_asked_for(recordings):
    kind = {"synthetic": {"chunks": {"uniform": [50, 60]}, "chunk_chars": 12, "reasoning_share": 0.5, "variants": 3}}
    made = all_recordings(Workload.load({"streams": 1, "mix": [kind]}), recordings)[len(recordings) :]
    assert [recording.name for recording in made] == ["synthetic-0-0", "synthetic-0-1", "synthetic-0-2"]
    for recording in made:
        assert b"".join(recording.events) == recording.body
        said = recorded(recording.body, recording.api)
        pieces = len(read_recording(recording.body)) - 4  # role, finish, usage, [DONE]
        assert 50 <= pieces <= 60
        assert len(said.text) + len(said.reasoning) == 12 * pieces
        assert len(said.reasoning) == pytest.approx(len(said.text), abs=12)


def test_the_expected_time_covers_the_last_stream(recordings):
    made = planner(recordings, arrival={"kind": "rate", "rate_per_s": 5, "poisson": False}, mix=[{"events_per_s": 10}])
    last = made.stream(9)
    assert made.expected_s() >= 9 / 5 + last.duration_s() - 1e-9


# --- chaos ------------------------------------------------------------------------------------------


def test_faults_are_written_as_in_the_command_line():
    text = "kill-stream-actor:2, kill-router:1,rpc-failures:0.05,stop-actor"
    assert parse_faults(text) == {"kill-stream-actor": 2, "kill-router": 1, "rpc-failures": 0.05, "stop-actor": 1}


@given(st.integers(0, 1000), st.integers(0, 5), st.integers(0, 3), st.floats(10, 1000))
def test_strikes_are_all_there_in_the_window_and_never_close_together(seed: int, kills: int, stops: int, run_s: float):
    chaos = Chaos.model_validate({"faults": {"kill-stream-actor": kills, "stop-actor": stops}, "from_s": 5})
    strikes = schedule(chaos, seed, run_s)
    assert Counter(strike.kind for strike in strikes) == Counter({"kill-stream-actor": kills, "stop-actor": stops})
    until_s = max(0.8 * run_s, 5)
    assert all(5 <= strike.at_s <= until_s for strike in strikes)
    slot_s = (until_s - 5) / max(len(strikes), 1)
    assert all(after.at_s - before.at_s >= slot_s / 2 - 1e-9 for before, after in pairwise(strikes))
    assert all((strike.stop_s > 0) == (strike.kind == "stop-actor") for strike in strikes)
    assert strikes == schedule(chaos, seed, run_s), "the same seed strikes again in the same way"


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1, 0.5])
def test_the_share_of_failing_calls_is_split_over_all_ways_to_fail(share: float):
    assert '"num_failures": -1' in rpc_failure_setting(share)
    numbers = [
        int(part) for part in rpc_failure_setting(share).replace("}", "").replace(",", "").split() if part.isdigit()
    ]
    assert sum(numbers) == round(100 * share)
