"""The task inside a publisher's `async with`, and how the end of its request interrupts it.

An interruption is a cancel of the task that the publisher itself takes back when the body has been left.
It bears a mark, so that another publisher in the same task can tell that it is not its own end.
"""

from __future__ import annotations

import asyncio
from typing import Any


class _Mark:
    """Said with the cancel."""

    __slots__ = ("body", "task")

    def __init__(self, body: Body, task: asyncio.Task[Any]) -> None:
        self.body = body
        self.task = task


class Body:
    """The body of one `async with`."""

    __slots__ = ("_cancelling", "_is_interrupted", "_task")

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self._is_interrupted = False

    def enter(self) -> None:
        """The body begins, in the task that runs now."""
        self._task = asyncio.current_task()
        if self._task is not None:
            self._cancelling = self._task.cancelling()

    def interrupt(self) -> None:
        """Cancel what the body awaits, once."""
        if self._task is not None and not self._is_interrupted:
            self._is_interrupted = True
            self._task.cancel(_Mark(self, self._task))

    def leave(self, error: BaseException | None) -> bool:
        """The body has been left; whether that was our interruption alone."""
        task, self._task = self._task, None
        if not self._is_interrupted or task is None or not isinstance(error, asyncio.CancelledError):
            return False
        task.uncancel()
        return task.cancelling() <= self._cancelling

    def was_left_for_another(self, error: BaseException | None) -> bool:
        """Whether the interruption of another body in the task that runs now has caused this."""
        mark = error.args[0] if isinstance(error, asyncio.CancelledError) and error.args else None
        return isinstance(mark, _Mark) and mark.body is not self and mark.task is asyncio.current_task()
