"""How the tests are shared out where several processes run them (`pytest -n 3`, as `make test` does).

What of a folder needs a Ray stays in one process, and with it the Ray that it shares. What mostly waits (the kills
first, then what needs a Ray, the longest first) comes before what needs a processor all the time, so that the two fill
each other's gaps. Of the latter the simulation comes first, and in parts: as a whole at the end, one process would wait
for the other.

And what the programs that the tests start come by: SIGINT does to them what it does at a terminal.
"""

from __future__ import annotations

import signal
from collections.abc import Generator

import hypothesis
import pytest

from tests.effort import EFFORT, scaled
from tests.transport import TRANSPORT, take_over

# On a busy machine an example takes as long as it takes; pytest's timeout ends what hangs.
hypothesis.settings.register_profile("default-without-deadline", deadline=None, max_examples=scaled(100))
hypothesis.settings.load_profile("default-without-deadline")


def pytest_configure() -> None:
    """Take the transport that is asked for, and let children be interrupted, also in a background job of a shell.

    An ignored signal stays ignored in every child, a handled one does what it does by default. So the suite
    goes on ignoring it, by a handler that does nothing.
    """
    take_over()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda _number, _frame: None)


def pytest_report_header() -> str:
    """Say how much is drawn."""
    return f"effort: {EFFORT} (TEST_EFFORT), transport: {TRANSPORT} (TEST_TRANSPORT)"


# Folders whose tests take longest on a Ray.
LONGEST = ("service", "client", "loadtest", "examples")


def _place(item: pytest.Item) -> int:
    if item.get_closest_marker("chaos"):
        return 0
    if item.get_closest_marker("ray") or item.get_closest_marker("slow"):
        folder = item.path.parent.name
        return 1 + (LONGEST.index(folder) if folder in LONGEST else len(LONGEST))
    return 2 + len(LONGEST) + (item.path.parent.name != "simulation")


def _group(item: pytest.Item) -> str:
    place = _place(item)
    if 0 < place <= 1 + len(LONGEST):
        return f"{item.path.parent.name} on Ray"
    if item.path.parent.name == "simulation":
        return item.name.replace("[", " ").rstrip("]")  # behind a bracket pytest-xdist sees no group
    return f"{item.path.name} {place}"


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist, which reads the groups in the same hook
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Say which tests stay together, and put in front what mostly waits."""
    if not hasattr(config, "workerinput"):  # one process for all
        return
    items.sort(key=_place)
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Stop where groups are asked for and not made: each process would start every Ray and every kill of its own."""
    if session.items and session.config.getoption("loadgroup", default=False) and "@" not in session.items[0].nodeid:
        raise pytest.UsageError(
            f"pytest {pytest.__version__} and the installed pytest-xdist do not group tests; install the versions of "
            "constraints.txt, or run without -n"
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a report cross processes also where what was logged holds half of a surrogate pair."""
    report = yield
    report.sections = [(name, said.encode("utf-8", "backslashreplace").decode()) for name, said in report.sections]
    return report
