"""`stream-router list`: find requests of a service."""

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
    "stream-router list --agent ada --state open",
    "stream-router list --tag team=blue --tag urgent --since 2026-01-31T08:00",
    "stream-router list --all --json",
)


def command(
    address: Address = None,
    name: Name = DEFAULT_NAME,
    namespace: Namespace = DEFAULT_NAMESPACE,
    wait_s: WaitS = DEFAULT_WAIT_S,
    agent: Annotated[str | None, typer.Option(help="Those of an agent.")] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="NAME[=VALUE]", help="Those with a tag.")] = None,
    state: Annotated[str | None, typer.Option(metavar="waiting|open|sealed", help="Those in a state.")] = None,
    since: Annotated[str | None, typer.Option(metavar="DATE", help="Created since then (ISO 8601, UTC).")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most, the newest.")] = 50,
    all_: Annotated[bool, typer.Option("--all", help="All that fit, however many.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="A JSON object a line.")] = False,
) -> None:
    """Find requests by agent, tag, state and age, in the order of their creation; --tag may be given several times.

    Shows the newest that fit, or all of them.
    """
    import asyncio
    import json
    import sys

    from router.cli import service_view
    from router.cli.terminal import make_console
    from router.client.finding.listing import RequestInfo
    from router.client.service import connected, within
    from router.client.stream_router import StreamRouter

    tags = dict(_pair(text) for text in tag or ()) or None

    async def newest(router: StreamRouter) -> tuple[list[RequestInfo], bool]:
        found: list[RequestInfo] = []
        after: str | None = None
        is_partial = False
        while True:
            left = 1_000 if all_ else min(1_000, limit - len(found))
            listed = router.list(
                agent=agent,
                tag=tags,
                state=state,  # type: ignore[arg-type]  # the call says what is allowed
                since=since,
                after=after,
                limit=left,
                newest_first=True,
            )
            page = await within(wait_s, listed)
            found += page
            after = page.cursor
            is_partial = is_partial or page.is_partial
            if not page.has_more or (not all_ and len(found) >= limit):
                return found[::-1], is_partial

    async def run() -> None:
        async with connected(name, namespace, address, wait_s) as router:
            found, is_partial = await newest(router)
        if is_partial:
            sys.stderr.write(
                "a router has just restarted; requests that only their publishers know of may be missing\n"
            )
        if json_:
            for request in found:
                sys.stdout.write(json.dumps(request.model_dump(mode="json")) + "\n")
            return
        console = make_console(service_view.PLAIN_WIDTH)
        console.print(service_view.found(found))

    asyncio.run(run())


def _pair(text: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    return name, value if equals else None
