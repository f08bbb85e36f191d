"""Kinds of kills that run in the background, a few at a time, each in a process of its own."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from .report import run

AT_A_TIME = 3
# Those that wait longest come first.
ORDER = (
    "kill-reader",
    "kill-publisher",
    "remove-node",
    "stop-actor",
    "fail-calls",
    "kill-driver",
    "kill-router",
    "refuse-opens",
    "kill-actor",
    "shut-down",
)


class Kinds:
    """Starts the wanted kinds at once; gives the figures of each when it has ended."""

    def __init__(self, wanted: Collection[str]) -> None:
        self._wanted = wanted
        self._pool = ThreadPoolExecutor(AT_A_TIME)
        self._running: dict[str, Future[dict[str, Any]]] = {}

    def __enter__(self) -> Self:
        self._running = {kind: self._pool.submit(run, kind) for kind in ORDER if kind in self._wanted}
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def figures(self, kind: str) -> dict[str, Any]:
        """Wait for a kind's figures. Raises RuntimeError with what it said, where it failed."""
        return self._running[kind].result()
