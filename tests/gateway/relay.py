"""A wire that can be cut, between a client and a gateway. Shared by tests; has no tests of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class _End(asyncio.Protocol):
    """One end of a connection; what comes in goes out at the other."""

    def __init__(self, made: Callable[[_End], None] = lambda _: None) -> None:
        self._made = made
        self.other: _End | None = None
        self.transport: asyncio.Transport | None = None
        self._early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._made(self)

    def data_received(self, data: bytes) -> None:
        if self.other is None or self.other.transport is None:
            self._early += data
        else:
            self.other.transport.write(data)

    def join(self, other: _End) -> None:
        self.other, other.other = other, self
        if other.transport is not None and self._early:
            other.transport.write(self._early)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()

    def eof_received(self) -> bool:
        return False


class Relay:
    """Where a gateway can be reached through a wire."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self._ends: set[_End] = set()
        self._joining: set[asyncio.Task[None]] = set()
        self.is_down = False
        """Whether whoever comes is turned away."""
        self.url = ""

    def accept(self, end: _End) -> None:
        """Connect whoever has come."""
        if self.is_down:
            assert end.transport is not None
            end.transport.abort()
            return
        task = asyncio.ensure_future(self._join(end))
        self._joining.add(task)
        task.add_done_callback(self._joining.discard)

    async def _join(self, end: _End) -> None:
        _, other = await asyncio.get_running_loop().create_connection(_End, self._target.hostname, self._target.port)
        end.join(other)
        self._ends |= {end, other}

    def cut(self) -> None:
        """Cut all connections, in the middle of whatever they carry."""
        ends, self._ends = self._ends, set()
        for end in ends:
            if end.transport is not None:
                end.transport.abort()


@asynccontextmanager
async def relayed(target: str) -> AsyncIterator[Relay]:
    """Give a wire to an address."""
    relay = Relay(target)
    server = await asyncio.get_running_loop().create_server(lambda: _End(relay.accept), "127.0.0.1", 0)
    relay.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield relay
    finally:
        server.close()
        relay.cut()
        await server.wait_closed()
