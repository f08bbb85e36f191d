"""The stream actor: the Ray shell round a `StreamHost`.

It takes frames from its router, answers long polls of readers, and pushes reports to the router
when there is something to say that no answer carries. One call to the router is out at a time;
what is to be reported meanwhile rides in the next. One timer runs, for the earliest deadline.

Plain Python: `router/on_ray/actors.py` is the one place where the class is made a Ray actor.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from functools import partial
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayError

from actors import logging_setup as logs
from actors.errors import LimitExceeded, StreamRouterError, UnknownRequest
from actors.message_factory import MessageFactory
from actors.messages import LettaMessage
from actors.protocol.backoff import Backoff
from actors.protocol.frames import pack, read
from actors.protocol.reads import NOTHING, POLL_WAIT_S_MAX, FollowCall, PollCall, TellCall
from actors.protocol.segments import read_segment
from actors.protocol.states import Report
from actors.shell import (
    Alarm,
    Clock,
    Crowds,
    Waits,
    call_directly,
    calm_garbage_collection,
    keep_freed_memory,
    wait_at_most,
)
from actors.stream import arguments, measures
from actors.stream.followers import Followers, Reply
from actors.stream.host import StreamHost
from actors.stream.router_frames import NOT_MY_ROUTER
from actors.stream.spans import RequestSpans
from actors.tracing import provider_of
from actors.transport.door import Door
from actors.transport.late_answers import LateAnswers
from actors.transport.line import CARRIED, FOLLOWED, Line, stands_here
from actors.transport.meeting import Reach

log: logging.Logger = logging.getLogger("actors.stream_actor")

PULLS_WAITING_MAX = 2_000
"""Bare pulls that may wait at once on one actor; `subscribe` shares one poll and has no such limit."""

# The router hears from each actor at least so often: that is how it knows a hanging one.
BEAT_S = 3.0
REPORT_DEADLINE_S = 10.0
REPORTS_BYTES_MAX = 4 * 1024 * 1024
BACKOFF_S = 0.05
BACKOFF_S_MAX = 2.0


class StreamActor:
    """Holds the sessions of the requests that the router places here.

    All methods but `pull` and `describe` speak `actors.protocol` frames; they are the product's own
    protocol. `pull` is the bare way to read one request through a plain actor handle.
    """

    def __init__(
        self,
        actor_id: str,
        router: Any,
        *,
        log_as: tuple[str, str] | None = None,
        reach: Reach | None = None,
        tracing: str | None = None,
    ) -> None:
        """`reach`: how far this process goes without Ray, wherever it comes to stand; see `actors.transport`.

        `tracing`: the function that returns a provider of spans, as the configuration names it.
        """
        if log_as is not None:
            logs.set_up(*log_as)
        calm_garbage_collection()
        keep_freed_memory()
        call_directly(self)
        self._actor_id = actor_id
        reach = stands_here(reach)
        self._router = Line(router, reach)
        self._door = Door(self, CARRIED, reach, FOLLOWED)
        self._host = StreamHost()
        self._host.on_wakes = self._wake_readers
        provider = None if tracing is None else provider_of(tracing)
        if provider is not None:
            self._host.spans = RequestSpans(provider)
        # Silence is measured while this process runs: what it could not hear is nobody's silence.
        self._clock = Clock(time.monotonic)
        self._clock.keep()
        self._alarm = Alarm(self._clock.now, self._tick)
        self._polls = Waits()
        self._late = LateAnswers()
        self._followers = Followers(self._host.audience, self._clock)
        self._pulls = Crowds()
        self._pulls_waiting = 0
        self._has_reports = asyncio.Event()
        # From the beginning (Ray makes its async actors inside their event loop): a router that dies before it has
        # said `start` would otherwise leave an actor behind that waits for it for ever.
        self._pushing = asyncio.get_running_loop().create_task(self._push_reports())

    async def meet(self, node_id: str, is_apart: bool = False) -> list[Any] | str:  # noqa: FBT001, FBT002  # a Ray method
        """Return where a process of that node finds a socket of this one, or why not; see `Door.meet`."""
        return self._door.meet(node_id, is_apart=is_apart)

    # --- the router's side ------------------------------------------------------------------

    async def start(self, router: str, pass_key: bytes | None = None) -> dict[str, Any] | None:
        """Begin to work for this incarnation of the router; return who this is, None to one that was followed.

        `pass_key`: of a service with tenants, what readers' passes are checked with; see `actors.tenants`.
        """
        if not self._host.begin(arguments.text("start", "router", router)):
            return None
        self._host.audience.check_passes(pass_key)
        context = ray.get_runtime_context()
        return {"actor_id": self._actor_id, "pid": os.getpid(), "node_id": context.get_node_id()}

    async def feed(self, router: str, frame_no: int, *frames: bytes) -> bytes:
        """Take frames of envelopes; see `StreamHost.feed`."""
        arguments.whole("feed", "frame_no", frame_no)
        answer = self._host.feed(router, frame_no, frames, self._clock.now())
        self._after_event()
        return answer

    def post(self, router: str, frame_no: int, frames: list[bytes], at_once: bool, reply: Reply) -> None:  # noqa: FBT001  # a call
        """Take frames as `feed` does, through a socket; they are answered, with reports, only where that is `at_once`.

        Else one answer says late of all of them that they came, and what is to be reported is reported by itself.
        """
        arguments.whole("post", "frame_no", frame_no)
        now = self._clock.now()
        answer: bytes | None = None
        if at_once:
            answer = self._host.feed(router, frame_no, frames, now)
        elif self._host.take(router, frame_no, frames, now) is None:
            answer = NOT_MY_ROUTER
        self._after_event()  # first, since readers wait, and the router may not
        if answer is None:
            self._late.owe(router, partial(reply.last, NOTHING))
        else:
            self._late.given(router)
            reply.last(answer)

    async def inventory(self) -> bytes:
        """Tell a router that has lost its memory what is here."""
        packed = pack(self._host.inventory(self._clock.now()))
        self._after_event()
        return packed

    async def measure(self, laggards: int = 0) -> dict[str, Any]:
        """Return totals and how things stand, with up to `laggards` open requests; see `measures.look`."""
        host = self._host
        return measures.look(
            host.measures,
            host.sessions.values(),
            len(host.audience),
            arguments.whole("measure", "laggards", laggards),
            host.unknown_events(),
        )

    # --- the readers' side ------------------------------------------------------------------

    async def poll(self, frame: bytes) -> bytes:
        """Long poll of one reading process: a `PollCall` to an answer; see `actors.protocol.reads`."""
        reader_id, poll_no, settled, operations, wait_s = read(PollCall, frame)
        wait_s = min(arguments.seconds("poll", "wait_s", wait_s), POLL_WAIT_S_MAX)
        now = self._clock.now()
        audience = self._host.audience
        self._followers.leave(reader_id)
        audience.operate(reader_id, settled, operations, now)
        self._after_event()
        answer = audience.reader(reader_id, now).answer(poll_no)
        if answer is None:
            await self._polls.wait(reader_id, wait_s)
            answer = audience.reader(reader_id, self._clock.now()).answer(poll_no)
        return answer if answer is not None else NOTHING

    def follow(self, frame: bytes, reply: Reply) -> None:
        """Long poll of one reading process through a socket: a `FollowCall` to any number of answers."""
        call = read(FollowCall, frame)
        wait_s = min(arguments.seconds("follow", "wait_s", call.wait_s), POLL_WAIT_S_MAX)
        arguments.whole("follow", "answers_max", call.answers_max, least=1)
        arguments.seconds("follow", "gather_s", call.gather_s)
        now = self._clock.now()
        self._host.audience.operate(call.reader_id, call.settled, call.operations, now)
        self._polls.wake(call.reader_id)  # one that waits there was given up
        self._followers.enter(call, wait_s, reply, now)
        self._after_event()

    async def tell(self, frame: bytes) -> None:
        """Operations of a reader whose poll is out: a `TellCall`."""
        reader_id, settled, operations = read(TellCall, frame)
        self._host.audience.operate(reader_id, settled, operations, self._clock.now())
        self._after_event()

    async def pull(
        self,
        request_id: str,
        after_seq: int = 0,
        max_messages: int = 256,
        wait_s: float = 10.0,
        reader_id: str = "",
    ) -> list[LettaMessage]:
        """Return messages after `after_seq`, in order; an empty list when none came within `wait_s` seconds.

        `after_seq` is the cumulative acknowledgement: nothing behind it is wanted again by this
        `reader_id`. The last message of a request is its `usage_statistics`, right behind `stop_reason`;
        after that nothing comes, at once. Of a service with tenants, `reader_id` is what `locate` says it is, or
        begins with that and a slash. Raises InvalidArgument, UnknownRequest, LimitExceeded.
        """
        arguments.text("pull", "request_id", request_id)
        arguments.whole("pull", "after_seq", after_seq)
        arguments.whole("pull", "max_messages", max_messages, least=1)
        arguments.text("pull", "reader_id", reader_id)
        wait_s = min(arguments.seconds("pull", "wait_s", wait_s), POLL_WAIT_S_MAX)
        now = self._clock.now()
        deadline = now + wait_s
        names = self._host.audience.names(reader_id)
        request_id = names.full(request_id)
        while True:
            try:
                reading = self._host.audience.peek(request_id, reader_id, after_seq, max_messages, now)
            except UnknownRequest as error:
                raise UnknownRequest(names.own_text(str(error))) from None
            self._after_event()
            session = self._host.sessions[request_id]
            if reading.segments or session.complete or now >= deadline:
                break
            await self._wait_for_news(request_id, deadline - now)
            now = self._clock.now()
        messages: list[LettaMessage] = []
        for segment in reading.segments:
            first, fields, pieces = read_segment(segment)
            if fields is not None:  # else it goes on with the message before it
                factory = MessageFactory(fields)
            messages += factory.make_row(first, pieces)
        return messages

    async def _wait_for_news(self, request_id: str, wait_s: float) -> None:
        if self._pulls_waiting >= PULLS_WAITING_MAX:
            raise LimitExceeded(
                f"{PULLS_WAITING_MAX} pulls wait on this actor already; use StreamRouter.subscribe, which shares one "
                "poll among all subscriptions of a process"
            )
        news = self._pulls.enter(request_id)
        self._pulls_waiting += 1
        self._host.audience.expect(request_id, 1)
        try:
            await wait_at_most(news, wait_s)
        finally:
            self._pulls_waiting -= 1
            self._host.audience.expect(request_id, -1)
            self._pulls.leave(request_id, news)

    async def describe(self, reader_id: str = "") -> dict[str, Any]:
        """Return counters and the open requests of this actor, as plain data.

        `reader_id` as for `pull`: of a service with tenants, who sees not all sees their own requests and no counters.
        """
        host = self._host
        names = host.audience.names(arguments.text("describe", "reader_id", reader_id))
        of_all = {
            "chunks": host.chunks,
            "requests_served": host.requests_served,
            "refused": dict(host.refusals.refused),
            "ignored": dict(host.refusals.ignored),
            "readers": len(host.audience),
        }
        return {
            "actor_id": self._actor_id,
            "pid": os.getpid(),
            **(of_all if names.sees_all else {}),
            "sessions": {
                names.own(request_id): {
                    "epoch": session.epoch,
                    "stop_reason": session.stop_reason,
                    "next_seq": session.next_seq,
                    "last_seq_id": session.log.last_seq,
                    "bytes_held": session.log.bytes_held,
                    "unread_bytes": session.log.unread_bytes,
                    **(session.translator.describe() if session.translator is not None else {}),
                }
                for request_id, session in host.sessions.items()
                if names.sees(request_id)
            },
        }

    async def unknown_events(self) -> dict[str, int]:
        """Return what providers sent that no adapter knows, by name, counted."""
        return self._host.unknown_events()

    # --- instructions of the host -----------------------------------------------------------

    def _wake_readers(self) -> None:
        for key in self._host.audience.take_wakes():
            if not self._followers.give(key):
                self._polls.wake(key)
                self._pulls.wake(key)

    def _after_event(self) -> None:
        host = self._host
        self._wake_readers()
        if host.has_reports:
            self._has_reports.set()
        self._alarm.set(host.due_at())

    def _tick(self) -> None:
        self._host.tick(self._clock.now())
        self._after_event()

    async def _push_reports(self) -> None:
        """Report to the router what no answer carries, and that this actor lives; end with the router."""
        backoff = Backoff(BACKOFF_S, BACKOFF_S_MAX)
        while True:
            await wait_at_most(self._has_reports.wait(), BEAT_S)
            self._has_reports.clear()
            reports = self._host.take_reports()
            while True:
                batch, reports = _split(reports)
                try:
                    call = self._router.report.remote(self._actor_id, pack(batch))
                    await asyncio.wait_for(call, REPORT_DEADLINE_S)
                    backoff.reset()
                except ActorDiedError:
                    log.warning("stream actor %s: its router is gone, so it ends", self._actor_id)
                    os._exit(0)
                except (RayError, TimeoutError, StreamRouterError) as error:
                    # Outcome unknown: say it again; a report said twice does no harm.
                    log.info("stream actor %s: the router did not take a report: %s", self._actor_id, error)
                    self._host.untold(batch)
                    self._host.untold(reports)
                    await asyncio.sleep(backoff.next_s(random.random()))
                    self._has_reports.set()
                    break
                if not reports:
                    break


def _split(reports: list[Report]) -> tuple[list[Report], list[Report]]:
    size = 0
    for count, report in enumerate(reports, 1):
        size += 128 + len(report.log or b"")
        if size > REPORTS_BYTES_MAX:
            return reports[:count], reports[count:]
    return reports, []
