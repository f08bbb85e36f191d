"""Start the scripted provider in a process of its own, so that its work is not counted as the router's."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from actors.errors import ProviderError, from_wire

START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 5.0


@asynccontextmanager
async def provider_process(recordings: str | Path, script: Mapping[str, Any] | None = None) -> AsyncIterator[str]:
    """Run a scripted provider beside this process; gives its base URL, ends it with the block.

    Raises what the provider says of its recordings or its script, ProviderError where it does not start.
    """
    command = [
        "-m",
        "router.scripted_provider",
        "--recordings",
        str(recordings),
        "--script",
        json.dumps(dict(script or {})),
    ]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        # A process group of its own: Ctrl-C reaches only this process, which then ends it in order.
        start_new_session=True,
    )
    try:
        yield await _announced(process)
    finally:
        await _stop(process)


async def _announced(process: asyncio.subprocess.Process) -> str:
    if process.stdout is None:
        raise ProviderError("the scripted provider has no standard output to say its address on")
    try:
        line = await asyncio.wait_for(process.stdout.readline(), START_TIMEOUT_S)
    except TimeoutError:
        raise ProviderError(f"the scripted provider did not say its address within {START_TIMEOUT_S:.0f} s") from None
    try:
        said = json.loads(line)
    except ValueError:
        raise ProviderError(f"the scripted provider did not start; it said {line[:200]!r}") from None
    if "error" in said:
        raise from_wire(*said["error"])
    return str(said["url"])


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()  # it ends when its standard input does
    try:
        await asyncio.wait_for(process.wait(), _STOP_TIMEOUT_S)
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
