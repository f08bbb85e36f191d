"""`stream-router gateway`: readers over HTTP."""

from __future__ import annotations

from typing import Annotated

import typer

from router.cli.service_options import PANEL, Address

__all__ = ["PANEL", "command"]

EXAMPLES = (
    "stream-router gateway --local",
    "stream-router gateway --local --config my.yaml --port 8080",
    "stream-router gateway --config my.yaml --address head:6379 --detached --set workers=2",
    "stream-router gateway --config my.yaml --address head:6379 --host 0.0.0.0 --set tokens_file=/etc/tokens",
)


def command(
    config: Annotated[
        str, typer.Option(help="A configuration file with a section `gateway`, or a packaged one by name.")
    ] = "local",
    local: Annotated[
        bool, typer.Option("--local", help="Start routers of its own, on a Ray of their own, for development.")
    ] = False,
    detached: Annotated[
        bool,
        typer.Option("--detached", help="Serve from each node of the cluster until --end; earlier ones are replaced."),
    ] = False,
    end: Annotated[bool, typer.Option("--end", help="End what --detached has started.")] = False,
    host: Annotated[str | None, typer.Option(help="Where to listen, else the configuration's.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="0: a free one; else the configuration's.")] = None,
    address: Address = None,
    name: Annotated[str | None, typer.Option(help="The service's name, else the configuration's.")] = None,
    namespace: Annotated[str | None, typer.Option(help="Its Ray namespace, else the configuration's.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="One key of the section (readers_max=100, ...); repeatable."),
    ] = None,
) -> int:
    """Serve what requests say over HTTP, in the formats that clients of other services speak.

    It finds a running service by name, or starts one for itself (--local). It keeps nothing: any number of gateways
    serve the same streams, and a reader goes on with another where it stopped with one.

    It listens on this machine alone, to whoever is there; beyond it, it wants tokens_file, jwt or proxy (who may come).
    SIGTERM or Ctrl-C ends it in order: its readers are told to connect again. docs/gateway.md has the routes.

    On a cluster it can leave one on each node (--detached; gateway.workers of them, which share the port). Done again,
    it starts new ones and then ends those before them in order: no reader loses anything.
    """
    import asyncio

    from rich.console import Console

    from actors.errors import InvalidArgument
    from gateway.config import load_config, with_options
    from gateway.serving.serve import until_told
    from gateway.workers.fleet import Fleet, nodes_alive, served_here
    from router.cli import exit_codes
    from router.cli.options import parse_sets
    from router.cli.terminal import ray_kept_quiet, some
    from router.client.stream_router import StreamRouter

    section, routers = load_config(config)
    given = {"host": host, "port": port}
    changes = {**parse_sets(set_ or []), **{key: value for key, value in given.items() if value is not None}}
    section = with_options(section, changes)
    if local and (detached or end):
        raise InvalidArgument("--local serves from here; --detached and --end are for a service that runs by itself")
    console = Console(stderr=True)
    if local:
        entrance = StreamRouter.start(routers.model_copy(update={"detached": False}))
    else:
        where = None if routers.ray.is_embedded else routers.ray.address
        entrance = StreamRouter.connect(
            name or routers.name, namespace=namespace or routers.namespace, address=address or where
        )

    def say(url: str) -> None:
        console.print(f"serving on [bold]{url}[/]; Ctrl-C ends it", highlight=False)

    async def run() -> None:
        async with entrance as router:
            if end:
                console.print(f"{some(await Fleet(router, section).end_all(), 'gateway')} ended", highlight=False)
            elif detached:
                urls = await Fleet(router, section).deploy(nodes_alive(), detached=True)
                console.print(f"serving on {', '.join(urls)} of each node, until --end", highlight=False)
            else:
                await until_told(served_here(router, section), say)

    with ray_kept_quiet():
        asyncio.run(run())
    return exit_codes.OK
