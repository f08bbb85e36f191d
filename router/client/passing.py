"""Passing a `StreamRouter` to a Ray task, or keeping it in an actor.

It crosses as the configuration that names its routers (name, namespace, how many) and the address of its Ray.
What arrives is a `StreamRouter` of its own, with a client ID of its own, that looks its routers up by
name at its first call. So it can be made anywhere, also where the routers cannot be reached yet. With tenants the pass
of who passes it on comes along: what arrives has that subject and those scopes.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import ray

from actors.tenants import handed_on
from router.client.startup import find, in_thread, process_name
from router.config import RayConfig, RouterConfig
from router.on_ray.cluster import ensure_ray

if TYPE_CHECKING:
    from router.client.stream_router import StreamRouter


class NamedRouter:
    """A router actor by its name: what is called of it is called of the actor, which is looked up at the first call.

    Calls raise what the actor's do, and RouterNotFound, RayUnavailable; after that they can be made again.
    """

    def __init__(self, config: RouterConfig, shard: int, address: str | None) -> None:
        self._config = config
        self._shard = shard
        self._address = address
        self._handle: Any = None

    def __getattr__(self, method: str) -> Any:
        if method.startswith("_"):
            raise AttributeError(method)
        return _Method(self, method)

    async def found(self) -> Any:
        """Return the actor's own handle. Raises RouterNotFound, RayUnavailable."""
        if self._handle is None:
            if not ray.is_initialized():
                ensure_ray(RayConfig(address=self._address or "auto"), self._config.namespace)
            self._handle = await in_thread(find, self._config.name, self._config.namespace, self._shard)
        return self._handle


class _Method:
    """One method of a router actor, called as Ray's are."""

    def __init__(self, router: NamedRouter, name: str) -> None:
        self._router = router
        self._name = name

    def remote(self, *arguments: Any) -> Coroutine[Any, Any, Any]:
        """Call it."""
        return self._call(arguments)

    async def _call(self, arguments: tuple[Any, ...]) -> Any:
        handle = await self._router.found()
        return await getattr(handle, self._name).remote(*arguments)


async def actors_of(handles: list[Any]) -> list[Any]:
    """Return the actors' own handles. Raises RouterNotFound, RayUnavailable."""
    return [await handle.found() if isinstance(handle, NamedRouter) else handle for handle in handles]


def passed(config: RouterConfig, client_id: str) -> tuple[Any, tuple[str, str | None, str | None]]:
    """Return how to make, elsewhere, a `StreamRouter` for the routers of a configuration."""
    address = ray.get_runtime_context().gcs_address if ray.is_initialized() else None
    return arrived, (config.model_dump_json(), address, client_id if config.tenants.enabled else None)


def arrived(config: str, address: str | None, shown: str | None) -> StreamRouter:
    """Return a `StreamRouter` that connects at its first call. `shown`: the pass that was handed on, with tenants."""
    from router.client.stream_router import StreamRouter  # noqa: PLC0415  # it imports this module

    loaded = RouterConfig.model_validate_json(config)
    handles = [NamedRouter(loaded, shard, address) for shard in range(loaded.routers)]
    client_id = None if shown is None else handed_on(shown, process_name())
    return StreamRouter(loaded, handles, is_owner=False, stops_ray=False, client_id=client_id)


def arrived_sync(config: str, address: str | None, shown: str | None) -> Any:
    """Return the same for code without an event loop."""
    from router.client.sync import SyncStreamRouter  # noqa: PLC0415  # as above

    async def make() -> StreamRouter:
        return arrived(config, address, shown)

    return SyncStreamRouter(make)
