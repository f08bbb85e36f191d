"""How much chance the tests draw: `TEST_EFFORT`, 1 by default, less where it must be quick, more where there is time.

What is tried stays the same in kind; there are fewer or more examples and seeds of it. `make test-fast` says how few.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

EFFORT = float(os.environ.get("TEST_EFFORT", "1"))
EXAMPLES_MIN = 20


def scaled(count: int, at_least: int = EXAMPLES_MIN) -> int:
    """Return how many examples, seeds or runs to try where `count` is the usual number."""
    return max(min(count, at_least), round(count * EFFORT))


def sampled(things: Sequence[T]) -> list[T]:
    """Return all of these from half of the usual effort on, with less fewer of them, from everywhere in the row."""
    count = min(len(things), scaled(2 * len(things)))
    return [things[number * len(things) // count] for number in range(count)]
