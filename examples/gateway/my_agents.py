"""What the gateway of this folder runs: a function that says something, bit by bit, as a model would.

stream-router gateway --local --config gateway.yaml     # in this folder, so that this module is found
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

PACE_S = 0.02


async def counter(given: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Count up to the number that the last message holds, in chunks of OpenAI's chat completions."""
    asked = str(given["messages"][-1]["content"])
    last = next((int(word) for word in asked.split() if word.isdecimal()), 10)
    for number in range(1, min(last, 1000) + 1):
        yield {"choices": [{"index": 0, "delta": {"content": f"{number} "}}]}
        await asyncio.sleep(PACE_S)
    yield {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
