"""What careless use and a poor machine do: no room for actors, a full disk, loops left and doors closed under load."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any

import ray

from actors.errors import PoolFull, RequestCancelled, RouterClosed, StreamRouterError
from router import StreamRouter

from .common import NAME, config, figures, until
from .load import SETTINGS, Load, Stream, Tally, read, recordings
from .processes import child, kill, said

OPEN_TIMEOUT_S = 3.0
CANCEL_AFTER_S = 1.0
DOORS = 12
# Whoever waits behind a door that closes must hear so within this.
HEARS_S = 5.0


async def unplaced() -> dict[str, Any]:
    """No stream actor can start: opens are refused in time, cancels and timers end what waits, nothing hangs."""
    chosen = config(
        stream_actors={"resources": {"nowhere": 1.0}, "warm_actors": 0, "open_timeout_s": OPEN_TIMEOUT_S},
    )
    errors: list[str] = []
    waited_s: dict[str, float] = {}

    async def opened(
        router: StreamRouter, request_id: str, settings: dict[str, Any], expected: tuple[type, ...]
    ) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(6 * OPEN_TIMEOUT_S):
                async with router.publish(request_id, {"dialect": "chat", **settings}) as publisher:
                    await publisher.chunk(b"{}")
                    await asyncio.Event().wait()
        except expected:
            pass
        except (StreamRouterError, TimeoutError) as error:
            errors.append(f"{request_id}: {error!r}")
        waited_s[request_id] = round(time.monotonic() - began, 3)

    async def cancelled(router: StreamRouter) -> None:
        task = asyncio.create_task(opened(router, "cancelled", {}, (RequestCancelled, PoolFull)))
        await asyncio.sleep(CANCEL_AFTER_S)
        await router.cancel("cancelled")
        await task

    async with StreamRouter.start(chosen) as router:
        await asyncio.gather(
            opened(router, "refused", {}, (PoolFull,)),
            opened(router, "timed", {"request_timeout_s": 1.0}, (StreamRouterError,)),
            cancelled(router),
        )
    tally = Tally(errors=errors)
    return figures("no room for an actor", tally, 3, list(waited_s.values()), waited_s=waited_s)


async def full_disk() -> dict[str, Any]:
    """The disk of a publishing process is full for a while: its callers hear so, go on later, and lose nothing."""
    chunks = recordings(1, chunks_min=60)[0].chunks
    stream = Stream("full-disk", chunks)
    async with StreamRouter.start(config()) as router:
        publisher = child("crowd", ray.get_runtime_context().gcs_address, stream.request_id)
        reading = asyncio.create_task(read(router, stream))
        try:
            told = json.loads(await said(publisher, "done"))
        finally:
            kill(publisher)
        await reading
    tally = Tally()
    tally.count(stream)
    return figures("disk full", tally, 1, [told["full_s"]], refused=told["refused"], errno_named=told["errno_named"])


async def close_and_break() -> dict[str, Any]:
    """Under load, others beside it leave their loops and close their doors with readers, writers and waiters behind."""
    errors: list[str] = []
    heard_s: list[float] = []
    async with StreamRouter.start(config()) as router:
        load = Load(router)
        load.start()
        await until(lambda: load.is_steady, "the load is steady")
        for number in range(DOORS):
            await _leave_by(await _door(), number, load.under_way[0].request_id, errors, heard_s)
        await until(lambda: load.is_steady, "the load is steady at the end")
        tally = await load.stop()
    tally.errors += errors
    return figures("loops left, doors closed", tally, DOORS, heard_s)


async def _door() -> StreamRouter:
    address = ray.get_runtime_context().gcs_address
    return await StreamRouter.connect(NAME, address=address).__aenter__()


async def _leave_by(door: StreamRouter, number: int, under_way: str, errors: list[str], heard_s: list[float]) -> None:
    async for _ in door.subscribe(under_way):
        break
    publisher = await door.publish(f"door-{number}", {**SETTINGS.model_dump(), "buffer_bytes_max": 1000}).open()

    async def write() -> None:
        for chunk in [*recordings(1)[0].chunks] * 20:  # nobody reads: it soon waits for credit
            await publisher.chunk(chunk)

    async def wait() -> None:
        async for _ in door.subscribe("never-opened", wait_s=100.0):
            pass

    async def follow() -> None:
        async for _ in door.subscribe(f"door-{number}"):
            await asyncio.sleep(100.0)

    tasks = {task.__name__: asyncio.create_task(task()) for task in (write, wait)}
    following = asyncio.create_task(follow())
    await asyncio.sleep(0.3)
    began = time.monotonic()
    await door.close()
    await asyncio.wait(tasks.values(), timeout=HEARS_S)
    heard_s.append(time.monotonic() - began)
    for name, task in tasks.items():
        if not task.done():
            errors.append(f"door {number}: {name} still waits")
        elif not isinstance(task.exception(), RouterClosed):
            errors.append(f"door {number}: {name} heard {task.exception()!r}")
    following.cancel()
    with contextlib.suppress(asyncio.CancelledError, RouterClosed):
        await following
