"""The terminal of commands that show something while Ray runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def ray_kept_quiet() -> Iterator[None]:
    """Drop what Ray writes to standard output; its logs have it too (deaths, more workers than CPUs).

    A console made before with `Console(file=sys.stdout)` still writes.
    """
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        yield


def make_console(plain_width: int) -> Console:
    """Return a console on standard output; where that is no terminal, lines are `plain_width` cells long."""
    from rich.console import Console  # noqa: PLC0415  # each command imports what it needs when it runs

    console = Console(file=sys.stdout)
    return console if console.is_terminal else Console(file=sys.stdout, width=plain_width)


def some(count: int, noun: str) -> str:
    """Return "1 node", "2 nodes"."""
    return f"{count:,} {noun}" + "s" * (count != 1)
