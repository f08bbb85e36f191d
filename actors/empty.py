"""Empty containers that all share, in the place of one each.

A process holds ten thousand streams, and most of what one of them could need (tables of tool calls, of repetitions,
of further choices) it never does; an empty dict takes 64 bytes, an empty set 216. So an object begins with one of
these, which can be read as any other, and takes one of its own before it first writes (`own_dict` and so on). They
cannot be written to: where that was forgotten, it fails.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, TypeVar, cast

K = TypeVar("K")
V = TypeVar("V")

EMPTY_DICT: dict[Any, Any] = cast("dict[Any, Any]", MappingProxyType({}))
EMPTY_LIST: list[Any] = cast("list[Any]", ())
EMPTY_SET: set[Any] = cast("set[Any]", frozenset())


def own_dict(found: dict[K, V]) -> dict[K, V]:
    """Return a dict that can be written to: this one, unless it is the shared one."""
    return {} if found is EMPTY_DICT else found


def own_list(found: list[V]) -> list[V]:
    """Return a list that can be written to: this one, unless it is the shared one."""
    return [] if found is EMPTY_LIST else found


def own_set(found: set[V]) -> set[V]:
    """Return a set that can be written to: this one, unless it is the shared one."""
    return set() if found is EMPTY_SET else found
