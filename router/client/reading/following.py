"""The long poll of a process on a stream actor through a socket: one that is answered many times, and renewed.

A shell; when to renew is decided in `asking.py`. All that a call has said counts as heard when an answer to it, or to
one after it, has come: a connection keeps the order. When it breaks, what was not heard is said again.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from actors.protocol.deadlines import NEVER
from actors.protocol.reads import FORGOTTEN
from actors.transport.connection import Connection
from router.client.reading.asking import Asking
from router.client.reading.operations import Said

POLL_SLACK_S = 4.0


class Owner(Protocol):
    """Whose poll it is."""

    def compose(self, *, renews: bool) -> tuple[bytes, Said, float]:
        """Return a call, what it says, and the time in which it must be answered."""
        ...

    def take(self, answer: bytes) -> bool:
        """Take an answer; False where it cannot be read."""
        ...

    def settle(self, said: Said) -> None:
        """The actor has heard this."""
        ...


class Following:
    """One poll on one connection. `ended`: whether to poll on, once nothing more comes; or the error."""

    def __init__(self, connection: Connection, asking: Asking, owner: Owner) -> None:
        self._connection = connection
        self._asking = asking
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[bool] = self._loop.create_future()
        # What was said and may not have been heard, and when there must be an answer, by call.
        self._unheard: dict[int, tuple[Said, float]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = NEVER
        self._soon: asyncio.Handle | None = None

    def begin(self) -> None:
        """Make the first call."""
        self._ask(renews=False)

    def wants(self, *, at_once: bool) -> None:
        """There is something to say."""
        asking = self._asking
        if not at_once and asking.due_at != NEVER:
            return  # it rides with what is to be said already, and sooner
        now = self._loop.time()
        asking.wants(now, at_once=at_once)
        self._plan(now)

    def unheard(self) -> Said:
        """Return what may not have been heard, in the order in which it was said."""
        return [operation for said, _ in self._unheard.values() for operation in said]

    def close(self) -> None:
        """Say nothing more."""
        for handle in (self._timer, self._soon):
            if handle is not None:
                handle.cancel()
        self.ended.cancel()

    # --- as the connection's asker ----------------------------------------------------------

    def more(self, number: int, answer: Any) -> None:
        """See `Asker`."""
        if self.ended.done():
            return
        if self._unheard:
            self._heard(number)
        answer_no, packed = answer
        now = self._loop.time()
        if self._asking.is_new(answer_no):
            if not self._owner.take(packed):
                self.failed(TimeoutError("an answer that cannot be read is none"))
                return
            self._asking.had(len(packed), now)
        self._plan(now)

    def last(self, number: int, answer: Any) -> None:
        """See `Asker`."""
        if self.ended.done():
            return
        self._heard(number)
        if answer == FORGOTTEN:
            self.ended.set_result(False)
        elif not self._unheard:  # else a call that crossed this one goes on
            self.ended.set_result(True)

    def failed(self, error: Exception) -> None:
        """See `Asker`."""
        if not self.ended.done():
            self.ended.set_exception(error)

    # --- calls ------------------------------------------------------------------------------

    def _heard(self, number: int) -> None:
        if number not in self._unheard:
            return
        for earlier in list(self._unheard):
            self._owner.settle(self._unheard.pop(earlier)[0])
            if earlier == number:
                break

    def _ask(self, *, renews: bool) -> None:
        frame, said, wait_s = self._owner.compose(renews=renews)
        try:
            number = self._connection.ask("follow", (frame,), self)
        except Exception as error:  # noqa: BLE001  # whoever awaits the end hears it
            number = -1
            self.failed(error)
        self._unheard[number] = (said, self._loop.time() + wait_s + POLL_SLACK_S)
        if self._timer is not None:
            # All is said, so it would wake this process up for nothing.
            self._timer.cancel()
            self._timer, self._timer_at = None, NEVER
        self._plan(self._loop.time())

    def _renew(self) -> None:
        self._soon = None
        if not self.ended.done():
            self._ask(renews=True)

    def _plan(self, now: float) -> None:
        """Wake up when there is something to do next; what is to be said at once goes when those who wait have run."""
        due_at = self._asking.due_at
        if due_at <= now:
            if self._soon is None:
                self._soon = self._loop.call_soon(self._renew)
            return
        for _, deadline in self._unheard.values():
            due_at = min(due_at, deadline)
            break
        if due_at < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = due_at
            self._timer = self._loop.call_at(due_at, self._ring)

    def _ring(self) -> None:
        self._timer, self._timer_at = None, NEVER
        if self.ended.done():
            return
        for _, deadline in self._unheard.values():
            if deadline <= self._loop.time():
                self.failed(TimeoutError("no answer"))
                return
            break
        self._plan(self._loop.time())
