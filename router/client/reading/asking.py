"""When a process that follows a stream actor must speak again. Pure: time comes in as an argument.

Theory. Answers come without being asked for one by one (`actors.stream.following`), so what the reader has to say
(that they have come, and what was consumed) can wait for others to ride with, but not for long:

    something came, or was consumed     with the next that comes after `RIDE_S`, so that nobody wakes up for it alone;
                                        `RENEW_S` later where nothing comes
    half of what was granted is used    at once, or the actor would have to stop
    much has come                       at once, since the actor keeps it until it hears that
    a publisher waits for its readers   at once, when they have consumed what came
"""

from __future__ import annotations

from actors.protocol.deadlines import NEVER
from actors.protocol.reads import ANSWERS_AHEAD_MAX

RIDE_S = 0.2
RENEW_S = 0.25
RENEW_BYTES = 128 * 1024


class Asking:
    """What one process has had of one stream actor, and how far it has asked."""

    __slots__ = ("_had_bytes", "_through_no", "due_at", "had_no")

    def __init__(self) -> None:
        self.had_no: int = 0
        """The last answer that has come."""
        self._through_no = 0
        self._had_bytes = 0
        self.due_at: float = NEVER
        """When the next call is wanted."""

    @property
    def next_no(self) -> int:
        """The answer to ask for."""
        return self.had_no + 1

    def asked(self) -> int:
        """Note that all there is to say is being said; return the first answer that is asked for."""
        self._through_no = self.had_no + ANSWERS_AHEAD_MAX
        self._had_bytes = 0
        self.due_at = NEVER
        return self.next_no

    def is_new(self, answer_no: int) -> bool:
        """Whether this is the answer that follows, and not one that came before, on a connection that has broken."""
        return answer_no == self.had_no + 1

    def had(self, size_bytes: int, now: float) -> None:
        """Note that the next answer has come."""
        self.had_no += 1
        self._had_bytes += size_bytes
        is_half_used = 2 * (self._through_no - self.had_no) <= ANSWERS_AHEAD_MAX
        has_waited = self.due_at <= now + RENEW_S - RIDE_S
        if has_waited or is_half_used or self._had_bytes >= RENEW_BYTES:
            self.due_at = min(self.due_at, now)
        elif self.due_at == NEVER:
            self.due_at = now + RENEW_S

    def wants(self, now: float, *, at_once: bool) -> None:
        """Note that there is something to say."""
        self.due_at = min(self.due_at, now if at_once else now + RENEW_S)
