"""The description of a gateway's routes in OpenAPI 3.1, made of the routes themselves. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from importlib.metadata import version
from typing import Any

from actors.messages import MESSAGE_ADAPTER
from gateway.serving.route import JSON_TYPE, TEXT, Answer, Route, fields
from router import RequestInfo

_PARAMETER = re.compile(r"\{(\w+)\}")
_PLACES = {
    "id": "The request's ID, which is the run's.",
    "agent": "An agent, as the section `gateway.agents` of the configuration names it.",
    "format": "A format, as the section `gateway.formats` of the configuration names it.",
    "name": "A file.",
    "chat": "The ID that the page has given its chat.",
    "thread": "The thread, which is the run's tag `thread`; of a run without one, its own ID.",
}
_ERROR = fields(
    ("error",),
    error=fields(
        ("message", "type", "param", "code"),
        message=TEXT,
        type=TEXT,
        param={"type": ["string", "null"]},
        code={"type": "string", "description": "The error's own code; docs/reference/errors.md lists them."},
    ),
)
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "ticket": {
        "type": "apiKey",
        "in": "query",
        "name": "token",
        "description": "For `EventSource`; of POST /v1/streams/{id}/ticket.",
    },
}
_TICKETS_OPEN = "/v1/streams/{id}"


def document(routes: Iterable[tuple[str, Route]], *, open_to_all: Collection[str], has_tokens: bool) -> dict[str, Any]:
    """Return the description of routes, each with the name of its format."""
    paths: dict[str, dict[str, Any]] = {}
    tags: list[str] = []
    for name, route in routes:
        if name not in tags:
            tags.append(name)
        is_open = not has_tokens or route.path in open_to_all
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(name, route, is_open=is_open)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "agent-stream-router gateway",
            "version": version("agent-stream-router"),
            "summary": "What agents say, over HTTP: read, resumed and cancelled by any client.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in tags],
        "paths": paths,
        "components": {"schemas": _schemas(), "securitySchemes": _SECURITY},
    }


def ref(name: str) -> dict[str, str]:
    """Return a reference to a schema of the document's own."""
    return {"$ref": f"#/components/schemas/{name}"}


def _schemas() -> dict[str, Any]:
    """Return the schemas that routes refer to: our messages, a request as it is shown, and a refusal."""
    template = "#/components/schemas/{model}"
    message = MESSAGE_ADAPTER.json_schema(ref_template=template, mode="serialization")
    info = RequestInfo.model_json_schema(ref_template=template, mode="serialization")
    found = {**message.pop("$defs", {}), **info.pop("$defs", {})}
    properties = {
        "id": TEXT,
        **{key: one for key, one in info["properties"].items() if key not in {"owner", "request_id"}},
    }
    return {
        **found,
        "Message": message,
        "Stream": {**info, "properties": properties, "required": list(properties)},
        "Error": _ERROR,
    }


def _operation(name: str, route: Route, *, is_open: bool) -> dict[str, Any]:
    scopes = list(route.scopes)
    ways = ["bearer", "key", *(["ticket"] if route.method == "GET" and route.path.startswith(_TICKETS_OPEN) else [])]
    operation: dict[str, Any] = {
        "operationId": _name_of(route),
        "tags": [name],
        "summary": route.says,
        "parameters": [*_in_path(route.path), *_given("query", route.query), *_given("header", route.headers)],
        "responses": {str(status): _answer(answer) for status, answer in route.answers.items()},
        "security": [] if is_open else [{way: scopes} for way in ways],
    }
    operation["responses"]["default"] = _answer(Answer("Why not, as a letter.", {JSON_TYPE: ref("Error")}))
    if route.body is not None:
        operation["requestBody"] = {"required": route.needs_body, "content": {JSON_TYPE: {"schema": route.body}}}
    return operation


def _name_of(route: Route) -> str:
    return "_".join([route.method.lower(), *re.findall(r"\w+", route.path)])


def _in_path(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "description": _PLACES[name], "schema": TEXT}
        for name in _PARAMETER.findall(path)
    ]


def _given(place: str, schemas: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": place,
            **({"description": schema["description"]} if "description" in schema else {}),
            "schema": {key: value for key, value in schema.items() if key != "description"},
        }
        for name, schema in schemas.items()
    ]


def _answer(answer: Answer) -> dict[str, Any]:
    said: dict[str, Any] = {"description": answer.says}
    if answer.schemas:
        said["content"] = {media: {"schema": schema} for media, schema in answer.schemas.items()}
    if answer.headers:
        said["headers"] = {name: {"description": text, "schema": TEXT} for name, text in answer.headers.items()}
    return said
