"""The least that the way of a chunk takes: processes that do nothing but hand bytes on, in place of router and actor.

    driver ==socket==> a process ==socket==> another ==socket==> driver

Each is Python with asyncio's own loop and Unix sockets, as the product's are; there is no Ray, and nothing is read,
kept, counted, acknowledged or resent. What it costs on a machine at a moment is what waking up three times costs there.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

BEGIN_DEADLINE_S = 20.0
LINE_END = b"\n"


class _Hop(asyncio.Protocol):
    """Hands all that comes on."""

    def __init__(self, onward: asyncio.WriteTransport) -> None:
        self._onward = onward

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._onward.write(data)

    def connection_lost(self, _error: Exception | None) -> None:
        """See asyncio: the process has nothing more to do."""
        asyncio.get_running_loop().stop()


class _End(asyncio.Protocol):
    """Takes lines apart."""

    def __init__(self, on_line: Callable[[bytes], None]) -> None:
        self._on_line = on_line
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        *lines, self._rest = (self._rest + data).split(LINE_END)
        for line in lines:
            self._on_line(line)


class Way:
    """The driver's ends of it. Lines that come so soon after a write leave together, as a publisher's chunks do."""

    def __init__(self, transport: asyncio.WriteTransport, gather_s: float) -> None:
        self._transport = transport
        self._gather_s = gather_s
        self._loop = asyncio.get_running_loop()
        self._wrote_at = 0.0
        self._lines: list[bytes] = []

    def send(self, line: bytes) -> None:
        """Send a line."""
        self._lines.append(line)
        if len(self._lines) == 1:
            wait_s = self._wrote_at + self._gather_s - self._loop.time()
            if wait_s <= 0:
                self._write()
            else:
                self._loop.call_later(wait_s, self._write)

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        self._wrote_at = self._loop.time()
        self._transport.write(LINE_END.join([*lines, b""]))


@asynccontextmanager
async def relayed(names: tuple[str, ...], gather_s: float, on_line: Callable[[bytes], None]) -> AsyncIterator[Way]:
    """Start a process of each name, one behind the other, and give the way through them."""
    loop = asyncio.get_running_loop()
    came: asyncio.Future[None] = loop.create_future()

    def come() -> _End:
        came.set_result(None)
        return _End(on_line)

    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / str(number)) for number in range(len(names) + 1)]
        server = await loop.create_unix_server(come, paths[-1])
        hops: list[asyncio.subprocess.Process] = []
        try:
            for name, path, onward_path in reversed([*zip(names, paths, paths[1:], strict=False)]):
                hops += [await _started(name, path, onward_path)]  # each finds the one behind it
            transport, _ = await loop.create_unix_connection(asyncio.Protocol, paths[0])
            async with asyncio.timeout(BEGIN_DEADLINE_S):
                await came
            yield Way(transport, gather_s)
            transport.close()
        finally:
            for hop in hops:
                with suppress(ProcessLookupError):  # it has ended with its connection
                    hop.kill()
                await hop.wait()
            server.close()


async def _started(name: str, path: str, onward_path: str) -> asyncio.subprocess.Process:
    """Start a process that is called `name`; return it when it can be reached."""
    command = (name, "-m", __name__, path, onward_path)
    hop = await asyncio.create_subprocess_exec(*command, executable=sys.executable, stdout=asyncio.subprocess.PIPE)
    if hop.stdout is not None:
        async with asyncio.timeout(BEGIN_DEADLINE_S):
            await hop.stdout.readline()
    return hop


async def _hop(path: str, onward_path: str) -> None:
    loop = asyncio.get_running_loop()
    onward, _ = await loop.create_unix_connection(asyncio.Protocol, onward_path)
    await loop.create_unix_server(lambda: _Hop(onward), path)
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def main() -> None:
    """Be a hop: from the socket that is made at one path to that at another."""
    path, onward_path = sys.argv[1:]
    with asyncio.Runner() as runner:
        runner.run(_hop(path, onward_path))
        runner.get_loop().run_forever()


if __name__ == "__main__":
    main()
