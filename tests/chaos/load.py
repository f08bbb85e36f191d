"""A steady load: recorded streams published and read back, message by message, against the translator's own answer."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors.errors import StreamRouterError
from actors.messages import Emission, as_dict
from actors.recordings import read_recording
from actors.settings import StreamSettings
from actors.translator import Translator
from router import StreamRouter

RECORDED = Path(__file__).parents[1] / "traces" / "recorded"
DATE = "2026-01-02T03:04:05+00:00"
SETTINGS = StreamSettings.model_validate({"dialect": "chat", "publisher_grace_s": 2.0})
TERMINAL = ("stop_reason", "usage_statistics")


@dataclass
class Recording:
    """A recorded stream, the messages it must give, and how many of them each chunk completes."""

    name: str
    chunks: list[bytes]


def recordings(count: int) -> list[Recording]:
    """Return recordings of some length, the same ones each time."""
    found = [Recording(path.stem, read_recording(path.read_bytes())) for path in sorted(RECORDED.glob("*.sse"))]
    return [recording for recording in found if 20 <= len(recording.chunks) <= 200][:count]


def right_messages(request_id: str, chunks: list[bytes]) -> tuple[list[dict[str, Any]], list[int]]:
    """Return the right messages of a request, and how many there are after each chunk."""
    translator = Translator(SETTINGS, run_id=request_id, message_date=DATE)
    emissions: list[Emission] = []
    after = []
    for chunk in chunks:
        emissions += translator.chunk(chunk)
        after.append(len(emissions))
    emissions += translator.end(None)
    return [as_dict(head.fields, text, extra, i) for i, (head, text, extra) in enumerate(emissions, 1)], after


@dataclass
class Stream:
    """One request of the load, as it was published and as it was read."""

    request_id: str
    chunks: list[bytes]
    sent_at: list[float] = field(default_factory=list)
    read_at: list[float] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    stop_reason: str | None = None
    ended: bool = False
    errors: list[str] = field(default_factory=list)

    def silence_s(self, kill_at: float) -> float | None:
        """Return the longest time after a kill in which no message came, though the publisher went on sending.

        None where the stream had ended, or had not begun, and so tells nothing.
        """
        after = [at for at in self.read_at if at > kill_at]
        if not after or not self.sent_at or self.sent_at[0] > kill_at:
            return None
        return max(second - first for first, second in itertools.pairwise([kill_at, *after]))


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

    def count(self, stream: Stream) -> None:
        """Compare what was read with what is right."""
        self.streams += 1
        self.messages += len(stream.messages)
        self.errors += stream.errors
        self.ended_by[str(stream.stop_reason)] += 1
        right, _ = right_messages(stream.request_id, stream.chunks)
        seqs = [message["seq_id"] for message in stream.messages]
        self.duplicated += len(seqs) - len(set(seqs))
        self.out_of_order += sum(1 for one, next_one in itertools.pairwise(seqs) if next_one < one)
        self.lost += len({message["seq_id"] for message in right} - set(seqs))
        by_seq = {message["seq_id"]: message for message in right}
        self.wrong += sum(1 for message in stream.messages if by_seq.get(message["seq_id"]) != message)
        terminals = sum(1 for message in stream.messages if message["message_type"] == "stop_reason")
        self.without_terminal += terminals == 0
        self.with_several_terminals += terminals > 1

    def figures(self) -> dict[str, Any]:
        """Return this as plain data."""
        return {
            **vars(self),
            "errors": self.errors[:5],
            "error_count": len(self.errors),
            "ended_by": dict(self.ended_by),
        }


class Load:
    """Streams published and read by this process, one after the other in each of `width` places, until it is stopped."""

    def __init__(self, router: StreamRouter, *, width: int = 12, pace_s: float = 0.02) -> None:
        self._router = router
        self._width = width
        self._pace_s = pace_s
        self._numbers = itertools.count()
        self._recordings = recordings(12)
        self._stopping = False
        self.streams: list[Stream] = []
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        self._tasks = [asyncio.create_task(self._keep_going()) for _ in range(self._width)]

    async def stop(self) -> Tally:
        """Let the streams under way end; return the tally of all."""
        self._stopping = True
        await asyncio.gather(*self._tasks)
        tally = Tally()
        for stream in self.streams:
            tally.count(stream)
        return tally

    @property
    def under_way(self) -> list[Stream]:
        """The streams that are being published."""
        return [stream for stream in self.streams if not stream.ended]

    async def _keep_going(self) -> None:
        while not self._stopping:
            number = next(self._numbers)
            recording = self._recordings[number % len(self._recordings)]
            stream = Stream(f"{recording.name}-{number}", recording.chunks)
            self.streams.append(stream)
            await asyncio.gather(self._publish(stream), read(self._router, stream))

    async def _publish(self, stream: Stream) -> None:
        try:
            async with self._router.publish(stream.request_id, SETTINGS, date=DATE) as publisher:
                for chunk in stream.chunks:
                    await publisher.chunk(chunk)
                    stream.sent_at.append(time.monotonic())
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
    """Return a percentile of some values, in seconds to the millisecond; None where there are none."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3) if ordered else None
