"""LangGraph's own server, as `langgraph dev` runs it: one process that runs graphs, keeps and serves all in memory.

It is a program of its own, offline, in an interpreter that has `langgraph-cli[inmem]`: this one, or the one that the
variable `LANGGRAPH_PYTHON` names (its requirements need not fit ours). Each run waits for lines of the benchmark and
says them (langgraph_graph.py); readers join it by its route `/threads/THREAD/runs/RUN/stream`, from its beginning. What
the process uses for running graphs is in its figures: it cannot be told apart from what serving takes.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import psutil
import ray

from benchmarks.spawn import spawn

PYTHON_VARIABLE = "LANGGRAPH_PYTHON"
START_DEADLINE_S = 90.0
RUNS_DEADLINE_S = 120.0
LOOK_EVERY_S = 0.1
RUNS_MAX = 4000  # at a time; the server's own default is 10
OPENED_AT_A_TIME = 16
_GRAPH = Path(__file__).with_name("langgraph_graph.py")
_OFFLINE = {
    "LANGSMITH_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "LANGGRAPH_CLI_NO_ANALYTICS": "1",
    "LOG_LEVEL": "ERROR",
}
_KEYS = ("LANGSMITH_API_KEY", "LANGCHAIN_API_KEY", "LANGGRAPH_CLOUD_LICENSE_KEY")


def python() -> str:
    """Return the interpreter that runs it."""
    return os.environ.get(PYTHON_VARIABLE, sys.executable)


def missing() -> str | None:
    """Return why this cannot be measured here, or None."""
    asked = [python(), "-c", "import langgraph_cli, langgraph_api, langgraph_runtime_inmem"]
    try:
        found = subprocess.run(asked, capture_output=True, timeout=START_DEADLINE_S, check=False)  # noqa: S603  # fixed
    except OSError as error:
        return f"{PYTHON_VARIABLE}={python()}: {error}"
    if found.returncode:
        return (
            f"langgraph-cli[inmem] is not installed for {python()}: install it in a virtual environment of its own, "
            f"and name that one's python in {PYTHON_VARIABLE}"
        )
    return None


class Outside:
    """Looks at a process that is no actor of ours."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)

    async def cpu_s(self) -> float:
        used = self._process.cpu_times()
        return float(used.user + used.system)

    async def settle(self) -> None:
        """Do nothing: it collects its garbage when it will."""


class Lines:
    """Says messages to runs, each of which has a connection of its own."""

    def __init__(self) -> None:
        self._writers: dict[str, asyncio.StreamWriter] = {}
        self._changed = asyncio.Event()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a run's connection; the first line says which it is."""
        self._writers[(await reader.readline()).decode().strip()] = writer
        self._changed.set()

    async def until(self, keys: Sequence[str]) -> None:
        """Wait until all of these are there."""
        async with asyncio.timeout(RUNS_DEADLINE_S):
            while not self._writers.keys() >= set(keys):
                self._changed.clear()
                await self._changed.wait()

    def say(self, key: str, text: bytes) -> None:
        """Say a message in a run."""
        self._writers[key].write(text + b"\n")

    def close(self) -> None:
        """End all runs."""
        for writer in self._writers.values():
            writer.close()


class LangGraphServer:
    """A contender of `benchmarks.gateway`. A request ID is where its run is."""

    idle_readers_max = 1000
    head = "Last-Event-ID: -1\r\n"  # from its beginning on

    def __init__(self, url: str, pid: int, lines: Lines, http: aiohttp.ClientSession) -> None:
        self.server: Any = spawn(Outside, pid)
        self.url = url
        self.server_pid = pid
        self.pids = [pid]
        self._lines = lines
        self._http = http
        self._runs = 0
        self._keys: dict[str, str] = {}  # of the runs, by where they are

    @staticmethod
    def path(request_id: str) -> str:
        """See `Contender`."""
        return f"{request_id}/stream?stream_mode=custom"

    async def open_runs(self, count: int) -> list[str]:
        """See `Contender`."""
        keys = [f"run-{self._runs + number}" for number in range(count)]
        self._runs += count
        rest, found = iter(keys), {}

        async def some() -> None:
            for key in rest:
                found[key] = await self._started(key)

        await asyncio.gather(*(some() for _ in range(OPENED_AT_A_TIME)))
        await self._lines.until(keys)
        self._keys |= {place: key for key, place in found.items()}
        for key in keys:
            self._lines.say(key, b"The")
        return [found[key] for key in keys]

    async def _started(self, key: str) -> str:
        thread = f"/threads/{(await self._post('/threads', {}))['thread_id']}"
        how = {"stream_mode": ["custom"], "stream_resumable": True}
        run = await self._post(f"{thread}/runs", {"assistant_id": "bench", "input": {"key": key}, **how})
        return f"{thread}/runs/{run['run_id']}"

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        async with self._http.post(self.url + path, json=body) as answered:
            answered.raise_for_status()
            said: dict[str, Any] = await answered.json()
            return said

    async def pace(self, request_ids: list[str], messages_per_s: float, seconds: float) -> int:
        """See `Contender`."""
        count = int(messages_per_s * seconds)
        began = time.monotonic()
        for number in range(count):
            await asyncio.sleep(max(0.0, began + number / messages_per_s - time.monotonic()))
            key = self._keys[request_ids[number % len(request_ids)]]
            self._lines.say(key, b"@%019d" % time.monotonic_ns())
        return count


@asynccontextmanager
async def langgraph_server() -> AsyncIterator[LangGraphServer]:
    """Run the server, with lines to say."""
    lines = Lines()
    listening = await asyncio.start_server(lines.take, "127.0.0.1", 0, backlog=4096)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with TemporaryDirectory(prefix="langgraph-") as folder:
        shutil.copy(_GRAPH, folder)
        (Path(folder) / "langgraph.json").write_text(
            json.dumps({"dependencies": ["."], "graphs": {"bench": f"./{_GRAPH.name}:graph"}}), encoding="utf-8"
        )
        environment = {key: value for key, value in os.environ.items() if key not in _KEYS} | _OFFLINE
        environment["BENCH_LINES_PORT"] = str(listening.sockets[0].getsockname()[1])
        process = await asyncio.create_subprocess_exec(
            python(), "-m", "langgraph_cli", "dev", "--no-browser", "--no-reload", "--host", "127.0.0.1",
            "--port", str(port), "--n-jobs-per-worker", str(RUNS_MAX),
            cwd=folder, env=environment, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            async with aiohttp.ClientSession() as http:
                await _until_it_serves(http, f"http://127.0.0.1:{port}", process)
                contender = LangGraphServer(f"http://127.0.0.1:{port}", process.pid, lines, http)
                yield contender
                ray.kill(contender.server)
        finally:
            lines.close()
            listening.close()
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _until_it_serves(http: aiohttp.ClientSession, url: str, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(START_DEADLINE_S):
        while process.returncode is None:
            with suppress(aiohttp.ClientError, OSError):
                async with http.get(f"{url}/ok") as answered:
                    if answered.ok:
                        return
            await asyncio.sleep(LOOK_EVERY_S)
    raise RuntimeError(f"langgraph dev ended with status {process.returncode}; run it by hand to see why")
