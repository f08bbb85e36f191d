"""The way of a chunk through the product's own pure code, in one process, with a clock at each stage.

    publisher ==socket==> router ==socket==> stream actor ==socket==> reader

What each process does with a chunk is done here by the objects that do it there, on the same bytes, in frames as large
as at saturation: a round is `GROUP` chunks of each of `STREAMS` streams. Between them the bytes go through a real
socket, written and read at once. What is not here: event loops, Ray, threads, and that five processes share the cores.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from actors.protocol.frames import cut_into_frames, pack, unpack, unpack_list
from actors.protocol.lane import ROUTER_CALL_BYTES_MAX, Lane
from actors.protocol.reads import NOTHING, PollCall
from actors.protocol.states import News, state_of
from actors.settings import packed
from actors.stream.host import StreamHost
from actors.transport.stream_codec import Kind, StreamDecoder, StreamMessage, decode_call, encode, encode_call
from benchmarks.processes import SETTINGS
from router.client.publishing.encoding import to_bytes
from router.client.publishing.outgoing import PublishedStream
from router.client.publishing.replay_store import ReplayBudget
from router.client.reading.batch import Shaper
from router.client.reading.inbox import Cursor
from router.client.reading.operations import Operations
from router.config import RouterConfig
from router.core.doors import Doors
from router.core.registry import Registry
from router.on_ray.fleet import FleetActor

GROUP = 32
STREAMS = 256
# What a socket takes and gives at a time; asyncio reads as much.
PORTION_BYTES = 64 * 1024
SOCKET_BYTES = 256 * 1024
ROUTER, PUBLISHER, READER = "router", "publisher", "reader"
DATE = "2026-01-02T03:04:05+00:00"


class Clock:
    """CPU time of this thread by process and stage."""

    def __init__(self) -> None:
        self.ns: dict[tuple[str, str], int] = {}

    @contextmanager
    def __call__(self, process: str, stage: str) -> Iterator[None]:
        """Count what happens inside for this stage."""
        began = time.thread_time_ns()
        yield
        took = time.thread_time_ns() - began
        self.ns[process, stage] = self.ns.get((process, stage), 0) + took


def connected(family: int) -> tuple[socket.socket, socket.socket]:
    """Return both ends of a socket within this machine, of this family."""
    if family == socket.AF_UNIX:
        ends = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as server:
            caller = socket.create_connection(server.getsockname())
            ends = caller, server.accept()[0]
            caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BYTES)
    return ends


class Pipe:
    """A connection: what is written at one end is read and taken apart at the other."""

    def __init__(self, clock: Clock, sender: tuple[str, str], receiver: tuple[str, str]) -> None:
        """`sender`, `receiver`: the stages for which writing and reading count."""
        self._clock = clock
        self._sender, self._receiver = sender, receiver
        self._ends = connected(socket.AF_UNIX)
        self._decoder = StreamDecoder()

    def carry(self, parts: Sequence[bytes]) -> list[StreamMessage]:
        """Send the parts of a message; return the messages that arrive."""
        write, read = self._ends
        arrived: list[StreamMessage] = []
        portions = [part[at : at + PORTION_BYTES] for part in parts for at in range(0, len(part), PORTION_BYTES)]
        for sent in portions:
            with self._clock(*self._sender):
                write.sendall(sent)
            with self._clock(*self._receiver):
                left = len(sent)
                while left:
                    portion = read.recv(left)
                    left -= len(portion)
                    arrived += self._decoder.feed(portion)
        return arrived

    def close(self) -> None:
        """Close both ends."""
        for end in self._ends:
            end.close()


class _Read(NamedTuple):
    """One subscription of the reader."""

    number: int
    cursor: Cursor
    shaper: Shaper


class Way:
    """Open requests with one publisher, one router, one stream actor and one reader."""

    def __init__(self, clock: Clock, streams: int = STREAMS) -> None:
        self.clock = clock
        self.messages = 0
        pool = {"max_actors": 1, "warm_actors": 0, "max_streams_per_actor": streams}
        self._registry = Registry(RouterConfig.model_validate({"stream_actors": pool}), ROUTER, 0.0)
        self._doors = Doors(self._registry)
        self._actor = FleetActor(0.0)
        self._host = StreamHost()
        self._host.begin(ROUTER)
        self._seen: list[Any] = ["", 0]
        self._lane: Lane[str, Any] = Lane(ROUTER_CALL_BYTES_MAX)
        self._calls = self._frame_no = self._poll_no = 0
        self._operations = Operations()
        self._to_router = Pipe(clock, (PUBLISHER, "send"), (ROUTER, "receive"))
        self._to_actor = Pipe(clock, (ROUTER, "send"), ("stream actor", "receive"))
        self._to_reader = Pipe(clock, ("stream actor", "answer"), (READER, "receive"))
        self._polls = Pipe(clock, (READER, "hand out"), ("stream actor", "answer"))
        budget = ReplayBudget(1 << 40)
        self._streams = {f"request-{n}": PublishedStream(f"request-{n}", budget) for n in range(streams)}
        self._open()

    def _open(self) -> None:
        self._actor_id = self._registry.pool.add().actor_id
        self._registry.actor_started(self._actor_id, 1, "", 0.0)
        settings = packed(SETTINGS)
        for request_id in self._streams:
            self._registry.open(PUBLISHER, request_id, settings, 0.0, date=DATE)
        self._forwarded()
        self._feed_actor()
        self._tell_publisher(pack(self._doors.news(PUBLISHER, self._seen, 0.0)))
        self._reads: dict[int, _Read] = {}
        for number, request_id in enumerate(self._streams, 1):
            self._reads[number] = _Read(number, Cursor(0), Shaper("model", coalesce=False))
            self._operations.subscribe(number, request_id, 0, 1, is_moving=False)

    def close(self) -> None:
        """Close the sockets."""
        for pipe in (self._to_router, self._to_actor, self._to_reader, self._polls):
            pipe.close()

    def carry(self, chunks: Sequence[bytes]) -> None:
        """Carry these chunks on every stream, from the publisher's hand into the reader's."""
        self._publish(chunks)
        while self._lane.waits:
            self._feed_router()
            while self._actor.waits:
                self._feed_actor()
            self._read()

    # --- the publisher ----------------------------------------------------------------------------

    def _publish(self, chunks: Sequence[bytes]) -> None:
        with self.clock(PUBLISHER, "encode"):
            for stream in self._streams.values():
                for chunk in chunks:
                    raw = chunk if chunk.__class__ is bytes and chunk[:1] == b"{" else to_bytes(chunk)
                    if stream.has_credit:  # the window is larger than a round
                        stream.accept(raw)
        with self.clock(PUBLISHER, "lane"):
            for request_id, stream in self._streams.items():
                for _ in chunks:
                    self._lane.offer(request_id, stream)

    def _feed_router(self) -> None:
        with self.clock(PUBLISHER, "lane"):
            frames = cut_into_frames([envelope for _, found in self._lane.take() for envelope in found])
            self._lane.done()
        with self.clock(PUBLISHER, "send"):
            parts = encode_call(self._next_call(), "feed", (PUBLISHER, self._seen, *frames))
        for message in self._to_router.carry(parts):
            with self.clock(ROUTER, "receive"):
                _, (client_id, seen, *arrived) = decode_call(message.body)
                envelopes = [unpack_list(frame) for frame in arrived]
            with self.clock(ROUTER, "forward"):
                for found in envelopes:
                    self._doors.forward(client_id, found, 0.0)
                self._forwarded()
                news = pack(self._doors.news(client_id, seen, 0.0))
            with self.clock(PUBLISHER, "news"):
                self._tell_publisher(news)

    def _tell_publisher(self, frame: bytes) -> None:
        incarnation, version, states = News(*unpack(frame))
        self._seen = [incarnation, version]
        for parts in states:
            state = state_of(parts)
            self._streams[state.request_id].update(state)  # type: ignore[arg-type]  # this client only publishes

    def _next_call(self) -> int:
        self._calls += 1
        return self._calls

    # --- the router -------------------------------------------------------------------------------

    def _forwarded(self) -> None:
        for _, request_id, envelope, size_bytes in self._registry.take_effects().send:
            self._actor.put(request_id, envelope, size_bytes)

    def _feed_actor(self) -> None:
        self._frame_no += 1
        with self.clock(ROUTER, "send"):
            envelopes = self._actor.take()
            parts = encode_call(self._next_call(), "feed", (ROUTER, self._frame_no, *cut_into_frames(envelopes)))
        for message in self._to_actor.carry(parts):
            with self.clock("stream actor", "receive"):
                _, (router, frame_no, *frames) = decode_call(message.body)
            with self.clock("stream actor", "feed"):
                reports = self._host.feed(router, frame_no, frames, 0.0)
            with self.clock(ROUTER, "reports"):
                self._registry.delivered(self._actor_id, envelopes)
                self._registry.reports(self._actor_id, unpack_list(reports), 0.0)

    # --- the reader -------------------------------------------------------------------------------

    def _read(self) -> None:
        """Poll until there is nothing more."""
        while True:
            with self.clock(READER, "hand out"):
                said = self._operations.take()
                call = PollCall("reader", self._poll_no + 1, self._operations.settled, said, 10.0)
                parts = encode_call(self._next_call(), "poll", (pack(call),))
            for message in self._polls.carry(parts):
                with self.clock("stream actor", "answer"):
                    answer = self._answer(message.body)
            self._operations.settle(said)
            if answer == NOTHING:
                return
            self._poll_no += 1
            with self.clock("stream actor", "answer"):
                parts = encode(self._calls, Kind.ANSWER, pack(answer))
            for message in self._to_reader.carry(parts):
                self._take_answer(message.body)

    def _answer(self, body: bytes) -> bytes:
        """Do what a stream actor does with a poll."""
        _, (frame,) = decode_call(body)
        reader_id, poll_no, settled, operations, _ = unpack(frame)
        audience = self._host.audience
        audience.operate(reader_id, settled, operations, 0.0)
        audience.take_wakes()
        return audience.reader(reader_id, 0.0).answer(poll_no) or NOTHING

    def _take_answer(self, body: bytes) -> None:
        with self.clock(READER, "decode"):
            parts = unpack_list(unpack(body))
            taken = []
            for number, _, gap, _, segments in parts:
                read = self._reads[number]
                taken.append((read, read.cursor.take(segments, gap)))
        with self.clock(READER, "shape"):
            batches = [(read, read.shaper.shape(segments, read.cursor.last_seq_id)) for read, segments in taken]
        with self.clock(READER, "hand out"):
            for read, batch in batches:
                for _message in batch:
                    self.messages += 1
                self._operations.cursors[read.number] = read.cursor.last_seq_id
