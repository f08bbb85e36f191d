"""A reader that goes on wherever it is cut, as an `EventSource` does. Shared by tests; has no tests of its own."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from contextlib import suppress

import aiohttp

RETRY_S = 0.05


class ResumingReader:
    """Reads a run in our own format to its end; keeps the ID of every event in the order in which they came."""

    def __init__(self, http: aiohttp.ClientSession, url_of: Callable[[], str], request_id: str) -> None:
        """`url_of`: gives the gateway that the next connection is for."""
        self._http = http
        self._url_of = url_of
        self._request_id = request_id
        self.ids: list[int] = []
        self.ends = 0
        self.digest = 0
        """Of all events, without their end."""
        self.stop_reason: str | None = None
        self.connections = 0

    async def read(self) -> None:
        """Read to the end."""
        while not self.ends:
            self.connections += 1
            with suppress(aiohttp.ClientError, OSError):
                await self._read_once()
            if not self.ends:
                await asyncio.sleep(RETRY_S)

    async def _read_once(self) -> None:
        headers = {"Last-Event-ID": str(self.ids[-1])} if self.ids else {}
        path = f"{self._url_of()}/v1/streams/{self._request_id}/events"
        async with self._http.get(path, headers=headers) as answered:
            if answered.status == 204:
                self.ends += 1  # everything has been had, its end alone has not
                return
            if answered.status != 200:
                return
            while True:
                block = await answered.content.readuntil(b"\n\n")
                if not block.endswith(b"\n\n"):
                    return  # it was cut
                if block.startswith(b"id: "):
                    self._take(block.decode())

    def _take(self, block: str) -> None:
        seq_id = int(block[4 : block.index("\n")])
        if "\nevent: end\n" in block:
            self.ends += 1
        else:
            self.ids.append(seq_id)
            self.digest = zlib.crc32(block.encode(), self.digest)
            if '"message_type":"stop_reason"' in block:
                self.stop_reason = block.partition('"stop_reason":"')[2].partition('"')[0]

    @property
    def has_each_once(self) -> bool:
        """Whether every event came once, in order, and one end."""
        return self.ends == 1 and self.ids == list(range(1, len(self.ids) + 1))
