"""A reader of a load test that comes over HTTP: it reads server-sent events, and goes on wherever it is cut.

It gives the batches that a subscription would give: what came in one read of its connection.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any, ClassVar, Self
from urllib.parse import quote

import aiohttp

from actors.errors import RouterUnavailable
from router.client.reading.batch import Batch

RETRY_S = 0.2
# Some heartbeats of a gateway: a connection that is silent for so long is given up.
SILENCE_S = 45.0
READ_BYTES = 256 * 1024


class SseReader:
    """Reads requests by way of gateways, in one format. Use it as an `async with` block."""

    ENDS: ClassVar[dict[str, bytes]] = {"native": b"event: end\n", "letta": b"data: [DONE]"}

    def __init__(self, urls: Sequence[str], wire: str) -> None:
        """`wire`: native or letta."""
        self._urls = itertools.cycle(urls)
        self._wire = wire
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

    async def read(self, request_id: str, wait_s: float) -> AsyncIterator[Batch[dict[str, Any]]]:
        """Read a request to its end, which may be opened later. Raises RouterUnavailable: nothing came for `wait_s`."""
        after = 0
        heard_at_s = asyncio.get_running_loop().time()
        while True:
            try:
                async for batch in self._read_once(request_id, after):
                    after = max(after, batch.last_seq_id)
                    heard_at_s = asyncio.get_running_loop().time()
                    yield batch
                    if batch.end:
                        return
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass  # a gateway that was killed, or is not there yet
            if asyncio.get_running_loop().time() - heard_at_s > wait_s:
                raise RouterUnavailable(f"no gateway has said anything of {request_id!r} for {wait_s:g} s")
            await asyncio.sleep(RETRY_S)

    def _asked(self, request_id: str, after: int) -> Any:
        place = quote(request_id, safe="")
        if self._wire == "letta":
            return self._http.post(f"{next(self._urls)}/v1/runs/{place}/stream", json={"starting_after": after})
        headers = {"Last-Event-ID": str(after)} if after else {}
        return self._http.get(f"{next(self._urls)}/v1/streams/{place}/events", headers=headers)

    async def _read_once(self, request_id: str, after: int) -> AsyncIterator[Batch[dict[str, Any]]]:
        """Read as far as one connection goes."""
        async with self._asked(request_id, after) as answered:
            if answered.status == 204:  # noqa: PLR2004  # all was had but the end's own event
                yield Batch([], after, end=True)
            if answered.status != 200:  # noqa: PLR2004
                return
            rest = b""
            async for data in answered.content.iter_any():
                *blocks, rest = (rest + data).split(b"\n\n")
                yield self._batch(blocks, after)

    def _batch(self, blocks: Sequence[bytes], after: int) -> Batch[dict[str, Any]]:
        messages: list[dict[str, Any]] = []
        gap: tuple[int, int] | None = None
        is_end = False
        for block in blocks:
            _, found, data = block.rpartition(b"data: ")
            if self.ENDS[self._wire] in block + b"\n":
                is_end = True
            elif found and block[:1] != b":":
                said = json.loads(data)
                if said["message_type"] == "gap":
                    gap = (said["first_seq_id"], said["last_seq_id"])
                elif "seq_id" in said:
                    messages.append(said)
        last = messages[-1]["seq_id"] if messages else (gap[1] if gap else after)
        return Batch(messages, last, gap, end=is_end)
