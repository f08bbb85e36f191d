"""The calls of a `StreamRouter` for whoever runs the service: how it stands, and drain."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from actors.errors import from_wire
from router.client.arguments import check
from router.client.links.link import Link
from router.client.reading.poller import Pollers
from router.client.startup import process_name
from router.config import RouterConfig
from router.status.overview import Description, Overview

if TYPE_CHECKING:
    from router.client.stream_router import StreamRouter


class OperatingCalls(ABC):
    """What `StreamRouter` says of the service as a whole."""

    config: RouterConfig
    _caller: tuple[str, ...]
    _links: list[Link]
    _pollers: Pollers

    @abstractmethod
    def _check_open(self) -> None:
        """Raise RouterClosed where this end was closed."""

    @abstractmethod
    def _beside(self, client_id: str) -> StreamRouter:
        """Return another `StreamRouter` of the same routers, with a client ID of its own."""

    async def describe(self) -> Description:
        """Return who runs and what they hold. Raises RouterUnavailable, RouterClosed."""
        parts = await self._ask_all("describe")
        return Description.model_validate(
            {
                "name": self.config.name,
                "namespace": self.config.namespace,
                "routers": [part["router"] for part in parts],
                "stream_actors": [actor for part in parts for actor in part["stream_actors"]],
                "requests": [request for part in parts for request in part["requests"]],
                "lines": [
                    {"actor_id": name, "transport": line.means, "transport_why": line.why}
                    for name, line in [
                        *((link.caller.name, link.line) for link in self._links),
                        *self._pollers.lines(),
                    ]
                ],
            }
        )

    async def overview(self, streams_max: int = 20) -> Overview:
        """Return how the service stands, and `streams_max` open requests that lag most.

        Raises RouterUnavailable, RouterClosed, InvalidArgument.
        """
        (streams_max,) = check("StreamRouter.overview", streams_max=streams_max)
        parts = await self._ask_all("overview", streams_max)
        streams = [stream for part in parts for stream in part["streams"]]
        return Overview.model_validate(
            {
                "name": self.config.name,
                "namespace": self.config.namespace,
                "routers": [part["router"] for part in parts],
                "stream_actors": [actor for part in parts for actor in part["stream_actors"]],
                "streams": sorted(streams, key=lambda stream: stream["lag"], reverse=True)[:streams_max],
            }
        )

    async def drain(self) -> int:
        """Take no new requests from now on, in any process; return how many are still open."""
        return sum(await self._ask_all("drain"))

    async def resume(self) -> None:
        """Take new requests again after a `drain`."""
        await self._ask_all("resume")

    async def narrowed(self, subject: str) -> StreamRouter:
        """Return a `StreamRouter` of one tenant's, for a process whose own token has the subject `*`.

        What it names is that tenant's and nobody else's, as with a token of that subject; it may do what this one may,
        but for operating the service. Close it when it is used no more, before this one. Raises NotPermitted (also
        where the service has no tenants), InvalidArgument, RouterUnavailable, RouterClosed.
        """
        (subject,) = check("StreamRouter.narrowed", subject=subject)
        self._check_open()
        error, client_id = await self._links[0].ask("narrow", process_name(), subject, *self._caller)
        if error is not None:
            raise from_wire(error[0], error[1])
        return self._beside(str(client_id))

    async def _ask_all(self, method: str, *arguments: Any) -> list[Any]:
        self._check_open()
        return await asyncio.gather(*(link.ask(method, *arguments, *self._caller) for link in self._links))
