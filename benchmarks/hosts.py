"""What readers cost a stream actor's event loop: acknowledgements by many, and a late reader of a long message.

Run it with `python -m benchmarks.hosts`. Three promises are held against what it prints:

- an acknowledgement by one of 4,000 readers of a request costs at most three times one by one of 250;
- an answer to a late reader costs as much at the end of a message of 40,000 pieces as at its beginning;
- no single step holds the actor's loop for more than 5 ms.

No Ray and no other process: the pure part of the actor is called as its shell calls it. Times are CPU
time, each step's the least of several runs.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from actors.protocol.envelopes import DataEnvelope, OpenEnvelope, Order
from actors.protocol.frames import pack, unpack
from actors.protocol.reads import NOTHING, Consumed, Operation, Subscribe
from actors.settings import StreamSettings, packed
from actors.stream.host import StreamHost

SETTINGS = packed(StreamSettings(dialect="chat", buffer_bytes_max=1 << 28, retain_bytes_max=1 << 28))
DATE = "2026-01-02T03:04:05+00:00"
ROUNDS = 5
STEP_MS_MAX = 5.0
READERS_RATIO_MAX = 3.0
US_PER_S, MS_PER_S = 1e6, 1e3


class Step(NamedTuple):
    """One call of the host."""

    what: str
    seconds: float


def chunk(content: str) -> bytes:
    """Return a provider chunk with a piece of text."""
    return json.dumps({"choices": [{"index": 0, "delta": {"content": content}}]}).encode()


class Bench:
    """A host with one request, fed and read as the shell does it."""

    def __init__(self) -> None:
        self.host = StreamHost()
        self.host.begin("router")
        self._frame_no = 0
        self._seq = 1
        self.steps: list[Step] = []
        self._feed("open", OpenEnvelope(Order.OPEN, "req", 1, SETTINGS, "client", DATE, 0.0, 0, 1, 0, []))

    def timed(self, what: str, call: Callable[[], object]) -> object:
        """Make one step."""
        began = time.thread_time()
        result = call()
        self.steps.append(Step(what, time.thread_time() - began))
        return result

    def _feed(self, what: str, envelope: tuple[object, ...]) -> None:
        self._frame_no += 1
        frame = pack([envelope])
        self.timed(what, lambda: self.host.feed("router", self._frame_no, [frame], 0.0))

    def say(self, pieces: int) -> None:
        """Send chunks, each a piece of the message under way."""
        packed_items = pack([chunk(f"word{n} ") for n in range(pieces)])
        self._feed("feed", DataEnvelope(Order.DATA, "req", 1, self._seq, packed_items))
        self._seq += pieces

    def operate(self, reader: str, operation: tuple[object, ...], what: str) -> None:
        """Let a reader say something of its subscription."""
        parts = list(operation)
        self.timed(what, lambda: self.host.audience.operate(reader, 0, [parts], 0.0))

    def answer(self, reader: str, poll_no: int) -> bytes | None:
        """Return the answer to a reader's poll."""
        found = self.timed(f"answer to {reader}", lambda: self.host.audience.reader(reader, 0.0).answer(poll_no))
        return found if isinstance(found, bytes) else None


def acknowledge(readers: int, messages: int) -> list[Step]:
    """Let so many readers of one request read and acknowledge message after message; return the steps."""
    bench = Bench()
    names = [f"reader-{n}" for n in range(readers)]
    for name in names:
        bench.operate(name, Subscribe(1, Operation.SUBSCRIBE, 1, "req", 0, 1, is_moving=False), "subscribe")
    for number in range(1, messages + 1):
        bench.say(1)
        for name in names:
            bench.answer(name, number)
        for name in names:
            bench.operate(name, Consumed(0, Operation.CONSUMED, 1, number), "acknowledge")
    return bench.steps


def read_late(pieces: int, *, is_compacted: bool) -> list[Step]:
    """Let a reader come to a message of so many pieces; return the steps."""
    bench = Bench()
    if is_compacted:
        bench.operate("early", Subscribe(1, Operation.SUBSCRIBE, 1, "req", 0, 1, is_moving=False), "subscribe")
    for _ in range(pieces // 500):
        bench.say(500)
    if is_compacted:
        _read_all(bench, "early", pieces)
    bench.operate("late", Subscribe(1, Operation.SUBSCRIBE, 1, "req", 0, 1, is_moving=False), "subscribe")
    _read_all(bench, "late", pieces)
    return bench.steps


def _read_all(bench: Bench, reader: str, pieces: int) -> None:
    for cursor in _cursors(bench, reader):
        bench.operate(reader, Consumed(0, Operation.CONSUMED, 1, cursor), "acknowledge")
        if cursor >= pieces:
            return


def _cursors(bench: Bench, reader: str) -> Iterator[int]:
    poll_no = 1
    while (answer := bench.answer(reader, poll_no)) not in (None, NOTHING):
        poll_no += 1
        for _, _, _, _, segments in unpack(answer or NOTHING):
            first, last = segments[-1][0], segments[-1]
            yield first + len(last[2] if len(last) == 3 else last[3]) - 1  # loose or compact


def fastest(run: Callable[[], list[Step]], rounds: int) -> list[Step]:
    """Return the steps of a run, each with the least time that it took in several."""
    gc.disable()  # as good as: an actor's own collector runs seldom
    try:
        return [min(same, key=lambda step: step.seconds) for same in zip(*(run() for _ in range(rounds)), strict=True)]
    finally:
        gc.enable()


def seconds_of(steps: list[Step], what: str) -> list[float]:
    """Return what the steps of a kind took."""
    return [step.seconds for step in steps if step.what == what]


def main() -> int:
    """Print the figures; return 1 where a promise does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hosts", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    kept = True
    cost_us = {}
    for readers in (250, 1000, 4000):
        steps = fastest(lambda readers=readers: acknowledge(readers, 3), rounds)  # type: ignore[misc]
        acks = seconds_of(steps, "acknowledge")
        cost_us[readers] = statistics.mean(acks) * US_PER_S
        print(
            f"{readers:5} readers of one request: {cost_us[readers]:7.2f} us an acknowledgement, "
            f"{sum(acks) / 3 * MS_PER_S:7.1f} ms a round, longest {max(acks) * MS_PER_S:.2f} ms"
        )
        kept &= max(acks) * MS_PER_S <= STEP_MS_MAX
    ratio = cost_us[4000] / cost_us[250]
    print(f"      4000 readers / 250: {ratio:.2f} (at most {READERS_RATIO_MAX})")
    kept &= ratio <= READERS_RATIO_MAX
    for is_compacted in (False, True):
        for pieces in (5_000, 40_000):
            steps = fastest(lambda n=pieces, c=is_compacted: read_late(n, is_compacted=c), rounds)  # type: ignore[misc]
            answers = [step for step in seconds_of(steps, "answer to late")[1:] if step]
            tenth = max(len(answers) // 10, 1)
            begin, end = statistics.median(answers[:tenth]), statistics.median(answers[-tenth - 1 : -1])
            longest = max(steps, key=lambda step: step.seconds if step.what != "feed" else 0.0)
            print(
                f"{pieces:6} pieces in one message, {'compacted' if is_compacted else 'unread':9}: "
                f"{sum(answers) * MS_PER_S:6.1f} ms to read, {len(answers)} answers, "
                f"first tenth {begin * US_PER_S:.0f} us, last tenth {end * US_PER_S:.0f} us, "
                f"longest step {longest.seconds * MS_PER_S:.2f} ms ({longest.what})"
            )
            kept &= longest.seconds * MS_PER_S <= STEP_MS_MAX
    print("all promises kept" if kept else "A PROMISE IS NOT KEPT")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
