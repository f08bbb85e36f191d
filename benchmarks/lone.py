"""What one chunk costs that travels alone: the Python of each of the four wake-ups on its way.

Run it with
`python -m benchmarks.lone [--gateway] [--streams 20] [--chunks 400] [--pace 200] [--cold 8] [--functions 15]`.

    publisher ==socket==> router ==socket==> stream actor ==socket==> reader

At the pace of real models nearly each chunk travels alone (docs/benchmarks.md, "Who wakes up"). Here the four parties
stand in one process (`benchmarks/parties.py`), each with its own event loop, and take turns: `--pace` chunks a second,
one at a time, of so many open streams. `--cold` megabytes are written before each wake-up, so that it finds caches as
a process does that others have run beside.

For each party: microseconds of this thread's CPU a chunk (its median, and the mean, which has acknowledgements and late
answers too), turns of its event loop, and, from further chunks, calls of Python functions and of C's, system calls that
send and receive, lines that ran and different lines among them. All but the times are the same in every run, so they
show a change that no time could. What waking up costs the system is not in it: switching threads, and the sleep.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import json
import pstats
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.chunks import WORDS
from benchmarks.gateway_parties import GatewayParties
from benchmarks.parties import Parties, Party

WARM_UP = 60
COUNTED = 100
NS_PER_US = 1000.0
MEBIBYTE = 1 << 20
CACHE_LINE_BYTES = 64
SENDS, RECEIVES = frozenset({"send", "sendmsg"}), frozenset({"recv", "recv_into"})


@dataclass
class Spent:
    """What one party spent."""

    us: list[float] = field(default_factory=list)
    """Microseconds, by chunk."""
    turns: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    """By what was counted, a chunk."""


class Lone:
    """Carries one chunk at a time, and looks at each party meanwhile."""

    def __init__(self, parties: Parties, pace: float, cold_mb: int) -> None:
        self._parties = parties
        self._streams = parties.streams
        self._space_s = 1 / pace if pace else 0.0
        self._cold = bytearray(cold_mb * MEBIBYTE)
        self._carried = 0
        self._next_at = 0.0

    def carry(self, around: Callable[[Party], Any]) -> None:
        """Carry the next chunk; each party's work is done within `around(party)`."""
        time.sleep(max(0.0, self._next_at - time.monotonic()))
        self._next_at = time.monotonic() + self._space_s
        number, chunk = self._carried % self._streams, WORDS[self._carried % len(WORDS)]
        self._carried += 1
        parties, before = self._parties, self._parties.messages
        parties.give(number, chunk)
        while any(party.has_work for party in parties.all) or parties.messages == before:
            for party in parties.all:
                if party.has_work:
                    self._cool()
                    with around(party):
                        while party.has_work:
                            party.turn()

    def _cool(self) -> None:
        """Write into memory, so that it takes the place of what caches hold."""
        cold = self._cold
        if cold:
            size = len(cold) // CACHE_LINE_BYTES
            cold[::CACHE_LINE_BYTES] = bytes(size)


def measure(made: Parties, chunks: int, pace: float, cold_mb: int) -> dict[str, Spent]:
    """Return what each party spends on a chunk."""
    with made as parties:
        lone = Lone(parties, pace, cold_mb)
        for _ in range(WARM_UP):
            lone.carry(_nothing)
        gc.collect()
        gc.freeze()
        spent = {party.name: Spent() for party in parties.all}
        _take_times(lone, parties, spent, chunks)
        counted = Lone(parties, pace, 0)
        for party in parties.all:
            _count_calls(counted, party, spent[party.name])
            _count_lines(counted, party, spent[party.name])
    return spent


@contextmanager
def _nothing(_party: Party) -> Iterator[None]:
    yield


def _take_times(lone: Lone, parties: Parties, spent: dict[str, Spent], chunks: int) -> None:
    now_ns = Counter[str]()

    @contextmanager
    def timed(party: Party) -> Iterator[None]:
        began = time.thread_time_ns()
        yield
        now_ns[party.name] += time.thread_time_ns() - began

    before = {party.name: party.turns for party in parties.all}
    for _ in range(chunks):
        lone.carry(timed)
        for name, of in spent.items():
            of.us.append(now_ns.pop(name, 0) / NS_PER_US)
    for party in parties.all:
        spent[party.name].turns = (party.turns - before[party.name]) / chunks


def _count_calls(lone: Lone, watched: Party, spent: Spent) -> None:
    counts: Counter[str] = Counter()

    def on_call(_frame: FrameType, event: str, what: Any) -> None:
        if event == "call":
            counts["calls"] += 1
        elif event == "c_call":
            counts["calls of C"] += 1
            counts["sends"] += what.__name__ in SENDS
            counts["receives"] += what.__name__ in RECEIVES

    @contextmanager
    def counted(party: Party) -> Iterator[None]:
        if party is watched:
            sys.setprofile(on_call)
        yield
        sys.setprofile(None)

    for _ in range(COUNTED):
        lone.carry(counted)
    spent.counts.update({name: count / COUNTED for name, count in counts.items()})  # type: ignore[arg-type]


def _count_lines(lone: Lone, watched: Party, spent: Spent) -> None:
    ran, different = 0, 0
    lines: set[tuple[str, int]] = set()

    def on_line(frame: FrameType, event: str, _what: Any) -> Any:
        nonlocal ran
        if event == "line":
            ran += 1
            lines.add((frame.f_code.co_filename, frame.f_lineno))
        return on_line

    @contextmanager
    def counted(party: Party) -> Iterator[None]:
        if party is watched:
            sys.settrace(on_line)
        yield
        sys.settrace(None)

    for _ in range(COUNTED):
        lines.clear()
        lone.carry(counted)
        different += len(lines)
    spent.counts.update({"lines": ran / COUNTED, "different lines": different / COUNTED})  # type: ignore[dict-item]


def as_json(spent: dict[str, Spent]) -> str:
    """Return all that was measured, by party."""
    # Not `asdict`, which takes the pairs of a `Counter` for things to count.
    parties = {name: {"us": of.us, "turns": of.turns, "counts": of.counts} for name, of in spent.items()}
    return json.dumps(parties, indent=1)


def profile(made: Parties, chunks: int, pace: float, count: int) -> None:
    """Print in which functions each party spends its time; the profiler makes calls dearer than they are."""
    with made as parties:
        lone = Lone(parties, pace, 0)
        for _ in range(WARM_UP):
            lone.carry(_nothing)
        profiles = {party.name: cProfile.Profile() for party in parties.all}

        @contextmanager
        def profiled(party: Party) -> Iterator[None]:
            profiles[party.name].enable()
            yield
            profiles[party.name].disable()

        for _ in range(chunks):
            lone.carry(profiled)
    for name, taken in profiles.items():
        print(f"\n{name}: µs a chunk, calls a chunk")
        stats: Any = pstats.Stats(taken).stats  # type: ignore[attr-defined]  # as its own printer reads it
        rows = sorted(stats.items(), key=lambda row: -row[1][2])
        for (path, line, function), (_, calls, own_s, all_s, _) in rows[:count]:
            where = f"{Path(path).parent.name}/{Path(path).name}:{line} " if line else ""
            own_us, all_us = (1e6 * seconds / chunks for seconds in (own_s, all_s))
            print(f"{own_us:8.2f} {all_us:8.2f} {calls / chunks:7.2f}  {where}{function}")


HEAD = ("party", "median", "mean", "turns", "calls", "calls of C", "sends", "receives", "lines", "different lines")


def table(spent: dict[str, Spent]) -> str:
    """Return it as a table of Markdown: µs, and counts, a chunk."""
    lines = [f"| {' | '.join(HEAD)} |", f"|---|{'---:|' * (len(HEAD) - 1)}"]
    rows = []
    for name, of in spent.items():
        times = [statistics.median(of.us), statistics.fmean(of.us)]
        rows.append((name, [*times, of.turns, *(float(of.counts[count]) for count in HEAD[4:])]))
    rows.append(("together", [sum(column) for column in zip(*(row for _, row in rows), strict=True)]))
    for name, row in rows:
        shown = [f"{row[0]:.1f}", f"{row[1]:.1f}", *(f"{value:.2f}" for value in row[2:])]
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return "\n".join(lines)


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lone", description=__doc__)
    parser.add_argument("--gateway", action="store_true", help="a gateway reads, and a client each stream of it")
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--chunks", type=int, default=400)
    parser.add_argument("--pace", type=float, default=200.0, help="chunks a second; 0: as fast as they go")
    parser.add_argument("--cold", type=int, default=8, help="megabytes written before each wake-up")
    parser.add_argument("--functions", type=int, default=0, help="so many functions of each party too, by cProfile")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    make = partial(GatewayParties if given.gateway else Parties, given.streams)
    spent = measure(make(), given.chunks, given.pace, given.cold)
    print(table(spent))
    if given.functions:
        profile(make(), given.chunks, given.pace, given.functions)
    if given.json:
        given.json.write_text(as_json(spent))


if __name__ == "__main__":
    main()
