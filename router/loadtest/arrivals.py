"""When streams start. Pure: from the workload and its seed alone, in seconds after the run's start.

Open arrivals (rate, ramp, spikes) give each stream its time beforehand, whatever the system under
test does, so that one that falls behind shows it. A fixed concurrency has no times: the next stream
starts when one ends.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from itertools import islice

from router.loadtest.workload import Arrival, Workload

# A ramp from nothing starts here, or its first stream would never come.
RATE_MIN_PER_S = 0.01


def start_times(arrival: Arrival, seed: int) -> Iterator[float]:
    """Yield the start of stream 0, 1, 2, ... without end, in order.

    With `poisson` the times are those of independent users: the waits are exponential at the rate of
    the moment. Else they are even.
    """
    rng = random.Random(f"{seed}/arrivals")
    work = 0.0  # the expected number of arrivals up to the next one
    while True:
        yield _time_of(arrival, work)
        work += rng.expovariate(1.0) if arrival.poisson else 1.0


def planned_starts(workload: Workload) -> list[float] | None:
    """Return the start times of all streams of a workload; None for a fixed concurrency."""
    if workload.arrival.kind == "concurrency":
        return None
    times = start_times(workload.arrival, workload.seed)
    if workload.streams is not None:
        times = islice(times, workload.streams)
    starts = []
    for at_s in times:
        if workload.duration_s is not None and at_s >= workload.duration_s:
            break
        starts.append(at_s)
    return starts


def _time_of(arrival: Arrival, work: float) -> float:
    """Return when so many streams are expected to have started: the inverse of the rate's integral."""
    if arrival.kind == "rate":
        return work / arrival.rate_per_s
    if arrival.kind == "ramp":
        return _ramp(
            max(arrival.from_per_s, RATE_MIN_PER_S), max(arrival.to_per_s, RATE_MIN_PER_S), arrival.over_s, work
        )
    return _spikes(arrival, work)


def _ramp(first: float, last: float, over_s: float, work: float) -> float:
    """The rate goes evenly from `first` to `last` within `over_s`, and stays there."""
    slope = (last - first) / over_s
    of_ramp = (first + last) / 2 * over_s
    if work >= of_ramp:
        return over_s + (work - of_ramp) / last
    if slope == 0:
        return work / first
    return (math.sqrt(first * first + 2 * slope * work) - first) / slope


def _spikes(arrival: Arrival, work: float) -> float:
    """Each period ends with a spike of `spike_s` at `spike_per_s`; before it the rate is `rate_per_s`."""
    calm_s = arrival.every_s - arrival.spike_s
    of_calm = arrival.rate_per_s * calm_s
    of_period = of_calm + arrival.spike_per_s * arrival.spike_s
    periods, rest = divmod(work, of_period)
    start_s = periods * arrival.every_s
    if rest < of_calm:
        return start_s + rest / arrival.rate_per_s
    return start_s + calm_s + (rest - of_calm) / arrival.spike_per_s
