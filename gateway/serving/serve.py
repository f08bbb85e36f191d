"""Listen on a port, and end in order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from aiohttp import web

from actors.errors import ConfigError
from gateway.config import GatewayConfig
from gateway.runs.runner import Runners
from gateway.serving.app import make_app
from gateway.serving.asking import Counted, Gateway, RunsAgents
from gateway.serving.doorway import Runner
from gateway.serving.entry import Entry
from router import StreamRouter

BACKLOG = 4096
KEEPALIVE_S = 75.0
"""A connection on which no request has come for so long is closed; a proxy's own limit (nginx: 60) comes before."""
LINGERING_S = 2.0
"""What is left of a body that nobody wants is read for so long, so that the answer arrives."""


@asynccontextmanager
async def serve(
    router: StreamRouter,
    config: GatewayConfig,
    runners: RunsAgents | None = None,
    counted: Counted | None = None,
    *,
    shares_port: bool = False,
) -> AsyncIterator[str]:
    """Serve until the block ends; gives the base URL. `runners`: what starts agents; None: the service's own actor.

    `shares_port`: others listen on it too (SO_REUSEPORT), and each connection comes to one of them.

    Raises ConfigError: the port is taken, no tokens, an agent that cannot be imported.
    """
    if runners is None:
        # Whoever makes it has it end with itself, but of those that share a port one may go while the others stay.
        runners = Runners(router, actors=config.runner_actors, runs_max=config.runs_max, outlives_us=shares_port)
    router.gather_reads(config.gather_ms)
    gateway = Gateway(router, config, Entry(config), runners, counted)
    gateway.tenants.check(gateway.entry.tenants)
    for agent in config.agents.values():
        if agent.endpoint is not None:
            agent.endpoint.key()  # raises where its variable is not set
        if agent.run is not None:
            await gateway.runners.check(agent.run)
    runner = Runner(
        make_app(gateway),
        access_log=None,
        handler_cancellation=True,  # a reader that leaves is let go of at once
        auto_decompress=False,  # a small body could become a large one
        max_line_size=config.head_bytes_max,
        max_field_size=config.head_bytes_max,
        keepalive_timeout=KEEPALIVE_S,
        lingering_time=LINGERING_S,
        shutdown_timeout=1.0,
    )
    gateway.doorway = await runner.begin(config.head_timeout_s, config.write_timeout_s)
    try:
        await gateway.entry.begin()
        site = web.TCPSite(runner, config.host, config.port, backlog=BACKLOG, reuse_port=shares_port or None)
        try:
            await site.start()
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {config.host}:{config.port}: {error.strerror}; choose another gateway.port, or 0"
            ) from None
        host = f"[{config.host}]" if ":" in config.host else config.host
        yield f"http://{host}:{runner.addresses[0][1]}"
        # Whoever comes again must come to another gateway, or wait for this one's successor.
        await site.stop()
        await gateway.streams.drain()
    finally:
        gateway.doorway.close()
        gateway.streams.close()
        await runner.cleanup()
        await gateway.entry.close()
        await gateway.tenants.close()


async def until_told(serving: AbstractAsyncContextManager[str], say: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM, then end in order; `say` is told the base URL. Raises as `serve`."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    signs = (signal.SIGINT, signal.SIGTERM)
    async with serving as url:
        for sign in signs:
            loop.add_signal_handler(sign, told.set)
        try:
            say(url)
            await told.wait()
        finally:
            for sign in signs:
                loop.remove_signal_handler(sign)
