"""`stream-router forget`: drop ended requests of a service before their time."""

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

EXAMPLES = ("stream-router forget req-17 req-18",)


def command(
    request_ids: Annotated[list[str], typer.Argument(metavar="REQUEST_ID...", help="The requests.")],
    address: Address = None,
    name: Name = DEFAULT_NAME,
    namespace: Namespace = DEFAULT_NAMESPACE,
    wait_s: WaitS = DEFAULT_WAIT_S,
) -> int:
    """Forget requests that have ended: nothing of them is left in the service, and their IDs are free.

    Exit status 1 where one of them is not known, or has not ended. An archive keeps what it has.
    """
    import asyncio
    import sys

    from actors.errors import RequestOpen, UnknownRequest
    from router.cli import exit_codes
    from router.client.service import connected, within

    async def run() -> int:
        refused = 0
        async with connected(name, namespace, address, wait_s) as router:
            for request_id in request_ids:
                try:
                    await within(wait_s, router.forget(request_id))
                except (UnknownRequest, RequestOpen) as error:
                    refused += 1
                    sys.stderr.write(f"stream-router: {error}\n")
                    continue
                sys.stdout.write(f"{request_id}: forgotten\n")
        return exit_codes.MISMATCH if refused else exit_codes.OK

    return asyncio.run(run())
