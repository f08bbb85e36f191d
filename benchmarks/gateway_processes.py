"""The processes of `benchmarks.gateway`: the gateway, what is compared with it, and the clients of both."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

from aiohttp import web

from benchmarks.processes import Door
from gateway.config import gateway_section
from gateway.serving.serve import serve
from router import StreamRouter

WAIT_S = 120.0
_STAMP = re.compile(rb'"@(\d{19})"')
_MARK = b"data: "
EVENT = (
    b'id: %d\ndata: {"message_type":"assistant_message","id":"message-0","run_id":"run-1","otid":"0","seq_id":1,'
    b'"date":"2026-01-02T03:04:05+00:00","content":"@%019d"}\n\n'
)
"""What a gateway writes for a message, about."""


class GatewayServer(Door):
    """A gateway, in a process of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._served = AsyncExitStack()

    async def serve(self, section: dict[str, Any]) -> str:
        return await self._served.enter_async_context(serve(self.router, gateway_section(section)))

    async def settle(self) -> None:
        """Collect garbage, so that what is left is in use."""
        gc.collect()

    async def subscribing_s(self, request_ids: Sequence[str]) -> float:
        """Return the CPU time of subscribing to each, to its first message: what opening it costs without HTTP."""
        router: StreamRouter = self.router
        began = time.process_time()
        held = [router.subscribe(request_id, format="dict", observer=True) for request_id in request_ids]
        for subscription in held:
            await anext(subscription)
        took = time.process_time() - began
        for subscription in held:
            await subscription.aclose()
        return took

    async def delays_s(self, request_id: str, messages: int) -> list[float]:
        """Read a request without HTTP; return how long each stamped message was under way."""
        delays: list[float] = []
        async for batch in self.router.subscribe(request_id, format="dict", observer=True):
            now_ns = time.monotonic_ns()
            texts = [str(message.get("content", "")) for message in batch.messages]
            delays += [(now_ns - int(text[1:])) / 1e9 for text in texts if text.startswith("@")]
            if len(delays) >= messages:
                break
        return delays


class BareServer:
    """aiohttp and nothing else: writes events of its own to its readers, one at a time."""

    def __init__(self) -> None:
        self._answers: list[web.StreamResponse] = []
        self._is_over = asyncio.Event()
        self._runner = web.ServerRunner(web.Server(self._answer))  # type: ignore[arg-type]  # as its own docs have it

    async def cpu_s(self) -> float:
        return time.process_time()

    async def serve(self) -> str:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, backlog=4096).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        self._is_over.set()
        await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        await answer.write(EVENT % (0, time.monotonic_ns()))
        self._answers.append(answer)
        await self._is_over.wait()
        return answer

    async def pace(self, messages_per_s: float, seconds: float) -> int:
        """Write stamped events to the readers in turn; return how many."""
        count = int(messages_per_s * seconds)
        began = time.monotonic()
        for number in range(count):
            if (wait_s := began + number / messages_per_s - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
            await self._answers[number % len(self._answers)].write(EVENT % (number, time.monotonic_ns()))
        return count


class PlainServer:
    """What one would write by hand: Starlette, and an XREAD of a Redis stream for each reader."""

    async def pid(self) -> int:
        return os.getpid()

    async def cpu_s(self) -> float:
        return time.process_time()

    async def settle(self) -> None:
        gc.collect()

    async def serve(self, redis_port: int, heartbeat_s: float) -> str:
        import redis.asyncio  # noqa: PLC0415  # an extra of its own
        import uvicorn  # noqa: PLC0415  # an extra of its own
        from starlette.applications import Starlette  # noqa: PLC0415  # an extra of its own
        from starlette.requests import Request  # noqa: PLC0415  # an extra of its own
        from starlette.responses import StreamingResponse  # noqa: PLC0415  # an extra of its own
        from starlette.routing import Route  # noqa: PLC0415  # an extra of its own

        pool = redis.asyncio.Redis(port=redis_port, max_connections=20_000)

        async def events(key: str, after: str) -> AsyncIterator[bytes]:
            while True:
                found = await pool.xread({key: after}, count=100, block=int(heartbeat_s * 1000))
                if not found:
                    yield b": ping\n\n"
                for _, entries in found or []:
                    for entry, fields in entries:
                        after = entry.decode()
                        yield b"id: %b\ndata: %b\n\n" % (entry, fields[b"m"])

        async def read(request: Request) -> StreamingResponse:
            after = request.headers.get("last-event-id") or request.query_params.get("after", "0")
            return StreamingResponse(events(request.path_params["id"], after), media_type="text/event-stream")

        app = Starlette(routes=[Route("/v1/streams/{id}/events", read)])
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", backlog=4096))
        self._serving = asyncio.ensure_future(server.serve())
        while not server.started:  # noqa: ASYNC110  # it has no event
            await asyncio.sleep(0.01)
        return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"


class _Connection(asyncio.Protocol):
    """Counts the messages that come on one connection."""

    def __init__(self, head: bytes, heard: HttpReaders) -> None:
        self._head = head
        self._heard = heard
        self._tail = b""
        self._transport: Any = None
        self.count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._transport.write(self._head)

    def data_received(self, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        self._heard.delays_s += [(now_ns - int(stamp)) / 1e9 for stamp in _STAMP.findall(data)]
        together = self._tail + data
        count = together.count(_MARK)
        self._tail = together[-len(_MARK) + 1 :]
        self.count += count
        self._heard.add(count)

    def close(self) -> None:
        self._transport.abort()


class HttpReaders:
    """Clients, each of which does as little as it can: what is measured is the server."""

    def __init__(self) -> None:
        self.delays_s: list[float] = []
        self._connections: list[_Connection] = []
        self._count = 0
        self._changed = asyncio.Event()

    async def pid(self) -> int:
        return os.getpid()

    def add(self, count: int) -> None:
        self._count += count
        self._changed.set()

    async def open(self, url: str, paths: Sequence[str], at_a_time: int = 8, more: str = "") -> None:
        """Read each of these, and wait until each connection has had a message. `more`: of the requests' heads."""
        rest = iter(paths)

        async def some() -> None:
            for path in rest:
                connection = await self._connect(url, path, more)
                self._connections.append(connection)
                await self._until(lambda heard=connection: heard.count > 0)  # type: ignore[misc]

        await asyncio.gather(*(some() for _ in range(at_a_time)))

    async def _connect(self, url: str, path: str, more: str) -> _Connection:
        host, port = url.removeprefix("http://").split(":")
        head = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: text/event-stream\r\n{more}\r\n".encode()
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: _Connection(head, self), host, int(port))
        return connection

    async def forget(self) -> None:
        """Count from 0."""
        self._count = 0
        self.delays_s = []

    async def until(self, count: int) -> list[float]:
        """Wait for so many messages on all connections together; return how long the stamped ones took."""
        await self._until(lambda: self._count >= count)
        return self.delays_s

    async def _until(self, holds: Any) -> None:
        async with asyncio.timeout(WAIT_S):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    async def close(self) -> None:
        for connection in self._connections:
            connection.close()
        self._connections = []

    async def answers_s(self, url: str, path: str, times: int) -> list[float]:
        """Ask for something on a connection of its own each time; return how long each answer took."""
        host, port = url.removeprefix("http://").split(":")
        took = []
        for _ in range(times):
            began = time.perf_counter()
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
            await reader.read()
            took.append(time.perf_counter() - began)
            writer.close()
        return took
