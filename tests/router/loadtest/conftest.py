"""Recordings, and results that look like those of a real run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from router.demo import RECORDINGS
from router.loadtest import results
from router.loadtest.fault_injector import Struck
from router.loadtest.measurements import Measurements
from router.loadtest.processes import ProcessFigures, Sample
from router.loadtest.workload import Workload
from router.scripted_provider import Library, Recording


@pytest.fixture(scope="session")
def recordings() -> list[Recording]:
    return list(Library.load(RECORDINGS).recordings.values())


Make = Callable[..., dict[str, Any]]


@pytest.fixture
def make_results() -> Make:
    return _make_results


def _make_results(name: str = "made", latency_s: float = 0.005, **changes: Any) -> dict[str, Any]:
    measured = Measurements()
    for number in range(60):
        at_s = number / 4
        measured.count("streams", at_s)
        measured.count("chunks", at_s, 40)
        measured.count("messages", at_s, 38)
        measured.count("readings", at_s)
        measured.count("ended", at_s + 3)
        measured.time("added_latency_ms", at_s, latency_s * (1 + number % 5))
        measured.time("time_to_first_message_ms", at_s, 0.3)
        measured.streams.put(
            number, ["openai-text-1", at_s, at_s + 0.3, at_s + 3, "end_turn" if number % 9 else "error"]
        )
    workload = Workload.load({"name": name, "streams": 60, "thresholds": {"added_latency_ms.p99": 50, "lost": 0}})
    return {
        **results.build(
            workload,
            measured,
            wall_s=20.0,
            streams_open_max=12,
            samples=[
                Sample(at_s, {"router": 0.2, "ray": 0.1}, {"router": 90.0, "ray": 300.0}) for at_s in (0.0, 2.0, 4.0)
            ],
            queues=[{"at_s": 2.0, "unread_bytes": 1000.0, "held_bytes": 5000.0, "sessions": 3.0}],
            processes=[ProcessFigures("router", 7, cpu_s=3.0, memory_mb_max=90.0)],
            faults=[Struck(5.0, "kill-router", "agents/router-0", "3 open requests"), Struck(9.0, "kill-node", None)],
            faults_planned=3,
            about={
                "started_at": "2025-05-01T12:00:00+00:00",
                "interrupted": False,
                "actors": 4,
                "environment": {"python": "3.11", "ray": "2", "cpus": 2, "machine": "x", "system": "Linux"},
            },
        ),
        **changes,
    }
