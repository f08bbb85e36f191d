"""`stream-router stop`: end a service."""

from __future__ import annotations

from typing import Annotated

import typer

from router.cli.service_options import (
    DEFAULT_NAME,
    DEFAULT_NAMESPACE,
    PANEL,
    Address,
    Name,
    Namespace,
)

__all__ = ["PANEL", "command"]

EXAMPLES = (
    "stream-router stop",
    "stream-router drain && stream-router stop",
)


def command(
    address: Address = None,
    name: Name = DEFAULT_NAME,
    namespace: Namespace = DEFAULT_NAMESPACE,
    deadline_s: Annotated[float, typer.Option("--deadline-s", min=1, help="How long its end may take.")] = 30.0,
) -> None:
    """Stop a service, whatever state it is in, and leave nothing of it: no actor, no name.

    Requests that are open, and what was not read of ended ones, are gone; `drain` first lets them end.
    """
    import asyncio

    import ray
    from rich.console import Console

    from router.client.service import stop as stop_service
    from router.config import RayConfig
    from router.on_ray.cluster import ensure_ray

    ensure_ray(RayConfig(address=address or "auto"), namespace)
    try:
        stopped = asyncio.run(stop_service(name, namespace, deadline_s))
    finally:
        ray.shutdown()
    if stopped.open_requests is None:
        lost = "; not all of its routers answered, so requests may have been open"
    else:
        lost = f"; {stopped.open_requests} open requests ended with it" if stopped.open_requests else ""
    Console().print(
        f"service {name!r} is stopped: {stopped.routers} routers, {stopped.stream_actors} stream actors{lost}",
        highlight=False,
        soft_wrap=True,
    )
