"""What a chunk costs each party whole, at saturation: with its event loop, its tasks and its sockets, without Ray.

It stands between the stages (`stages.py`), which are pure code in loops of their own, and the processes on Ray, which
take turns on shared cores: all that a process runs for a chunk is run here, by the product's own objects in four event
loops of one process (`parties.py`), one behind the other on one core. So there is in it what no stage has: coroutines,
tasks, what frees the messages of a batch.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from collections.abc import Sequence

from actors.shell import keep_freed_memory
from benchmarks.chunks import stream_of
from benchmarks.parties import PUBLISHER, READER, Parties

NS_PER_US = 1e3
STREAMS = 512
CHUNKS = 100
STUCK_S = 60.0


class Saturated(Parties):
    """Publishers that send a row of chunks as fast as it is taken, and readers of models."""

    def __init__(self, streams: int) -> None:
        super().__init__(streams)
        self._row: Sequence[bytes] = []

    async def _publish(self, number: int, request_id: str) -> None:
        loop = asyncio.get_running_loop()
        async with self._clients[PUBLISHER].publish(request_id, {"dialect": "chat"}) as stream:
            while True:
                wanted = self._wanted[number] = loop.create_future()
                await wanted
                for chunk in self._row:
                    await stream.chunk(chunk)

    async def _read(self, request_id: str) -> None:
        async for batch in self._clients[READER].subscribe(request_id):
            self.messages += len(batch.messages)

    def carry(self, row: Sequence[bytes]) -> dict[str, int]:
        """Carry these chunks on every stream; return the CPU that each party used, ns. Raises TimeoutError."""
        used_ns: Counter[str] = Counter()
        self._row = row
        for number in range(self.streams):
            self.give(number, b"")
        until, wanted = time.monotonic() + STUCK_S, self.messages + self.streams * len(row)
        while self.messages < wanted or any(party.has_work for party in self.all):
            if time.monotonic() > until:
                raise TimeoutError(f"{wanted - self.messages} messages have not come within {STUCK_S:g} s")
            for party in self.all:
                if party.has_work:
                    began = time.thread_time_ns()
                    party.turn()
                    used_ns[party.name] += time.thread_time_ns() - began
        return dict(used_ns)


def by_party(rounds: int, streams: int = STREAMS, chunks: int = CHUNKS) -> dict[str, float]:
    """Return what a chunk costs each party, µs: the least of so many rounds of `chunks` on each of `streams`."""
    keep_freed_memory()  # as routers and stream actors do
    row = stream_of(chunks)
    with Saturated(streams) as parties:
        parties.carry(row)
        gc.collect()
        gc.disable()  # as good as: in these processes it runs seldom
        try:
            found = [parties.carry(row) for _ in range(rounds)]
        finally:
            gc.enable()
    return {name: min(used[name] for used in found) / NS_PER_US / (streams * chunks) for name in found[0]}
