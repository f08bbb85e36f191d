"""The processes that are killed, or that flood the router: `python -m tests.chaos.children ROLE ARGUMENTS`.

Each reports on stdout; a line begins with the word that its parent waits for.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import resource
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from actors.errors import LimitExceeded
from actors.protocol import frames as wire
from actors.protocol.calls import OpenAnswer, OpenCall, Registration
from actors.settings import packed
from router import RouterConfig, StreamRouter

from .common import NAME, config
from .load import DATE, SETTINGS, percentile, recordings

FRAME_OPENS = 250
CALLS_OUT_MAX = 4
# Chunks that the crowd sends before its disk is full, how large a file may then be, and how often it is refused.
FULL_FROM = 10
FULL_BYTES = 1
REFUSED_ENOUGH = 5


async def publish(address: str, *request_ids: str) -> None:
    """Publish slowly, never ending, until killed."""
    chunks = recordings(1)[0].chunks
    async with StreamRouter.connect(NAME, address=address) as router:
        publishers = [await router.publish(request_id, SETTINGS, date=DATE).open() for request_id in request_ids]
        for number, chunk in enumerate(chunks[:-1], 1):
            for publisher in publishers:
                await publisher.chunk(chunk)
            print(f"sent {number} chunks", flush=True)
            await asyncio.sleep(0.05)
        await asyncio.Event().wait()


async def read(address: str, request_id: str, file: str) -> None:
    """Read, writing down each message before the next is asked for, until killed."""
    count = 0
    async with StreamRouter.connect(NAME, address=address) as router:
        with await asyncio.to_thread(Path(file).open, "w") as out:
            async for batch in router.subscribe(request_id, format="dict"):
                for message in batch:
                    count += 1
                    out.write(json.dumps(message) + "\n")
                    out.flush()
                    print(f"read {count} messages", flush=True)
                    await asyncio.sleep(0.005)
    await asyncio.Event().wait()


async def driver(address: str, spill_dir: str) -> None:
    """Start routers, publish so much that it spills to disk, and wait to be killed."""
    chosen = RouterConfig.model_validate(
        {
            **config(publisher={"replay_bytes_max": 1, "spill_dir": spill_dir}).model_dump(),
            "ray": {"address": address, "num_cpus": 2},
        }
    )
    async with StreamRouter.start(chosen) as router, router.publish("forever", SETTINGS) as publisher:
        await publisher.chunks(recordings(1)[0].chunks[:5])
        described = await router.describe()
        pids = [actor.pid for actor in [*described.routers, *described.stream_actors]]
        spilled = await asyncio.to_thread(_open_files_in, spill_dir)
        print("running", json.dumps({"pids": pids, "spilled_files": spilled}), flush=True)
        await asyncio.Event().wait()


def _open_files_in(folder: str) -> int:
    """Return how many files in a folder this process holds open. They may have no name any more."""
    open_files = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sum(file.startswith(str(Path(folder).resolve())) for file in open_files)


async def crowd(address: str, request_id: str) -> None:
    """Publish while no file of this process may grow any further, then may again; each refused item is said again."""
    recording = next(r for r in recordings(1, chunks_min=60))
    refused, errno_named, full_s = 0, True, 0.0
    async with StreamRouter.connect(NAME, address=address) as router:
        router._budget.bytes_max = 1  # all goes to disk
        async with router.publish(request_id, SETTINGS, date=DATE) as publisher:
            for number, chunk in enumerate(recording.chunks):
                if number == FULL_FROM:
                    _let_files_grow(bytes_max=FULL_BYTES)
                    full_since = time.monotonic()
                while True:
                    try:
                        await publisher.chunk(chunk)
                        break
                    except LimitExceeded as error:
                        refused += 1
                        errno_named = errno_named and "File too large" in str(error)
                        if refused == REFUSED_ENOUGH:
                            _let_files_grow(bytes_max=None)
                            full_s = time.monotonic() - full_since
                    await asyncio.sleep(0.05)
    print("done", json.dumps({"refused": refused, "errno_named": errno_named, "full_s": full_s}), flush=True)
    await asyncio.Event().wait()


def _let_files_grow(bytes_max: int | None) -> None:
    """Set how large a file this process may write; beyond it the system refuses as it does on a full disk."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard if bytes_max is None else bytes_max, hard))


async def flood(address: str) -> None:
    """Open requests that the router must refuse, in raw frames.

    Each line of stdin, `opens_per_s seconds`, is one flood.
    """
    settings = packed(SETTINGS)
    async with StreamRouter.connect(NAME, address=address) as router:
        router_actor = router._handles[0]
        print("ready -", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            opens_per_s, seconds = map(float, line.split())
            print("flooded", json.dumps(await _flood(router_actor, settings, opens_per_s, seconds)), flush=True)


async def _flood(router_actor: Any, settings: bytes, opens_per_s: float, seconds: float) -> dict[str, Any]:
    # Each call of a client follows the one before.
    clients: asyncio.Queue[tuple[str, Iterator[int]]] = asyncio.Queue()
    for _ in range(CALLS_OUT_MAX):
        clients.put_nowait((f"flood-{uuid.uuid4().hex[:8]}", itertools.count(1)))
    codes: dict[str, int] = {}
    answers_s: list[float] = []
    calls: set[asyncio.Task[None]] = set()

    async def call(requests: list[Registration]) -> None:
        client_id, numbers = client = await clients.get()
        frame = wire.pack(OpenCall(client_id, next(numbers), [None, 0], requests))
        began = time.monotonic()
        errors = wire.read(OpenAnswer, await router_actor.open.remote(frame)).errors
        answers_s.append(time.monotonic() - began)
        clients.put_nowait(client)
        for error in errors:
            code = error[0] if error else "opened"
            codes[code] = codes.get(code, 0) + 1

    began = time.monotonic()
    sent = 0
    while (elapsed := time.monotonic() - began) < seconds:
        if len(calls) >= 2 * CALLS_OUT_MAX or sent > elapsed * opens_per_s:
            await asyncio.sleep(0.002)
            continue
        requests = [
            Registration(f"flood-{uuid.uuid4().hex}", settings, DATE, None, False, 0, 0, 1, None, 0)
            for _ in range(FRAME_OPENS)
        ]
        sent += FRAME_OPENS
        task = asyncio.create_task(call(requests))
        calls.add(task)
        task.add_done_callback(calls.discard)
        await asyncio.sleep(0)
    await asyncio.gather(*calls)
    taken_s = time.monotonic() - began
    return {
        "answered": codes,
        "answered_per_s": round(sum(codes.values()) / taken_s),
        "answer_p99_s": percentile(answers_s, 0.99),
    }


ROLES = {"publish": publish, "crowd": crowd, "read": read, "driver": driver, "flood": flood}


if __name__ == "__main__":
    asyncio.run(ROLES[sys.argv[1]](*sys.argv[2:]))
