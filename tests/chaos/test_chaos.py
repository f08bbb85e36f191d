"""Nothing is lost when real processes die: each kind of kill in a Ray of its own, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]


def run(kind: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", kind],
        cwd=ROOT,
        env={**os.environ, "RAY_DEDUP_LOGS": "1"},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    figures = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(figures))
    return figures


def nothing_lost(figures: dict) -> None:
    noughts = (
        "lost",
        "duplicated",
        "out_of_order",
        "wrong",
        "without_terminal",
        "with_several_terminals",
        "error_count",
    )
    assert {name: figures[name] for name in noughts} == dict.fromkeys(noughts, 0), figures
    assert set(figures["ended_by"]) <= {"end_turn", "tool_call", "max_tokens", "error"}


# The goals are for a machine of one's own; a busy one gets some more time.
@pytest.mark.parametrize(
    ("kind", "goal_s"),
    [("kill-actor", 2.0), ("kill-router", 3.0), ("stop-actor", 15.0), ("remove-node", 15.0)],
)
def test_a_load_survives(kind, goal_s):
    figures = run(kind)
    nothing_lost(figures)
    assert figures["recovered_streams"] > 0
    assert figures["recovery_p99_s"] < 2 * goal_s


def test_calls_that_fail_at_random_lose_nothing():
    figures = run("fail-calls")
    assert figures["kills"] > 0, "no call failed: Ray injected nothing"
    nothing_lost(figures)


def test_a_killed_publisher_is_followed_or_its_request_ends_by_name():
    figures = run("kill-publisher")
    nothing_lost(figures)
    assert figures["left_stop_reason"] == "publisher_lost"
    assert figures["left_terminals"] == 1
    assert figures["left_is_whole_up_to_its_end"]
    assert figures["left_ended_after_s"] < 25.0


def test_a_killed_reader_is_followed_from_its_cursor():
    figures = run("kill-reader")
    nothing_lost(figures)
    assert 0 < figures["read_before"] < figures["messages"]


@pytest.mark.parametrize("kind", ["kill-driver", "shut-down"])
def test_nothing_is_left_on_the_cluster(kind):
    figures = run(kind)
    assert figures["actors_before"] >= 2
    assert figures["actors_left"] == []
    assert figures["files_left"] == []
