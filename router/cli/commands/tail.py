"""`stream-router tail`: what agents say, as they say it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from actors.messages import Message
    from router.client.stream_router import StreamRouter

__all__ = ["PANEL", "command"]

EXAMPLES = (
    "stream-router tail req-17",
    "stream-router tail req-17 req-18 --after 120 --json | jq .content",
)


def command(
    request_ids: Annotated[list[str], typer.Argument(metavar="REQUEST_ID...", help="The requests.")],
    address: Address = None,
    name: Name = DEFAULT_NAME,
    namespace: Namespace = DEFAULT_NAMESPACE,
    wait_s: WaitS = DEFAULT_WAIT_S,
    after: Annotated[int, typer.Option(min=0, help="Begin behind this message (its seq_id).")] = 0,
    open_wait_s: Annotated[
        float, typer.Option("--open-wait-s", min=0, help="How long to wait for a request that is not open yet.")
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Whole messages as JSON lines.")] = False,
) -> int:
    """Follow requests to their ends: of one each piece as it comes, of several whole messages. Ctrl-C ends it.

    It watches and never slows an agent down; where it is too slow itself, it says what it has missed. Exit status
    1 where a request is not known or has failed.
    """
    import asyncio
    import sys

    from router.cli import exit_codes
    from router.client.service import connected
    from router.client.showing.transcript import Tail

    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    one_alone = len(request_ids) == 1 and not as_json
    options = {"after": after, "coalesce": "tokens" if one_alone else "message", "wait_s": open_wait_s}
    tail = Tail(write, prefixes=not one_alone)

    def take(request_id: str, message: Message) -> None:
        if as_json:
            write(message.model_dump_json() + "\n")
        else:
            tail.take(request_id, message)

    async def run() -> int:
        async with connected(name, namespace, address, wait_s) as router:
            following = (_follow(router, request_id, options, take) for request_id in dict.fromkeys(request_ids))
            try:
                went_well = await asyncio.gather(*following)
            finally:
                tail.close()
        return exit_codes.OK if all(went_well) else exit_codes.MISMATCH

    return asyncio.run(run())


async def _follow(
    router: StreamRouter, request_id: str, options: dict[str, Any], take: Callable[[str, Message], None]
) -> bool:
    """Hand over the messages of a request as they come; return whether it is known and ended well."""
    import sys

    from actors.errors import UnknownRequest
    from actors.messages import StopReasonMessage
    from actors.stop_reasons import is_failure

    has_failed = False
    try:
        async for message in router.messages(request_id, observer=True, **options):
            take(request_id, message)
            has_failed |= isinstance(message, StopReasonMessage) and is_failure(message.stop_reason)
    except UnknownRequest as error:
        sys.stderr.write(f"stream-router: {error}\n")
        return False
    return not has_failed
