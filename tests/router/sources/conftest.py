"""The recordings that come with the package, and what pumping leaves of a source."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from router.demo import RECORDINGS
from router.scripted_provider import Library, Script, serve


@pytest.fixture(scope="session")
def library() -> Library:
    return Library.load(RECORDINGS)


@pytest.fixture
async def provider(library: Library) -> AsyncIterator[str]:
    """The base URL of a scripted provider that plays the recordings."""
    async with serve(library, Script.load({"events_per_s": 0})) as url:
        yield url
