"""In which order the tests run: the pure ones first, beside the kills, which mostly wait.

The kinds of `tests/chaos` live in processes and Rays of their own and need no processor for most of their time, so
they start when the first test does; what they found is looked at when it is there, after all others.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from chaos.background import Kinds


def _room(item: pytest.Item) -> int:
    if item.get_closest_marker("chaos"):
        return 2
    return 1 if item.get_closest_marker("ray") or item.get_closest_marker("slow") else 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_room)


@pytest.fixture(scope="session", autouse=True)
def kinds(request: pytest.FixtureRequest) -> Iterator[Kinds]:
    """The kinds of kills that the chosen tests ask for, under way."""
    chosen = [item for item in request.session.items if item.get_closest_marker("chaos")]
    with Kinds({item.callspec.params["kind"] for item in chosen if isinstance(item, pytest.Function)}) as started:
        yield started
