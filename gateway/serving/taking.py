"""Taking a connection from the HTTP server: the one place that knows how the server holds it."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter


class Taken(web.StreamResponse):
    """An answer whose connection is not the server's any more, which neither begins nor ends it."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:  # noqa: ARG002  # aiohttp's
        """Do nothing: the head has been written."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing."""


def is_chunked(request: web.Request) -> bool:
    """Whether an answer to this client is sent in chunks, so that it can tell a cut from the end."""
    return request.version >= HttpVersion11


def head_of(request: web.Request, response: web.StreamResponse) -> bytes:
    """Return the head of an answer whose length nobody knows, and behind which the connection is closed."""
    headers = response.headers
    headers["Connection"] = "close"
    if is_chunked(request):
        headers["Transfer-Encoding"] = "chunked"
    lines = [f"HTTP/1.{int(is_chunked(request))} {response.status} {HTTPStatus(response.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join(lines)
    if head.count("\n") != len(lines) - 1 or head.count("\r") != len(lines) - 1:
        raise ValueError("a header of an answer holds a line break")
    return f"{head}\r\n\r\n".encode()


def take(request: web.Request, protocol: asyncio.Protocol) -> asyncio.Transport:
    """Take a request's connection; what comes and goes on it is the protocol's from now on.

    The server forgets it, and ends the task that calls this at the next point where it would wait. Raises
    ConnectionResetError where the client has left.
    """
    # Not known by its class: uvloop's transports are none of asyncio's.
    server, transport = request.protocol, request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client has left")
    transport.set_protocol(protocol)
    server.transport = None  # else the server would close it
    server.connection_lost(None)
    return transport
