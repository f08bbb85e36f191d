"""Nothing is lost when real processes die: each kind of kill in a Ray of its own, in a process of its own.

The kinds mostly wait, so a few run at a time. What is asserted about times is generous, since a test must hold
on a busy machine: the goals are held against the figures of `python -m tests.chaos --all`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from router.core.outboxes import CLIENT_TIMEOUT_S

from .report import NOUGHTS, run

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(600)]

AT_A_TIME = 4
# Those that wait longest come first.
ORDER = (
    "kill-reader",
    "kill-publisher",
    "remove-node",
    "stop-actor",
    "fail-calls",
    "kill-driver",
    "kill-router",
    "refuse-opens",
    "kill-actor",
    "shut-down",
)

Figures = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def figures(request: pytest.FixtureRequest) -> Iterator[Figures]:
    """Start the kinds of the tests that were chosen; give the figures of one when it has ended."""
    wanted = {item.callspec.params["kind"] for item in request.session.items if item.path == request.path}
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        running: dict[str, Future[dict[str, Any]]] = {kind: pool.submit(run, kind) for kind in ORDER if kind in wanted}
        yield lambda kind: running[kind].result()
        for future in running.values():
            future.cancel()


def nothing_lost(found: dict[str, Any]) -> None:
    wrong = {name: found[name] for name in NOUGHTS if found[name]}
    assert not wrong, f"{wrong}; {json.dumps(found)}"
    assert set(found["ended_by"]) <= {"end_turn", "tool_call", "max_tokens", "error", "incomplete", "publisher_lost"}


@pytest.mark.parametrize(
    ("kind", "patience_s"), [("kill-actor", 20.0), ("kill-router", 30.0), ("stop-actor", 45.0), ("remove-node", 60.0)]
)
def test_a_load_survives(kind, patience_s, figures):
    found = figures(kind)
    nothing_lost(found)
    assert found["ended_by"].keys() <= {"end_turn", "tool_call", "max_tokens", "error"}
    assert len(found["recovered_streams"]) == found["kills"]
    assert all(found["recovered_streams"]), "a kill that hit no stream proves nothing"
    assert found["recovery_p99_s"] < patience_s
    assert found.get("over_network", 1) > 0, "between nodes calls were to go over TCP"
    assert found.get("listed_s", 0.0) < CLIENT_TIMEOUT_S, "no listing waits until publishers have had their time"
    assert not found.get("not_listed")


@pytest.mark.parametrize("kind", ["fail-calls"])
def test_calls_that_fail_at_random_lose_nothing(kind, figures):
    found = figures(kind)
    assert found["failed_of_clients"] >= 10
    assert found["failed_of_routers"] > 0
    nothing_lost(found)


@pytest.mark.parametrize("kind", ["kill-publisher"])
def test_a_killed_publisher_is_followed_or_its_requests_end_by_name(kind, figures):
    found = figures(kind)
    nothing_lost(found)
    assert found["ended_by"] == {"end_turn": found["taken_over"], "publisher_lost": found["left"]}
    assert found["left_messages_min"] > 2, "what was delivered before the kill stays readable"
    assert found["left_ended_after_s"] < 60.0


@pytest.mark.parametrize("kind", ["kill-reader"])
def test_a_killed_reader_is_followed_from_its_cursor_and_holds_nobody_up_for_ever(kind, figures):
    found = figures(kind)
    nothing_lost(found)
    assert 0 < found["read_before"] < found["messages"]
    assert 1.0 < found["publisher_waited_s"] < 85.0


@pytest.mark.parametrize("kind", ["kill-driver"])
def test_nothing_is_left_of_a_killed_driver(kind, figures):
    found = figures(kind)
    assert found["actors_before"] >= 2
    assert all(found["processes_before"])
    assert all(found["spilled_files_before"])
    assert found["left"] == []


@pytest.mark.parametrize("kind", ["shut-down"])
def test_nothing_is_left_after_an_ordinary_end(kind, figures):
    found = figures(kind)
    nothing_lost(found)
    assert found["actors_before"] >= 2
    assert found["left"] == []


@pytest.mark.parametrize("kind", ["refuse-opens"])
def test_opens_that_are_refused_harm_nobody(kind, figures):
    found = figures(kind)
    nothing_lost(found)
    floods = found["floods"]
    for name in ("goal", "flat_out"):
        assert floods[name]["answered"].keys() == {"limit_exceeded"}
        assert floods[name]["answered_per_s"] > 1_000
        assert floods[name]["latency_p99_s"] < 2.0
    assert found["refused"] == sum(floods[name]["answered"]["limit_exceeded"] for name in ("goal", "flat_out"))
