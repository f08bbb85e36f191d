"""Gateways in actors that share a port: replaced under load, and killed."""

from __future__ import annotations

import asyncio
import re
import socket

import aiohttp
import pytest
import ray

from actors.errors import ConfigError
from gateway.config import gateway_section
from gateway.workers.fleet import Fleet, find, served_here, this_node
from router import StreamRouter
from tests.gateway.fakes import until
from tests.gateway.resuming import ResumingReader

pytestmark = pytest.mark.ray

AGENTS = {"steady": {"run": "tests.gateway.gateway_agents:steady"}}
READERS = 12
DEADLINE_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def start(http: aiohttp.ClientSession, url: str) -> str:
    async with http.post(f"{url}/v1/streams", json={"agent": "steady", "input": "Go"}) as answered:
        assert answered.status == 201, await answered.text()
        request_id: str = (await answered.json())["id"]
        return request_id


async def readers_counted(http: aiohttp.ClientSession, url: str) -> int:
    async with http.get(f"{url}/metrics") as answered:
        found = re.search(
            r'^stream_router_gateway_readers\{format="native"\} (\d+)$', await answered.text(), re.MULTILINE
        )
        return int(found[1]) if found else 0


async def test_replacing_all_gateways_of_a_port_under_load_loses_no_event(router: StreamRouter):
    config = gateway_section({"port": free_port(), "workers": 2, "agents": AGENTS, "runner_actors": 1, "drain_s": 5})
    fleet = Fleet(router, config)
    async with asyncio.timeout(DEADLINE_S), aiohttp.ClientSession() as http:
        (url,) = await fleet.deploy([this_node()], detached=False)
        first = await asyncio.to_thread(find, router.config.name, router.config.namespace, "cluster")
        request_id = await start(http, url)
        readers = [ResumingReader(http, lambda: url, request_id) for _ in range(READERS)]
        reading = asyncio.gather(*(reader.read() for reader in readers))
        while await readers_counted(http, url) < READERS:  # of both workers, whichever is asked
            pass
        assert await fleet.deploy([this_node()], detached=False) == [url]
        await router.cancel(request_id)
        await reading
        second = await asyncio.to_thread(find, router.config.name, router.config.namespace, "cluster")
        assert len(first) == len(second) == 2
        assert not first.keys() & second.keys()
        assert await fleet.end_all() == 2
    assert all(reader.has_each_once for reader in readers)
    assert len({len(reader.ids) for reader in readers}) == 1
    assert sum(reader.connections for reader in readers) > READERS


async def test_the_readers_of_a_killed_worker_go_on_with_the_other(router: StreamRouter):
    config = gateway_section({"port": 0, "workers": 2, "agents": AGENTS, "runner_actors": 1, "drain_s": 1})
    async with (
        asyncio.timeout(DEADLINE_S),
        served_here(router, config) as url,
        aiohttp.ClientSession() as http,
    ):
        request_id = await start(http, url)
        readers = [ResumingReader(http, lambda: url, request_id) for _ in range(READERS)]
        reading = asyncio.gather(*(reader.read() for reader in readers))
        await until(lambda: all(reader.ids for reader in readers))
        names = [one["name"] for one in ray.util.list_named_actors(all_namespaces=True) if "/gateway/" in one["name"]]
        ray.kill(ray.get_actor(names[0], namespace=router.config.namespace), no_restart=False)
        await until(lambda: sum(reader.connections for reader in readers) > READERS)
        await router.cancel(request_id)
        await reading
    assert all(reader.has_each_once for reader in readers)


async def test_a_port_that_is_taken_or_none_is_said_and_what_ran_runs_on(router: StreamRouter):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = gateway_section({"port": taken.getsockname()[1], "workers": 2})
        with pytest.raises(ConfigError, match="cannot listen"):
            async with served_here(router, config):
                pass
    with pytest.raises(ConfigError, match="need its number"):
        await Fleet(router, gateway_section({"port": 0})).deploy([this_node()], detached=True)
