"""The shelf: what no stream actor can hold is read from the router itself as from a stream actor."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest

from actors.errors import UnknownRequest
from actors.protocol.envelopes import ForgetEnvelope, Order, RestoreEnvelope
from actors.protocol.frames import ARGUMENT_BYTES_MAX
from actors.protocol.states import Report, SessionPhase
from actors.stream import stream_actor
from actors.terminal import terminal_log
from router.on_ray.shelf import Shelf


@pytest.fixture
async def shelf(monkeypatch) -> AsyncIterator[Shelf]:
    context = SimpleNamespace(get_node_id=lambda: "node")
    monkeypatch.setattr(stream_actor, "ray", SimpleNamespace(get_runtime_context=lambda: context))

    async def report(_actor_id: str, _frame: bytes) -> None:
        return

    made = Shelf("incarnation", report)
    yield made
    made.actor._pushing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await made.actor._pushing


def restore(request_id: str, detail: str = "it never began") -> RestoreEnvelope:
    log = terminal_log(request_id, "2026-01-02T03:04:05+00:00", "cancelled", detail)
    return RestoreEnvelope(Order.RESTORE, request_id, 1, "cancelled", log, 60.0, "client", [None, 0])


async def test_an_ended_request_is_read_there_at_once_and_to_its_end(shelf):
    (parts,) = await shelf.take([restore("req")])
    report = Report(*parts)
    assert (report.request_id, report.phase, report.stop_reason) == ("req", SessionPhase.SEALED, "cancelled")
    messages = await shelf.actor.pull("req", 0, wait_s=0.0)
    assert [message.message_type for message in messages] == ["stop_reason", "usage_statistics"]
    assert messages[0].detail == "it never began"
    assert await shelf.actor.pull("req", 2, wait_s=60.0) == [], "nothing is waited for behind an end"


async def test_what_has_moved_to_a_stream_actor_is_not_there_any_more(shelf):
    await shelf.take([restore("req"), restore("other")])
    await shelf.take([ForgetEnvelope(Order.FORGET, "req", 1)])
    with pytest.raises(UnknownRequest):
        await shelf.actor.pull("req", 0)
    assert await shelf.actor.pull("other", 0, wait_s=0.0)


async def test_more_than_a_call_carries_is_taken_in_one_step_and_in_order(shelf):
    large = "x" * (ARGUMENT_BYTES_MAX // 3)
    names = [f"r{number}" for number in range(10)]
    reports = await shelf.take([restore(name, large) for name in names] + [ForgetEnvelope(Order.FORGET, "r3", 1)])
    assert [parts[0] for parts in reports] == [name for name in names if name != "r3"]
    assert shelf.actor._host.refusals.refused == {}


async def test_each_step_is_done_once_and_the_first_begins_it(shelf):
    for number in range(3):
        assert await shelf.take([restore(f"r{number}")])
    assert shelf.actor._host.sessions.keys() == {"r0", "r1", "r2"}
    assert await shelf.take([]) == []
