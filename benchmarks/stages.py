"""What a chunk costs by process and by stage, the bound by stage, and where we stand: `python -m benchmarks.stages`.

Three kinds of figures stand beside each other, in microseconds of CPU a chunk:

- by process, *measured*: what the processes of a run at saturation used (`throughput.shared`, if FILE has it);
- by stage, *measured apart*: each stage's own code on the same chunks in one process (`way.py`), the least of many
  goes. It is warm there, and alone on its core;
- *whole*, also apart: all that a process runs for a chunk, its event loop, tasks and sockets too (`whole.py`), the
  least of some rounds;
- *unexplained*: the rest. In it are Ray, waking up, the measuring program, and caches and cores shared with others.

The bound by stage is what no carrier can leave out: to decode, to translate, one copy, and one write to a socket.
"""

from __future__ import annotations

import argparse
import gc
import json
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from actors.protocol.frames import pack, unpack_list
from actors.providers.decode import read_chat
from actors.shell import keep_freed_memory
from actors.stream.log import Log
from actors.translator import Translator
from benchmarks.chunks import stream_of
from benchmarks.measure import significant
from benchmarks.processes import SETTINGS
from benchmarks.way import GROUP, PORTION_BYTES, STREAMS, Clock, Way, connected
from benchmarks.whole import by_party

US_PER_S = 1e6
NS_PER_US = 1e3
CORES = 2
# Some of what a process does comes once in several rounds, credit for one: a block has some of each.
BLOCK_ROUNDS = 6
BLOCK_CHUNKS = BLOCK_ROUNDS * STREAMS * GROUP
PROCESSES = ("publisher", "router", "stream actor", "reader")
# What a process is called where its CPU was measured.
MEASURED_AS = {"producer": "publisher", "consumer": "reader", "stream_actor": "stream actor", "ray": "Ray's own"}
Costs = dict[str, dict[str, float]]


# --- measured apart ---------------------------------------------------------------------------------


def by_stage(blocks: int) -> Costs:
    """Return what each stage costs a chunk, by process: the least of so many blocks of rounds."""
    keep_freed_memory()  # as routers and stream actors do
    clock, sent = Clock(), stream_of(GROUP)
    way, found, parts = Way(clock), [], []
    way.carry(sent)  # subscribes, and makes what only the first round makes
    gc.collect()
    gc.disable()  # as good as: in these processes it runs seldom
    try:
        for _ in range(blocks):
            clock.ns.clear()
            way.messages = 0
            for _ in range(BLOCK_ROUNDS):
                way.carry(sent)
            if way.messages != BLOCK_CHUNKS:
                raise RuntimeError(f"{way.messages} messages came of {BLOCK_CHUNKS} chunks")
            found.append({stage: ns / NS_PER_US / BLOCK_CHUNKS for stage, ns in clock.ns.items()})
            parts.append(_parts_of_feed())
    finally:
        gc.enable()
        way.close()
    costs: Costs = {process: {} for process in PROCESSES}
    for (process, stage), us in fastest(found).items():
        costs[process][stage] = us
    return split_feed(costs, fastest(parts))


def fastest(runs: Sequence[Mapping[Any, float]]) -> dict[Any, float]:
    """Return the least of each figure over several runs."""
    return {name: min(run[name] for run in runs) for name in runs[0]}


def _parts_of_feed() -> dict[str, float]:
    """Return what the parts of a stream actor's `feed` cost a chunk, each in a loop of its own."""
    chunks = stream_of(GROUP * STREAMS)
    rows = [pack(chunks[at : at + GROUP]) for at in range(0, len(chunks), GROUP)]
    translator, log = Translator(SETTINGS, run_id="stages"), Log()
    translator.chunk(chunks[0])
    pieces = [translator.chunk(chunk) for chunk in chunks]
    again = Translator(SETTINGS, run_id="stages")
    again.chunk(chunks[0])
    return {
        "unpack": _us_each(lambda: [unpack_list(row) for row in rows], len(chunks)),
        "decode": _us_each(lambda: [read_chat(chunk) for chunk in chunks], len(chunks)),
        "chunk": _us_each(lambda: [again.chunk(chunk) for chunk in chunks], len(chunks)),
        "log": _us_each(lambda: [log.append(found) for found in pieces], len(chunks)),
    }


def _us_each(call: Callable[[], object], count: int) -> float:
    began = time.thread_time_ns()
    call()
    return (time.thread_time_ns() - began) / NS_PER_US / count


def split_feed(costs: Costs, parts: Mapping[str, float]) -> Costs:
    """Return the costs with a stream actor's `feed` as the stages in it; what is left of it is the session's.

    Unpacking belongs to what receives; decoding and translating are one call, of which decoding is known alone.
    """
    actor = dict(costs["stream actor"])
    feed = actor.pop("feed")
    actor["receive"] = actor.get("receive", 0.0) + parts["unpack"]
    actor["decode"] = parts["decode"]
    actor["translate"] = max(parts["chunk"] - parts["decode"], 0.0)
    actor["log"] = parts["log"]
    actor["session"] = max(feed - parts["unpack"] - parts["chunk"] - parts["log"], 0.0)
    return {**costs, "stream actor": actor}


# --- the bound --------------------------------------------------------------------------------------


def bound_by_stage(costs: Costs, blocks: int) -> dict[str, float]:
    """Return what no carrier can leave out of a chunk."""
    frame = b"".join(stream_of(STREAMS * GROUP))
    apart = fastest(
        [{"copy": _copy_us(frame), "write": _carried_us(frame, socket.AF_UNIX)["write"]} for _ in range(blocks)]
    )
    actor = costs["stream actor"]
    return {"decode": actor["decode"], "translate": actor["translate"], "copy": apart["copy"], "write": apart["write"]}


def _copy_us(frame: bytes) -> float:
    return _us_each(lambda: bytearray(frame), STREAMS * GROUP)


def _carried_us(frame: bytes, family: int) -> dict[str, float]:
    """Return what a chunk costs who writes it to a socket, in large frames, and who reads it."""
    clock = Clock()
    write, read = connected(family)
    for at in range(0, len(frame), PORTION_BYTES):
        portion = frame[at : at + PORTION_BYTES]
        with clock("socket", "write"):
            write.sendall(portion)
        left = len(portion)
        with clock("socket", "read"):
            while left:
                left -= len(read.recv(left))
    for end in (write, read):
        end.close()
    return {stage: ns / NS_PER_US / (STREAMS * GROUP) for (_, stage), ns in clock.ns.items()}


def hop_us(blocks: int) -> dict[str, float]:
    """Return what writing and reading cost a chunk through a socket of one node, and through TCP."""
    frame = b"".join(stream_of(STREAMS * GROUP))
    families = {"local": socket.AF_UNIX, "network": socket.AF_INET}
    return {
        means: min(sum(_carried_us(frame, family).values()) for _ in range(blocks))
        for means, family in families.items()
    }


# --- what it says -----------------------------------------------------------------------------------


def by_process(measured: Mapping[str, float]) -> dict[str, float]:
    """Return measured CPU a chunk under the names used here, processes of a kind together (`stream_actor_2`)."""
    found: dict[str, float] = {}
    for name, us in measured.items():
        kind = name.rstrip("0123456789").rstrip("_")
        process = MEASURED_AS.get(kind, kind)
        found[process] = found.get(process, 0.0) + us
    return found


def account(costs: Costs, whole: Mapping[str, float], measured: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Return for each process what was measured of it, what it takes apart, and what is left.

    `whole`: see `whole.py`; where it was not measured, the stages stand for it.
    """
    rows = {}
    for process, us in by_process(measured).items():
        explained = whole.get(process, sum(costs.get(process, {}).values()))
        rows[process] = {"measured": us, "explained": explained, "unexplained": us - explained}
    return rows


def standing(bound: Mapping[str, float], costs: Costs, measured: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Return for each line of the bound what it must cost, what we spend on the like, and how many times as much.

    Sockets are all that sends and receives; copies are the packing and unpacking at the lanes and in answers. What no
    line of the bound has stands under `rest`: all that was measured and is none of these.
    """
    actor = costs["stream actor"]
    spent = {
        "decode": actor["decode"],
        "translate": actor["translate"],
        "copy": costs["publisher"].get("lane", 0.0) + actor.get("answer", 0.0) + costs["reader"].get("decode", 0.0),
        "write": sum(us for stages in costs.values() for stage, us in stages.items() if stage in ("send", "receive")),
    }
    total = sum(measured.values())
    lines = {**bound, "rest": 0.0}
    spent["rest"] = total - sum(spent.values())
    return {
        line: {"bound": us, "spent": spent[line], "times": spent[line] / us if us else 0.0}
        for line, us in lines.items()
    }


def next_lines(bound: Mapping[str, float], costs: Costs, count: int = 3) -> list[tuple[str, str, float]]:
    """Return the stages that cost most beyond the bound: (process, stage, microseconds a chunk), costliest first."""
    lines = [
        (process, stage, us - bound.get(stage, 0.0))
        for process, stages in costs.items()
        for stage, us in stages.items()
    ]
    return sorted(lines, key=lambda line: -line[2])[:count]


def per_s(bound: Mapping[str, float], cores: int = CORES) -> float:
    """Return how many chunks a second so many cores do that do nothing else."""
    return cores * US_PER_S / sum(bound.values())


def measure_stages(blocks: int) -> dict[str, Any]:
    """Measure all that is measured apart."""
    costs = by_stage(blocks)
    bound = bound_by_stage(costs, blocks)
    return {
        "us_per_chunk": {process: _rounded(stages) for process, stages in costs.items()},
        "whole_us_per_chunk": _rounded(by_party(max(blocks // 4, 2))),
        "bound_us_per_chunk": _rounded(bound),
        "bound_chunks_per_s": significant(per_s(bound)),
        "hop_us_per_chunk": _rounded(hop_us(blocks)),
        "chunks_a_stream_and_frame": GROUP,
    }


def add_standing(found: dict[str, Any]) -> None:
    """Put beside the stages what can be said of them where the processes were measured in the same run."""
    stages = found.get("stages")
    shared = found.get("throughput", {}).get("shared")
    if stages is None or shared is None:
        return
    costs, bound, measured = stages["us_per_chunk"], stages["bound_us_per_chunk"], shared["cpu_us_per_chunk"]
    whole = stages.get("whole_us_per_chunk", {})
    stages["account"] = {process: _rounded(row) for process, row in account(costs, whole, measured).items()}
    stages["standing"] = {line: _rounded(row) for line, row in standing(bound, costs, measured).items()}
    stages["next"] = [[process, stage, significant(us, 3)] for process, stage, us in next_lines(bound, costs)]
    stages["unexplained"] = significant(sum(row["unexplained"] for row in stages["account"].values()), 3)
    stages["share_of_bound"] = significant(shared["chunks_per_s"]["median"] / stages["bound_chunks_per_s"], 3)


def _rounded(row: Mapping[str, float]) -> dict[str, float]:
    return {name: significant(value, 3) for name, value in row.items()}


def main() -> int:
    """Measure the stages; print them, beside the processes of a run where a file of one is given."""
    from benchmarks import tables  # noqa: PLC0415  # it prints what this measures

    parser = argparse.ArgumentParser(prog="python -m benchmarks.stages", description=__doc__)
    parser.add_argument("--blocks", type=int, default=40, help="so many times; the least counts")
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument("file", type=Path, nargs="?", help="the figures of a run of `python -m benchmarks`")
    given = parser.parse_args()
    found = json.loads(given.file.read_text()) if given.file else {}
    found["stages"] = measure_stages(given.blocks)
    add_standing(found)
    if given.json:
        given.json.write_text(json.dumps(found["stages"], indent=2) + "\n")
    print(tables.stages(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
