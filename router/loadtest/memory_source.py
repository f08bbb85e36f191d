"""A recording played from memory as the scripted provider would play it over HTTP: same script, same plan."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from actors.providers.sse import SseDecoder
from router.scripted_provider.library import Recording
from router.scripted_provider.script import Refusal, Script, plan
from router.sources.http import HttpProviderError


async def play(recording: Recording, script: Mapping[str, Any], key: str) -> AsyncIterator[bytes]:
    """Yield the chunks of a recording as a script has them. Raises HttpProviderError: refused, cut."""
    planned = plan(recording.events, recording.api, Script.load(script), key)
    if isinstance(planned, Refusal):
        raise HttpProviderError(
            f"{recording.name}: scripted answer {planned.status}",
            "status",
            status=planned.status,
            retry_after_s=planned.retry_after_s,
        )
    decoder = SseDecoder()
    loop = asyncio.get_running_loop()
    due = loop.time()
    for step in planned.steps:
        if step.wait_s:
            due += step.wait_s
            await asyncio.sleep(due - loop.time())
        for event in decoder.feed(step.data):
            yield event.data
    if planned.ending == "cut":
        raise HttpProviderError(f"{recording.name}: the connection was cut in mid-stream (scripted)", "cut")
    for event in decoder.close():
        yield event.data
