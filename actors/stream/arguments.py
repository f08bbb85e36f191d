"""Checks what callers hand to the methods of a stream actor. Anybody with its handle can call them.

Each check returns the value or raises InvalidArgument with the call, the parameter, what is allowed and
what came. Pure.
"""

from __future__ import annotations

import math
from typing import Any

from actors.errors import InvalidArgument

SEQ_MAX = 2**63 - 1
TEXT_CHARACTERS_MAX = 1024


def text(call: str, name: str, value: Any) -> str:
    """Return a text of at most `TEXT_CHARACTERS_MAX` characters."""
    if not isinstance(value, str) or len(value) > TEXT_CHARACTERS_MAX:
        raise _wrong(call, name, f"a text of at most {TEXT_CHARACTERS_MAX} characters", value)
    return value


def whole(call: str, name: str, value: Any, *, least: int = 0, most: int = SEQ_MAX) -> int:
    """Return a whole number between two bounds, both included."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise _wrong(call, name, f"a whole number from {least} to {most}", value)
    return value


def seconds(call: str, name: str, value: Any) -> float:
    """Return a finite number of seconds, 0 or more."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise _wrong(call, name, "a finite number of seconds, 0 or more", value)
    return float(value)


def _wrong(call: str, name: str, allowed: str, value: Any) -> InvalidArgument:
    return InvalidArgument(f"{call}: {name} is {allowed}, not {type(value).__name__} {value!r:.80}")
