"""Ends of requests that callers of the router actor wait for, and that they are forgotten everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from actors.shell import Crowds
from router.core.effects import ENDED, FORGOTTEN, Note

Expected = list[tuple[str, asyncio.Future[None]]]


class Ends:
    """Who waits for which request to end, or to be forgotten. Each `expect` is followed by a `wait`."""

    def __init__(self) -> None:
        self._crowds = Crowds()

    def __len__(self) -> int:
        return len(self._crowds)

    def expect(self, request_ids: Iterable[str]) -> Expected:
        """Begin to listen, before what ends them is performed: their end may be told at once."""
        return [(request_id, self._crowds.enter(request_id)) for request_id in request_ids]

    async def wait(self, expected: Expected, wait_s: float) -> list[str]:
        """Return when all have, or `wait_s` are over; and which have not."""
        try:
            if expected:
                await asyncio.wait([end for _, end in expected], timeout=wait_s)
            return [request_id for request_id, end in expected if not end.done()]
        finally:
            for request_id, end in expected:
                self._crowds.leave(request_id, end)

    def tell(self, notes: Iterable[Note]) -> None:
        """Wake whom these notes of a registry concern."""
        if not self._crowds:
            return
        for note in notes:
            if note.kind in (ENDED, FORGOTTEN):
                self._crowds.wake(note.request_id)
