"""`stream-router top`: a live view of a service."""

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
from router.cli.streams_shown import Sort, StreamsShown

__all__ = ["PANEL", "command"]

EXAMPLES = (
    "stream-router top",
    "stream-router top --address head:6379 --streams 50",
    "stream-router top --only support- --sort rate",
)


def command(
    address: Address = None,
    name: Name = DEFAULT_NAME,
    namespace: Namespace = DEFAULT_NAMESPACE,
    wait_s: WaitS = DEFAULT_WAIT_S,
    every_s: Annotated[float, typer.Option("--every-s", min=0.2, help="Seconds between two looks.")] = 1.0,
    streams: Annotated[int, typer.Option(min=0, max=1000, help="Streams to show.")] = 20,
    only: Annotated[
        str, typer.Option("--only", metavar="TEXT", help="Streams whose ID, agent, provider or actor has this in it.")
    ] = "",
    sort: Annotated[Sort, typer.Option("--sort", help="What comes first: the most of this.")] = "lag",
    once: Annotated[bool, typer.Option("--once", help="Two looks, one picture; so without a terminal too.")] = False,
) -> None:
    """Watch a service: routers, stream actors, streams, with rates and lags.

    Keys: arrows or j and k select a request, enter follows what it says, c cancels it (after a question), s sorts by
    something else, / filters, q quits. Lag is how many messages a stream's slowest reader has not consumed yet, or all
    of them where nobody reads.
    """
    import asyncio

    from router.cli import service_view
    from router.cli.terminal import make_console, ray_kept_quiet
    from router.cli.top.board import Board
    from router.cli.top.live import show_with_keys, takes_keys
    from router.client.service import connected

    shown = StreamsShown(streams, only, sort)
    console = make_console(service_view.PLAIN_WIDTH)

    async def run() -> None:
        async with connected(name, namespace, address, wait_s) as router:
            if once or not console.is_terminal:
                await service_view.show_once(console, router, every_s, wait_s, shown)
            elif takes_keys(console):
                await show_with_keys(console, router, every_s, wait_s, Board(streams, only, sort))
            else:
                await service_view.show_live(console, router, every_s, wait_s, shown)

    try:
        with ray_kept_quiet():
            asyncio.run(run())
    except KeyboardInterrupt:
        if once or not console.is_terminal:
            raise  # there, it is an interruption; in the live view it is the way out
