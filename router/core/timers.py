"""What a registry looks at again when a time has come. Pure."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Timer(StrEnum):
    """The kinds of timers; each is set for one client or one request."""

    CLIENT = "client"
    """A client may have been silent for too long."""
    RECOVERED = "recovered"
    """Publishers, or holders of agents, may have had time to register again after a restart."""
    OPEN = "open"
    """A request may have waited for a stream actor for too long."""
    LIMIT = "limit"
    """A timer of a request that no session watches over may have run out."""
    REFUSED = "refused"
    """The publisher of a request whose open failed late has had time to hear of it."""
    GRACE = "grace"
    """A request may have been without a publisher for too long."""
    SEALED = "sealed"
    """The time-to-live of an ended request may be over."""
    SHOW = "show"
    """The end of a request was held back long enough for a copy on another node."""
    UNTOLD = "untold"
    """A publisher has had time to hear of an end that only this router knows."""
    COPIES = "copies"
    """Logs of ended requests that stand on one node may get a copy on another."""


SetTimer = Callable[[float, Timer, str], None]
"""Look at something at a time."""
