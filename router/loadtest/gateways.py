"""The gateways of a load test whose readers come over HTTP: processes that are started again where they end."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from contextlib import suppress
from typing import Self

import aiohttp
import ray

from actors.errors import RouterUnavailable

log: logging.Logger = logging.getLogger("router.loadtest")

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
LOOK_EVERY_S = 0.1
READERS_MAX = 20_000


class Gateways:
    """So many gateways of a service, each on a port of its own. Use it as an `async with` block."""

    def __init__(self, count: int, service: str, namespace: str) -> None:
        self._ports = [_free_port() for _ in range(count)]
        self._service = service
        self._namespace = namespace
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._keeping: list[asyncio.Task[None]] = []

    @property
    def urls(self) -> list[str]:
        """Where they listen."""
        return [f"http://127.0.0.1:{port}" for port in self._ports]

    @property
    def pids(self) -> list[int]:
        """Their processes, as they are now."""
        return [process.pid for process in self._processes.values() if process.returncode is None]

    async def __aenter__(self) -> Self:
        """Start all, and wait until they serve. Raises RouterUnavailable."""
        self._keeping = [asyncio.create_task(self._keep(port)) for port in self._ports]
        try:
            async with asyncio.timeout(START_TIMEOUT_S), aiohttp.ClientSession() as http:
                await asyncio.gather(*(self._is_there(http, url) for url in self.urls))
        except TimeoutError:
            await self.__aexit__()
            raise RouterUnavailable(f"the gateways did not start within {START_TIMEOUT_S:.0f} s") from None
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._keeping:
            task.cancel()
        await asyncio.gather(*self._keeping, return_exceptions=True)
        for process in self._processes.values():
            with suppress(ProcessLookupError):
                process.terminate()
        for process in self._processes.values():
            try:
                await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
            except TimeoutError:
                process.kill()
                await process.wait()

    async def _keep(self, port: int) -> None:
        """Start a gateway, and again whenever it ends."""
        address = ray.get_runtime_context().gcs_address
        command = [
            *("-m", "router.cli", "gateway", "--port", str(port), "--address", address),
            *("--name", self._service, "--namespace", self._namespace, "--set", f"readers_max={READERS_MAX}"),
        ]
        while True:
            process = self._processes[port] = await asyncio.create_subprocess_exec(
                sys.executable, *command, stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
            log.info("the gateway on port %d ended with status %d; it is started again", port, await process.wait())

    async def _is_there(self, http: aiohttp.ClientSession, url: str) -> None:
        while True:
            with suppress(aiohttp.ClientError, OSError):
                async with http.get(f"{url}/readyz") as answered:
                    if answered.ok:
                        return
            await asyncio.sleep(LOOK_EVERY_S)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
