"""What routers forget, and when they may.

What a program has heard to be forgotten nobody may hold, until somebody opens it anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from router.core.lifecycle import Lifecycle

from .tenants import names_in

if TYPE_CHECKING:
    from .world import World


class Forgotten:
    """What was forgotten in one world.

    `may_be`: the IDs that somebody asks to forget. `out_of_time`: those that a router has forgotten rightly, because
    somebody asked, or because their time-to-live was over. `asked_at`: when the first of these happened so.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._names = names_in(world.scenario)
        self.may_be: set[str] = set()
        self.out_of_time: set[str] = set()
        self.asked_at: dict[str, float] = {}
        self._anew_since: set[str] = set()
        self._request_ids: set[str] = set()

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._request_ids

    def add(self, request_id: str) -> None:
        """A program has heard that a request is forgotten: perhaps late, after it was opened anew."""
        if request_id not in self._anew_since:
            self._request_ids.add(request_id)

    def discard(self, request_id: str) -> None:
        """Somebody opens it anew."""
        self._request_ids.discard(request_id)
        self._anew_since.add(request_id)

    def noting(self) -> list[tuple[Any, str, Any]]:
        """Return what stands in for the way out of ended requests: it notes those that may take it."""
        forget = Lifecycle.forget

        def noting(lifecycle: Lifecycle, request: Any) -> None:
            request_id = self._names.own(request.request_id)
            if request.forget_at <= self._world.monotonic() or request_id in self.may_be:
                self.out_of_time.add(request_id)
            if request_id in self.may_be:
                self.asked_at.setdefault(request_id, self._world.loop.now)
                self._anew_since.discard(request_id)
            forget(lifecycle, request)

        return [(Lifecycle, "forget", noting)]

    def check(self, registry: Any) -> None:
        """See that neither the router nor any of its stream actors holds what was forgotten."""
        for request_id in list(self._request_ids):
            holders = self._holders(self._names.full(request_id))
            if self._names.full(request_id) in registry.requests:
                holders.append("its router")
            if holders:
                self._world.fail(f"{request_id}: it was forgotten, and is held by {', '.join(holders)}")
                self.discard(request_id)

    def _holders(self, name: str) -> list[str]:
        found = []
        for actor_id in self._world.router.instance._fleet.actors:
            actor = self._world.stream_actors.get(actor_id)
            if actor is not None and actor.instance is not None and actor.process.alive:
                host = actor.instance._host
                if name in host.sessions or name in host.copies:
                    found.append(actor_id)
        return found
