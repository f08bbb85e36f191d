"""Which streams `top` shows, and in what order."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # a command's help does not wait for it
    from router.status.overview import Overview, StreamOverview

Sort = Literal["lag", "rate", "messages", "unread", "age"]
RateOf = Callable[[str, int], float | None]
"""Messages a second of a request that has so many now; None: not known yet."""

LOOKED_AT_MAX = 10_000
"""So many streams, those that lag most, are looked at where some are chosen among them."""


class StreamsShown:
    """What was asked for: streams that fit `only`, by `sort`, `count` at most. Without either: those that lag most."""

    def __init__(self, count: int, only: str = "", sort: Sort = "lag") -> None:
        self._count = count
        self._only = only.casefold()
        self._sort = sort

    @property
    def asked(self) -> int:
        """How many streams a router has to be asked for."""
        is_plain = not self._only and self._sort == "lag"
        return self._count if is_plain or not self._count else LOOKED_AT_MAX

    def of(self, overview: Overview, rate_of: RateOf) -> Overview:
        """Return the overview with the streams that are shown."""
        fitting = [stream for stream in overview.streams if self._fits(stream)]
        fitting.sort(key=lambda stream: (-self._weight(stream, rate_of), stream.request_id))
        return overview.model_copy(update={"streams": fitting[: self._count]})

    def _fits(self, stream: StreamOverview) -> bool:
        words = (stream.request_id, stream.agent_id or "", stream.provider, stream.actor_id)
        return any(self._only in word.casefold() for word in words)

    def _weight(self, stream: StreamOverview, rate_of: RateOf) -> float:
        match self._sort:
            case "lag":
                return stream.lag
            case "rate":
                return rate_of(stream.request_id, stream.messages) or 0.0
            case "messages":
                return stream.messages
            case "unread":
                return stream.unread_bytes
            case "age":
                return stream.age_s or 0.0
