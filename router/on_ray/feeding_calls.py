"""The calls of a router actor that bring it the frames of publishers, through Ray or a socket; news is the answer.

Theory. Both means bring the same frames, which may come twice. Through Ray each call is answered. Through a socket,
calls follow each other, and one answer says late of all before it that they came, unless there is news.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from actors.errors import ProtocolViolation
from actors.protocol.calls import check_caller
from actors.protocol.frames import pack, unpack_list
from actors.transport.door import Reply
from actors.transport.late_answers import LateAnswers
from actors.transport.posting import NOT_TAKEN
from router.core.doors import Doors
from router.core.registry import Registry


class FeedingCalls(ABC):
    """What `RouterActor` takes from publishers, chunk after chunk."""

    _begun: asyncio.Task[None] | None
    _registry: Registry
    _doors: Doors
    _forward: Callable[[str, list[Any], float], None]
    _late: LateAnswers

    @abstractmethod
    async def _ready(self) -> None:
        """Return when this router knows what it is to know."""

    @abstractmethod
    def _after_event(self) -> None:
        """Perform what the registry names."""

    async def feed(self, client_id: str, seen: list[Any], *frames: bytes) -> bytes:
        """Take frames of a publisher's `ItemsEnvelope`s; return its `News`."""
        if self._begun is None or not self._begun.done():
            await self._ready()
        now = time.monotonic()
        self._take(client_id, seen, frames, now)
        return pack(self._doors.news(client_id, seen, now))

    def post(self, client_id: str, seen: list[Any], frames: list[bytes], at_once: bool, reply: Reply) -> None:  # noqa: FBT001  # a call
        """Take frames as `feed` does, through a socket; without news they are answered late, unless it is `at_once`."""
        if self._begun is None or not self._begun.done():
            reply.last(NOT_TAKEN)
            return
        self._take(client_id, seen, frames, time.monotonic())
        if at_once or self._registry.clients.has_unseen(client_id, seen):
            self._late.given(client_id)
            self._give_news(client_id, seen, reply)
        else:
            self._late.owe(client_id, partial(self._give_news, client_id, seen, reply))

    def _give_news(self, client_id: str, seen: list[Any], reply: Reply) -> None:
        reply.last(pack(self._doors.news(client_id, seen, time.monotonic())))

    def _take(self, client_id: str, seen: list[Any], frames: Sequence[bytes], now: float) -> None:
        """Take frames of `ItemsEnvelope`s. Raises ProtocolViolation, NotPermitted."""
        try:
            check_caller(client_id, seen)
        except ProtocolViolation as error:
            self._registry.refuse(error)
            raise
        for frame in frames:
            self._forward(client_id, self._read_list(frame), now)
        self._after_event()

    def _read_list(self, frame: bytes) -> list[Any]:
        try:
            return unpack_list(frame)
        except ProtocolViolation as error:
            self._registry.refuse(error)
            raise
