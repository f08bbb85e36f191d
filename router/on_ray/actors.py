"""The one place where plain classes become Ray actors, with their names and options.

Names: `<router>/router-<shard>` and `<router>/<shard>/<actor_id>`, in the router's namespace.

Stream actors are detached as far as Ray is concerned: they must outlive the process of the router
actor that made them, or its death would take the messages with it. They end by themselves as soon
as Ray says that their router is gone for good, so nothing is left behind.

Ray's own retries are off everywhere (`max_task_retries=0`): the protocol repeats what must be
repeated, under the same number.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import ray
from ray.util import list_named_actors

from actors.stream.stream_actor import StreamActor
from router.config import RouterConfig, StreamActorsConfig, router_name

# Long polls wait inside the actor; what bounds them is counted there, not by Ray.
CONCURRENCY_MAX = 1_000_000
ROUTER_RESTARTS_MAX = -1


def make_router_actor(plain: type, config: RouterConfig, shard: int) -> Any:
    """Start one router actor of a plain class; return its handle. Raises ValueError where the name is taken."""
    options: dict[str, Any] = {"num_cpus": 0, "max_restarts": ROUTER_RESTARTS_MAX}
    if config.stream_actors.spread:
        # One node's death should touch one router's share of the requests.
        options["scheduling_strategy"] = "SPREAD"
    lifetime = "detached" if config.detached else None
    actor = _actor(plain, config.router_name(shard), config.namespace, lifetime, options)
    return actor.remote(config.model_dump_json(), shard, owns_process=True)


def make_stream_actor(config: RouterConfig, shard: int, actor_id: str, router: Any) -> Any:
    """Start one stream actor; return its handle."""
    name = config.stream_actor_name(shard, actor_id)
    options = {"max_restarts": 0, **_resources(config.stream_actors)}
    actor = _actor(StreamActor, name, config.namespace, "detached", options)
    logs = (config.logs.level, config.logs.format)
    return actor.remote(actor_id, router, log_as=logs, reach=config.reach, tracing=config.tracing.setup)


def make_archivist(plain: type, config: RouterConfig, shard: int) -> Any:
    """Start the archivist of a router actor, with which it ends; return its handle."""
    bounds: dict[str, Any] = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": 0, "max_concurrency": 4}
    return remote(plain).options(**bounds).remote(config.model_dump_json(), shard)


def _actor(plain: type, name: str, namespace: str, lifetime: str | None, options: dict[str, Any]) -> Any:
    bounds: dict[str, Any] = {"max_task_retries": 0, "max_concurrency": CONCURRENCY_MAX, **options}
    return remote(plain).options(**bounds, name=name, namespace=namespace, lifetime=lifetime)


@cache
def remote(plain: Any) -> Any:
    """Return what Ray makes of a plain class or function, once: each time it would stay in its control store for good.

    What Ray is to know of it is said in `.options(...)`.
    """
    return ray.remote(plain)


def _resources(config: StreamActorsConfig) -> dict[str, Any]:
    options: dict[str, Any] = {"num_cpus": config.num_cpus, "resources": dict(config.resources)}
    if config.memory_bytes is not None:
        options["memory"] = config.memory_bytes
    if config.spread:
        options["scheduling_strategy"] = "SPREAD"
    return options


def find_actor(name: str, namespace: str) -> Any:
    """Return the handle of an actor that has a name. Raises ValueError where there is none, or none any more."""
    try:
        return ray.get_actor(name, namespace=namespace)
    except AssertionError as error:
        # Its class is gone from Ray's control store, as happens in the moments after the death of the last actor of a
        # job that has ended; Ray's own code does not expect that.
        raise ValueError(f"actor {name!r} in namespace {namespace!r} is gone, and what Ray knew of it") from error


def find_router_actor(name: str, namespace: str, shard: int) -> Any:
    """Return the handle of a running router actor. Raises ValueError where there is none."""
    return find_actor(router_name(name, shard), namespace)


def restarts() -> int:
    """Return how often Ray has restarted the actor that asks; that waits for Ray's control store."""
    context = ray.get_runtime_context()
    try:
        from ray._private.state import actors  # noqa: PLC0415  # what `was_current_actor_reconstructed` asks, which says less
    except ImportError:
        return int(bool(context.was_current_actor_reconstructed))
    known = actors(actor_id=context.get_actor_id())
    return int(known["NumRestarts"]) if known else 0


def find_stream_actors(config: RouterConfig, shard: int) -> dict[str, Any]:
    """Return the stream actors of a router actor by actor_id; some may be dead already."""
    prefix = config.stream_actor_name(shard, "")
    found: dict[str, Any] = {}
    for known in list_named_actors(all_namespaces=True):
        if known["namespace"] == config.namespace and known["name"].startswith(prefix):
            try:
                found[known["name"].removeprefix(prefix)] = find_actor(known["name"], config.namespace)
            except ValueError:
                continue  # it died between the two questions
    return found
