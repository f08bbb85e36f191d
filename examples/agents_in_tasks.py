"""Many agents, each a Ray task somewhere on the cluster; one driver has their results as they end.

    python examples/agents_in_tasks.py --agents 40

An agent is a generator of chunks. They come from recorded streams of real providers here; in an agent of your own they
come from your provider's SDK.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from router import StreamRouter
from router.demo import RECORDINGS
from router.sources import load_payloads

PACE_S = 0.005
RECORDED = sorted(str(file) for file in Path(RECORDINGS).glob("*.sse"))


def agent(recording: str) -> Iterator[bytes]:
    """Say what was recorded."""
    for payload in load_payloads(recording):
        yield payload
        time.sleep(PACE_S)


async def main() -> None:
    """Start a router, send the agents off, show what they came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=12)
    given = parser.parse_args()
    recordings = [RECORDED[n % len(RECORDED)] for n in range(given.agents)]
    ends: Counter[str] = Counter()
    async with StreamRouter.start() as router:
        results = router.map(
            agent, recordings, name="agent", settings={"dialect": "chat"}, raise_failed=False, progress=True
        )
        async for result in results:
            recording = Path(recordings[int(result.request_id.removeprefix("agent-")) - 1]).stem
            print(f"{result.request_id:9} {recording:45} {len(result.messages):5} messages  {result.stop_reason}")
            ends[result.stop_reason] += 1
    print(f"{given.agents} agents: {', '.join(f'{count} {reason}' for reason, count in ends.items())}")


if __name__ == "__main__":
    asyncio.run(main())
