"""The pace table tells apart what is idle, what making chunks costs, and what carrying them does; and threads."""

from __future__ import annotations

import asyncio
import sys

import psutil
import pytest

from benchmarks import pace, relay, threads
from benchmarks.threads import Spent

ROW = {
    "pace": "20 x 10/s", "transport": "auto", "gather_ms": 2.0, "packed": 9, "cores": 0.4, "idle": 0.1, "making": 0.04,
    "carrying": 0.26, "wake_ups": 4.5, "chunks_per_s": 200.0, "p50_ms": 1.0, "p99_ms": 2.3,
    "cores_by": {"driver": 0.1, "RouterActor": 0.1, "StreamActor": 0.1, "Ray's own": 0.1},
    "threads": [
        ["RouterActor", "event loop", 0.07, 240.0, 0.002, 6.0, 0.001, 4.0],
        ["raylet", "a thread that does little", 0.0001, 1.0, 0.0001, 1.0, 0.0001, 1.0],
    ],
}  # fmt: skip


def test_rows_are_medians_and_show_what_is_the_products_own():
    runs = [{**ROW, "carrying": carrying} for carrying in (0.3, 0.2, 0.26)]
    head, under, line = pace.table([pace._median(runs)]).splitlines()
    assert head.count("|") == under.count("|") == line.count("|")
    assert "| 0.40 |  | 0.10 | 0.04 | 0.26 | 4.5 |" in line


def test_threads_that_do_next_to_nothing_are_left_out():
    _, _, *lines = pace.table_of_threads(ROW).splitlines()
    assert lines == ["| RouterActor | event loop | 70.0 | 240 | 2.0 | 6 | 1.0 |"]


def test_what_a_kind_of_thread_spent_is_the_sum_over_its_processes_since_the_earlier_look():
    def spent(cpu_s, wake_ups):
        return Spent(threads.ACTOR, threads.LOOP, cpu_s, wake_ups)

    before = {(1, "1"): spent(1.0, 10), (2, "2"): spent(5.0, 50)}
    after = {(1, "1"): spent(1.5, 20), (2, "2"): spent(5.5, 70), (3, "3"): spent(1.0, 10)}
    assert threads.between(before, after, 2.0) == {(threads.ACTOR, threads.LOOP): (1.0, 20.0)}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_this_process_is_the_driver_and_its_main_thread_the_event_loop():
    found = threads.snapshot().values()
    assert any(spent.process == threads.DRIVER and spent.thread == threads.LOOP and spent.cpu_s > 0 for spent in found)
    assert threads.kind_of("raylet") == threads.RAYS_OWN


def command_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # others' processes may end meanwhile
        return []


async def test_a_bare_relay_hands_on_all_lines_in_order_and_leaves_no_process():
    came: list[bytes] = []
    sent = [b"%d" % number for number in range(200)]
    all_came = asyncio.Event()

    def on_line(line: bytes) -> None:
        came.append(line)
        if len(came) == len(sent):
            all_came.set()

    async with relay.relayed((threads.ROUTER, threads.ACTOR), 0.002, on_line) as way:
        hops = [child for child in psutil.Process().children() if "benchmarks.relay" in command_of(child)]
        assert [hop.cmdline()[0] for hop in hops] == [threads.ACTOR, threads.ROUTER]
        for line in sent:
            way.send(line)
        async with asyncio.timeout(20.0):
            await all_came.wait()
    assert came == sent
    assert not any(hop.is_running() for hop in hops)
