"""The gateway's benchmark counts right, and says which targets hold."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks import langgraph_server
from benchmarks.gateway import TARGETS, table
from benchmarks.gateway_processes import BareServer, HttpReaders, _Connection
from benchmarks.targets import check

STREAM = b"retry: 1000\n\n" + b"".join(b'id: %d\ndata: {"content":"@%019d"}\n\n' % (n, n) for n in range(1, 6))


@pytest.mark.parametrize("size", [1, 3, 7, 50, len(STREAM)])
def test_messages_are_counted_however_they_are_cut(size: int):
    heard = HttpReaders()
    connection = _Connection(b"", heard)
    for start in range(0, len(STREAM), size):
        connection.data_received(STREAM[start : start + size])
    assert (connection.count, heard._count) == (5, 5)


def test_both_contenders_stand_beside_each_other_and_what_was_not_measured_is_left_open():
    found = {"ours": {"open_us": 400.0, "idle_kb": 20.0}, "plain": {"open_us": 900.0}}
    assert [line.split() for line in table(found).splitlines()] == [
        ["ours", "plain"],
        ["open_us", "400", "900"],
        ["idle_kb", "20", "-"],
    ]
    rows = {row["key"]: row["holds"] for row in check(found, TARGETS)}
    assert rows["ours.idle_kb"] is False
    assert rows["ours.message_us"] is None


def test_a_peer_that_is_not_installed_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(langgraph_server.PYTHON_VARIABLE, "/nowhere/python")
    assert "LANGGRAPH_PYTHON=/nowhere/python" in str(langgraph_server.missing())
    monkeypatch.delenv(langgraph_server.PYTHON_VARIABLE)
    why = langgraph_server.missing()
    assert why is None or "langgraph-cli[inmem] is not installed" in why


async def test_the_floor_writes_to_its_readers_in_turn():
    server, readers = BareServer(), HttpReaders()
    await readers.open(await server.serve(), ["/"] * 3)
    await readers.forget()
    assert await server.pace(1000.0, 0.006) == 6
    assert len(await readers.until(6)) == 6
    assert [connection.count for connection in readers._connections] == [3, 3, 3]
    await readers.close()
    await server.close()


async def test_each_run_of_the_peer_says_the_lines_that_are_its_own():
    lines = langgraph_server.Lines()
    async with await asyncio.start_server(lines.take, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for number, (_, writer) in enumerate(opened):
            writer.write(b"run-%d\n" % number)
        await lines.until(["run-0", "run-1"])
        lines.say("run-1", b"one")
        lines.say("run-0", b"zero")
        lines.close()
        assert [await reader.read() for reader, _ in opened] == [b"zero\n", b"one\n"]
        for _, writer in opened:
            writer.close()
            await writer.wait_closed()
