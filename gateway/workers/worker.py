"""A gateway in an actor of its own, which shares its port with others of its node.

It begins by itself, so it also does when Ray has started it anew. What keeps it from serving then (routers that are
away, a port that is taken) is tried again until it is told to end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import ray

from actors.errors import StreamRouterError
from gateway.config import GatewayConfig
from gateway.figures import Figures
from gateway.serving.asking import Counted
from gateway.serving.serve import serve
from router import StreamRouter

log: logging.Logger = logging.getLogger("gateway.worker")

RETRY_S = 2.0


class GatewayWorker:
    """One gateway. The class is plain; `fleet.py` makes an actor of it.

    `find_others`: gives what the others on its port have counted, since whoever asks for figures meets any of them.
    """

    def __init__(
        self, router: StreamRouter, config: GatewayConfig, find_others: Callable[[], Awaitable[list[Figures]]]
    ) -> None:
        self._router = router
        self._config = config
        self._counted = Counted(Figures(), find_others)
        self._told = asyncio.Event()
        self._url: asyncio.Future[str] | None = None
        self._serving: asyncio.Task[None] | None = None
        ray.get_runtime_context().current_actor.begin.remote()

    async def begin(self) -> str | tuple[str, str]:
        """Serve; return the base URL, or what keeps it from serving for now, as (code, text)."""
        if self._serving is None:
            self._url = asyncio.get_running_loop().create_future()
            self._serving = asyncio.ensure_future(self._serve_until_told())
        try:
            return await asyncio.shield(self._url)  # type: ignore[arg-type]  # it is there from the first call on
        except StreamRouterError as error:
            return error.to_wire()

    async def end(self) -> None:
        """Take nothing new, have readers go on elsewhere, and return when that is done."""
        self._told.set()
        if self._serving is not None:
            await self._serving

    async def figures(self) -> Figures:
        """Return what this one has counted."""
        return self._counted.figures

    async def _serve_until_told(self) -> None:
        while not self._told.is_set():
            try:
                async with serve(self._router, self._config, counted=self._counted, shares_port=True) as url:
                    self._says(url)
                    await self._told.wait()
            except StreamRouterError as error:
                log.warning("a gateway cannot serve: %s; it is tried again in %g s", error, RETRY_S)
                self._says(error)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._told.wait(), RETRY_S)

    def _says(self, outcome: str | StreamRouterError) -> None:
        url = self._url
        if url is None or url.done():
            url = self._url = asyncio.get_running_loop().create_future()
        if isinstance(outcome, str):
            url.set_result(outcome)
        else:
            url.set_exception(outcome)
            url.exception()  # nobody may be waiting for it
