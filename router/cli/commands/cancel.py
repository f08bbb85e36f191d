"""`stream-router cancel`: end requests of a service."""

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

EXAMPLES = ("stream-router cancel req-17 req-18 --detail 'the user left'",)


def command(
    request_ids: Annotated[list[str], typer.Argument(metavar="REQUEST_ID...", help="The requests.")],
    address: Address = None,
    name: Name = DEFAULT_NAME,
    namespace: Namespace = DEFAULT_NAMESPACE,
    wait_s: WaitS = DEFAULT_WAIT_S,
    after_step: Annotated[bool, typer.Option("--after-step", help="Let the step under way end first.")] = False,
    detail: Annotated[str | None, typer.Option(help="Why, for the readers to see.")] = None,
) -> int:
    """Cancel requests; their publishers are told at once, even where a provider stalls.

    Exit status 1 where one of them is not known; those that have ended already are no error.
    """
    import asyncio
    import sys

    from actors.errors import UnknownRequest
    from router.cli import exit_codes
    from router.client.service import connected, within

    async def run() -> int:
        unknown = 0
        async with connected(name, namespace, address, wait_s) as router:
            for request_id in request_ids:
                try:
                    cancelled = router.cancel(request_id, after_step=after_step, detail=detail)
                    was_open = await within(wait_s, cancelled)
                except UnknownRequest as error:
                    unknown += 1
                    sys.stderr.write(f"stream-router: {error}\n")
                    continue
                done = "will be cancelled when its step ends" if after_step else "cancelled"
                sys.stdout.write(f"{request_id}: {done if was_open else 'had ended already'}\n")
        return exit_codes.MISMATCH if unknown else exit_codes.OK

    return asyncio.run(run())
