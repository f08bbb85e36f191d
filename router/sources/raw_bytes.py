"""The body of an HTTP answer, as an HTTP client gives it, cut into a provider's events."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator

from actors.providers.sse import SseDecoder


async def events_of(body: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Yield the chunks of a body that comes in parts, one an event: SSE, JSON lines (Ollama), or bare JSON.

    `body`: `response.aiter_bytes()` of httpx, `response.content.iter_any()` of aiohttp, a file. Raises ChunkTooLarge
    for an event of more than 4 MiB, and whatever `body` raises.
    """
    decoder = SseDecoder()
    async for piece in body:
        for event in decoder.feed(piece):
            yield event.data
    for event in decoder.close():
        yield event.data
