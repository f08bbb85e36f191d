"""A reader of a load test that comes over HTTP: it reads server-sent events, and goes on wherever it is cut.

It gives the batches that a subscription would give: what came in one read of its connection. What events say, and what
is asked for after a cut, is each format's own (format_readers.py).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any, Self

import aiohttp

from actors.errors import ProtocolViolation, RouterUnavailable
from router.client.reading.batch import Batch
from router.loadtest.format_readers import FormatReader, Message, SseFormat, event_of, reader_of

RETRY_S = 0.2
# Some heartbeats of a gateway: a connection that is silent for so long is given up.
SILENCE_S = 45.0
READ_BYTES = 256 * 1024


class SseReader:
    """Reads requests by way of gateways, in one format. Use it as an `async with` block."""

    def __init__(self, urls: Sequence[str], name: SseFormat) -> None:
        """`name`: the format."""
        self._urls = itertools.cycle(urls)
        self._name = name
        self._held = AsyncExitStack()
        self._http: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=SILENCE_S, sock_read=SILENCE_S)
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        made = aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=READ_BYTES)
        self._http = await self._held.enter_async_context(made)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._held.aclose()

    async def read(self, request_id: str, wait_s: float) -> AsyncIterator[Batch[Message]]:
        """Read a request to its end, which may be opened later.

        Raises RouterUnavailable: nothing came for `wait_s`; ProtocolViolation: what came is not of the format.
        """
        reader = reader_of(self._name, request_id)
        heard_at_s = asyncio.get_running_loop().time()
        while True:
            try:
                async for batch in self._read_once(reader):
                    heard_at_s = asyncio.get_running_loop().time()
                    yield batch
                    if batch.end:
                        return
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass  # a gateway that was killed, or is not there yet
            if asyncio.get_running_loop().time() - heard_at_s > wait_s:
                raise RouterUnavailable(f"no gateway has said anything of {request_id!r} for {wait_s:g} s")
            await asyncio.sleep(RETRY_S)

    async def _read_once(self, reader: FormatReader) -> AsyncIterator[Batch[Message]]:
        """Read as far as one connection goes."""
        asked = reader.asked()
        url = next(self._urls) + asked.path
        async with self._http.request(
            asked.method, url, params=asked.query, headers=asked.headers, json=asked.body
        ) as answered:
            if answered.status == 204:  # noqa: PLR2004  # all was had but the end's own event
                yield Batch([], reader.cursor, end=True)
            if answered.status != 200:  # noqa: PLR2004
                return
            reader.begin()
            rest = b""
            async for data in answered.content.iter_any():
                *blocks, rest = (rest + data).split(b"\n\n")
                yield self._batch(reader, blocks)

    def _batch(self, reader: FormatReader, blocks: Sequence[bytes]) -> Batch[Message]:
        said: list[Message] = []
        for block in blocks:
            event = event_of(block)
            if event is None:
                continue
            if reader.is_over:
                raise ProtocolViolation(f"{self._name}: expected nothing behind the end, got {block[:200]!r}")
            try:
                said += reader.take(event)
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                wrong = f"{self._name}: an event cannot be read: {error!r} in {block[:200]!r}"
                raise ProtocolViolation(wrong) from None
        gaps: list[Any] = [(one["first_seq_id"], one["last_seq_id"]) for one in said if one["message_type"] == "gap"]
        messages = [one for one in said if one["message_type"] != "gap"]
        return Batch(messages, reader.cursor, gaps[0] if gaps else None, end=reader.is_over)
