"""A router's side of its archive: what has ended is handed to an archivist, a batch at a time.

Nothing here waits in a stream's way. A batch that may not have been written is handed over again, with growing
pauses, for as long as it takes; what waits meanwhile is bounded (`archive.queue_bytes_max`).
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Iterable
from typing import Any

from ray.exceptions import ActorDiedError

from actors.errors import RouterUnavailable
from actors.protocol.backoff import Backoff
from actors.shell import wait_at_most
from router.archive.archivist import Archivist
from router.archive.plan import Batch, Ended, Pending
from router.config import RouterConfig
from router.core.registry import Registry
from router.on_ray import actors as ray_actors

log: logging.Logger = logging.getLogger("router.archive")

WRITE_DEADLINE_S = 120.0
FIND_DEADLINE_S = 30.0
LAST_WORDS_S = 5.0
BACKOFF_S = 1.0
BACKOFF_S_MAX = 60.0


class Archiving:
    """Archives what one router actor keeps; does nothing where `archive.folder` is not set."""

    def __init__(self, config: RouterConfig, shard: int, incarnation: str, registry: Registry) -> None:
        archive = config.archive
        self.is_on: bool = archive.folder is not None
        self._config = config
        self._shard = shard
        self._registry = registry
        self._pending = Pending(
            f"{config.name}-{shard}-{incarnation[:12]}",
            requests_max=archive.batch_requests,
            bytes_max=archive.batch_bytes,
            wait_s=archive.wait_s,
            queue_bytes_max=archive.queue_bytes_max,
        )
        self._made: Any = None
        self._making = asyncio.Lock()
        self._is_full = asyncio.Event()
        self._writing = asyncio.Lock()
        self._told_dropped = 0

    async def _ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of the archivist. Raises RayError, and what keeps it from being started."""
        async with self._making:
            if self._made is None:
                # In a thread: where Ray's control store stands still, this router must not.
                self._made = await asyncio.to_thread(ray_actors.make_archivist, Archivist, self._config, self._shard)
        try:
            return await getattr(self._made, method).remote(*arguments)
        except ActorDiedError:
            self._made = None  # it could not begin, and another one may
            raise

    def take(self, request_ids: Iterable[str]) -> None:
        """Take requests whose log the router has just come to keep."""
        if not self.is_on:
            return
        now, wall = time.monotonic(), time.time()
        for request_id in request_ids:
            request = self._registry.requests.get(request_id)
            if request is None or request.log is None:
                continue
            opened_at = wall - (now - request.opened_at)
            named = (request_id, request.epoch, request.agent_id, request.date)
            ended = Ended(*named, opened_at, wall, request.log, request.labels)
            if self._pending.offer(ended, now):
                self._is_full.set()
        if self._pending.dropped > self._told_dropped:
            log.error("%d ended requests were not archived: the store takes too little", self._pending.dropped)
            self._told_dropped = self._pending.dropped

    async def keep_writing(self) -> None:
        """Write what is due, for as long as the router lives."""
        backoff = Backoff(BACKOFF_S, BACKOFF_S_MAX)
        while self.is_on:
            await wait_at_most(self._is_full.wait(), self._config.archive.wait_s / 2)
            self._is_full.clear()
            if await self._write_next(at_once=False):
                backoff.reset()
            else:
                await asyncio.sleep(backoff.next_s(random.random()))

    async def _write_next(self, *, at_once: bool) -> bool:
        """Write all that is due; False where a batch could not be written."""
        async with self._writing:
            while (batch := self._pending.take(time.monotonic(), at_once=at_once)) is not None:
                if not await self._write(batch):
                    self._pending.put_back(batch)
                    return False
                self._pending.written(batch)
        return True

    async def _write(self, batch: Batch) -> bool:
        parts = [batch.day, batch.name, [tuple(ended) for ended in batch.requests]]
        try:
            await asyncio.wait_for(self._ask("write", parts), WRITE_DEADLINE_S)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is tried again, and told
            log.warning("%s of the archive is not written yet: %s", batch.name, _last_line(error))
            return False
        return True

    async def find(self, full_name: str) -> bytes | None:
        """Return the log of a request that is in the archive. Raises RouterUnavailable."""
        if not self.is_on:
            return None
        try:
            log_found: bytes | None = await asyncio.wait_for(self._ask("find", full_name), FIND_DEADLINE_S)
        except Exception as error:  # noqa: BLE001  # as above
            raise RouterUnavailable(f"the archive does not answer: {_last_line(error)}") from None
        return log_found

    async def close(self) -> None:
        """Write what waits, for a moment at most."""
        if self.is_on and len(self._pending):
            await wait_at_most(self._write_next(at_once=True), LAST_WORDS_S)


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1][:300]
