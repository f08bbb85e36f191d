"""What a publisher's tasks wait for, and how the end of its request interrupts the body of its `async with`.

An interruption is a cancel of the task that the publisher itself takes back when the body has been left.
It bears a mark, so that another publisher in the same task can tell that it is not its own end.
"""

from __future__ import annotations

import asyncio
from typing import Any, Self

from router.client.publishing.encoding import clean, safe_text


class Changing:
    """Something whose changes several tasks may wait for, again and again; whoever gives up disturbs no other."""

    __slots__ = ("_changed",)

    _changed: asyncio.Future[None] | None
    """What is done at the next change; None while nobody waits for it."""

    async def _change(self, wait_s: float | None = None) -> None:
        """Wait for the next change, `wait_s` at most."""
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        if wait_s is None:
            await asyncio.shield(self._changed)
        else:
            await asyncio.wait([self._changed], timeout=wait_s)

    def _tell_change(self) -> None:
        """Wake whoever waits."""
        changed, self._changed = self._changed, None
        if changed is not None and not changed.done():
            changed.set_result(None)


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

    def enter(self) -> Self:
        """The body begins, in the task that runs now."""
        self._task = asyncio.current_task()
        if self._task is not None:
            self._cancelling = self._task.cancelling()
        return self

    @property
    def is_entered_here(self) -> bool:
        """Whether it is under way in the task that runs now."""
        return self._task is not None and self._task is asyncio.current_task()

    @property
    def is_interrupted(self) -> bool:
        """Whether what it awaits has been cancelled."""
        return self._is_interrupted

    def interrupt(self) -> None:
        """Cancel what the body awaits, once."""
        if self._task is not None and not self._is_interrupted:
            self._is_interrupted = True
            self._task.cancel(_Mark(self, self._task))

    async def left_by(self, error: BaseException | None) -> BaseException | None:
        """Return what the body is being left by; to be asked before `leave`.

        Where it was left before it heard of our interruption, that comes here, and not at what the task awaits next.
        A cancel of somebody else that comes with it counts more than `error`.
        """
        task = self._task
        if task is None or not self._is_interrupted or isinstance(error, asyncio.CancelledError):
            return error
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError as cancel:
            if task.cancelling() > self._cancelling + 1:
                return cancel
        return error

    def leave(self, error: BaseException | None) -> bool:
        """The body has been left; whether that was our interruption alone."""
        task, self._task = self._task, None
        if not self._is_interrupted or task is None:
            return False
        task.uncancel()
        return isinstance(error, asyncio.CancelledError) and task.cancelling() <= self._cancelling

    def was_left_for_another(self, error: BaseException | None) -> bool:
        """Whether the interruption of another body in the task that runs now has caused this."""
        mark = error.args[0] if isinstance(error, asyncio.CancelledError) and error.args else None
        return isinstance(mark, _Mark) and mark.body is not self and mark.task is asyncio.current_task()


def end_of(error: BaseException) -> tuple[str, dict[str, Any]]:
    """Return the record (kind, body) that ends a request whose body was left by an error."""
    if isinstance(error, (asyncio.CancelledError, KeyboardInterrupt)):
        return "finish", {"stop_reason": "cancelled", "detail": "the publisher's task was cancelled"}
    return "fail", {"error_type": type(error).__name__, "message": clean(safe_text(error))}
