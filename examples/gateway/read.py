"""Start a run, read half of it, lose the connection, and go on with what is left: our own format, over plain HTTP.

python read.py --url http://127.0.0.1:8283
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

HALF = 10


async def events(http: aiohttp.ClientSession, place: str, after: int) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Give a stream's events from a cursor: the name and the data of each."""
    name = "message"
    async with http.get(place, headers={"Last-Event-ID": str(after)}) as answered:
        answered.raise_for_status()
        async for line in answered.content:
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                yield name, json.loads(value)
                name = "message"


async def main(url: str, token: str | None) -> None:
    """Read one run in two parts."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(url, headers=headers) as http:
        asked = {"agent": "counter", "input": "Count to 30"}
        async with http.post("/v1/streams", json=asked) as answered:
            answered.raise_for_status()
            place = (await answered.json())["events"]
        after, text = 0, ""
        async for _, message in events(http, place, after):
            text += message.get("content", "")
            after = message["seq_id"]
            if after == HALF:
                break  # the connection is closed; the run goes on
        print(f"had {after} messages when the connection was lost: {text}")
        async for name, message in events(http, place, after):
            if name == "end":
                print(f"\nended: {message['stop_reason']}")
                return
            print(message.get("content", ""), end="", flush=True)
    raise SystemExit("the connection was lost before the end: read on, from the last seq_id")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8283")
    parser.add_argument("--token")
    given = parser.parse_args()
    asyncio.run(main(given.url, given.token))
