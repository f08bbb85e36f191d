"""What all routes do with a request: who asks, what for, and what its body says."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from typing import Any, Protocol

from aiohttp import web

from actors.errors import InvalidArgument, NotPermitted
from gateway.access import ANYBODY, Caller, Tokens
from gateway.config import AgentConfig, GatewayConfig
from gateway.figures import Figures
from gateway.runs.order import Order
from gateway.serving.streams import Streams
from router import RequestInfo, StreamRouter

_JSON = "application/json"


class RunsAgents(Protocol):
    """What starts agents."""

    async def run(self, order: Order) -> None:
        """Start a run; return when its request is open. Raises what opening it does, RouterUnavailable."""
        ...

    async def check(self, path: str) -> None:
        """Raise ConfigError where a function cannot be imported where agents run."""
        ...


class Gateway:
    """What the routes share."""

    def __init__(self, router: StreamRouter, config: GatewayConfig, tokens: Tokens | None, runners: RunsAgents) -> None:
        self.router = router
        self.config = config
        self.tokens = tokens
        self.figures: Figures = Figures()
        self.streams: Streams = Streams(router, config, self.figures)
        self.runners = runners

    def agent(self, name: Any) -> AgentConfig:
        """Return an agent by its name. Raises InvalidArgument."""
        agent = self.config.agents.get(name) if isinstance(name, str) else None
        if agent is None:
            known = ", ".join(sorted(self.config.agents)) or "none; the section `gateway.agents` names them"
            raise InvalidArgument(f"there is no agent {str(name)[:60]!r} here; there are {known}")
        return agent

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
        order = Order(request_id, name, agent, dict(given), key, tags or {}, metadata or {}, agent_id)
        await self.runners.run(order)
        self.figures.add("runs", name)
        return request_id


def caller_of(gateway: Gateway, request: web.Request) -> Caller:
    """Return who asks. Raises NotPermitted."""
    if gateway.tokens is None:
        return ANYBODY
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return gateway.tokens.caller(token.strip())
    if (key := request.headers.get("x-api-key")) is not None:
        return gateway.tokens.caller(key)
    if (ticket := request.query.get("token")) is not None and request.method == "GET":
        return gateway.tokens.ticket_holder(ticket, request.match_info.get("id", ""), time.time())
    raise NotPermitted("this gateway wants a token: Authorization: Bearer TOKEN")


def permit(gateway: Gateway, request: web.Request, scope: str, request_id: str | None = None) -> None:
    """Raise NotPermitted where the caller may not do this."""
    caller_of(gateway, request).check(scope, request_id)


async def body_of(request: web.Request) -> dict[str, Any]:
    """Return the JSON object in a body. Raises InvalidArgument; aiohttp's own for what is too large."""
    if request.content_type != _JSON:  # a page of another origin can send any other type without being asked
        raise InvalidArgument(f"expected a body of Content-Type {_JSON}, got {request.content_type}")
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise InvalidArgument("expected a body that is not compressed")
    raw = await request.read()
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
