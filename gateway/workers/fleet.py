"""All gateways of a service that run in actors.

Each is found by its name, `NAME/gateway/GROUP/NODE/GENERATION/NUMBER`. Those of a node share a port (SO_REUSEPORT), so
a new generation serves before the one before it is told to end: what the old ones were sending goes on with the new
ones. A group is replaced and ended as one: that of the cluster (`CLUSTER`), or those of one command.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.errors import ConfigError, RouterUnavailable, from_wire
from gateway.config import GatewayConfig
from gateway.figures import Figures
from gateway.serving.serve import serve
from gateway.workers.worker import GatewayWorker
from router import StreamRouter

log: logging.Logger = logging.getLogger("gateway.fleet")

CONCURRENCY_MAX = 100_000
END_GRACE_S = 5.0
ANSWER_S = 1.0
CLUSTER = "cluster"


class Place(NamedTuple):
    """Where an actor belongs, and which it is."""

    service: str
    group: str
    node_id: str
    generation: str
    number: int

    @property
    def name(self) -> str:
        """The actor's name."""
        return f"{self.service}/gateway/{self.group}/{self.node_id}/{self.generation}/{self.number}"

    @classmethod
    def parse(cls, name: str, service: str) -> Place | None:
        """Return the place that a name says; None for other actors."""
        if not name.startswith(f"{service}/gateway/"):
            return None
        group, node_id, generation, number = name.removeprefix(f"{service}/gateway/").split("/")
        return cls(service, group, node_id, generation, int(number))


def find(service: str, namespace: str, group: str) -> dict[Place, Any]:
    """Return the gateways of a group, with their handles. It waits for Ray."""
    found: dict[Place, Any] = {}
    for named in ray.util.list_named_actors(all_namespaces=True):
        place = Place.parse(named["name"], service) if named["namespace"] == namespace else None
        if place is not None and place.group == group:
            with suppress(ValueError, AssertionError):  # it went meanwhile, perhaps with its class (see `find_actor`)
                found[place] = ray.get_actor(place.name, namespace=namespace)
    return found


class Others:
    """Gives what the other gateways on a port have counted."""

    def __init__(self, place: Place, namespace: str) -> None:
        self._place = place
        self._namespace = namespace

    async def __call__(self) -> list[Figures]:
        """See above; those that do not answer at once are left out."""
        mine = self._place
        found = await asyncio.to_thread(find, mine.service, self._namespace, mine.group)
        asked = [
            handle.figures.remote()
            for place, handle in found.items()
            if place.node_id == mine.node_id and place != mine
        ]
        answers = await asyncio.gather(
            *(asyncio.wait_for(_answer(one), ANSWER_S) for one in asked), return_exceptions=True
        )
        return [answer for answer in answers if isinstance(answer, Figures)]


async def _answer(reference: Any) -> Any:
    return await reference


class Fleet:
    """Makes, replaces and ends the gateways of one group."""

    def __init__(self, router: StreamRouter, config: GatewayConfig, group: str = CLUSTER) -> None:
        tokens_file = config.tokens_file and str(Path(config.tokens_file).expanduser().absolute())
        jwt = config.jwt
        if jwt is not None and not jwt.is_address:
            jwt = jwt.model_copy(update={"jwks": str(Path(jwt.jwks).expanduser().absolute())})
        self._router = router
        self._config: GatewayConfig = config.model_copy(update={"tokens_file": tokens_file, "jwt": jwt})
        self._group = group
        self._made: dict[Place, Any] = {}  # those that are not detached end when nobody holds them
        self._service: str = router.config.name
        self._namespace: str = router.config.namespace

    async def deploy(self, node_ids: Iterable[str], *, detached: bool) -> list[str]:
        """Start gateways on each of these nodes, then end all earlier ones in order; return their base URLs.

        Raises what serving does; those that run then run on.
        """
        if not self._config.port:
            raise ConfigError("gateway.port is 0, any that is free; those that share a port need its number")
        before = await asyncio.to_thread(find, self._service, self._namespace, self._group)
        generation = secrets.token_hex(4)
        made: dict[Place, Any] = {}
        try:
            for node_id in node_ids:
                for number in range(self._config.workers):
                    place = Place(self._service, self._group, node_id, generation, number)
                    made[place] = await asyncio.to_thread(self._make, place, detached=detached)
            urls = await asyncio.gather(*(self._begun(handle) for handle in made.values()))
        except BaseException:
            for handle in made.values():
                ray.kill(handle)
            raise
        await self.end(before.values())
        self._made = made
        return list(dict.fromkeys(urls))

    async def end_all(self) -> int:
        """End all of the group in order; return how many there were."""
        found = await asyncio.to_thread(find, self._service, self._namespace, self._group)
        await self.end(found.values())
        return len(found)

    async def end(self, handles: Iterable[Any]) -> None:
        """End these in order: readers go on elsewhere, then their processes end."""

        async def end(handle: Any) -> None:
            try:
                await asyncio.wait_for(_answer(handle.end.remote()), self._config.drain_s + END_GRACE_S)
            except (RayError, TimeoutError) as error:
                log.warning("a gateway did not end in order: %s", error)
            ray.kill(handle)

        await asyncio.gather(*map(end, handles))

    async def _begun(self, handle: Any) -> str:
        try:
            begun = await handle.begin.remote()
        except RayError as error:
            raise RouterUnavailable(f"a gateway's process ended: {str(error).partition(chr(10))[0]}") from None
        if isinstance(begun, str):
            return begun
        raise from_wire(*begun)

    def _make(self, place: Place, *, detached: bool) -> Any:
        make: Any = ray.remote(GatewayWorker)
        options: dict[str, Any] = {
            "name": place.name,
            "namespace": self._namespace,
            "num_cpus": 0,
            "max_restarts": -1,
            "max_concurrency": CONCURRENCY_MAX,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(node_id=place.node_id, soft=False),
        }
        if detached:
            options["lifetime"] = "detached"
        if self._router.config.ray.runtime_env:
            options["runtime_env"] = self._router.config.ray.runtime_env
        return make.options(**options).remote(self._router, self._config, Others(place, self._namespace))


def this_node() -> str:
    """Return the node of this process."""
    return str(ray.get_runtime_context().get_node_id())


def nodes_alive() -> list[str]:
    """Return all nodes that are up."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]  # Ray's
    return [str(node["NodeID"]) for node in nodes if node["Alive"]]


def served_here(router: StreamRouter, config: GatewayConfig) -> AbstractAsyncContextManager[str]:
    """Serve from this process, or with several workers from actors of it, while the block lasts; gives the base URL."""
    return serve(router, config) if config.workers == 1 else _workers_here(router, config)


@asynccontextmanager
async def _workers_here(router: StreamRouter, config: GatewayConfig) -> AsyncIterator[str]:
    with socket.socket(socket.AF_INET6 if ":" in config.host else socket.AF_INET) as held:
        # A port that is any is chosen here once for all of them, and kept meanwhile.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            held.bind((config.host, config.port))
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {config.host}:{config.port}: {error.strerror}; choose another gateway.port, or 0"
            ) from None
        chosen = config.model_copy(update={"port": held.getsockname()[1]})
        fleet = Fleet(router, chosen, group=secrets.token_hex(4))
        (url,) = await fleet.deploy([this_node()], detached=False)
        try:
            yield url
        finally:
            await fleet.end_all()
