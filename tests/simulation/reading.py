"""Reading: what one reader has been given, over all its subscriptions and processes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from actors.errors import RequestLost, RouterClosed, StreamRouterError, UnknownRequest
from router.client.stream_router import StreamRouter

from .loop import Process
from .program import Program
from .scenario import ReaderPlan
from .truth import Message

if TYPE_CHECKING:
    from .judgement import Request


class Reading:
    """What one reader has been given, over all its subscriptions and processes."""

    def __init__(self, name: str, plan: ReaderPlan) -> None:
        self.name = name
        self.plan = plan
        self.messages: list[Message] = []
        self.cursor = 0
        self.gaps: list[tuple[int, int]] = []
        self.ended = False
        self.stop_reason: str | None = None
        self.error: StreamRouterError | None = None
        self.problems: list[str] = []
        self.has_moved = False
        self.reopened = False
        self.has_left = False

    def take(self, batch: Any, request: Request) -> None:
        if self.ended:
            self.problems.append("a batch came after the end")
        if batch.gap is not None:
            settings = request.plan.settings
            first, last = batch.gap
            self.gaps.append(batch.gap)
            if settings.when_full != "drop_oldest" and settings.retain_bytes_max > 1000 and batch.stop_reason != "lost":
                self.problems.append(f"a gap {batch.gap} that no retention explains")
            if first != self.cursor + 1:
                self.problems.append(f"a gap {batch.gap} at cursor {self.cursor}")
            self.cursor = last
        for message in batch:
            if message["seq_id"] != self.cursor + 1:
                self.problems.append(f"message {message['seq_id']} follows {self.cursor}")
            self.cursor = message["seq_id"]
            self.messages.append(message)
        if batch.last_seq_id != self.cursor:
            self.problems.append(f"a batch says {batch.last_seq_id} and ends with {self.cursor}")
        if batch.stop_reason is not None:
            if self.stop_reason is not None:
                self.problems.append(f"a second terminal {batch.stop_reason}, after {self.stop_reason}")
            self.stop_reason = batch.stop_reason
        if batch.end:
            self.ended = True
            if self.stop_reason is None and self.reopened:
                # It came back between the two messages of the terminal, or behind both.
                said = (m["stop_reason"] for m in self.messages if m["message_type"] == "stop_reason")
                self.stop_reason = next(said, None)


class ReadProgram(Program):
    """Reads a request to its end, at its pace; a late one begins when all has been said."""

    def __init__(self, request: Request, reading: Reading) -> None:
        super().__init__(reading.name)
        self.request = request
        self.reading = reading
        self._has_begun = False

    @property
    def waits_on_door(self) -> bool:
        """See `Program`; before it begins it waits of its own accord."""
        return self._has_begun

    def describe(self) -> str:
        return f"{self.name} (at {self.reading.cursor})"

    async def act(self, client: StreamRouter) -> None:
        plan, reading, request = self.reading.plan, self.reading, self.request
        if plan.is_late:
            # Where nobody reads, a publisher without credit waits for this reader.
            while not request.is_published and request.world.loop.now < request.world.scenario.quiet_at_s + 10.0:
                await asyncio.sleep(0.2)
        await asyncio.sleep(plan.starts_s)
        self._has_begun = True
        while not reading.ended and reading.error is None and not reading.has_left:
            try:
                await self._read(client)
            except StreamRouterError as error:
                reading.error = error
                if not self._is_allowed(error):
                    reading.problems.append(f"{type(error).__name__}: {error}")
        request.world.tell(f"{self.name} ended at {reading.cursor} ({reading.stop_reason}, {reading.error!r})")

    def _is_allowed(self, error: StreamRouterError) -> bool:
        request, world = self.request, self.request.world
        if isinstance(error, UnknownRequest):
            # A router that was stopped may have had no time to tell of an end before it forgot it. And one without memory
            # lets in who asks for an ID that nobody names to it; what was read of the first is then no more.
            was_let_in_twice = len(request.opened) > 1
            is_served = any(publisher.is_well for publisher in request.publishers)
            return request.is_out_of_time() or was_let_in_twice or not is_served
        if isinstance(error, RequestLost):
            return request.may_end_twice()
        return isinstance(error, RouterClosed) and self.number in world.faults.closed_at

    async def _read(self, client: StreamRouter) -> None:
        plan, reading = self.reading.plan, self.reading
        # Where places are few a request may wait for one longer than that, and is not there yet for its readers.
        wait_s = 25.0 if plan.is_late and not self.request.world.has_few_places else 60.0
        subscription = client.subscribe(
            self.request.plan.request_id, after=reading.cursor, format="dict", wait_s=wait_s
        )
        batches = 0
        async for batch in subscription:
            reading.take(batch, self.request)
            batches += 1
            if batch.end:
                return
            if plan.leaves_after and batches >= plan.leaves_after:
                reading.has_left = True
                break  # as one does: nobody closes anything
            if plan.reopens_every and batches >= plan.reopens_every:
                reading.reopened = True
                await subscription.aclose()
                return
            if plan.pause_s:
                await asyncio.sleep(plan.pause_s)
        reading.ended = not reading.has_left  # its check says whether with one terminal

    def process_died(self, process: Process) -> None:
        reading, world = self.reading, self.request.world
        moves_to = reading.plan.moves_to
        if process is not self.process or self.ended or moves_to is None or reading.has_moved:
            return
        if world.processes[moves_to].alive:
            reading.has_moved = reading.reopened = True
            world.start(ReadProgram(self.request, reading), moves_to)
