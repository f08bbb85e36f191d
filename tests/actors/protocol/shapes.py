"""What every shape of the protocol must hold: it crosses as it is, and nothing else passes for it."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any, get_type_hints

import pytest
from hypothesis import strategies as st

from actors.errors import ProtocolViolation
from actors.protocol.frames import _kind, pack, read

VALUES: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=8),
    int: st.integers(-(1 << 63), (1 << 64) - 1),
    float: st.floats(allow_nan=False),
    bytes: st.binary(max_size=8),
    bool: st.booleans(),
    list: st.lists(st.integers(0, 9), max_size=3),
    type(None): st.none(),
}
WRONG: list[Any] = ["text", 7, 1.5, b"bytes", [1], {"a": 1}, None]


def shapes_of(module: ModuleType) -> list[Any]:
    """Return all shapes that a module of the protocol defines."""
    found = [kind for _, kind in inspect.getmembers(module, inspect.isclass) if hasattr(kind, "_fields")]
    return [shape for shape in found if shape.__module__ == module.__name__]


def kinds(shape: Any) -> list[tuple[str, tuple[type, ...]]]:
    """Return the parts of a shape with the types that each may have."""
    hints = get_type_hints(shape)
    found = []
    for name in shape._fields:
        kind = _kind(hints[name])
        found.append((name, kind if isinstance(kind, tuple) else (kind,)))
    return found


def examples(shape: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for shapes with any parts that are allowed."""
    parts = []
    for _, allowed in kinds(shape):
        any_of = [VALUES[kind] for kind in allowed if kind in VALUES]
        parts.append(st.one_of(*any_of) if any_of else st.one_of(*VALUES.values()))
    return st.tuples(*parts).map(shape._make)


def check_that_it_crosses(shape: Any, example: Any) -> None:
    assert read(shape, pack(example)) == example


def check_that_nothing_else_passes(shape: Any, example: Any) -> None:
    parts = list(example)
    for wrong in ([], parts[:-1], [*parts, 0], "text", 7, None, {"a": 1}):
        with pytest.raises(ProtocolViolation):
            read(shape, pack(wrong))
    for at, (_, allowed) in enumerate(kinds(shape)):
        for value in WRONG:
            if not isinstance(value, allowed):
                with pytest.raises(ProtocolViolation):
                    read(shape, pack([*parts[:at], value, *parts[at + 1 :]]))
