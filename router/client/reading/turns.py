"""How those who read in one event loop wait and take turns: one with much to read keeps no other waiting."""

from __future__ import annotations

import asyncio

BATCH_MESSAGES = 128
"""A batch ends with the part of an answer in which it comes to so many: half a millisecond of whoever reads."""

# After so many rounds of the event loop what had come for others was read from its socket, taken apart, and handed out.
_ROUNDS = 3


async def let_others_go() -> None:
    """Let other readers have theirs before one of which there is more already."""
    for _ in range(_ROUNDS):
        await asyncio.sleep(0)


async def done_within(changed: asyncio.Future[None], seconds: float) -> bool:
    """Wait for something to happen; False where it has not by then."""
    try:
        async with asyncio.timeout(seconds):
            await changed
    except TimeoutError:
        return False
    return True
