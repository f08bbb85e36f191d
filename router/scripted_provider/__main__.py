"""The scripted provider as a process of its own (`python -m router.scripted_provider`); see `process.py`.

It writes its address to standard output, as one line of JSON. It ends when its standard input ends, so
that it never outlives the process that started it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

from actors.errors import StreamRouterError
from router.scripted_provider.library import Library
from router.scripted_provider.script import Script
from router.scripted_provider.serve import serve


async def _main(folder: str, script: dict[str, object], port: int) -> None:
    loop = asyncio.get_running_loop()
    parent_has_gone = asyncio.Event()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def watch() -> None:
        await reader.read()
        parent_has_gone.set()

    watcher = asyncio.create_task(watch())
    async with serve(Library.load(folder), Script.load(script), port=port) as url:
        sys.stdout.write(json.dumps({"url": url}) + "\n")
        sys.stdout.flush()
        await parent_has_gone.wait()
    await watcher


def main() -> int:
    """Run until standard input ends. An error at the start is reported in the same line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m router.provider")
    parser.add_argument("--recordings", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--script", type=json.loads, default={})
    given = parser.parse_args()
    try:
        asyncio.run(_main(given.recordings, given.script, given.port))
    except StreamRouterError as error:
        sys.stdout.write(json.dumps({"error": error.to_wire()}) + "\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
