"""`stream-router drain`: take no new requests, let the open ones end."""

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
    "stream-router drain --deadline-s 600",
    "stream-router drain --resume",
)


def command(
    address: Address = None,
    name: Name = DEFAULT_NAME,
    namespace: Namespace = DEFAULT_NAMESPACE,
    wait_s: WaitS = DEFAULT_WAIT_S,
    deadline_s: Annotated[float, typer.Option("--deadline-s", min=0, help="How long to wait for their ends.")] = 3600.0,
    resume: Annotated[bool, typer.Option("--resume", help="Take new requests again instead.")] = False,
) -> int:
    """Let a service take no new requests, and wait until all open ones have ended.

    It stays drained, and its ended requests readable, until `drain --resume` or `stop`. Exit status 1 where
    requests are still open at the deadline; they go on all the same.
    """
    import asyncio

    from router.cli import exit_codes, service_view
    from router.cli.terminal import make_console
    from router.client.service import connected
    from router.client.service import drain as drain_service

    console = make_console(service_view.PLAIN_WIDTH)

    async def run() -> int:
        async with connected(name, namespace, address, wait_s) as router:
            if resume:
                await router.resume()
                console.print(f"service {name!r} takes new requests again", highlight=False)
                return exit_codes.OK
            with service_view.Countdown(console, name) as countdown:
                still_open = await drain_service(router, deadline_s, countdown.show)
        if still_open:
            console.print(
                f"service {name!r} takes no new requests; {still_open} are still open after {deadline_s:g} s",
                highlight=False,
                soft_wrap=True,
            )
            return exit_codes.MISMATCH
        console.print(f"service {name!r} is drained: no request is open, and it takes no new ones", highlight=False)
        return exit_codes.OK

    return asyncio.run(run())
