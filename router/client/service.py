"""Service mode: routers that outlive the process that started them, found and managed by name.

A service is the detached router actors of one name in one Ray namespace, with their stream actors.
Ray is its directory: the service is what Ray lists by name, so nothing here keeps state.

`stop` goes by those names and needs no router's answer. So it also stops a router that is dead, hangs
or has not been placed yet, and stream actors without a router.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import ray
from pydantic import ValidationError
from ray.exceptions import RayError
from ray.util import list_named_actors

from actors.errors import ConfigError, DeadlineExceeded, RouterNotFound, RouterUnavailable, StreamRouterError
from actors.settings import explain
from actors.tenants import TOKEN_VARIABLE
from router.client.startup import enter
from router.client.stream_router import StreamRouter
from router.config import RouterConfig
from router.config_files import with_changes
from router.on_ray.actors import find_actor

log: logging.Logger = logging.getLogger("router.service")

T = TypeVar("T")

ANSWER_DEADLINE_S = 15.0
STOP_ASK_DEADLINE_S = 5.0
STOP_DEADLINE_S = 30.0
POLL_S = 0.1
DRAIN_POLL_S = 0.5

_ROUTER = re.compile(r"(?P<name>[^/]+)/router-(?P<shard>\d+)")
_STREAM_ACTOR = re.compile(r"(?P<name>[^/]+)/(?P<shard>\d+)/(?P<actor_id>s\d+)")


@dataclass(slots=True)
class Service:
    """What Ray lists of one service: the names of its actors. Some may not answer."""

    name: str
    namespace: str
    routers: list[str] = field(default_factory=list)
    stream_actors: list[str] = field(default_factory=list)


def find_services(namespace: str | None = None) -> list[Service]:
    """Return what runs on the cluster that this process is connected to, in one namespace or in all."""
    found: dict[tuple[str, str], Service] = {}
    for known in list_named_actors(all_namespaces=True):
        if namespace is not None and known["namespace"] != namespace:
            continue
        for pattern, kind in ((_ROUTER, "routers"), (_STREAM_ACTOR, "stream_actors")):
            matched = pattern.fullmatch(known["name"])
            if matched is not None:
                key = (known["namespace"], matched["name"])
                service = found.setdefault(key, Service(matched["name"], known["namespace"]))
                getattr(service, kind).append(known["name"])
    for service in found.values():
        service.routers.sort()
        service.stream_actors.sort()
    return [found[key] for key in sorted(found)]


def as_service(config: RouterConfig, changes: dict[str, Any], address: str | None = None) -> RouterConfig:
    """Return a configuration for a service: detached, on a running cluster, with `changes` (dotted keys) applied.

    Raises ConfigError.
    """
    wanted: dict[str, Any] = {"detached": True}
    if address is not None or config.ray.is_embedded:
        wanted["ray.address"] = address or "auto"
    data = with_changes(config.model_dump(mode="json"), {**wanted, **changes}, "--set")
    try:
        return RouterConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigError(explain(error, RouterConfig)) from None


@asynccontextmanager
async def connected(
    name: str, namespace: str, address: str | None, deadline_s: float = ANSWER_DEADLINE_S
) -> AsyncIterator[StreamRouter]:
    """Connect to a service, and leave it running. Raises RayUnavailable, RouterNotFound, RouterUnavailable."""
    entrance = StreamRouter.connect(name, namespace=namespace, address=address)
    try:
        async with asyncio.timeout(deadline_s):
            router = await entrance.__aenter__()
    except TimeoutError:
        raise RouterUnavailable(
            f"service {name!r} is known to Ray but has not answered for {deadline_s:g} s: it may be restarting, or "
            "waiting for resources (see `ray status`); `stream-router stop` clears it away"
        ) from None
    try:
        yield router
    finally:
        await router.close()


async def within(deadline_s: float, answer: Awaitable[T]) -> T:
    """Wait for a router's answer so long. Raises RouterUnavailable where none comes."""
    try:
        return await asyncio.wait_for(answer, deadline_s)
    except TimeoutError:
        raise RouterUnavailable(
            f"no answer within {deadline_s:g} s: a router actor is restarting, busy, or hangs; try again"
        ) from None


async def drain(router: StreamRouter, deadline_s: float, progress: Callable[[int], None] | None = None) -> int:
    """Take no new requests and wait until all open ones have ended; return how many had not by the deadline.

    `drain` is called again and again meanwhile, so that a router that restarts drains too.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + deadline_s
    while True:
        still_open = await router.drain()
        if progress is not None:
            progress(still_open)
        left_s = deadline - loop.time()
        if not still_open or left_s <= 0:
            return still_open
        await asyncio.sleep(min(DRAIN_POLL_S, left_s))


@dataclass(slots=True)
class Stopped:
    """What `stop` did. `open_requests`: how many it ended; None where a router did not answer."""

    routers: int
    stream_actors: int
    open_requests: int | None


async def stop(name: str, namespace: str, deadline_s: float = STOP_DEADLINE_S) -> Stopped:
    """Stop a service by the names of its actors, whatever state they are in; return when none is left.

    Ray must be initialised. Raises RouterNotFound where there is nothing of that name, DeadlineExceeded.
    """
    service = await asyncio.to_thread(_find, name, namespace)
    if service is None:
        raise RouterNotFound(f"no service {name!r} in namespace {namespace!r} on this cluster{await _others()}")
    handles = [handle for router in service.routers if (handle := _handle(router, namespace)) is not None]
    told = await asyncio.gather(*(_stop_router(handle) for handle in handles))
    stream_actors = await _kill_all(service, deadline_s)
    counts = [count for count in told if count is not None]
    open_requests = sum(counts) if len(counts) == len(service.routers) else None
    return Stopped(len(service.routers), len(stream_actors), open_requests)


async def _kill_all(service: Service, deadline_s: float) -> set[str]:
    """Kill a service's actors until Ray lists none; return the stream actors that there were. Raises DeadlineExceeded.

    Routers first: one that lives would start its stream actors anew.
    """
    deadline = asyncio.get_running_loop().time() + deadline_s
    stream_actors = set(service.stream_actors)
    left: Service | None = service
    while left is not None:
        for actor in (*left.routers, *left.stream_actors):
            handle = _handle(actor, service.namespace)
            if handle is not None:
                ray.kill(handle)
        await asyncio.sleep(POLL_S)
        left = await asyncio.to_thread(_find, service.name, service.namespace)
        if left is None:
            break
        stream_actors.update(left.stream_actors)
        if asyncio.get_running_loop().time() > deadline:
            names = ", ".join((*left.routers, *left.stream_actors))
            raise DeadlineExceeded(f"still there {deadline_s:g} s after they were killed: {names}")
    return stream_actors


def _find(name: str, namespace: str) -> Service | None:
    return next((service for service in find_services(namespace) if service.name == name), None)


async def _others() -> str:
    services = await asyncio.to_thread(find_services)
    there = ", ".join(f"{service.name} ({service.namespace})" for service in services)
    return f"; there are {there}" if there else "; none runs"


def _handle(actor: str, namespace: str) -> Any:
    try:
        return find_actor(actor, namespace)
    except ValueError:
        return None  # it is gone


async def _stop_router(handle: Any) -> int | None:
    """Ask a router to stop; return how many requests were open, None where it did not answer, or only to its tenants.

    Without a token that it wants it is killed all the same: Ray lets whoever can connect do that.
    """
    token = os.environ.get(TOKEN_VARIABLE)
    try:
        async with asyncio.timeout(STOP_ASK_DEADLINE_S):
            caller = () if token is None else (await enter(handle, token),)
            still_open: int = await handle.drain.remote(*caller)
            await handle.stop.remote(*caller)
    except (RayError, TimeoutError, StreamRouterError) as error:
        log.info("a router did not stop by itself: %s", type(error).__name__)
        return None
    return still_open


def ship_code() -> dict[str, Any]:
    """Return a runtime_env that brings this package's code, though not what it needs, to nodes that lack it."""
    root = Path(__file__).resolve().parents[2]
    return {"py_modules": [str(root / package) for package in ("router", "actors", "gateway")]}
