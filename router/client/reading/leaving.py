"""Giving cursors up: by a close, when a loop is left, or when nobody holds what reads any more.

Leaving a loop by `break`, an exception or a cancel gives the cursors up at once: the loop alone holds the iterator, and
the iterator's end is the end of the reading. A cursor that nobody advances would make the producer wait for ever.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from asyncio import AbstractEventLoop
from collections.abc import Callable
from contextvars import Context
from types import TracebackType
from typing import Self


class Leaving(ABC):
    """What reads from its first use until it is closed, its last loop has ended, or nobody holds it any more."""

    __slots__ = ("_is_closed", "_iterators")

    def __init__(self) -> None:
        self._iterators = 0
        self._is_closed = False

    @abstractmethod
    def _where(self) -> tuple[AbstractEventLoop | None, Context | None]:
        """Return the event loop in which it reads, None while it does not, and the context of whoever asked first."""

    @abstractmethod
    def _leave(self) -> None:
        """Give all cursors up; asked again, it goes on."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop reading for good. What is read goes on; to end it, use cancel."""
        self._is_closed = True
        self._leave()

    def __del__(self) -> None:
        self._in_loop(self._leave)

    def iterator_begins(self) -> None:
        """A loop over this begins."""
        self._iterators += 1

    def iterator_ends(self) -> None:
        """A loop has let go of its iterator, in whatever thread; the last one gives the cursors up."""
        if not self._in_loop(self._iterator_has_ended):
            self._iterators -= 1

    def _iterator_has_ended(self) -> None:
        self._iterators -= 1
        if not self._iterators:
            self._leave()

    def _in_loop(self, call: Callable[[], None]) -> bool:
        """Call in the event loop of the reading, from whatever thread collects garbage; False where there is none."""
        loop, context = self._where()
        if loop is None:
            return False
        try:
            loop.call_soon_threadsafe(call, context=context)
        except RuntimeError:
            return False  # the loop is closed, and with it all that it read
        return True
