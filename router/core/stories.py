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
        self._events: deque[Note] = deque(maxlen=EVENTS_MAX)

    def add(self, note: Note) -> None:
        """Remember an event."""
        self._events.append(note)

    def of(self, request_id: str) -> Iterable[Note]:
        """Give the remembered events of a request, the first one first."""
        return (note for note in self._events if note.request_id == request_id)
