"""What has happened to requests lately, for whoever is on call; bounded, whatever happens. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from router.core.effects import Note

EVENTS_MAX = 4096
"""So many events of all requests together are remembered; the oldest go first."""


class Stories:
    """The latest events of all requests."""

    def __init__(self) -> None:
        self._events: deque[tuple[float, Note]] = deque(maxlen=EVENTS_MAX)

    def add(self, note: Note, now: float) -> None:
        """Remember an event."""
        self._events.append((now, note))

    def of(self, request_id: str) -> Iterable[tuple[float, Note]]:
        """Give the remembered events of a request with their times, the first one first."""
        return ((at, note) for at, note in self._events if note.request_id == request_id)
