"""What it costs a router to list requests: `python -m benchmarks.finding`.

A registry of 20,000 requests with agents and tags answers one page of each kind of question, packed as it crosses.
The promise: under 10 ms, whatever is asked for. Beside it stands what the catalogue adds to a request's life.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

from actors.protocol.finding import NUMBER_MAX, ListCall
from actors.protocol.frames import pack
from actors.protocol.labels import pack_labels
from actors.settings import StreamSettings, packed
from benchmarks.measure import percentile
from router.core.doors import Doors
from router.core.registry import Registry
from router.core.request import Request

LIMIT_MS = 10.0
ASK = ListCall("", None, [], None, 0, 0, 100, newest_first=False)
SETTINGS = StreamSettings()
PACKED = packed(SETTINGS)


def a_registry(count: int) -> Registry:
    """Return a registry of so many requests: 200 agents, a tag that all have and one that few have, 1 in 10 open."""
    from router.config import RouterConfig  # noqa: PLC0415  # beside what is measured

    registry = Registry(RouterConfig(), "me", 0.0)
    for number in range(count):
        tags = {"team": "blue", "shift": str(number % 50), **({"rare": "yes"} if number % 5_000 == 0 else {})}
        request = Request(
            f"request-{number:06}",
            PACKED,
            SETTINGS,
            "host-1",
            "2026-01-01T00:00:00+00:00",
            0.0,
            f"agent-{number % 200}",
            created=1_780_000_000_000_000 + 1_000 * number,
            labels=pack_labels(tags, {"user": number}),
        )
        registry.requests.add(request)
        registry.requests.place(request, "s1")
        if number % 10:
            registry.requests.seal(request, "end_turn", 1.0)
    return registry


def questions(count: int) -> dict[str, ListCall]:
    """Return what is asked for, by name."""
    middle = 1_780_000_000_000_000 + 500 * count
    return {
        "the first 100": ASK,
        "the newest 100": ASK._replace(after=NUMBER_MAX, newest_first=True),
        "of an agent": ASK._replace(agent_id="agent-7"),
        "open": ASK._replace(state="open"),
        "by a tag that all have": ASK._replace(tags=[["team", "blue"]]),
        "by a tag that few have": ASK._replace(tags=[["rare", None]]),
        "by a tag that nobody has": ASK._replace(tags=[["none", None]]),
        "by tags that do not meet": ASK._replace(tags=[["shift", "3"], ["rare", None]]),
        "open, of half a day, by two tags": ASK._replace(
            state="open", since=middle, tags=[["team", "blue"], ["shift", "10"]]
        ),
        "1,000 at once": ASK._replace(limit=1_000),
        "nothing, the long way": ASK._replace(state="open", tags=[["team", "blue"], ["shift", "3"]]),
    }


def ms_each(call: Callable[[], object], runs: int) -> list[float]:
    """Return how long each of several calls took."""
    took = []
    for _ in range(runs):
        begin = time.perf_counter()
        call()
        took.append((time.perf_counter() - begin) * 1e3)
    return took


def main() -> int:
    """Print a table; exit status 1 where a question costs more than is promised."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=50)
    options = parser.parse_args()
    begin = time.perf_counter()
    registry = a_registry(options.requests)
    each_us = (time.perf_counter() - begin) * 1e6 / options.requests
    doors = Doors(registry)
    sys.stdout.write(f"{options.requests:,} requests; {each_us:.1f} us for the life of one\n")
    worst = 0.0
    for name, call in questions(options.requests).items():
        took = ms_each(lambda call=call: pack(doors.find(call)), options.runs)  # type: ignore[misc]
        worst = max(worst, statistics.median(took))
        rows = len(doors.find(call).rows)
        sys.stdout.write(
            f"{name:<34} {rows:>5} rows  median {statistics.median(took):7.3f} ms  p99 {percentile(took, 0.99):7.3f}\n"
        )
    sys.stdout.write(f"worst median {worst:.3f} ms, promised {LIMIT_MS:g} ms\n")
    return 0 if worst < LIMIT_MS else 1


if __name__ == "__main__":
    sys.exit(main())
