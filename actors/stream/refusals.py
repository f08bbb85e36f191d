"""What other processes sent a stream actor and it did not take: counted by kind, told in the log, harmless. Pure."""

from __future__ import annotations

import logging

from actors.logging_setup import is_telling

logger: logging.Logger = logging.getLogger("actors.stream_host")


class Refusals:
    """Counts of one stream actor."""

    __slots__ = ("ignored", "refused")

    def __init__(self) -> None:
        self.refused: dict[str, int] = {}
        """What the protocol does not allow, by kind."""
        self.ignored: dict[str, int] = {}
        """What came at the wrong time, as it may after a crash, by reason; its sender hears how things stand."""

    def refuse(self, what: str, why: str) -> None:
        """Count what the protocol does not allow."""
        count = self.refused[what] = self.refused.get(what, 0) + 1
        if is_telling(count):
            logger.warning("refused (%s, the %d. time): %s", what, count, why[:300])

    def ignore(self, why: str) -> None:
        """Count what came at the wrong time."""
        self.ignored[why] = self.ignored.get(why, 0) + 1
