"""Where a request is, for those who read it by a bare handle."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from actors.errors import RouterUnavailable, StreamRouterError, UnknownRequest
from actors.protocol.states import ReaderState, RequestPhase
from router.client.links.caller import fresh

if TYPE_CHECKING:
    from router.client.links.link import Link


PLACING_S = 30.0
"""How long a request that is there, and has no stream actor just now, is waited for."""


class Location(NamedTuple):
    """Where a request is: its stream actor's Ray handle (with a `pull` method), and its epoch.

    `reader_id`: what `pull` is called with where the service has tenants; empty elsewhere.
    """

    handle: Any
    epoch: int
    state: str
    reader_id: str = ""


def unknown(request_id: str, wait_s: float) -> UnknownRequest:
    """Return what is said where nobody has opened a request for so long."""
    waited = f" within wait_s = {wait_s:g} s" if wait_s else ""
    return UnknownRequest(
        f"no request {request_id!r}{waited}: never opened here, or its time-to-live is over; check the ID, or give "
        f"a {'longer ' if wait_s else ''}wait_s, for one that is still to be opened"
    )


def gone(request_id: str, last_seq_id: int) -> UnknownRequest:
    """Return what is said where a request that was being read is not there any more."""
    return UnknownRequest(
        f"request {request_id!r} is gone: its time-to-live is over, somebody had it forgotten (perhaps to publish "
        f"another one under its ID), or no survivor knows it; the last message read was {last_seq_id}"
    )


class Whereabouts:
    """Waits for the first state that names an actor."""

    def __init__(self, link: Link, request_id: str) -> None:
        self._link = link
        self._request_id = request_id
        loop = asyncio.get_running_loop()
        self.found: asyncio.Future[tuple[str, int, str]] = loop.create_future()
        self._word: asyncio.Future[str] = loop.create_future()

    async def find(self, wait_s: float) -> tuple[str, int, str]:
        """Return (actor ID, epoch, phase); where there is no such request, wait `wait_s` for it.

        Raises UnknownRequest, RouterUnavailable, RouterClosed.
        """
        # Until the router has said whether there is one, its call's own deadline ends the wait.
        either: list[asyncio.Future[Any]] = [self.found, self._word]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        is_unknown = self._word.done() and self._word.result() == RequestPhase.UNKNOWN
        try:
            return await asyncio.wait_for(self.found, wait_s if is_unknown else max(wait_s, PLACING_S))
        except TimeoutError:
            if is_unknown:
                raise unknown(self._request_id, wait_s) from None
            raise RouterUnavailable(f"request {self._request_id!r} is being placed anew; ask again") from None
        finally:
            self._word.cancel()

    def on_state(self, state: ReaderState) -> None:
        """See `StateListener`."""
        if state.actor_id is not None and not self.found.done():
            self.found.set_result((state.actor_id, state.epoch, state.phase))
        elif state.phase != RequestPhase.RECOVERING and not self._word.done():
            self._word.set_result(state.phase)

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
