"""A progress bar for whoever waits at a terminal; elsewhere nothing is written."""

from __future__ import annotations

from typing import Any


class Bar:
    """Counts what has ended. It is drawn on standard error, where that is a terminal, from `begin` to `end`."""

    def __init__(self) -> None:
        self._progress: Any = None
        self._task: Any = None

    def begin(self, total: int) -> None:
        """Draw it."""
        from rich.console import Console  # noqa: PLC0415  # what draws takes long to import
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn  # noqa: PLC0415  # as above

        console = Console(stderr=True)
        if not console.is_terminal:
            return
        columns = (BarColumn(bar_width=40), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console, redirect_stdout=False, redirect_stderr=False)
        self._task = self._progress.add_task("", total=total)
        self._progress.start()

    def __call__(self, done: int, total: int) -> None:
        """Say that so many have ended."""
        if self._progress is not None:
            self._progress.update(self._task, completed=done, total=total)

    def end(self) -> None:
        """Leave it as it is."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
