"""`stream-router start`: a service on a running Ray cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from router.cli.service_options import PANEL, Address

__all__ = ["PANEL", "command"]

EXAMPLES = (
    "stream-router start",
    "stream-router start cluster --address head:6379 --set routers=2",
    "stream-router start my.yaml --name agents-2 --ship-code",
)


def command(
    config: Annotated[str, typer.Argument(help="A configuration file, or a packaged one by name.")] = "cluster",
    address: Address = None,
    name: Annotated[str | None, typer.Option(help="The service's name, else the configuration's.")] = None,
    namespace: Annotated[str | None, typer.Option(help="Its Ray namespace, else the configuration's.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="One key (stream_actors.max_actors=8, ...); repeatable."),
    ] = None,
    ship_code: Annotated[
        bool, typer.Option("--ship-code", help="Bring this package's code to nodes that do not have it installed.")
    ] = False,
) -> None:
    """Start a service: routers that stay until `stop`, found by name from any process of the cluster.

    Where it runs already with the same configuration, nothing changes (and routers that are missing are started).
    With another configuration it is refused as a whole: stop it first, or choose another name.
    """
    import asyncio

    from rich.console import Console

    from router.cli.options import parse_sets
    from router.cli.terminal import some
    from router.client.service import as_service
    from router.client.service import ship_code as code_of_this_package
    from router.client.stream_router import StreamRouter
    from router.config import load_config

    changes = parse_sets(set_ or [])
    changes |= {key: value for key, value in (("name", name), ("namespace", namespace)) if value is not None}
    service = as_service(load_config(config), changes, address)
    if ship_code:
        ray = service.ray.model_copy(update={"runtime_env": {**service.ray.runtime_env, **code_of_this_package()}})
        service = service.model_copy(update={"ray": ray})

    async def run() -> None:
        async with StreamRouter.start(service) as router:
            await router.warm()
            overview = await router.overview(0)
        nodes = {shard.node_id for shard in overview.routers}
        routers, actors = len(overview.routers), len(overview.stream_actors)
        Console().print(
            f"service {service.name!r} in namespace {service.namespace!r} runs: {some(routers, 'router')} on "
            f"{some(len(nodes), 'node')}, {some(actors, 'stream actor')}",
            highlight=False,
            soft_wrap=True,
        )

    asyncio.run(run())
