"""Sockets between processes break under load: cut at any moment, in the middle of a frame, without a place to meet."""

from __future__ import annotations

import os
import shutil
import time
from typing import Any

from actors.transport import local
from actors.transport.connection import Connection
from actors.transport.line import Line
from actors.transport.stream_codec import encode_call
from router import StreamRouter

from .common import config, figures, until
from .load import Load

CUTS = 24
# Every so often the directory is gone too, and a file stands in its place.
DIRECTORY_EVERY = 6


def _lines(router: StreamRouter) -> list[Line]:
    return [*(link.line for link in router._links), *(line for _, line in router._pollers.lines())]


def _connections(router: StreamRouter) -> list[Connection]:
    return [line.connection for line in _lines(router) if line.connection is not None]


def _cut(connection: Connection, number: int) -> None:
    transport = connection._transport
    if transport is None:
        return
    if number % 2:
        (call,) = encode_call(number, "feed", (os.urandom(64),))
        transport.write(call[:20])
        transport.close()  # what is written arrives, and is half a call
    else:
        transport.abort()


async def cut_sockets() -> dict[str, Any]:
    """This process's sockets to the router and to its stream actors are cut, again and again."""
    cuts, recoveries_s = 0, []
    folder = local.directory()
    async with StreamRouter.start(config()) as router:
        load = Load(router)
        load.start()
        for number in range(CUTS):
            await until(lambda: load.is_steady, f"the load is steady before cut {number + 1}")
            await until(lambda: len(_connections(router)) > 1, f"they have met before cut {number + 1}")
            is_without_place = number % DIRECTORY_EVERY == DIRECTORY_EVERY - 1
            if is_without_place:
                shutil.rmtree(folder)
                folder.touch()
            at = time.monotonic()
            for connection in _connections(router):
                _cut(connection, number)
                cuts += 1
            hit = [stream for stream in load.under_way if not stream.ended]
            await until(
                lambda at=at, hit=hit: all(s.ended or s.recovery_s(at, at) is not None for s in hit),
                f"the streams go on after cut {number + 1}",
            )
            recoveries_s += [found for s in hit if (found := s.recovery_s(at, at)) is not None]
            if is_without_place:
                folder.unlink()
            for line in _lines(router):
                line._meet_at = 0.0  # they would meet again within seconds
        tally = await load.stop()
    return figures("sockets cut", tally, cuts, recoveries_s)
