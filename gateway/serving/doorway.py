"""What stands between the port and the routes: heads that come in time, and that every proxy reads in the same way.

The HTTP server refuses what is no HTTP, two lengths of one body, and heads that are too large. Left to this are heads
that never end, answers that nobody takes, and what one server may read in one way and a proxy before it in another.
(Who reads a stream is not among the server's connections any more, and has its own limit; see reader.py.)
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import HttpVersion10, web

HEADERS_MAX = 128


class Doorway:
    """Makes the server's side of each connection, and closes those that hold it up."""

    def __init__(self, server: Any, head_timeout_s: float, write_timeout_s: float) -> None:
        """`server`: makes the protocol of a connection."""
        self._server = server
        self._head_timeout_s = head_timeout_s
        self._write_timeout_s = write_timeout_s
        self._waiting: dict[Any, float] = {}  # in the order in which they came
        self._unsent: dict[Any, float] = {}  # and since when
        self._timer: asyncio.TimerHandle | None = None
        self._round: asyncio.TimerHandle = self._next_round()

    def __call__(self) -> Any:
        """Return the protocol of a new connection."""
        protocol = self._server()
        self._waiting[protocol] = asyncio.get_running_loop().time() + self._head_timeout_s
        self._next_look()
        return protocol

    def has_head(self, protocol: Any) -> None:
        """Hear that a whole head has come on a connection."""
        self._waiting.pop(protocol, None)

    def close(self) -> None:
        """Look no more."""
        self._round.cancel()
        if self._timer is not None:
            self._timer.cancel()

    def _next_look(self) -> None:
        if self._timer is None and self._waiting:
            self._timer = asyncio.get_running_loop().call_at(next(iter(self._waiting.values())), self._look)

    def _look(self) -> None:
        self._timer = None
        now_s = asyncio.get_running_loop().time()
        for protocol in [one for one, due_at_s in self._waiting.items() if due_at_s <= now_s]:
            del self._waiting[protocol]
            protocol.force_close()
        self._next_look()

    def _next_round(self) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(self._write_timeout_s / 4, self._go_round)

    def _go_round(self) -> None:
        """Close connections whose answers have not been taken whole for too long."""
        now_s = asyncio.get_running_loop().time()
        unsent = {
            protocol: self._unsent.get(protocol, now_s)
            for protocol in self._server.connections
            if protocol.transport is not None and protocol.transport.get_write_buffer_size()
        }
        self._unsent = {protocol: since_s for protocol, since_s in unsent.items() if not self._is_late(since_s, now_s)}
        for protocol in unsent.keys() - self._unsent.keys():
            protocol.transport.abort()
        self._round = self._next_round()

    def _is_late(self, since_s: float, now_s: float) -> bool:
        return now_s - since_s >= self._write_timeout_s


class Runner(web.AppRunner):
    """The server's own, with a doorway."""

    doorway: Doorway | None = None

    @property
    def server(self) -> Any:
        """What makes the protocol of a connection."""
        return self.doorway or super().server

    async def begin(self, head_timeout_s: float, write_timeout_s: float) -> Doorway:
        """Set up, as `setup`; return the doorway."""
        await self.setup()
        self.doorway = Doorway(super().server, head_timeout_s, write_timeout_s)
        return self.doorway


def fault_of(request: web.Request) -> str | None:
    """Return what is wrong with a head that the server has taken; None: nothing."""
    headers = request.headers
    if request.version < HttpVersion10:
        return "expected HTTP/1.0 or HTTP/1.1"
    if len(headers) > HEADERS_MAX:
        return f"expected at most {HEADERS_MAX} headers, got {len(headers)}"
    if len(headers.getall("Host", [])) != 1:
        return f"expected one Host, got {len(headers.getall('Host', []))}"
    if headers.get("Transfer-Encoding", "chunked").lower() != "chunked":
        return "expected a body that is sent as it is, or in chunks (Transfer-Encoding: chunked)"
    return None
