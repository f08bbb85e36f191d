"""Two tenants of a simulated service: one whose all is, and a stranger who asks for it all the time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from actors.errors import NotPermitted, RouterUnavailable, StreamRouterError, UnknownRequest
from actors.tenants import PLAIN, Key, Names, Passes, identity_of
from router.client.startup import process_name
from router.client.stream_router import StreamRouter

from .features import Feature
from .program import Program
from .scenario import Scenario

if TYPE_CHECKING:
    from .world import World

STRANGER = -2
SECRET = "a secret of this world"  # it guards nothing
OWNER = identity_of("owner", ["read", "publish", "cancel"])
ASKS_EVERY_S = 0.4

_PASSES = Passes(Key(SECRET.encode()).pass_key)


def has_tenants(scenario: Scenario) -> bool:
    """Whether the service of a scenario has tenants."""
    return Feature.TENANTS in scenario.features


def names_in(scenario: Scenario) -> Names:
    """Return the names of the tenant whose all is."""
    return OWNER.names if has_tenants(scenario) else PLAIN


def client_id_in(scenario: Scenario, number: int) -> str | None:
    """Return what a router gives a process for its token; None where the process has none."""
    if not has_tenants(scenario):
        return None
    subject = "stranger" if number == STRANGER else "owner"
    return _PASSES.make(process_name(), identity_of(subject, OWNER.scopes))


class StrangerProgram(Program):
    """Asks for what another tenant has, in every way; it must hear that there is no such thing."""

    def __init__(self, world: World) -> None:
        super().__init__("stranger")
        self._world = world

    async def act(self, client: StreamRouter) -> None:
        world = self._world
        while not all(program.is_done for program in world.programs if program is not self):
            for request in world.requests:
                request_id = request.plan.request_id
                reading = client.subscribe(request_id, wait_s=0.2)
                await self._finds_nothing(f"read {request_id}", anext(aiter(reading)))
                await self._finds_nothing(f"locate {request_id}", client.locate(request_id, wait_s=0.2))
                await self._finds_nothing(f"cancel {request_id}", client.cancel(request_id))
                await self._finds_nothing(f"forget {request_id}", client.forget(request_id))
                taking = client.publish(request_id, request.plan.settings, take_over=True)
                await self._finds_nothing(f"take over {request_id}", taking.open())
                await client._links[0].caller.call("disown", client.client_id, request_id)
            await self._sees_nothing(client)
            await asyncio.sleep(ASKS_EVERY_S)

    async def _finds_nothing(self, what: str, call: Awaitable[object]) -> None:
        try:
            found = await call
        except (UnknownRequest, RouterUnavailable):
            return
        except StreamRouterError as error:
            self._world.fail(f"a stranger's {what} is answered: {type(error).__name__}: {error}")
        else:
            self._world.fail(f"a stranger's {what} finds {found!r:.100}")

    async def _sees_nothing(self, client: StreamRouter) -> None:
        try:
            described, overview = await client.describe(), await client.overview()
        except RouterUnavailable:
            return
        if described.requests or described.stream_actors or overview.streams or overview.open:
            self._world.fail(f"a stranger sees {described} and {overview}")
        try:
            await client.drain()
        except (NotPermitted, RouterUnavailable):
            return
        self._world.fail("a stranger drains the service")
