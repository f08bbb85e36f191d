"""All that is new is written together.

Theory. What a poll of the routers brings is of many streams. Were each written as it is read, whoever is at the other
end of the connections would often fall asleep and be woken up for each of them, which is most of what a write costs,
and code that runs by turns is never warm. So a stream that has news joins a round, and once the loop has read what was
there, in the same turn of it or the next, all of them are written, one behind the other.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

log: logging.Logger = logging.getLogger("gateway.rounds")


class Member(Protocol):
    """A stream that has news."""

    def write(self, now_s: float) -> None:
        """Write them."""
        ...

    def break_off(self) -> None:
        """End it for all that read it here: it could not be written."""
        ...


class Rounds:
    """Who has news. Use within one event loop."""

    __slots__ = ("_loop", "_members")

    def __init__(self) -> None:
        self._members: list[Member] = []
        # (To ask for the running loop is a system call in Python 3.11, and this is paid for every message.)
        self._loop: asyncio.AbstractEventLoop | None = None

    def join(self, member: Member) -> None:
        """Take part in the next round."""
        if not self._members:
            self._running().call_soon(self._write)
        self._members.append(member)

    def write_now(self, member: Member) -> None:
        """Write one by itself, with whose news nothing else has come: a round would be a turn of the loop for it."""
        try:
            member.write(self._running().time())
        except Exception as error:  # noqa: BLE001  # it is logged there
            _break_off(member, error)

    def _write(self) -> None:
        members, self._members = self._members, []
        now_s = self._running().time()
        for member in members:
            try:
                member.write(now_s)
            except Exception as error:  # noqa: BLE001  # it is logged there
                _break_off(member, error)

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop


def _break_off(member: Member, error: Exception) -> None:
    log.error("a stream could not be written, and ends here for its readers", exc_info=error)
    try:
        member.break_off()
    except Exception:
        log.exception("a stream that could not be written could not be ended either")
