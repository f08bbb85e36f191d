"""What a route is: where it answers, and all that `/openapi.json` says of it.

Each format declares its routes so (`Routes.routes`). The server's router is made of them, and so is the description of
them, so that there is no route that it leaves out. docs/gateway.md says it in words.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from aiohttp import web

_PARAMETER = re.compile(r"\{(\w+)\}")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Schema = Mapping[str, Any]
"""A JSON Schema (2020-12), as OpenAPI 3.1 takes it."""

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean", "default": False}
NUMBER: Schema = {"type": "integer", "minimum": 0}
OBJECT: Schema = {"type": "object"}
OBJECTS: Schema = {"type": "array", "items": {"type": "object"}}
JSON_TYPE = "application/json"
EVENTS_TYPE = "text/event-stream"


class Answer(NamedTuple):
    """An answer that is no refusal. `schemas`: by media type, none without a body. `headers`: their meanings."""

    says: str
    schemas: Mapping[str, Schema] = {}
    headers: Mapping[str, str] = {}


class Route(NamedTuple):
    """One method of one address.

    `scopes`: what a token is to permit. `query` and `headers`: what is read of both, by name. `body`: of a JSON object
    that is sent. `answers`: by status; a refusal is described once for all.
    """

    method: str
    path: str
    handler: Handler
    says: str
    scopes: tuple[str, ...] = ()
    query: Mapping[str, Schema] = {}
    headers: Mapping[str, Schema] = {}
    body: Schema | None = None
    needs_body: bool = True
    answers: Mapping[int, Answer] = {}
    allow_head: bool = False

    def add_to(self, app: web.Application) -> None:
        """Add it to a server."""
        path = _PARAMETER.sub(r"{\1:[^/]+}", self.path)  # aiohttp's own pattern takes no braces, and IDs may have some
        if self.allow_head:
            app.router.add_get(path, self.handler)
        else:
            app.router.add_route(self.method, path, self.handler)


class Routes(Protocol):
    """The routes of one format."""

    def routes(self) -> Iterable[Route]:
        """Return all of them."""
        ...


def shows(says: str, schema: Schema = OBJECT, headers: Mapping[str, str] | None = None) -> dict[int, Answer]:
    """Return the one answer of a route that answers with JSON."""
    return {200: Answer(says, {JSON_TYPE: schema}, headers or {})}


def streams(says: str, headers: Mapping[str, str] | None = None) -> dict[int, Answer]:
    """Return the one answer of a route that answers with server-sent events."""
    return {200: Answer(says, {EVENTS_TYPE: TEXT}, headers or {})}


def shows_or_streams(says: str, headers: Mapping[str, str] | None = None) -> dict[int, Answer]:
    """Return the one answer of a route that answers with either, as it is asked."""
    return {200: Answer(says, {JSON_TYPE: OBJECT, EVENTS_TYPE: TEXT}, headers or {})}


def fields(required: Iterable[str] = (), **properties: Schema) -> Schema:
    """Return the schema of an object."""
    return {"type": "object", "required": list(required), "properties": properties}


def said(schema: Schema, description: str) -> Schema:
    """Return a schema with a description."""
    return {**schema, "description": description}
