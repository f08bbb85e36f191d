"""Where a request is, for those who read it by a bare handle."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from actors.errors import StreamRouterError
from actors.protocol.states import ReaderState
from router.client.caller import fresh

if TYPE_CHECKING:
    from router.client.link import Link


class Location(NamedTuple):
    """Where a request is: its stream actor's Ray handle (with a `pull` method), and its epoch.

    `reader_id`: what `pull` is called with where the service has tenants; empty elsewhere.
    """

    handle: Any
    epoch: int
    state: str
    reader_id: str = ""


class Whereabouts:
    """Waits for the first state that names an actor."""

    def __init__(self, link: Link, request_id: str) -> None:
        self._link = link
        self._request_id = request_id
        self.found: asyncio.Future[tuple[str, int, str]] = asyncio.get_running_loop().create_future()

    def on_state(self, state: ReaderState) -> None:
        """See `StateListener`."""
        if state.actor_id is not None and not self.found.done():
            self.found.set_result((state.actor_id, state.epoch, state.phase))

    def on_unreachable(self, error: StreamRouterError) -> None:
        """See `StateListener`."""
        if not self.found.done():
            self.found.set_exception(fresh(error))

    def on_fault(self, error: StreamRouterError) -> None:
        """See `StateListener`."""
        self.on_unreachable(error)

    def on_router_restart(self) -> None:
        """See `StateListener`."""
        self._link.ask_where(self._request_id)
