"""What `router.merge` costs beside subscriptions written by hand: `python -m benchmarks.merge`.

2,000 requests of one service, each with the same messages, are read in turn by one merge and by one task a request
with a subscription of its own, in this process. The promise: the merge costs at most a tenth more CPU time of this
process. What is read has ended, so every round reads the same and nothing else is waited for. Beside it stands how soon
a merge that follows an agent has the first message of a request that appears.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

from benchmarks.measure import figure
from router import RouterConfig, StreamRouter

MOST = 1.10
PUBLISHED_AT_ONCE = 100
APPEARANCES = 40
CHUNK = {"choices": [{"index": 0, "delta": {"content": "a few words "}, "finish_reason": None}]}
Read = Callable[[StreamRouter, list[str]], Awaitable[int]]


async def by_hand(router: StreamRouter, names: list[str]) -> int:
    """Read pieces in batches, a task a request."""
    count = 0

    async def read(name: str) -> None:
        nonlocal count
        async for batch in router.subscribe(name):
            for _ in batch:
                count += 1

    await asyncio.gather(*map(read, names))
    return count


async def merged(router: StreamRouter, names: list[str]) -> int:
    """Read pieces in one loop."""
    count = 0
    async for _request_id, _message in router.merge(names, coalesce="tokens"):
        count += 1
    return count


async def by_hand_whole(router: StreamRouter, names: list[str]) -> int:
    """Read whole messages, a task a request."""
    count = 0

    async def read(name: str) -> None:
        nonlocal count
        async for _ in router.messages(name):
            count += 1

    await asyncio.gather(*map(read, names))
    return count


async def merged_whole(router: StreamRouter, names: list[str]) -> int:
    """Read whole messages in one loop."""
    count = 0
    async for _request_id, _message in router.merge(names):
        count += 1
    return count


PAIRS: dict[str, tuple[Read, Read]] = {
    "pieces": (by_hand, merged),
    "whole messages": (by_hand_whole, merged_whole),
}


async def publish(router: StreamRouter, names: list[str], pieces: int) -> None:
    """Publish the requests: so many pieces of text each, and the end."""
    room = asyncio.Semaphore(PUBLISHED_AT_ONCE)

    async def one(name: str) -> None:
        async with room, router.publish(name, {"dialect": "chat", "sealed_ttl_s": 3600.0}) as stream:
            for _ in range(pieces):
                await stream.chunk(CHUNK)

    await asyncio.gather(*map(one, names))


async def cpu_and_wall_s(read: Read, router: StreamRouter, names: list[str], expected: int) -> tuple[float, float]:
    """Return what one reading of all costs this process, and how long it takes."""
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    count = await read(router, names)
    took = time.process_time() - cpu, time.perf_counter() - wall
    if count != expected:
        raise RuntimeError(f"{read.__name__} had {count} messages, there are {expected}")
    return took


async def appearances_ms(router: StreamRouter, count: int) -> list[float]:
    """Return how long after a request is opened, and has said something, a merge that waits for it hands that out."""
    took: list[float] = []
    merge = router.merge(agent="appears", coalesce="tokens")
    for number in range(count):
        waiting = asyncio.ensure_future(anext(merge))
        await asyncio.sleep(random.uniform(0.1, 0.4))  # until it waits, at no particular moment
        async with router.publish(f"appears-{number}", {"dialect": "chat"}, agent_id="appears") as stream:
            began = time.perf_counter()
            await stream.chunk(CHUNK)
            await waiting
            took.append(1e3 * (time.perf_counter() - began))
        for _ in range(2):  # the stop reason and the usage
            await anext(merge)
    await merge.aclose()
    return took


async def run(requests: int, pieces: int, rounds: int) -> int:
    """Measure both ways in turn; return the exit status."""
    config = RouterConfig.model_validate(
        {
            "name": "merge-benchmark",
            "ray": {"num_cpus": 2},
            "stream_actors": {
                "max_actors": 2,
                "warm_actors": 2,
                "packed_streams_per_actor": 1,
                "max_streams_per_actor": requests,
            },
        }
    )
    names = [f"request-{number}" for number in range(requests)]
    status = 0
    async with StreamRouter.start(config) as router:
        appeared = figure(await appearances_ms(router, APPEARANCES))
        sys.stdout.write(f"a request that appears is handed out after {appeared} ms\n")
        await publish(router, names, pieces)
        for what, (hand, merge) in PAIRS.items():
            expected = requests * ((pieces if what == "pieces" else 1) + 2)  # the stop reason and the usage
            cpu: dict[Read, list[float]] = {hand: [], merge: []}
            wall: dict[Read, list[float]] = {hand: [], merge: []}
            for at in range(rounds + 1):
                for read in (hand, merge) if at % 2 else (merge, hand):
                    took = await cpu_and_wall_s(read, router, names, expected)
                    if at:  # the first round warms up
                        cpu[read].append(took[0])
                        wall[read].append(took[1])
            ratio = statistics.median(cpu[merge]) / statistics.median(cpu[hand])
            walls = statistics.median(wall[merge]) / statistics.median(wall[hand])
            for read in (hand, merge):
                costs = f"cpu_s {figure(cpu[read])}  wall_s {figure(wall[read])}"
                sys.stdout.write(f"{what:<15} {read.__name__:<14} {costs}\n")
            sys.stdout.write(f"{what:<15} merged / by hand: cpu {ratio:.3f}, wall {walls:.3f}; at most {MOST:g}\n")
            status |= ratio > MOST
    return status


def main() -> int:
    """Print figures; exit status 1 where the merge costs more than is promised."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--pieces", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    return asyncio.run(run(options.requests, options.pieces, options.rounds))


if __name__ == "__main__":
    sys.exit(main())
