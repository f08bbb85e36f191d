"""`stream-router status`: how a service stands."""

from __future__ import annotations

from typing import Annotated

import typer

from router.cli.service_options import (
    DEFAULT_NAME,
    DEFAULT_NAMESPACE,
    DEFAULT_WAIT_S,
    PANEL,
    Address,
    Name,
    Namespace,
    WaitS,
)

__all__ = ["PANEL", "command"]

EXAMPLES = (
    "stream-router status",
    "stream-router status --all --address head:6379",
    "stream-router status --requests --json",
)


def command(
    address: Address = None,
    name: Name = DEFAULT_NAME,
    namespace: Namespace = DEFAULT_NAMESPACE,
    wait_s: WaitS = DEFAULT_WAIT_S,
    requests: Annotated[bool, typer.Option("--requests", help="List every request too.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="As one JSON object (docs/status.schema.json).")] = False,
    all_: Annotated[bool, typer.Option("--all", help="Only name the services that run on the cluster.")] = False,
) -> None:
    """Show a service's routers and stream actors, with what they hold and have done."""
    import asyncio
    import json
    import sys

    from router.cli import service_view
    from router.cli.terminal import make_console
    from router.client.service import connected, within
    from router.status.report import StatusReport

    if all_:
        _list(address, as_json=json_)
        return

    async def run() -> None:
        async with connected(name, namespace, address, wait_s) as router:
            overview = await within(wait_s, router.overview(0))
            listed = (await within(wait_s, router.describe())).requests if requests else None
        if json_:
            sys.stdout.write(json.dumps(StatusReport.of(overview, listed), indent=2) + "\n")
            return
        console = make_console(service_view.PLAIN_WIDTH)
        console.print(service_view.status(overview))
        if listed is not None:
            console.print(service_view.requests(listed))

    asyncio.run(run())


def _list(address: str | None, *, as_json: bool) -> None:
    import json
    import sys
    from dataclasses import asdict

    import ray

    from router.client.service import find_services
    from router.config import RayConfig
    from router.on_ray.cluster import ensure_ray

    ensure_ray(RayConfig(address=address or "auto"), DEFAULT_NAMESPACE)
    services = find_services()
    ray.shutdown()
    if as_json:
        sys.stdout.write(json.dumps([asdict(service) for service in services], indent=2) + "\n")
        return
    for service in services:
        sys.stdout.write(
            f"{service.name} in namespace {service.namespace}: {len(service.routers)} routers, "
            f"{len(service.stream_actors)} stream actors\n"
        )
    if not services:
        sys.stdout.write("no service runs on this cluster\n")
