"""The server's application: its routes, and what stands in front of all of them."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

from actors.errors import Draining, NotPermitted, StreamRouterError
from gateway.access import ADMIN, Caller
from gateway.access_config import is_loopback
from gateway.serving.agui_routes import AguiRoutes
from gateway.serving.answers import answer, refusal, refusal_of
from gateway.serving.asking import BODY_TIMEOUT_S, Gateway, permit
from gateway.serving.chat_routes import ChatRoutes
from gateway.serving.doorway import fault_of
from gateway.serving.keys import KeysMissing
from gateway.serving.langgraph_routes import LangGraphRoutes
from gateway.serving.letta_routes import LettaRoutes
from gateway.serving.looking_routes import LookingRoutes
from gateway.serving.native_routes import NativeRoutes, come_again
from gateway.serving.openapi import document
from gateway.serving.page_routes import PAGE, PART, PageRoutes
from gateway.serving.responses_routes import ResponsesRoutes
from gateway.serving.route import TEXT, Answer, Handler, Route, Routes, shows
from gateway.serving.ui_routes import UiRoutes
from gateway.serving.whose import asking
from gateway.trace_context import traceparent_in

log: logging.Logger = logging.getLogger("gateway")

OPEN_TO_ALL = frozenset({"/healthz", "/readyz", PAGE, PART})


_ROUTES: dict[str, Callable[[Gateway], Routes]] = {
    "native": NativeRoutes,
    "letta": LettaRoutes,
    "chat": ChatRoutes,
    "responses": ResponsesRoutes,
    "ui": UiRoutes,
    "agui": AguiRoutes,
    "langgraph": LangGraphRoutes,
}


def make_app(gateway: Gateway) -> web.Application:
    """Return the application of a gateway."""
    middlewares: list[Middleware] = [_plain(gateway), _cors(gateway), _errors(gateway), _entry(gateway)]
    app = web.Application(client_max_size=gateway.config.body_bytes_max, middlewares=middlewares)
    app[BODY_TIMEOUT_S] = gateway.config.body_timeout_s
    app.on_response_prepare.append(_reading(gateway))
    for _, route in all_routes(gateway):
        route.add_to(app)
    return app


def all_routes(gateway: Gateway) -> list[tuple[str, Route]]:
    """Return all routes of a gateway, each with the name of its format; those of the server itself are `service`."""
    counts = {200: Answer("Counts.", {"text/plain": TEXT})}
    routes = [
        Route("GET", "/healthz", _healthz, "Say that it runs.", answers=shows("It does."), allow_head=True),
        Route(
            "GET", "/readyz", _readyz(gateway), "Say whether it can serve.", answers=shows("It can."), allow_head=True
        ),
        Route("GET", "/metrics", _metrics(gateway), "Say what it counts, for Prometheus.", ("read",), answers=counts),
        Route("GET", "/openapi.json", _openapi(gateway), "Describe all routes.", answers=shows("OpenAPI 3.1.")),
    ]
    if "native" in gateway.config.formats:
        routes += LookingRoutes(gateway).routes()
        routes += PageRoutes().routes() if gateway.config.page else []
    found = [("service", route) for route in routes]
    return found + [(name, route) for name in gateway.config.formats for route in _ROUTES[name](gateway).routes()]


def _openapi(gateway: Gateway) -> Handler:
    async def openapi(_: web.Request) -> web.StreamResponse:
        return answer(document(all_routes(gateway), open_to_all=OPEN_TO_ALL, has_tokens=not gateway.entry.is_open))

    return openapi


async def _healthz(_: web.Request) -> web.Response:
    return answer({"status": "ok"})


def _readyz(gateway: Gateway) -> Handler:
    async def readyz(_: web.Request) -> web.StreamResponse:
        if gateway.streams.is_draining:
            return refusal(503, "draining", "this gateway is being stopped")
        await gateway.own_router.list(limit=1)  # raises where the routers cannot be reached
        return answer({"status": "ready", "readers": gateway.figures.of("readers")})

    return readyz


def _metrics(gateway: Gateway) -> Handler:
    async def metrics(request: web.Request) -> web.StreamResponse:
        permit(gateway, request, "read" if gateway.caller.tenant is None else ADMIN)  # it counts for all tenants
        figures = gateway.figures.plus(await gateway.counted.find_others())
        return web.Response(text=figures.text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    return metrics


# --- in front of all routes -------------------------------------------------------------------


def _plain(gateway: Gateway) -> Middleware:
    """Refuse heads that not everybody reads in the same way."""

    @web.middleware
    async def plain(request: web.Request, handler: Handler) -> web.StreamResponse:
        if gateway.doorway is not None:
            gateway.doorway.has_head(request.protocol)
        fault = fault_of(request)
        if fault is None:
            return await handler(request)
        answered = refusal(400, "bad_request", fault)
        answered.force_close()
        gateway.figures.add("refused", "400")
        return answered

    return plain


def _errors(gateway: Gateway) -> Middleware:
    """Answer every error as JSON with a letter in it."""

    @web.middleware
    async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except StreamRouterError as error:
            answered = refusal_of(error)
        except web.HTTPException as error:
            answered = _http_refusal(request, error, gateway.config.body_bytes_max)
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            answered = refusal(500, "internal_error", "the gateway failed on this request; its log says more")
        gateway.figures.add("refused", str(answered.status))
        if gateway.streams.is_draining:
            answered.force_close()  # so that it comes to another gateway, where there is one
        return answered

    return errors


def _http_refusal(request: web.Request, error: web.HTTPException, body_bytes_max: int) -> web.Response:
    """Return aiohttp's own refusals in our words."""
    texts = {
        404: ("unknown_route", f"there is nothing at {request.path[:200]}; docs/gateway.md names what there is"),
        405: ("wrong_method", f"{request.method} is not for {request.path[:200]}"),
        408: ("body_too_slow", "the body did not come in time (gateway.body_timeout_s)"),
        413: ("body_too_large", f"the body has more than {body_bytes_max} bytes (gateway.body_bytes_max)"),
    }
    code, text = texts.get(error.status, ("http_error", error.reason))
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
    return refusal(error.status, code, text, headers)


def _entry(gateway: Gateway) -> Middleware:
    """Let in who may come."""

    @web.middleware
    async def entry(request: web.Request, handler: Handler) -> web.StreamResponse:
        if _is_open_to_all(request):
            return await handler(request)
        if gateway.entry.is_open and not _is_for_this_machine(gateway, request):
            return _foreign(request)
        try:
            caller = await gateway.entry.caller(request)
        except NotPermitted as error:
            return refusal(401, error.code, str(error), {"WWW-Authenticate": "Bearer"})
        except KeysMissing as error:
            return refusal(503, "keys_missing", str(error))
        turned_away = await _turned_away(gateway, request, caller)
        if turned_away is not None:
            return turned_away
        whose = await gateway.tenants.of(caller)
        traceparent = traceparent_in(request.headers.getall("traceparent", []))
        token = asking.set(whose if traceparent is None else whose._replace(traceparent=traceparent))
        try:
            return await handler(request)
        finally:
            asking.reset(token)

    return entry


def _is_open_to_all(request: web.Request) -> bool:
    """Whether anybody may have this: said by the route that answers, whatever the address looks like."""
    resource = request.match_info.route.resource
    return resource is not None and resource.canonical in OPEN_TO_ALL


def _foreign(request: web.Request) -> web.Response:
    return refusal(
        403,
        "foreign_host",
        "without tokens this gateway answers to this machine's names only, and to no page of another origin; "
        f"this came for {request.host[:100]!r} from {request.headers.get('Origin', 'no page')[:100]!r}",
    )


async def _turned_away(gateway: Gateway, request: web.Request, caller: Caller) -> web.StreamResponse | None:
    """Return what is answered while nobody is served, or not so many of one tenant; None: they are."""
    wait_s = gateway.rates.wait_s(caller.tenant or "", asyncio.get_running_loop().time())
    if not gateway.streams.is_draining and not wait_s:
        return None
    if "Last-Event-ID" in request.headers and request.path.endswith("/events"):
        return await come_again(request)
    if gateway.streams.is_draining:
        raise Draining("this gateway is being stopped; connect again to be served by another")
    whose = "this gateway" if caller.tenant is None else f"the tenant {caller.tenant!r}"
    text = f"{whose} opens more than {gateway.config.tenant_opens_per_s:g} connections a second (tenant_opens_per_s)"
    gateway.figures.add("refused", "429")
    return refusal(429, "too_many_opens", f"{text}; try again", {"Retry-After": str(math.ceil(wait_s))})


def _is_for_this_machine(gateway: Gateway, request: web.Request) -> bool:
    """Whether a request names this machine, and no page of another origin has a browser here do something.

    A page elsewhere could have its name point here (DNS rebinding), or post what needs no leave.
    """
    origin = request.headers.get("Origin")
    is_foreign = origin is not None and not _is_named(gateway, origin) and not _names_this_machine(origin)
    return _names_this_machine(f"//{request.host}") and not (is_foreign and request.method != "GET")


def _names_this_machine(address: str) -> bool:
    try:
        host = urlsplit(address).hostname
    except ValueError:
        return False
    return host is not None and is_loopback(host)


def _cors(gateway: Gateway) -> Middleware:
    """Answer what a browser asks before it lets a page of one of the named origins ask."""

    @web.middleware
    async def cors(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            if _is_named(gateway, request.headers.get("Origin")):
                return web.Response(status=204, headers=_PREFLIGHT)
            return refusal(403, "foreign_origin", "gateway.cors_origins does not name this origin")
        return await handler(request)

    return cors


_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Last-Event-ID, Idempotency-Key, x-api-key, "
    "traceparent, tracestate",
    "Access-Control-Max-Age": "600",
}


def _is_named(gateway: Gateway, origin: str | None) -> bool:
    return origin is not None and (origin in gateway.config.cors_origins or "*" in gateway.config.cors_origins)


def _reading(gateway: Gateway) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """Say, before the head of any answer is sent, that a page of one of the named origins may read it."""

    async def reading(request: web.Request, response: web.StreamResponse) -> None:
        origin = request.headers.get("Origin")
        if origin is not None and _is_named(gateway, origin):
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = (
                "Content-Location, Location, X-Stream-Id, x-request-id, Retry-After"
            )
            response.headers["Vary"] = "Origin"

    return reading
