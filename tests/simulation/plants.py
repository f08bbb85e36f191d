"""Bugs planted by name."""
from __future__ import annotations
import contextlib
from collections.abc import Iterator
PLANTS: dict[str, object] = {}
@contextlib.contextmanager
def planted(name: str | None) -> Iterator[None]:
    yield
