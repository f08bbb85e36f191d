"""Counters by name stay small, whatever names come."""

from __future__ import annotations

from actors.interface.counters import count


def test_names_beyond_the_limit_are_counted_together() -> None:
    counters: dict[str, int] = {}
    for place in range(100):
        count(counters, f"name {place}")
    count(counters, "name 0")
    assert len(counters) == 65
    assert counters["name 0"] == 2
    assert counters["(others)"] == 36
    assert sum(counters.values()) == 101
