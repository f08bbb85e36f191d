"""A reader of one request as the poll sees it that it shares with others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from actors.errors import StreamRouterError

if TYPE_CHECKING:
    from router.client.reading.poller import Poller


class Polled(Protocol):
    """A reader, as its poller sees it."""

    number: int
    request_id: str
    is_observer: bool

    @property
    def last_seq_id(self) -> int:
        """Where it stands."""
        ...

    def arrive(self, state: int, gap: list[int] | None, segments: list[Any]) -> None:
        """Take what a poll brought."""
        ...

    def moved(self, poller: Poller) -> None:
        """The session is not where that poller reads."""
        ...

    def refused(self, poller: Poller, told: list[Any]) -> None:
        """The actor cannot do what was asked for; `told` is (code, text) of its error."""
        ...

    def on_fault(self, error: StreamRouterError) -> None:
        """It cannot be read: end it by that name."""
        ...
