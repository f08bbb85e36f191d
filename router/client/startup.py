"""Starting, finding and stopping router actors, for `StreamRouter.start` and `.connect`."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import ray
from ray.exceptions import ActorUnavailableError, RayError

from actors.errors import NotPermitted, RouterExists, RouterNotFound, StreamRouterError, from_wire
from actors.tenants import TOKEN_VARIABLE
from router.config import RouterConfig
from router.on_ray import actors as ray_actors
from router.on_ray.router_actor import RouterActor

log: logging.Logger = logging.getLogger("router.client")

START_DEADLINE_S = 120.0
START_RETRY_S = 0.1
STOP_DEADLINE_S = 10.0

_T = TypeVar("_T")


async def in_thread(function: Callable[..., _T], *arguments: Any) -> _T:
    """Call what blocks in a thread. A cancel waits for its end: a process whose Ray ends under a thread dies of it."""
    calling = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(calling)
    except asyncio.CancelledError:
        await asyncio.wait([calling])
        raise


def make_or_find(config: RouterConfig, shard: int, made: list[tuple[Any, bool]]) -> None:
    """Append a router actor's handle to `made`, and whether it was started now. Raises RouterExists."""
    try:
        made.append((ray_actors.make_router_actor(RouterActor, config, shard), True))
    except ValueError:
        handle = find(config.name, config.namespace, shard)
        running = RouterConfig.model_validate_json(ray.get(handle.hello.remote(), timeout=START_DEADLINE_S)["config"])
        if running.model_dump(exclude={"ray"}) != config.model_dump(exclude={"ray"}):
            raise RouterExists(
                f"router {config.name!r} runs already with another configuration; connect to it with "
                f"StreamRouter.connect(name={config.name!r}), stop it first, or give this one another name"
            ) from None
        made.append((handle, False))


def process_name() -> str:
    """Return a name for a connection of this process, used once."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def token_for(config: RouterConfig, token: str | None) -> str | None:
    """Return the token to show to the routers of a configuration; None where none is wanted. Raises NotPermitted."""
    if not config.tenants.enabled:
        return None
    token = token or os.environ.get(TOKEN_VARIABLE)
    if token:
        return token
    raise NotPermitted(
        f"service {config.name!r} is shared by tenants: pass token=..., or set {TOKEN_VARIABLE}; whoever runs the "
        "service makes one with `stream-router token`"
    )


async def enter(handle: Any, token: str | None) -> str:
    """Return this process's client ID, which a router gives for a token.

    Raises NotPermitted, RayError, TimeoutError.
    """
    name = process_name()
    if token is None:
        return name
    error, client_id = await until_answered(lambda: handle.enter.remote(name, token))
    if error is not None:
        raise from_wire(error[0], error[1])
    return str(client_id)


async def stop_routers(name: str, handles: Sequence[Any], *caller: str) -> None:
    """Let routers end their stream actors, then end them. `caller`: the client ID, where it counts."""
    try:
        await asyncio.wait_for(asyncio.gather(*(handle.stop.remote(*caller) for handle in handles)), STOP_DEADLINE_S)
    except (RayError, TimeoutError, StreamRouterError) as error:
        log.warning("router %s did not stop by itself: %s", name, type(error).__name__)
    for handle in handles:
        ray.kill(handle)


async def until_answered(method: Callable[[], Awaitable[Any]]) -> Any:
    """Call a method that may be called twice until its outcome is known: a call can fail, a router be restarting.

    Raises RayError, TimeoutError.
    """
    async with asyncio.timeout(START_DEADLINE_S):
        while True:
            try:
                return await method()
            except ActorUnavailableError:
                await asyncio.sleep(START_RETRY_S)


def find(name: str, namespace: str, shard: int) -> Any:
    """Return the handle of a running router actor. Raises RouterNotFound."""
    try:
        return ray_actors.find_router_actor(name, namespace, shard)
    except ValueError:
        raise RouterNotFound(
            f"no router {name!r} in namespace {namespace!r} on this cluster; start one with "
            "StreamRouter.start(config) or `stream-router start`, or check the name and the address"
        ) from None
