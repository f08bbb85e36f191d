"""`/openapi.json` names every route and nothing else, is valid, and says which scopes each route wants."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from itertools import combinations
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web

from gateway.access import ADMIN, SCOPES
from gateway.config import gateway_section
from gateway.serving.app import all_routes, make_app
from gateway.serving.asking import Gateway
from gateway.serving.route import Route
from tests.gateway.fakes import FakeRouter, FakeRunners, Served, served
from tests.gateway.said import chat_chunk, translated

ENDED = translated([chat_chunk({"content": "Hi"}), chat_chunk({}, "stop")])
SUBSETS = [frozenset(some) for size in range(1, len(SCOPES) + 1) for some in combinations(sorted(SCOPES), size)]


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Served]:
    file = tmp_path / "tokens"
    file.write_text("".join(f"x {token(some)} {','.join(some)}\n" for some in SUBSETS), encoding="utf-8")
    async with served(tokens_file=str(file)) as running:
        yield running


def bare(**section: Any) -> Gateway:
    router = FakeRouter()
    return Gateway(cast("Any", router), gateway_section(section), None, FakeRunners(router))


def token(scopes: Iterable[str]) -> str:
    return "token-that-may-" + "-".join(sorted(scopes))


def may(*scopes: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(scopes)}"}


def operations(document: dict[str, Any]) -> set[tuple[str, str]]:
    return {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}


def registered(app: web.Application) -> set[tuple[str, str]]:
    return {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }


async def test_every_route_is_described_and_nothing_else(gateway: Served):
    status, document = await gateway.json("GET", "/openapi.json", headers=may("read"))
    assert status == 200
    assert operations(document) == registered(make_app(bare()))
    names = [one["operationId"] for methods in document["paths"].values() for one in methods.values()]
    assert len(names) == len(set(names))


async def test_a_gateway_of_fewer_formats_describes_fewer_routes():
    async with served(formats=["ui"]) as few:
        _, document = await few.json("GET", "/openapi.json")
    assert {path for path in document["paths"] if path.startswith("/v1")} == set()
    assert "/api/chat" in document["paths"]
    assert all(one["security"] == [] for methods in document["paths"].values() for one in methods.values())


async def test_it_is_valid_openapi(gateway: Served):
    validator = pytest.importorskip("openapi_spec_validator")
    _, document = await gateway.json("GET", "/openapi.json", headers=may("read"))
    validator.validate(document, cls=validator.OpenAPIV31SpecValidator)
    schemas = document["components"]["schemas"]
    assert {"Message", "Stream", "Error", "AssistantMessage"} <= schemas.keys()
    assert "owner" not in schemas["Stream"]["properties"]


async def test_every_route_wants_the_scopes_that_it_names_and_no_other(gateway: Served):
    async def status_of(route: Route, *scopes: str) -> int:
        path = gateway.url + re.sub(r"\{\w+\}", "none", route.path)
        async with gateway.http.request(route.method, path, headers=may(*scopes), json={}) as answered:
            return answered.status

    gateway.router.open("none").say(ENDED, end=True)
    for _, route in all_routes(bare()):
        for scope in route.scopes:
            assert await status_of(route, *(SCOPES - {scope, ADMIN})) == 403, (route.method, route.path, scope)
        enough = route.scopes or ("cancel",)  # any token is good for those that name none
        assert await status_of(route, *enough) not in {401, 403}, (route.method, route.path)
