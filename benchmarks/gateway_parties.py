"""The parties of a stream that a gateway reads, without Ray: publisher, router, stream actor, gateway, clients.

The gateway stands in the reader's place, with its own code and real sockets to the stream actor and to its clients.
"""

from __future__ import annotations

import asyncio

from benchmarks.parties import READER, Parties, Party
from gateway.config import GatewayConfig
from gateway.serving.serve import serve

CLIENTS = "clients"
CLOSE_DEADLINE_S = 5.0
_MARK = b"data: "


class GatewayParties(Parties):
    """The five, with so many open streams between them, each of which a client reads. Use it in a `with`."""

    def __init__(self, streams: int, form: str = "/v1/streams/{}/events") -> None:
        """`form`: where a client reads a stream."""
        super().__init__(streams)
        self._form = form
        self._client_party = Party(CLIENTS)
        self.all.append(self._client_party)
        self._heard = 0

    def _begin_to_read(self) -> None:
        self._settle(self._are_open)  # who comes sooner is told that there is no such stream
        self._serving = self._by_name[READER].spawn(self._serve())

    def __exit__(self, *_: object) -> None:
        """Let the gateway close its connections; then see `Parties`."""
        self._serving.cancel()
        self._by_name[READER].loop.run_until_complete(asyncio.wait([self._serving], timeout=CLOSE_DEADLINE_S))
        super().__exit__()

    def _are_reading(self) -> bool:
        return self._heard == len(self._names)

    async def _serve(self) -> None:
        clients = self._client_party
        # What comes as if after a quiet time is gathered with nothing, however fast one after the other is carried.
        async with serve(self._clients[READER], GatewayConfig(port=0, gather_ms=0)) as url:
            port = int(url.rpartition(":")[2])
            clients.loop.call_soon_threadsafe(lambda: clients.spawn(self._connect(port)))
            await asyncio.get_running_loop().create_future()

    async def _connect(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        for name in self._names:
            asked = f"GET {self._form.format(name)} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
            await loop.create_connection(lambda asked=asked: _Client(self, asked), "127.0.0.1", port)  # type: ignore[misc]

    def heard(self, data: bytes) -> None:
        """A client has had something: the head of its answer, or messages."""
        self._heard += data.startswith(b"HTTP/1.1 200")
        self.messages += data.count(_MARK)


class _Client(asyncio.Protocol):
    """Counts what comes on one connection."""

    def __init__(self, parties: GatewayParties, asked: bytes) -> None:
        self._parties = parties
        self._asked = asked

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        transport.write(self._asked)  # type: ignore[attr-defined]  # a stream's transport is one that writes

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._parties.heard(data)
