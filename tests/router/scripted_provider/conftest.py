"""The recordings that come with the package."""

from __future__ import annotations

import pytest

from router.demo import RECORDINGS
from router.scripted_provider import Library


@pytest.fixture(scope="module")
def library() -> Library:
    return Library.load(RECORDINGS)
