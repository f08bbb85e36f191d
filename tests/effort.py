"""How much chance the tests draw: `TEST_EFFORT`, 1 by default, less where it must be quick, more where there is time.

What is tried stays the same in kind; there are fewer or more examples and seeds of it. `make test-fast` says how few.
"""

from __future__ import annotations

import os

EFFORT = float(os.environ.get("TEST_EFFORT", "1"))
EXAMPLES_MIN = 20


def scaled(count: int, at_least: int = EXAMPLES_MIN) -> int:
    """Return how many examples, seeds or runs to try where `count` is the usual number."""
    return max(min(count, at_least), round(count * EFFORT))
