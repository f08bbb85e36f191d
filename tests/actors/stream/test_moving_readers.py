"""Readers that come from an earlier session of a request: whatever that one had, they see one whole end."""

from __future__ import annotations

import json

import pytest

from actors.protocol import frames as wire
from actors.protocol.envelopes import Order
from actors.protocol.reads import Operation
from actors.settings import StreamSettings, packed
from actors.stream.host import StreamHost
from router.client.reading.inbox import Cursor

DATE = "2026-01-02T03:04:05+00:00"


def texts(count: int) -> list[bytes]:
    return [json.dumps({"choices": [{"index": 0, "delta": {"content": str(n)}}]}).encode() for n in range(count)]


def ended_host(messages: int) -> StreamHost:
    """Return a host with a request that was cancelled after so many messages."""
    host = StreamHost()
    host.begin("router")
    settings = packed(StreamSettings(dialect="chat"))
    frame = [(Order.OPEN, "req", 2, settings, "client", DATE, 0.0, 0, 1, 0, [])]
    if messages:
        frame.append((Order.DATA, "req", 2, 1, wire.pack(texts(messages))))
    frame += [(Order.END, "req", 2, "cancelled", None, 0), (Order.STORED, "req", 2, 300.0)]
    host.feed("router", 1, [wire.pack(frame)], 0.0)
    return host


def read(host: StreamHost, after: int, *, is_moving: bool) -> list[tuple[int, str]]:
    """Return (seq_id, kind) of all that a reader still gets who has had `after` messages of an earlier session."""
    host.audience.operate("reader", 0, [(1, Operation.SUBSCRIBE, 1, "req", after, 2, is_moving)], 0.0)
    cursor = Cursor(after)
    found = []
    poll_no = 0
    while (answer := host.audience.reader("reader", 0.0).answer(poll_no + 1)) is not None:
        poll_no += 1
        for _, _, gap, _, segments in wire.unpack(answer):
            for first, fields, pieces in cursor.take(segments, gap):
                found += [(first + n, fields["message_type"]) for n in range(len(pieces))]
    return found


@pytest.mark.parametrize("messages", range(4))
@pytest.mark.parametrize("after", range(8))
def test_a_reader_that_had_more_or_less_than_survived_sees_the_rest_and_one_whole_end(messages, after):
    found = read(ended_host(messages), after, is_moving=True)
    assert [kind for _, kind in found[-2:]] == ["stop_reason", "usage_statistics"]
    assert [kind for _, kind in found[:-2]] == ["assistant_message"] * max(0, messages - after)
    assert [seq_id for seq_id, _ in found] == list(range(after + 1, after + 1 + len(found)))


@pytest.mark.parametrize("after", range(6))
def test_one_that_resumes_what_it_read_itself_gets_what_follows_and_nothing_twice(after):
    """Its cursor belongs to this very log: behind its stop reason comes the usage, behind that nothing."""
    assert [seq_id for seq_id, _ in read(ended_host(3), after, is_moving=False)] == list(range(after + 1, 6))
