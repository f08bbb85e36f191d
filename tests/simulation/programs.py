"""What the users of a simulated world do, and what they must find: publishing, reading, cancelling."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from actors.errors import (
    AgentBusy,
    BufferFull,
    DuplicateRequest,
    LimitExceeded,
    PoolFull,
    RequestCancelled,
    RequestEnded,
    RequestLost,
    StreamRouterError,
    UnknownRequest,
)
from router.client.stream_router import StreamRouter

from .loop import Process
from .scenario import ReaderPlan, RequestPlan
from .truth import DATE, Message, Truth

if TYPE_CHECKING:
    from .world import World

OBSERVER = -1
NATURAL_ENDS = ("end_turn", "tool_call", "incomplete")
SHORT_TIMER_S = 10.0
# A router, or a process that is stopped or cut off for so long, may be given up by the others.
GIVEN_UP_S = 3.0


class Program:
    """Something that runs in a client process and must end."""

    process: Process
    number: int

    def __init__(self, name: str) -> None:
        self.name = name
        self.ended = False

    @property
    def is_done(self) -> bool:
        return self.ended or not self.process.alive

    def describe(self) -> str:
        return self.name

    async def run(self, client: StreamRouter) -> None:
        try:
            await self.act(client)
        finally:
            self.ended = True

    async def act(self, client: StreamRouter) -> None:
        raise NotImplementedError

    def process_died(self, process: Process) -> None:
        """A process died, perhaps this program's."""


class Request:
    """One request of the scenario: its programs, what they saw, and whether that is right."""

    def __init__(self, world: World, plan: RequestPlan) -> None:
        self.world = world
        self.plan = plan
        self.items = [op for op in plan.ops if op[0] != "sleep"]
        self.publishers: list[PublishProgram] = []
        self.readings: list[Reading] = []
        self.cancel_is_asked = False
        self.was_taken_over = False
        self.must_be_cancelled = False

    def begin(self) -> None:
        world, plan = self.world, self.plan
        self.publishers.append(PublishProgram(self, takes_over=False))
        world.start(self.publishers[0], plan.process)
        if plan.successor is not None and plan.successor != plan.process:
            self.publishers.append(PublishProgram(self, takes_over=True))
            world.start(self.publishers[1], plan.successor)
        for number, reader in enumerate(plan.readers):
            reading = Reading(f"{plan.request_id} reader {number}", reader)
            self.readings.append(reading)
            world.start(ReadProgram(self, reading), OBSERVER if reader.is_late else reader.process)
        if plan.cancel_s is not None:
            world.start(CancelProgram(self), OBSERVER)

    @property
    def is_published(self) -> bool:
        """Whether nobody will publish to it any more."""
        return all(program.is_done for program in self.publishers)

    # --- what must hold ---------------------------------------------------------------------------

    def check(self) -> None:
        ends: dict[str, list[str]] = {}
        known: dict[int, Message] = {}
        truth = Truth(self.plan.request_id, self.plan.settings, self.items)
        for reading in self.readings:
            for problem in reading.problems:
                self._fail(reading, problem)
            if reading.ended:
                self._check_whole(reading, truth)
                ends.setdefault(reading.stop_reason or "none", []).append(reading.name)
            else:
                self._check_part(reading, truth)
            if reading.stop_reason == "lost":
                continue
            for message in reading.messages:
                seq_id = message["seq_id"]
                if known.setdefault(seq_id, message) != message and not self.may_be_gone():
                    self._fail(reading, f"message {seq_id} is {message}, another reader has {known[seq_id]}")
        if len(ends) > 1 and not self.may_be_gone():
            self.world.fail(f"{self.plan.request_id} ended in different ways: {ends}")
        for program in self.publishers:
            if program.stop_reason is not None and ends and program.stop_reason not in ends and not self.may_be_gone():
                self.world.fail(f"{program.name} saw the end {program.stop_reason}, readers {ends}")
            if program.stop_reason is not None and program.error is None and program.finished:
                for reading in self.readings:
                    is_excused = self.may_be_gone() or (self.world.router_downs and self._publisher_trouble())
                    if not reading.ended and reading.error is not None and not is_excused:
                        self._fail(reading, f"its publisher has finished it, but: {reading.error!r}")
        for reason in ends:
            excuse = self._why_not(reason)
            if excuse is not None:
                self.world.fail(f"{self.plan.request_id} ended as {reason}, but {excuse}")

    def _fail(self, reading: Reading, text: str) -> None:
        self.world.fail(f"{reading.name}: {text}")

    def _check_whole(self, reading: Reading, truth: Truth) -> None:
        messages = reading.messages
        terminals = [m for m in messages if m["message_type"] == "stop_reason"]
        if not terminals and reading.reopened and self.may_be_gone():
            return  # resumed at the very place where, after several deaths at once, the request has ended anew
        if len(terminals) != 1:
            self._fail(reading, f"{len(terminals)} terminals")
            return
        if [m["message_type"] for m in messages[-2:]] != ["stop_reason", "usage_statistics"]:
            self._fail(reading, f"does not end with stop reason and usage: {[m['message_type'] for m in messages]}")
        if terminals[0]["stop_reason"] != reading.stop_reason:
            self._fail(reading, f"batch said {reading.stop_reason}, message {terminals[0]['stop_reason']}")
        reason = reading.stop_reason
        if reason == "lost" or (reason == "cancelled" and self.may_be_gone()):
            # Ended where its survivors believed that it stood; what was read is right all the same.
            self._check_equal(reading, messages[:-2], truth.messages)
            return
        if reason in ("cancelled", "publisher_lost") and messages[0]["id"] == f"end-{self.plan.request_id}":
            if [m["seq_id"] for m in messages] != [1, 2]:
                self._fail(reading, f"ended without a session, but with messages: {messages}")
            return
        candidates = self._candidates(reason, messages[-1]["seq_id"], truth)
        wanted = [_without_words(m) for m in messages]
        best = None
        for candidate in candidates:
            found = [_without_words(m) for m in candidate]
            by_seq = {m["seq_id"]: m for m in found}
            if all(by_seq.get(m["seq_id"]) == m for m in wanted) and len(candidate) == messages[-1]["seq_id"]:
                return
            best = best or found
        self._fail(reading, f"wrong messages for {reason}: {_difference(wanted, best)}")

    def _candidates(self, reason: str | None, last_seq: int, truth: Truth) -> list[list[Message]]:
        outside = reason == "cancelled" or reason == "publisher_lost" or str(reason).startswith("timeout")
        if not outside:
            found = [truth.whole(count, None) for count in truth.last_items()]
            if reason == "error" and self.plan.settings.when_full == "fail":
                found += [truth.whole(count, "error", ("buffer_full", "")) for count in range(len(truth.items) + 1)]
            return found
        # Between the last visible item and the terminal's two there may be what was held back.
        counts = [n for n, length in enumerate(truth.after_item) if length + 2 <= last_seq <= length + 12]
        return [truth.whole(count, reason) for count in counts]

    def _check_part(self, reading: Reading, truth: Truth) -> None:
        if any(m["message_type"] == "stop_reason" for m in reading.messages) and reading.error is None:
            return  # killed between the terminal and the end: compared with the others
        self._check_equal(reading, reading.messages, truth.messages)

    def _check_equal(self, reading: Reading, messages: list[Message], right: list[Message]) -> None:
        for message in messages:
            seq_id = message["seq_id"]
            if seq_id > len(right) or right[seq_id - 1] != message:
                expected = right[seq_id - 1] if seq_id <= len(right) else None
                if message["message_type"] in ("stop_reason", "usage_statistics", "error_message"):
                    continue  # of an end that cut it off: compared with the other readers
                self._fail(reading, f"message {seq_id} is {message}, right is {expected}")
                return

    # --- excuses ----------------------------------------------------------------------------------

    def _publisher_trouble(self) -> bool:
        troubles = self.world.process_troubles
        return self.world.scenario.is_harsh or any(
            seconds >= GIVEN_UP_S for program in self.publishers for _, _, seconds in troubles.get(program.number, ())
        )

    def _why_not(self, reason: str) -> str | None:
        """Return what is wrong with this end; None where the scenario explains it."""
        plan, world = self.plan, self.world
        if self.must_be_cancelled and not world.scenario.is_harsh and reason in NATURAL_ENDS and not self.may_be_gone():
            return "it was cancelled before its publisher had finished"
        if reason == "cancelled":
            if not self.cancel_is_asked and plan.agent_id is None:
                return "nobody cancelled it"
        elif reason.startswith("timeout"):
            timer = {
                "timeout_request": plan.settings.request_timeout_s,
                "timeout_stall": plan.settings.stall_timeout_s,
                "timeout_first_message": plan.settings.first_message_timeout_s,
                "timeout_idle_reader": plan.settings.idle_reader_timeout_s,
            }[reason]
            if timer is None or timer > SHORT_TIMER_S:
                return "that timer was long: somebody was stuck"
        elif reason == "publisher_lost":
            if not self._publisher_trouble() and not self._may_open_late() and not self.may_be_gone():
                return "its publisher was well"
        elif reason == "lost":
            if not (self._publisher_trouble() or self.was_taken_over or self._may_open_late()):
                return "its publisher could have replayed"
            # What only a router had, on its way to an actor, may be lost with it and the publisher.
            if not world.deaths and not world.router_downs:
                return "no stream actor and no router died"
        return None

    def _may_open_late(self) -> bool:
        """Whether an open that was late may come to nobody: after a refusal, or when all is over and forgotten."""
        return isinstance(self.publishers[0].error, (PoolFull, LimitExceeded)) or (
            self.may_be_gone() and any(program.is_done for program in self.publishers)
        )

    def may_be_gone(self) -> bool:
        """Whether nobody need know the request any more: time-to-live, or router and actor dead at once."""
        world = self.world
        sealed_at = world.sealed_seen_at.get(self.plan.request_id)
        if sealed_at is not None and world.loop.now >= sealed_at + self.plan.settings.sealed_ttl_s - 1.0:
            return True
        return world.have_died_together()


def _without_words(message: Message) -> Message:
    """Return a message without the free text of its end."""
    if message["message_type"] in ("stop_reason", "error_message"):
        return {k: v for k, v in message.items() if k not in ("detail", "message", "error_type")}
    return message


def _difference(found: list[Message], right: list[Message] | None) -> str:
    if right is None:
        return f"no way to end gives {len(found)} messages: {[(m['seq_id'], m['message_type']) for m in found]}"
    by_seq = {m["seq_id"]: m for m in right}
    for message in found:
        if by_seq.get(message["seq_id"]) != message:
            return f"{message} instead of {by_seq.get(message['seq_id'])}"
    return f"{len(found)} messages up to {found[-1]['seq_id']}, right are {len(right)}"


# --- publishing ---------------------------------------------------------------------------------------


class PublishProgram(Program):
    """Publishes a request; a successor waits for its predecessor's death and takes over."""

    def __init__(self, request: Request, *, takes_over: bool) -> None:
        super().__init__(f"{request.plan.request_id} {'successor' if takes_over else 'publisher'}")
        self.request = request
        self.takes_over = takes_over
        self.stop_reason: str | None = None
        self.error: StreamRouterError | None = None
        self.finished = False
        self.at = "not begun"

    def describe(self) -> str:
        return f"{self.name} ({self.at})"

    async def act(self, client: StreamRouter) -> None:
        plan = self.request.plan
        if not self.takes_over:
            await asyncio.sleep(plan.starts_s)
            await self._publish(client, take_over=False)
            return
        first = self.request.publishers[0]
        self.at = "waiting for its predecessor"
        while not first.is_done:
            await asyncio.sleep(0.5)
        while not first.ended:
            await self._publish(client, take_over=True)
            if not isinstance(self.error, DuplicateRequest):
                return
            self.error = None
            await asyncio.sleep(1.0)

    async def _publish(self, client: StreamRouter, *, take_over: bool) -> None:
        plan, world = self.request.plan, self.request.world
        publisher = client.publish(
            plan.request_id,
            plan.settings,
            date=DATE,
            agent_id=plan.agent_id,
            when_busy=plan.when_busy,  # type: ignore[arg-type]  # drawn from the three
            take_over=take_over,
        )
        self.at = "opening"
        try:
            async with publisher as stream:
                start = stream.next_seq - 1 if take_over else 0
                if take_over:
                    self.request.was_taken_over = True
                await self._say_all(stream, start)
                self.at = "finishing"
                self.finished = True
        except StreamRouterError as error:
            self.error = error
            self._judge(error)
        self.stop_reason = publisher.stop_reason
        self.at = f"ended ({self.stop_reason}, {self.error!r})"
        world.tell(f"{self.name} {self.at}")

    async def _say_all(self, stream: Any, start: int) -> None:
        seq = 0
        for kind, body in self.request.plan.ops:
            if kind == "sleep":
                if seq >= start:
                    await asyncio.sleep(body)
                continue
            seq += 1
            if seq <= start:
                continue
            self.at = f"item {seq} of {len(self.request.items)}"
            if kind == "chunk":
                await stream.chunk(body)
            elif kind == "message":
                await stream.message(body)
            else:
                await stream.step_end()

    def _judge(self, error: StreamRouterError) -> None:
        """Say whether this error may come to a publisher."""
        request, world = self.request, self.request.world
        plan, stream_actors = request.plan, world.scenario.config.stream_actors
        allowed = {
            RequestCancelled: plan.cancel_s is not None or plan.agent_id is not None,
            RequestEnded: True,  # by its timers, by its first step's end, or lost: the readers' end is judged
            AgentBusy: plan.agent_id is not None,
            PoolFull: stream_actors.when_pool_full == "refuse"
            or stream_actors.open_timeout_s < SHORT_TIMER_S
            or stream_actors.recycle_after_requests < 10  # a retiring actor takes nothing, and keeps its place
            or world.process_troubles  # who has died or hangs may hold the last place for as long as he is waited for
            or world.scenario.is_harsh,
            LimitExceeded: world.scenario.config.limits.open_requests_max < len(world.requests),
            BufferFull: plan.settings.when_full == "fail",
            DuplicateRequest: self.takes_over or len(request.publishers) > 1,
            UnknownRequest: self.takes_over,
        }
        if not allowed.get(type(error), False):
            world.fail(f"{self.name} got {type(error).__name__}: {error}")


class CancelProgram(Program):
    """Cancels a request at its time."""

    def __init__(self, request: Request) -> None:
        super().__init__(f"{request.plan.request_id} canceller")
        self.request = request

    async def act(self, client: StreamRouter) -> None:
        plan, world = self.request.plan, self.request.world
        await asyncio.sleep(plan.cancel_s or 0.0)
        while not self.request.is_published:
            self.request.cancel_is_asked = True
            try:
                was_open = await client.cancel(plan.request_id, after_step=plan.cancel_after_step)
            except UnknownRequest:
                await asyncio.sleep(0.5)
                continue
            if was_open and not plan.cancel_after_step:
                ends_itself = not plan.settings.multi_step or any(p.finished for p in self.request.publishers)
                self.request.must_be_cancelled = not ends_itself
            world.tell(f"{plan.request_id} cancelled; it was {'open' if was_open else 'over'}")
            if was_open and not plan.cancel_after_step and world.scenario.is_calm:
                await self._see_that_it_is_prompt()
            return

    async def _see_that_it_is_prompt(self) -> None:
        publisher = self.request.publishers[0]
        for _ in range(20):
            if publisher.ended:
                return
            await asyncio.sleep(0.1)
        if publisher.at != "not begun":
            self.request.world.fail(f"{publisher.describe()}: 2 s after a cancel it still runs")


# --- reading ------------------------------------------------------------------------------------------


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


class ReadProgram(Program):
    """Reads a request to its end, at its pace; a late one begins when all has been said."""

    def __init__(self, request: Request, reading: Reading) -> None:
        super().__init__(reading.name)
        self.request = request
        self.reading = reading

    def describe(self) -> str:
        return f"{self.name} (at {self.reading.cursor})"

    async def act(self, client: StreamRouter) -> None:
        plan, reading, request = self.reading.plan, self.reading, self.request
        if plan.is_late:
            # Where nobody reads, a publisher without credit waits for this reader.
            while not request.is_published and request.world.loop.now < request.world.scenario.quiet_at_s + 10.0:
                await asyncio.sleep(0.2)
        await asyncio.sleep(plan.starts_s)
        while not reading.ended and reading.error is None:
            try:
                await self._read(client)
            except StreamRouterError as error:
                reading.error = error
                if not isinstance(error, UnknownRequest) and not (
                    isinstance(error, RequestLost) and request.may_be_gone()
                ):
                    reading.problems.append(f"{type(error).__name__}: {error}")
        request.world.tell(f"{self.name} ended at {reading.cursor} ({reading.stop_reason}, {reading.error!r})")

    async def _read(self, client: StreamRouter) -> None:
        plan, reading = self.reading.plan, self.reading
        subscription = client.subscribe(
            self.request.plan.request_id, after=reading.cursor, format="dict", wait_s=25.0 if plan.is_late else 60.0
        )
        batches = 0
        async for batch in subscription:
            reading.take(batch, self.request)
            batches += 1
            if batch.end:
                return
            if plan.reopens_every and batches >= plan.reopens_every:
                reading.reopened = True
                await subscription.aclose()
                return
            if plan.pause_s:
                await asyncio.sleep(plan.pause_s)
        reading.ended = True  # its check says whether with one terminal

    def process_died(self, process: Process) -> None:
        reading, world = self.reading, self.request.world
        moves_to = reading.plan.moves_to
        if process is not self.process or self.ended or moves_to is None or reading.has_moved:
            return
        if world.processes[moves_to].alive:
            reading.has_moved = reading.reopened = True
            world.start(ReadProgram(self.request, reading), moves_to)
