"""A request goes through the changes that its table names, and through no others; only its own file writes to it."""

from __future__ import annotations

import ast
from dataclasses import fields
from pathlib import Path

import pytest

from actors.protocol.states import Report, RequestPhase, SessionPhase
from actors.settings import StreamSettings, packed
from router.core import request as module
from router.core.request import Change, IllegalChange, Request

SETTINGS = StreamSettings()
ROUTER = Path(module.__file__).resolve().parents[1]


def a_request(phase: RequestPhase = RequestPhase.WAITING) -> Request:
    made = Request("r", packed(SETTINGS), SETTINGS, "client", "", 0.0)
    if phase != RequestPhase.WAITING:
        made.place("s1")
    if phase == RequestPhase.SEALED:
        made.seal("end_turn", 10.0)
    return made


CHANGES = {
    Change.RESERVE: lambda request: request.reserve("s2"),
    Change.PLACE: lambda request: request.place("s2"),
    Change.UNPLACE: lambda request: request.unplace(1.0),
    Change.SEAL: lambda request: request.seal("cancelled", 20.0),
    Change.HOLD: lambda request: request.hold("s2"),
}
ALLOWED = {
    (RequestPhase.WAITING, Change.RESERVE): RequestPhase.WAITING,
    (RequestPhase.WAITING, Change.PLACE): RequestPhase.OPEN,
    (RequestPhase.WAITING, Change.UNPLACE): RequestPhase.WAITING,
    (RequestPhase.WAITING, Change.SEAL): RequestPhase.SEALED,
    (RequestPhase.OPEN, Change.UNPLACE): RequestPhase.WAITING,
    (RequestPhase.OPEN, Change.SEAL): RequestPhase.SEALED,
    (RequestPhase.SEALED, Change.HOLD): RequestPhase.SEALED,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("phase", [RequestPhase.WAITING, RequestPhase.OPEN, RequestPhase.SEALED])
def test_every_change_in_every_phase_leads_where_the_table_says_or_is_refused_and_changes_nothing(phase, change):
    request = a_request(phase)
    before = [getattr(request, field.name) for field in fields(request)]
    if (phase, change) in ALLOWED:
        CHANGES[change](request)
        assert request.phase == ALLOWED[phase, change]
        return
    with pytest.raises(IllegalChange, match="'r'"):
        CHANGES[change](request)
    after = [getattr(request, field.name) for field in fields(request)]
    assert after == before


def test_a_new_session_has_had_nothing_and_grants_anew():
    request = a_request(RequestPhase.OPEN)
    assert request.take_items(1, 5)
    request.reported(Report("r", 1, SessionPhase.OPEN, 6, credit_bytes=500))
    request.unplace(1.0)
    request.place("s2")
    assert (request.epoch, request.sent_seq, request.high_seq, request.credit_bytes) == (2, 0, 5, 0)
    assert not request.is_whole
    assert request.take_items(1, 5)
    assert request.is_whole


def test_items_behind_a_hole_are_not_taken_and_the_hole_is_known_until_it_is_filled():
    request = a_request(RequestPhase.OPEN)
    assert not request.take_items(3, 4)
    assert request.phase_for_publisher == RequestPhase.GAP
    assert request.take_items(1, 4)
    assert request.phase_for_publisher == RequestPhase.OPEN


def test_after_a_take_over_the_publisher_waits_until_the_session_has_said_how_far_it_has_come():
    request = a_request(RequestPhase.OPEN)
    request.take_items(1, 3)
    request.hand_to("other")
    assert (request.start_seq, request.phase_for_publisher) == (4, RequestPhase.WAITING)
    assert request.reported(Report("r", 1, SessionPhase.OPEN, 3)) == (False, False)
    assert request.reported(Report("r", 1, SessionPhase.OPEN, 4)) == (True, True)
    assert request.phase_for_publisher == RequestPhase.OPEN


def test_a_cancel_after_the_step_can_become_one_at_once_and_not_the_other_way_round():
    request = a_request()
    assert request.ask_cancel("after_step")
    assert not request.ask_cancel("after_step")
    assert request.ask_cancel("now")
    assert not request.ask_cancel("after_step")
    assert request.cancel == "now"


def test_it_says_what_it_waits_for():
    request = a_request()
    assert "place" in str(request.waits_for)
    request.reserve("s7")
    assert "s7" in str(request.waits_for)
    request.place("s7")
    assert request.waits_for is None


def test_the_first_of_its_timers_runs_out_first():
    settings = StreamSettings(request_timeout_s=8, first_message_timeout_s=6, idle_reader_timeout_s=7)
    request = Request("r", packed(settings), settings, "client", "", 100.0)
    assert request.limit() == (106.0, "timeout_first_message")


def test_no_other_file_writes_to_a_request():
    names = {field.name for field in fields(Request)}
    files = [*sorted((ROUTER / "core").glob("*.py")), *sorted((ROUTER / "on_ray").glob("*.py"))]
    found = [
        f"{file.name}:{node.lineno}: writes to .{node.attr}"
        for file in files
        if file.name != "request.py"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and node.attr in names
        and not (isinstance(node.value, ast.Name) and node.value.id == "self")
    ]
    assert not found, "\n".join(found)


def test_a_new_session_has_received_nothing_and_grants_anew():
    request = a_request()
    request.place("s1")
    request.reported(Report("req", 1, SessionPhase.OPEN, credit_bytes=9_000, received_bytes=5_000))
    assert (request.credit_bytes, request.received_bytes) == (9_000, 5_000)
    request.unplace(1.0)
    request.place("s2")
    assert (request.credit_bytes, request.received_bytes) == (0, 0)
