"""What all commands have in common that show something while Ray runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path


@contextmanager
def ray_kept_quiet() -> Iterator[None]:
    """Keep Ray from writing to standard output what it has in its logs, too (every death, every worker too many).

    For code whose own console was made before, with `Console(file=sys.stdout)`.
    """
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        yield


def some(count: int, noun: str) -> str:
    """Return "1 node", "2 nodes"."""
    return f"{count:,} {noun}" + "s" * (count != 1)
