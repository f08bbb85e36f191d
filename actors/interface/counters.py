"""Counters by name, bounded: names come from providers, and their number is anybody's."""

from __future__ import annotations

_NAMES_MAX = 64
_OTHERS = "(others)"


def count(counters: dict[str, int], name: str) -> None:
    """Add one to the counter of a name; names beyond the first 64 share the counter `(others)`."""
    if name not in counters and len(counters) >= _NAMES_MAX:
        name = _OTHERS
    counters[name] = counters.get(name, 0) + 1
