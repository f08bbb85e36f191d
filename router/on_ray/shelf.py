"""Ended requests that no stream actor can hold: the router's own process serves them to readers.

It is a stream actor in all but its process: readers poll the router's handle as they poll a stream actor's. It
exists only where it is needed, and what it holds moves to the first stream actor that answers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING

from actors.messages import LettaMessage
from actors.protocol.envelopes import Envelope
from actors.protocol.frames import cut_into_frames, unpack_list
from actors.stream.stream_actor import StreamActor
from actors.transport.door import Reply
from router.core.lifecycle import ROUTER_ITSELF

Report = Callable[[str, bytes], Awaitable[None]]


class Shelf:
    """Logs of ended requests in the router's own process."""

    def __init__(self, incarnation: str, report: Report, pass_key: bytes | None = None) -> None:
        self._incarnation = incarnation
        self._pass_key = pass_key
        self._frame_no = 0
        router = SimpleNamespace(report=SimpleNamespace(remote=report))
        self.actor: StreamActor = StreamActor(ROUTER_ITSELF, router)

    async def take(self, envelopes: list[Envelope]) -> list[list[object]]:
        """Take envelopes in order; return the reports."""
        if not self._frame_no:
            await self.actor.start(self._incarnation, self._pass_key)
        self._frame_no += 1
        answer = await self.actor.feed(self._incarnation, self._frame_no, *cut_into_frames(envelopes))
        return unpack_list(answer)


class ShelfCalls:
    """What a router actor has of a stream actor's calls: what no stream actor can hold is read here."""

    if TYPE_CHECKING:

        @property
        def _shelf(self) -> Shelf: ...

    async def poll(self, frame: bytes) -> bytes:
        """See `StreamActor.poll`."""
        return await self._shelf.actor.poll(frame)

    def follow(self, frame: bytes, reply: Reply) -> None:
        """See `StreamActor.follow`."""
        self._shelf.actor.follow(frame, reply)

    async def tell(self, frame: bytes) -> None:
        """See `StreamActor.tell`."""
        await self._shelf.actor.tell(frame)

    async def pull(
        self,
        request_id: str,
        after_seq: int = 0,
        max_messages: int = 256,
        wait_s: float = 10.0,
        reader_id: str = "",
    ) -> list[LettaMessage]:
        """See `StreamActor.pull`."""
        return await self._shelf.actor.pull(request_id, after_seq, max_messages, wait_s, reader_id)
