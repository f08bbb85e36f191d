"""A gateway for several tenants, on a real router: each starts, reads and cancels its own runs, as itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from actors.tenants import Key
from gateway.config import gateway_section
from gateway.serving.serve import serve
from router import RouterConfig, StreamRouter

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("running_router_of_gateway")]

KEY = Key(b"a secret of this test")
LINES = """
a 0123456789abcdef-a read,run,cancel team-a
b 0123456789abcdef-b read,run,cancel team-b
"""
AGENTS = {name: {"run": f"tests.gateway.gateway_agents:{name}"} for name in ("echo", "endless")}
DEADLINE_S = 60.0


class Team:
    """Who asks a gateway with a token of one tenant."""

    def __init__(self, http: aiohttp.ClientSession, url: str, name: str) -> None:
        self._http = http
        self._url = url
        self._headers = {"Authorization": f"Bearer 0123456789abcdef-{name}"}

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, str]:
        async with (
            asyncio.timeout(DEADLINE_S),
            self._http.request(method, self._url + path, headers=self._headers, **options) as answered,
        ):
            return answered.status, await answered.text()

    async def start(self, agent: str, **more: Any) -> tuple[int, str]:
        return await self.ask("POST", "/v1/streams", json={"agent": agent, "input": "Hello", **more})


async def test_tenants_start_read_and_cancel_their_own_runs(tmp_path: Path):
    (tmp_path / "key").write_bytes(b"a secret of this test\n")
    (tmp_path / "tokens").write_text(LINES)
    tenants = {"enabled": True, "key_file": str(tmp_path / "key")}
    routers = RouterConfig.model_validate(
        {"name": "tests-gateway-tenants", "stream_actors": {"max_actors": 1}, "streams": {"dialect": "chat"},
         "tenants": tenants}
    )  # fmt: skip
    section = gateway_section(
        {"port": 0, "agents": AGENTS, "runner_actors": 1, "drain_s": 1, "tenant_runs_max": 1,
         "tokens_file": str(tmp_path / "tokens")}
    )  # fmt: skip
    async with (
        StreamRouter.start(routers, token=KEY.token("*", ["read", "publish", "cancel", "operate"])),
        StreamRouter.connect(routers.name, token=KEY.token("*", ["read", "publish", "cancel"])) as router,
        serve(router, section) as url,
        aiohttp.ClientSession() as http,
    ):
        mine, theirs = Team(http, url, "a"), Team(http, url, "b")
        assert [(await team.start("endless", id="same", agent_id="one"))[0] for team in (mine, theirs)] == [201, 201]
        status, text = await mine.start("echo")
        assert status == 429
        assert "tenant_runs_max is 1" in text
        assert (await mine.ask("DELETE", "/v1/streams/same"))[0] == 200
        _, read = await mine.ask("GET", "/v1/streams/same/events")
        assert '"run_id":"same"' in read
        assert '"stop_reason":"cancelled"' in read
        assert '"state":"open"' in (await theirs.ask("GET", "/v1/streams/same"))[1]
        async with asyncio.timeout(DEADLINE_S):  # the end of the first run is heard of in a moment
            while (await mine.start("echo", id="mine"))[0] == 429:
                pass
        assert '"stop_reason":"end_turn"' in (await mine.ask("GET", "/v1/streams/mine/events"))[1]
        assert (await theirs.ask("GET", "/v1/streams/mine"))[0] == 404
        status, text = await mine.start("echo", id="mine")
        assert (status, "team-a" in text) == (409, False)
        _, listed = await theirs.ask("GET", "/v1/streams")
        assert '"mine"' not in listed
        assert {one.request_id for one in await router.list()} == {"team-a:same", "team-a:mine", "team-b:same"}
        assert [(await team.ask("DELETE", "/v1/responses/mine"))[0] for team in (theirs, mine, mine)] == [404, 200, 404]
        assert {one.request_id for one in await router.list()} == {"team-a:same", "team-b:same"}
