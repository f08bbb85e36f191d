"""The gateway's benchmark counts right, and says which targets hold."""

from __future__ import annotations

import pytest

from benchmarks.gateway import TARGETS, table
from benchmarks.gateway_processes import HttpReaders, _Connection
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
