"""Parts of an object that are made when they are first asked for.

A process holds ten thousand streams, and most of what one of them could need (tables of tool calls, of repetitions,
of further choices) it never does. An empty table takes 64 bytes, an empty set 216; a part that was never made, 8.
What was made is found as any attribute is, at no cost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar


class LazyParts:
    """`_MAKES`: what makes each lazy part of this object, by its name; it must have a slot."""

    __slots__ = ()

    _MAKES: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}

    if not TYPE_CHECKING:  # a checker would believe every name

        def __getattr__(self, name: str) -> Any:
            """Make a part: nothing else is asked for here, for whatever has a value is found before."""
            make = self._MAKES.get(name)
            if make is None:
                raise AttributeError(f"{type(self).__name__} has no attribute {name!r}", name=name, obj=self)
            part = make(self)
            setattr(self, name, part)
            return part

    def made(self, name: str) -> Any:
        """Return a part if it was made; None otherwise."""
        try:
            return object.__getattribute__(self, name)
        except AttributeError:
            return None


def new_dict(_of: Any) -> dict[Any, Any]:
    """Make an empty dict."""
    return {}


def new_list(_of: Any) -> list[Any]:
    """Make an empty list."""
    return []


def new_set(_of: Any) -> set[Any]:
    """Make an empty set."""
    return set()
