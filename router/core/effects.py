"""What a registry wants done, named and not done: its shell performs it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from actors.protocol.envelopes import Envelope

OPENED = "opened"
PLACED = "placed"  # stream actor
MOVED = "moved"  # the stream actor that is gone
CANCELLED = "cancelled"  # what whoever cancelled gave as the reason
ENDED = "ended"  # stop reason
FORGOTTEN = "forgotten"
REFUSED = "refused"  # code of the error


@dataclass(slots=True)
class Note:
    """Something that happened to a request, for logs and spans; what `detail` holds stands beside the kinds."""

    kind: str
    request_id: str
    epoch: int
    detail: str | None
    traceparent: str | None = None
    """The span that the request belongs to."""
    at: float = 0.0
    """When it happened, in seconds of the registry's clock."""


@dataclass(slots=True)
class Effects:
    """What is to be done. `send`: (actor_id, request_id, envelope, bytes); `wake`: client IDs, and whether urgently.

    `kept`: requests that have ended and whose log has just come to be kept here. `entered`: indexes of the catalogue
    that are watched, and that a request has entered.
    """

    start: list[str] = field(default_factory=list)
    stop: list[str] = field(default_factory=list)
    send: list[tuple[str, str, Envelope, int]] = field(default_factory=list)
    wake: dict[str, bool] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    entered: list[Hashable] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.send or self.wake or self.start or self.stop or self.notes or self.kept or self.entered)

    def take_sends(self) -> list[tuple[str, str, Envelope, int]]:
        """Return what is to be sent, once, where nothing else is to be done; nothing where something is."""
        if self.wake or self.start or self.stop or self.notes or self.kept or self.entered:
            return []
        sends, self.send = self.send, []
        return sends

    def take(self) -> Effects:
        """Return what there is, once."""
        taken = Effects(self.start, self.stop, self.send, self.wake, self.notes, self.kept, self.entered)
        self.start, self.stop, self.send, self.wake = [], [], [], {}
        self.notes, self.kept, self.entered = [], [], []
        return taken
