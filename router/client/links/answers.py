"""Which of a router's answers are still true. Pure.

Theory. A client has several calls out at once, and their answers may overtake each other. Two numbers
put them in order. `version` counts what one incarnation of a router has to say to this client; it only
rises. A router that has restarted has another incarnation ID, and so has one that has forgotten this client;
the ID's last part tells them apart. Which of two incarnations is the later one only the order of the calls
tells: an answer to a call made before a call that the present incarnation has answered is of an earlier one.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Any

from actors.protocol.states import router_of


class Standing(Enum):
    """What an answer is, by its incarnation."""

    CURRENT = auto()
    FIRST = auto()
    """The first of all. What the router answered before to calls whose answers do not say its incarnation (claims) may
    be of one that is gone."""
    RESTARTED = auto()
    """The first of a router that has restarted, and knows nothing of this client."""
    FORGOTTEN = auto()
    """The first of the same router after it has forgotten this client, which had said nothing for long."""
    OVERTAKEN = auto()
    """Of an incarnation that is gone."""


class Answers:
    """What one client has heard from one router."""

    __slots__ = ("_confirmed_by", "incarnation", "version")

    def __init__(self) -> None:
        self.incarnation: str | None = None
        self.version: int = 0
        self._confirmed_by = 0

    @property
    def seen(self) -> list[Any]:
        """What to say that was seen (`actors.protocol.states.Seen`)."""
        return [self.incarnation, self.version]

    def standing(self, incarnation: str, made: int) -> Standing:
        """Judge the answer to the call with the number `made`, and remember it."""
        if incarnation == self.incarnation:
            self._confirmed_by = max(self._confirmed_by, made)
            return Standing.CURRENT
        if made < self._confirmed_by:
            return Standing.OVERTAKEN
        known, self.incarnation = self.incarnation, incarnation
        self._confirmed_by = made
        self.version = 0
        if known is None:
            return Standing.FIRST
        return Standing.FORGOTTEN if router_of(known) == router_of(incarnation) else Standing.RESTARTED

    def advance(self, version: int) -> None:
        """All up to this version has come. It does not go back when answers overtake each other."""
        self.version = max(self.version, version)
