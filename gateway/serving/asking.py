"""What all routes do with a request: who asks, what for, and what its body says."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol

from aiohttp import web

from actors.errors import ConfigError, InvalidArgument
from gateway.access import Caller
from gateway.config import AgentConfig, GatewayConfig
from gateway.figures import Figures
from gateway.rates import Rates
from gateway.runs.order import Order
from gateway.serving.doorway import Doorway
from gateway.serving.entry import Entry
from gateway.serving.streams import Streams
from gateway.serving.whose import OfAgents, Source, Tenants, asking
from router import RequestInfo, StreamRouter

_JSON = "application/json"
BODY_TIMEOUT_S = web.AppKey("BODY_TIMEOUT_S", float)


class RunsAgents(Protocol):
    """What starts agents."""

    async def run(self, order: Order) -> None:
        """Start a run; return when its request is open. Raises what opening it does, RouterUnavailable."""
        ...

    async def check(self, path: str) -> None:
        """Raise ConfigError where a function cannot be imported where agents run."""
        ...


async def _nobody() -> list[Figures]:
    return []


class Counted(NamedTuple):
    """What a gateway counts. `find_others`: gives what others have counted that share its port."""

    figures: Figures
    find_others: Callable[[], Awaitable[list[Figures]]] = _nobody


class Gateway:
    """What the routes share."""

    def __init__(
        self,
        router: StreamRouter,
        config: GatewayConfig,
        entry: Entry,
        runners: RunsAgents,
        counted: Counted | None = None,
    ) -> None:
        """`router`: with the gateway's own identity."""
        self.own_router = router
        self.config = config
        self.entry = entry
        self.doorway: Doorway | None = None
        self.tenants: Tenants = Tenants(router)
        self.rates: Rates = Rates(config.tenant_opens_per_s)
        self.counted: Counted = counted or Counted(Figures())
        self.figures: Figures = self.counted.figures
        self.streams: Streams = Streams(config, self.figures)
        self.runners = runners

    @property
    def caller(self) -> Caller:
        """Who asks."""
        return asking.get().caller

    @property
    def router(self) -> StreamRouter | OfAgents:
        """The router as the caller sees it: their tenant's requests, and of those the runs of their agents."""
        return asking.get().seen

    async def source(self, request_id: str) -> Source:
        """Return where a request of the caller's is read. Raises UnknownRequest where they may not see it."""
        return await asking.get().source(request_id)

    @property
    def agents(self) -> dict[str, AgentConfig]:
        """The agents that the caller may use, by name."""
        may_use = self.caller.may_use
        return {name: agent for name, agent in self.config.agents.items() if may_use(name)}

    def agent(self, name: Any) -> AgentConfig:
        """Return an agent by its name. Raises InvalidArgument."""
        agent = self.agents.get(name) if isinstance(name, str) else None
        if agent is None:
            known = ", ".join(sorted(self.agents)) or "none; the section `gateway.agents` names them"
            raise InvalidArgument(f"there is no agent {str(name)[:60]!r} here; there are {known}")
        return agent

    def ticket(self, name: str) -> str:
        """Return a ticket for a stream of the caller's. Raises ConfigError."""
        if self.entry.tickets is None:
            raise ConfigError(
                "tickets are signed with a secret that all gateways of the service have: whoever runs this one sets "
                "gateway.ticket_key_env"
            )
        return self.entry.tickets.make(name, self.caller.tenant, time.time() + self.config.ticket_s)

    async def run(
        self,
        name: Any,
        given: Mapping[str, Any],
        *,
        request_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        agent_id: str | None = None,
    ) -> str:
        """Start a run of an agent, and return its request ID as soon as it is open. Raises what opening it does."""
        agent = self.agent(name)
        for what, said in (("tags", tags), ("metadata", metadata)):
            if said is not None and not isinstance(said, Mapping):
                raise InvalidArgument(f"{what}: expected an object, got {type(said).__name__}")
        request_id = request_id or f"run-{secrets.token_hex(12)}"
        key = agent.endpoint.key() if agent.endpoint is not None else None
        order = Order(
            request_id,
            name,
            agent,
            dict(given),
            key,
            tags or {},
            metadata or {},
            agent_id,
            asking.get().tenant,
            self.config.tenant_runs_max,
            asking.get().traceparent,
        )
        await self.runners.run(order)
        self.figures.add("runs", name)
        return request_id


def permit(gateway: Gateway, _request: web.Request, scope: str, request_id: str | None = None) -> None:
    """Raise NotPermitted where the caller may not do this."""
    gateway.caller.check(scope, request_id)


async def body_of(request: web.Request) -> dict[str, Any]:
    """Return the JSON object in a body.

    Raises InvalidArgument; aiohttp's own for what is too large, and for what does not come in time.
    """
    if request.content_type != _JSON:  # a page of another origin can send any other type without being asked
        raise InvalidArgument(f"expected a body of Content-Type {_JSON}, got {request.content_type}")
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise InvalidArgument("expected a body that is not compressed")
    try:
        async with asyncio.timeout(request.app[BODY_TIMEOUT_S]):
            raw = await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    except web.RequestPayloadError as error:
        raise InvalidArgument(f"the body breaks off: {error}") from None
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"the body is no JSON: {error}") from None
    if not isinstance(body, dict):
        raise InvalidArgument(f"expected a JSON object as the body, got {type(body).__name__}")
    return body


def whole_number(text: str | None, name: str) -> int:
    """Return a number from a query or a header; 0 where there is none. Raises InvalidArgument."""
    if text is None or not text.strip():
        return 0
    if not text.strip().isascii() or not text.strip().isdecimal() or len(text) > 18:  # noqa: PLR2004  # fits 63 bits
        raise InvalidArgument(f"{name}: expected a whole number, 0 or more, got {text[:40]!r}")
    return int(text)


def flag(text: str | None, name: str) -> bool:
    """Return a flag from a query. Raises InvalidArgument."""
    if text is None or text.lower() in {"", "0", "false"}:
        return False
    if text.lower() in {"1", "true"}:
        return True
    raise InvalidArgument(f"{name}: expected true or false, got {text[:40]!r}")


def turns_of(given: Any, name: str = "input") -> dict[str, Any]:
    """Return what an agent is called with: a dict; a text becomes the one message in it. Raises InvalidArgument."""
    if isinstance(given, str):
        return {"messages": [{"role": "user", "content": given}]}
    if isinstance(given, dict):
        return given
    raise InvalidArgument(f"{name}: expected text, or an object with messages, got {type(given).__name__}")


async def said_until_now(gateway: Gateway, info: RequestInfo) -> list[dict[str, Any]]:
    """Return what a request has said until now, each piece by itself. Raises as reading does."""
    said: list[dict[str, Any]] = []
    if not info.last_seq_id:
        return said
    async for batch in gateway.router.subscribe(info.request_id, format="dict", observer=True):
        said += batch.messages
        if batch.last_seq_id >= info.last_seq_id:
            break
    return said
