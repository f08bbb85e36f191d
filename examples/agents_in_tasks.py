"""Many agents, each a Ray task somewhere on the cluster; one driver reads them all, live.

    python examples/agents_in_tasks.py --agents 40

A task is an ordinary function: it finds the router by name and publishes, without asyncio. The chunks come from
recorded streams of real providers here; in a task of your own they come from your provider's SDK.
"""

from __future__ import annotations

import argparse
import asyncio
import time
import uuid
from collections import Counter
from pathlib import Path

import ray

from router import StreamRouter
from router.config import RouterConfig
from router.demo import RECORDINGS
from router.sources import load_payloads

PACE_S = 0.005
RECORDED = sorted(str(file) for file in Path(RECORDINGS).glob("*.sse"))


@ray.remote(num_cpus=0.1)
def agent(router_name: str, request_id: str, recording: str) -> str | None:
    """Publish one recorded stream; return how the request ended."""
    with StreamRouter.connect(router_name) as router, router.publish(request_id, {"dialect": "chat"}) as stream:
        for payload in load_payloads(recording):
            stream.chunk(payload)
            time.sleep(PACE_S)
    return stream.stop_reason


async def read(router: StreamRouter, request_id: str) -> tuple[int, str | None]:
    """Read one request to its end; return how many messages came and why it ended."""
    messages, stop_reason = 0, None
    async for batch in router.subscribe(request_id, wait_s=120.0):
        messages += len(batch)
        stop_reason = batch.stop_reason or stop_reason
    return messages, stop_reason


async def main() -> None:
    """Start a router, send the agents off, read what they say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=12)
    given = parser.parse_args()
    run = uuid.uuid4().hex[:6]
    async with StreamRouter.start(RouterConfig.model_validate({"name": f"tasks-{run}"})) as router:
        planned = [(f"{run}-{n}", RECORDED[n % len(RECORDED)]) for n in range(given.agents)]
        tasks = [agent.remote(router.config.name, request_id, recording) for request_id, recording in planned]
        # All of them share one long poll per stream actor, however many they are.
        outcomes = await asyncio.gather(*(read(router, request_id) for request_id, _ in planned))
        said = await asyncio.gather(*tasks)
    for (request_id, recording), (messages, stop_reason) in zip(planned, outcomes, strict=True):
        print(f"{request_id}  {Path(recording).stem:45} {messages:5} messages  {stop_reason}")
    ends = Counter(stop_reason for _, stop_reason in outcomes)
    print(f"{len(planned)} agents: {', '.join(f'{count} {reason}' for reason, count in ends.items())}")
    if said != [stop_reason for _, stop_reason in outcomes]:
        raise SystemExit("a reader saw another end than its agent")


if __name__ == "__main__":
    asyncio.run(main())
