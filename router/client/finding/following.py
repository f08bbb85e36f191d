"""Following what appears: the requests that fit, now and from now on, as a merge wants them. Pure but for the asking.

Theory. Each router is asked for what is behind the place where it was looked at last, and holds its answer back until
there is something: so what appears is told at once, and waiting costs one call in some seconds. A router that has
restarted answers before it knows all again, and says so (`ListAnswer.is_partial`): a request that only its publisher
knows comes back with the number that it had, behind which this has looked already. So the place that counts stands
still meanwhile, and once all is known, it is looked through from there again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

from actors.protocol.finding import LIST_WAIT_S_MAX, ListCall
from router.client.finding.listing import Ask, ListCursor, rows_of

OnFound = Callable[[list[str], ListCursor, bool], None]
"""Told of requests that fit, of the place before which all are told, and whether none of them is told again."""


async def follow_requests(
    asks: Sequence[Ask], wanted: ListCall, cursor: ListCursor, on_found: OnFound, *, follows: bool
) -> None:
    """Tell of the requests that fit behind a cursor; where `follows` is False, return when all that are there are told.

    Raises what asking does, ProtocolViolation.
    """
    positions = [*cursor.positions]
    looking = {*range(len(asks))}
    """Those of whose requests some may be told again."""

    async def of_router(number: int, ask: Ask) -> None:
        at, is_sure, wait_s = positions[number], True, 0.0
        while True:
            answer = await ask(wanted._replace(after=at, wait_s=wait_s))
            at = answer.through
            is_sure = is_sure and not answer.is_partial
            if is_sure:
                positions[number] = at
                if answer.is_all:
                    looking.discard(number)
            else:
                looking.add(number)
            on_found([row.request_id for row in rows_of(answer)], ListCursor(False, tuple(positions)), not looking)
            if not answer.is_all:
                continue
            if not is_sure and not answer.is_partial:  # all is known again
                at, is_sure, wait_s = positions[number], True, 0.0
                continue
            if is_sure and not follows:
                return
            wait_s = LIST_WAIT_S_MAX * random.uniform(0.7, 1.0)  # jitter, not a secret

    await _all(*(of_router(number, ask) for number, ask in enumerate(asks)))


async def _all(*parts: Any) -> None:
    """Run all of these; where one fails, or this is cancelled, none goes on."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
