"""Whose requests a caller reaches: the router of its tenant, and of that, the runs of the agents that it may use.

Theory. A service with tenants keeps them apart itself (`actors.tenants`): what a gateway asks for a caller it asks as
the caller's tenant, so what is another's is not there. The gateway's own token has the subject `*`, which the service
narrows to one tenant after the other, or is one tenant's, whose gateway it is then.

Who asks is set once for a request, where it comes in, and stands in its context: no route can ask for anybody else, or
forget to say for whom.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any, NamedTuple

from actors.errors import ConfigError, NotPermitted, UnknownRequest
from actors.result import Result
from actors.tenants import PLAIN, names_in
from gateway.access import ADMIN, Caller
from gateway.runs.order import AGENT_TAG
from router import Listing, Location, RequestInfo, StreamRouter

PAGES_MAX = 20


class OfAgents:
    """A router in which there are the runs of some agents only."""

    def __init__(self, router: StreamRouter, caller: Caller) -> None:
        self._router = router
        self._caller = caller

    async def request(self, request_id: str) -> RequestInfo:
        """See `StreamRouter.request`."""
        info = await self._router.request(request_id)
        if not self._may_see(info):
            raise UnknownRequest(
                f"no request {request_id!r}: never opened here, its time-to-live is over, or it was forgotten"
            )
        return info

    async def locate(self, request_id: str, *, wait_s: float = 0.0) -> Location:
        """See `StreamRouter.locate`."""
        location = await self._router.locate(request_id, wait_s=wait_s)
        await self.request(request_id)
        return location

    async def cancel(self, request_id: str, *, after_step: bool = False, detail: str | None = None) -> bool:
        """See `StreamRouter.cancel`."""
        await self.request(request_id)
        return await self._router.cancel(request_id, after_step=after_step, detail=detail)

    async def forget(self, request_id: str) -> None:
        """See `StreamRouter.forget`."""
        await self.request(request_id)
        await self._router.forget(request_id)

    async def result(self, request_id: str, *, raise_failed: bool = True) -> Result:
        """See `StreamRouter.result`."""
        await self.request(request_id)
        return await self._router.result(request_id, raise_failed=raise_failed)

    async def subscribe(self, request_id: str, **options: Any) -> AsyncIterator[Any]:
        """See `StreamRouter.subscribe`."""
        await self.request(request_id)
        async for batch in self._router.subscribe(request_id, **options):
            yield batch

    async def list(self, *, limit: int = 100, after: str | None = None, **query: Any) -> Listing:
        """See `StreamRouter.list`; after many pages of other agents' runs there are fewer than `limit`."""
        found: list[RequestInfo] = []
        for _ in range(PAGES_MAX):
            page = await self._router.list(limit=limit - len(found), after=after, **query)
            found += filter(self._may_see, page)
            after = page.cursor
            if len(found) >= limit or not page.has_more:
                break
        return Listing(found, page.cursor, page.has_more, page.is_partial)

    def _may_see(self, info: RequestInfo) -> bool:
        return self._caller.may_use(info.tags.get(AGENT_TAG) or info.agent_id)


class Source(NamedTuple):
    """A request, and the router of its tenant, from which it is read."""

    router: StreamRouter
    request_id: str


class Whose(NamedTuple):
    """Who asks, and the router of their tenant."""

    caller: Caller
    router: StreamRouter
    tenant: str | None = None
    """Whose it is, where the gateway's own identity sees all."""
    traceparent: str | None = None
    """The span in which they ask."""

    @property
    def seen(self) -> StreamRouter | OfAgents:
        """What the caller may see of it."""
        return self.router if self.caller.agents is None else OfAgents(self.router, self.caller)

    async def source(self, request_id: str) -> Source:
        """Return where a request is read. Raises UnknownRequest where the caller may not see it."""
        if self.caller.agents is not None:
            await self.seen.request(request_id)
        return Source(self.router, request_id)


asking: ContextVar[Whose] = ContextVar("gateway.asking")
"""Who asks, within a request. Outside of one it is not set, and to ask is an error."""


class Tenants:
    """The routers of all tenants. Use within one event loop."""

    def __init__(self, router: StreamRouter) -> None:
        self._router = router
        self._has_tenants = router.config.tenants.enabled
        names = names_in(router.client_id) if self._has_tenants else PLAIN
        self._sees_all = names.sees_all
        self._subject = names.subject
        self._narrowed: dict[str, asyncio.Task[StreamRouter]] = {}

    def check(self, tenants: set[str]) -> None:
        """Raise ConfigError where these cannot be served."""
        if tenants and not self._has_tenants:
            raise ConfigError(
                "gateway.tokens_file names tenants, and the service has none: set tenants.enabled there, or leave the "
                "fourth word of its lines out"
            )
        if not self._sees_all and (others := tenants - {self._subject}):
            raise ConfigError(
                f"gateway.tokens_file names the tenant {min(others)!r}, and this gateway's own token "
                f"(STREAM_ROUTER_TOKEN) is of {self._subject!r}: give it one of the subject '*', with the scopes read, "
                "publish and cancel"
            )

    async def of(self, caller: Caller) -> Whose:
        """Return what a caller reaches. Raises NotPermitted, and what the service raises."""
        tenant = caller.tenant
        if not self._has_tenants:
            if tenant is not None:
                raise NotPermitted(
                    f"{caller.name!r} is of the tenant {tenant!r}, and this service has no tenants: whoever runs it "
                    "sets tenants.enabled, or names no tenants here"
                )
            return Whose(caller, self._router)
        if not self._sees_all:
            if tenant not in (None, self._subject):
                raise NotPermitted(
                    f"this gateway is of the tenant {self._subject!r}, and {caller.name!r} of {tenant!r}"
                )
            return Whose(caller, self._router)
        if tenant is not None:
            return Whose(caller, await self._router_as(tenant), tenant)
        if ADMIN not in caller.scopes and caller.only is None:  # (who sees all may give away a ticket for one)
            raise NotPermitted(f"{caller.name!r} is of no tenant, and only the scope {ADMIN} sees the runs of all")
        return Whose(caller, self._router)

    async def _router_as(self, tenant: str) -> StreamRouter:
        asked = self._narrowed.get(tenant)
        if asked is None:
            asked = self._narrowed[tenant] = asyncio.ensure_future(self._router.narrowed(tenant))
            asked.add_done_callback(lambda done: self._forget_if_failed(tenant, done))
        return await asyncio.shield(asked)

    def _forget_if_failed(self, tenant: str, done: asyncio.Task[StreamRouter]) -> None:
        if done.cancelled() or done.exception() is not None:
            self._narrowed.pop(tenant, None)

    async def close(self) -> None:
        """Close what was narrowed."""
        for asked in list(self._narrowed.values()):
            asked.cancel()
            await asyncio.wait([asked])
            if not asked.cancelled() and asked.exception() is None:
                await asked.result().close()
