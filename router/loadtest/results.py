"""The results of a load test: one dictionary of plain values, which is also its JSON file. Pure.

name, description, started_at, seed, interrupted, environment, workload
streams, messages, chunks, bytes, readings, wall_s, messages_per_s, chunks_per_s, streams_open_max, ...
counts              lost, duplicated, reordered, unverified, ...: see `metrics.COUNTS`
<times>_ms          p50, p90, p95, p99, p99_9, mean, max, count: see `metrics.TIMES`
errors, ends        by kind; by stop reason
examples            the first few things that went wrong, in words
faults              what was done, when; faults_missed: faults that found no target, or for which the run was too short
actors, processes   the greatest number of stream actors; CPU and memory of each process
thresholds, met     each limit with its figure
series              by the second, for the plots
timeline_streams    a sample of the streams, for the gantt
"""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from actors.errors import ConfigError
from router.loadtest.fault_injector import Struck
from router.loadtest.figure_names import COUNTS, SHARES, TIMES, full_name
from router.loadtest.measurements import Bin, Histogram, Measurements
from router.loadtest.processes import ProcessFigures, Sample
from router.loadtest.workload import Limit, Workload

FORMAT = "agent-stream-router/loadtest/1"
MS = 1000.0
_SERIES_SHARES = ("p50", "p90", "p99")


def figures(
    measured: Measurements, wall_s: float, streams_open_max: int, samples: Sequence[Sample], faults_missed: int = 0
) -> dict[str, Any]:
    """Return the figures that thresholds may name (and others)."""
    counts = measured.counts
    active_s = _active_s(measured) or 1.0
    by_role = {role for sample in samples for role in sample.memory_mb}
    memory_mb = max((sum(sample.memory_mb.values()) for sample in samples), default=0.0)
    cores = [sum(sample.cpu_cores.values()) for sample in samples if sample.cpu_cores]
    values: dict[str, Any] = {
        "streams": counts["streams"],
        "readings": counts["readings"],
        "messages": counts["messages"],
        "batches": counts["batches"],
        "chunks": counts["chunks"],
        "bytes": counts["bytes"],
        "verified": counts["verified"],
        "provider_errors": counts["provider_errors"],
        "credit_waits": counts["credit_waits"],
        "wall_s": round(wall_s, 2),
        "messages_per_s": round(counts["messages"] / active_s, 1),
        "chunks_per_s": round(counts["chunks"] / active_s, 1),
        "streams_open_max": streams_open_max,
        "faults_missed": faults_missed,
        "memory_mb": round(memory_mb, 1) if by_role else None,
        "cpu_cores": round(sum(cores) / len(cores), 2) if cores else None,
        "counts": {name: counts[name] for name in COUNTS},
    }
    for name in TIMES:
        values[name] = spread(measured.times.get(name))
    return values


def spread(histogram: Histogram | None) -> dict[str, float | int | None]:
    """Return a distribution of times in milliseconds; None where nothing was measured."""
    histogram = histogram or Histogram()
    parts: dict[str, float | int | None] = {name: _ms(histogram.percentile(share)) for name, share in SHARES.items()}
    is_empty = not histogram.total
    return {
        **parts,
        "mean": _ms(histogram.mean_s),
        "max": None if is_empty else _ms(histogram.max_s),
        "count": histogram.total,
    }


def check_thresholds(limits: Mapping[str, Limit], values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return each limit with its figure and whether it is met. A figure that was not measured meets none."""
    checked = []
    for name, limit in limits.items():
        value: Any = values
        for part in full_name(name).split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        met = (
            value is not None
            and (limit.min is None or value >= limit.min)
            and (limit.max is None or value <= limit.max)
        )
        checked.append({"name": name, "min": limit.min, "max": limit.max, "value": value, "met": met})
    return checked


def build(
    workload: Workload,
    measured: Measurements,
    *,
    wall_s: float,
    streams_open_max: int,
    samples: Sequence[Sample],
    queues: Sequence[Mapping[str, float]],
    processes: Sequence[ProcessFigures],
    faults: Sequence[Struck],
    faults_planned: int,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the results of a run. `about`: when and where it ran, its actors, whether it was interrupted."""
    missed = faults_planned - sum(fault.target is not None for fault in faults)
    values = figures(measured, wall_s, streams_open_max, samples, missed)
    checked = check_thresholds(workload.thresholds, values)
    return {
        "format": FORMAT,
        "name": workload.name,
        "description": workload.description,
        "seed": workload.seed,
        **about,
        **values,
        "met": all(limit["met"] for limit in checked),
        "thresholds": checked,
        "errors": dict(measured.errors.most_common()),
        "ends": dict(measured.ends.most_common()),
        "examples": measured.examples,
        "rpc_failures": workload.chaos.rpc_failures,
        "faults": [fault.as_dict() for fault in faults],
        "processes": [
            {
                "role": process.role,
                "pid": process.pid,
                "cpu_s": round(process.cpu_s - process.first_cpu_s, 2),
                "memory_mb_max": round(process.memory_mb_max, 1),
            }
            for process in sorted(processes, key=lambda process: (process.role, process.pid))
        ],
        "series": _series(measured, samples, queues),
        "timeline_streams": {
            "every": measured.streams.stride,
            "columns": ["number", "recording", "asked_s", "first_chunk_s", "ended_s", "stop_reason"],
            "rows": [[number, *row] for number, row in sorted(measured.streams.rows.items())],
        },
        "workload": workload.model_dump(mode="json", exclude_defaults=True),
    }


def _series(measured: Measurements, samples: Sequence[Sample], queues: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    timeline = measured.timeline
    indexes = range(min(timeline.bins, default=0), max(timeline.bins, default=-1) + 1)
    # A bin in which nothing happened was never made.
    bins = [timeline.bins.get(index) or Bin() for index in indexes]
    rates = {
        f"{name}_per_s": [round(one.counts[name] / timeline.bin_s, 1) for one in bins]
        for name in ("messages", "chunks")
    }
    return {
        "bin_s": timeline.bin_s,
        "at_s": [round(index * timeline.bin_s, 3) for index in indexes],
        **rates,
        "streams_open": list(itertools.accumulate(one.counts["streams"] - one.counts["ended"] for one in bins)),
        "added_latency_ms": _percentiles_ms([one.times.get("added_latency_ms") for one in bins]),
        "time_to_first_message_ms": _percentiles_ms([one.times.get("time_to_first_message_ms") for one in bins]),
        "processes": {
            "at_s": [sample.at_s for sample in samples],
            "cpu_cores": _by_role([sample.cpu_cores for sample in samples]),
            "memory_mb": _by_role([sample.memory_mb for sample in samples]),
        },
        "queues": {key: [row.get(key) for row in queues] for key in ("at_s", "unread_bytes", "held_bytes", "sessions")},
    }


def _percentiles_ms(histograms: Sequence[Histogram | None]) -> dict[str, list[float | None]]:
    return {
        part: [None if one is None else _ms(one.percentile(SHARES[part])) for one in histograms]
        for part in _SERIES_SHARES
    }


def _by_role(samples: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    roles = sorted({role for sample in samples for role in sample})
    return {role: [sample.get(role, 0.0) for sample in samples] for role in roles}


def _active_s(measured: Measurements) -> float:
    """Return how long chunks came: what rates are over."""
    bins = [index for index, one in measured.timeline.bins.items() if one.counts["chunks"]]
    return (max(bins) - min(bins) + 1) * measured.timeline.bin_s if bins else 0.0


def _ms(value_s: float | None) -> float | None:
    return None if value_s is None else round(MS * value_s, 3)


# --- files ----------------------------------------------------------------------------------------


def to_json(results: Mapping[str, Any]) -> str:
    """Return the results as JSON: a key a line at the top, so that a person finds the figures."""
    lines = [f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in results.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def to_csv(results: Mapping[str, Any]) -> str:
    """Return the series as CSV for a spreadsheet, a row a bin."""
    series = results["series"]
    columns: dict[str, Sequence[Any]] = {
        "at_s": series["at_s"],
        "streams_open": series["streams_open"],
        "chunks_per_s": series["chunks_per_s"],
        "messages_per_s": series["messages_per_s"],
    }
    for name in ("added_latency_ms", "time_to_first_message_ms"):
        columns |= {f"{name}_{part}": values for part, values in series[name].items()}
    # Processes and queues are measured every other second: a value stands until the next.
    processes, queues = series["processes"], series["queues"]
    columns["cpu_cores"] = _last_known(series, processes["at_s"], _sums(processes["cpu_cores"]))
    columns["memory_mb"] = _last_known(series, processes["at_s"], _sums(processes["memory_mb"]))
    columns |= {name: _last_known(series, queues["at_s"], queues[name]) for name in ("unread_bytes", "held_bytes")}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def _sums(by_role: Mapping[str, Sequence[float]]) -> list[float]:
    return [round(sum(values), 3) for values in zip(*by_role.values(), strict=True)]


def _last_known(series: Mapping[str, Any], seen_at_s: Sequence[float], values: Sequence[float]) -> list[float | None]:
    """Return for each bin the last value before its end; None before the first, and where there are no values."""
    found: list[float | None] = []
    place = 0
    for start_s in series["at_s"]:
        while place < len(seen_at_s) and seen_at_s[place] < start_s + series["bin_s"]:
            place += 1
        # Of a run so short that its processes were looked at once there is no CPU time.
        found.append(values[place - 1] if 0 < place <= len(values) else None)
    return found


def load_results(file: Path) -> dict[str, Any]:
    """Return the results in a JSON file. Raises ConfigError for what is none."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{file}: not JSON: {error}") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ConfigError(
            f"{file}: not the results of a load test; `stream-router loadtest CONFIG --json FILE` writes them"
        )
    return data
