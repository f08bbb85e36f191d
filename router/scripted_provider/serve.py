"""Listen on a port: the server's application, run inside this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from actors.errors import ConfigError
from router.scripted_provider.library import Library
from router.scripted_provider.script import Script
from router.scripted_provider.server import make_app

LOOPBACK = "127.0.0.1"


@asynccontextmanager
async def serve(library: Library, script: Script, *, host: str = LOOPBACK, port: int = 0) -> AsyncIterator[str]:
    """Serve until the block ends; gives the base URL. Port 0: a free one. Raises ConfigError: port taken."""
    # Streams under way when the block ends are cut: their clients are going too.
    runner = web.AppRunner(make_app(library, script), access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, backlog=4096)
        try:
            await site.start()
        except OSError as error:
            raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}; choose another port, or 0") from None
        listening_port = runner.addresses[0][1]
        yield f"http://{host}:{listening_port}"
    finally:
        await runner.cleanup()
