"""A steady load: recorded streams published and read back, message by message, against the translator's own answer."""

from __future__ import annotations

import asyncio
import bisect
import itertools
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from actors.errors import StreamRouterError
from actors.messages import MessagePiece, as_dict
from actors.recording_format import read_recording
from actors.settings import StreamSettings
from actors.translator import Translator
from router import StreamRouter

RECORDED = Path(__file__).parents[1] / "traces" / "recorded"
DATE = "2026-01-02T03:04:05+00:00"
# A stream counts as under way while so many of its chunks are still to be sent.
TO_COME = 5
SETTINGS = StreamSettings.model_validate({"dialect": "chat", "publisher_grace_s": 2.0})


@dataclass
class Recording:
    """A recorded stream."""

    name: str
    chunks: list[bytes]


def recordings(count: int, *, chunks_min: int = 20, chunks_max: int = 200) -> list[Recording]:
    """Return recordings of some length, the same ones each time."""
    found = [Recording(path.stem, read_recording(path.read_bytes())) for path in sorted(RECORDED.glob("*.sse"))]
    return [recording for recording in found if chunks_min <= len(recording.chunks) <= chunks_max][:count]


def right_messages(request_id: str, chunks: list[bytes]) -> tuple[list[dict[str, Any]], list[int]]:
    """Return the right messages of a request, and how many there are after each chunk."""
    translator = Translator(SETTINGS, run_id=request_id, message_date=DATE)
    pieces: list[MessagePiece] = []
    after = []
    for chunk in chunks:
        pieces += translator.chunk(chunk)
        after.append(len(pieces))
    pieces += translator.end(None)
    return [as_dict(head.fields, text, extra, i) for i, (head, text, extra) in enumerate(pieces, 1)], after


@dataclass
class Stream:
    """One request of the load, as it was published and as it was read; times are monotonic, in seconds."""

    request_id: str
    chunks: list[bytes]
    sent_at: list[float] = field(default_factory=list)
    read_at: list[float] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    stop_reason: str | None = None
    ended: bool = False
    errors: list[str] = field(default_factory=list)

    @cached_property
    def right(self) -> tuple[list[dict[str, Any]], list[int]]:
        """See `right_messages`; asked for only when no more chunks are added."""
        return right_messages(self.request_id, self.chunks)

    def recovery_s(self, struck_at: float, dead_at: float) -> float | None:
        """Return the time from a blow to the first message that came of what was sent after it, or to the end.

        None where the stream had ended before, or had not begun, or nothing of this was read: it tells nothing.
        """
        if not self.sent_at or self.sent_at[0] > struck_at:
            return None
        sent_before = bisect.bisect_right(self.sent_at, dead_at)
        known = self.right[1][sent_before - 1]
        for message, at in zip(self.messages, self.read_at, strict=True):
            if at > dead_at and message["seq_id"] > known:
                return at - struck_at
        return None

    def latencies_s(self, from_s: float, until_s: float) -> list[float]:
        """Return how long each message took from its chunk's sending to its reading, of chunks sent in a time."""
        _, after = self.right
        found = []
        for message, at in zip(self.messages, self.read_at, strict=True):
            chunk = bisect.bisect_left(after, message["seq_id"])
            if chunk < len(self.sent_at) and from_s <= self.sent_at[chunk] < until_s:
                found.append(at - self.sent_at[chunk])
        return found


@dataclass
class Tally:
    """What went wrong in all streams; everything but `streams`, `messages` and `ended_by` must be nought."""

    streams: int = 0
    messages: int = 0
    lost: int = 0
    duplicated: int = 0
    out_of_order: int = 0
    wrong: int = 0
    without_terminal: int = 0
    with_several_terminals: int = 0
    errors: list[str] = field(default_factory=list)
    ended_by: Counter[str] = field(default_factory=Counter)

    def count(self, stream: Stream, *, cut_short_by: str | None = None) -> None:
        """Compare what was read with what is right.

        `cut_short_by`: the stop reason of a stream whose publisher was killed. What is right then is a beginning of
        the whole, and that end.
        """
        self.streams += 1
        self.messages += len(stream.messages)
        self.errors += stream.errors
        self.ended_by[str(stream.stop_reason)] += 1
        right, _ = stream.right
        read = stream.messages
        terminals = [at for at, message in enumerate(read) if message["message_type"] == "stop_reason"]
        self.without_terminal += not terminals
        self.with_several_terminals += len(terminals) > 1
        if cut_short_by is not None:
            right = right[: terminals[0] if terminals else len(read)]
            read = read[: len(right)]
            self.wrong += stream.stop_reason != cut_short_by
        seqs = [message["seq_id"] for message in read]
        self.duplicated += len(seqs) - len(set(seqs))
        self.out_of_order += sum(1 for one, next_one in itertools.pairwise(seqs) if next_one < one)
        self.lost += len({message["seq_id"] for message in right} - set(seqs))
        by_seq = {message["seq_id"]: message for message in right}
        self.wrong += sum(1 for message in read if by_seq.get(message["seq_id"]) != message)

    def figures(self) -> dict[str, Any]:
        """Return this as plain data."""
        return {
            **vars(self),
            "errors": self.errors[:5],
            "error_count": len(self.errors),
            "ended_by": dict(self.ended_by),
        }


class Load:
    """Streams that this process publishes and reads, one after the other in each of `width` places."""

    def __init__(
        self,
        router: StreamRouter,
        *,
        width: int = 12,
        pace_s: float = 0.02,
        chosen: Sequence[Recording] | None = None,
        settings: StreamSettings = SETTINGS,
    ) -> None:
        self._router = router
        self._width = width
        self._pace_s = pace_s
        self._settings = settings
        self._numbers = itertools.count()
        self._recordings = recordings(12, chunks_min=30) if chosen is None else chosen
        self._stopping = False
        self._cut_short = False
        self.streams: list[Stream] = []
        # The same requests, read once more from their beginning.
        self.read_again: list[Stream] = []
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        self._tasks = [asyncio.create_task(self._keep_going()) for _ in range(self._width)]

    async def stop(self, *, cut_short: bool = False) -> Tally:
        """Let the streams under way end, with `cut_short` right where they are; return the tally of all."""
        self._stopping = True
        self._cut_short = cut_short
        await asyncio.gather(*self._tasks)
        tally = Tally()
        for stream in self.streams:
            tally.count(stream)
        for again in self.read_again:
            again.chunks = next(stream.chunks for stream in self.streams if stream.request_id == again.request_id)
            tally.count(again)
        return tally

    def read_late(self, streams: Sequence[Stream]) -> asyncio.Task[None]:
        """Read these once more from their beginning, as somebody does who comes late; it counts in the tally."""
        late = [Stream(stream.request_id, stream.chunks) for stream in streams]
        self.read_again += late

        async def read_all() -> None:
            await asyncio.gather(*(read(self._router, stream) for stream in late))

        task = asyncio.create_task(read_all())
        self._tasks.append(task)
        return task

    @property
    def ended(self) -> list[Stream]:
        """The streams that were read to their end."""
        return [stream for stream in self.streams if stream.ended]

    @property
    def under_way(self) -> list[Stream]:
        """The streams of which messages have been read while several chunks are still to be sent."""
        return [
            stream for stream in self.streams if stream.messages and len(stream.sent_at) + TO_COME <= len(stream.chunks)
        ]

    @property
    def is_steady(self) -> bool:
        """Whether at least half of the places have a stream under way."""
        return 2 * len(self.under_way) >= self._width

    async def _keep_going(self) -> None:
        while not self._stopping:
            number = next(self._numbers)
            recording = self._recordings[number % len(self._recordings)]
            stream = Stream(f"{recording.name}-{number}", recording.chunks)
            self.streams.append(stream)
            await asyncio.gather(self._publish(stream), read(self._router, stream))

    async def _publish(self, stream: Stream) -> None:
        try:
            async with self._router.publish(stream.request_id, self._settings, date=DATE) as publisher:
                for number, chunk in enumerate(stream.chunks):
                    if self._cut_short:
                        stream.chunks = stream.chunks[:number]
                        break
                    stream.sent_at.append(time.monotonic())
                    await publisher.chunk(chunk)
                    await asyncio.sleep(self._pace_s)
        except StreamRouterError as error:
            stream.errors.append(f"{stream.request_id} publisher: {error!r}")


async def read(router: StreamRouter, stream: Stream, after: int = 0) -> None:
    """Read a stream to its end."""
    try:
        async for batch in router.subscribe(stream.request_id, after=after, format="dict"):
            now = time.monotonic()
            if batch.gap is not None:
                stream.errors.append(f"{stream.request_id} reader: a gap {batch.gap}")
            for message in batch:
                stream.messages.append(message)
                stream.read_at.append(now)
            stream.stop_reason = batch.stop_reason or stream.stop_reason
    except StreamRouterError as error:
        stream.errors.append(f"{stream.request_id} reader: {error!r}")
    stream.ended = True


def percentile(values: list[float], share: float) -> float | None:
    """Return a percentile (nearest rank) of some values, to the millisecond; None where there are none."""
    ordered = sorted(values)
    return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 3) if ordered else None
