"""One request as its router knows it."""

from __future__ import annotations

from dataclasses import dataclass

from actors.protocol.states import RequestPhase
from actors.settings import StreamSettings


@dataclass(slots=True, eq=False)
class Entry:
    """One request. Sequence numbers are the publisher's.

    `sent_seq`: the last item that went on its way to the session of this epoch; none before it is missing.
    `high_seq`: the last item that any session of this request may have had.
    """

    request_id: str
    settings_packed: bytes
    settings: StreamSettings
    client_id: str
    date: str
    opened_at: float
    agent_id: str | None = None
    epoch: int = 0
    phase: RequestPhase = RequestPhase.WAITING
    actor_id: str | None = None
    start_seq: int = 1
    sent_seq: int = 0
    high_seq: int = 0
    last_seq_id: int = 0
    released: int = 0
    credit_bytes: int = 0
    received_bytes: int = 0
    gap: bool = False
    is_being_taken: bool = False
    ending: tuple[str, str | None] | None = None
    cancel: str | None = None
    publisher_gone_at: float | None = None
    is_abandoned: bool = False
    stop_reason: str | None = None
    log: bytes | None = None
    forget_at: float = 0.0
    error: tuple[str, str] | None = None

    @property
    def is_whole(self) -> bool:
        """Whether its session has, or is about to get, all that an earlier one may have had."""
        return self.sent_seq >= self.high_seq

    @property
    def is_live(self) -> bool:
        """Whether it has not ended."""
        return self.phase != RequestPhase.SEALED
