"""Tickets: one stream of one tenant, for reading, until their time is over."""

from __future__ import annotations

import pytest

from actors.errors import NotPermitted
from gateway.tickets import Tickets

TICKETS = Tickets(b"a secret of this test")


@pytest.mark.parametrize("tenant", [None, "team-a", "a.b.c"])
def test_a_ticket_opens_its_stream_for_reading_until_its_time_is_over(tenant: str | None):
    ticket = TICKETS.make("req-1", tenant, 100.0)
    holder = TICKETS.holder(ticket, "req-1", 99.0)
    assert holder.tenant == tenant
    holder.check("read", "req-1")
    for scope, request_id in (("read", "req-2"), ("read", None), ("run", "req-1"), ("cancel", "req-1")):
        with pytest.raises(NotPermitted):
            holder.check(scope, request_id)
    with pytest.raises(NotPermitted, match="its time is over"):
        TICKETS.holder(ticket, "req-1", 101.0)


@pytest.mark.parametrize("wrong", ["", ".", "100", "100.", "9999999999999.x", "²00.x", "-1.x", "100.*.x", "100.a\n.x"])
def test_what_is_no_ticket_opens_nothing(wrong: str):
    with pytest.raises(NotPermitted):
        TICKETS.holder(wrong, "req-1", 1.0)


def test_a_ticket_cannot_be_changed_and_is_taken_by_every_gateway_with_the_same_secret():
    until, tenant, mac = TICKETS.make("req-1", "team-a", 100.0).split(".")
    changed = (f"200.{tenant}.{mac}", f"{until}.{tenant}.{mac[:-1]}", f"{until}.{tenant}.{mac}0", f"{until}.{mac}")
    for ticket in (*changed, f"{until}.team-b.{mac}", f"{until}.{tenant}.\ud800"):
        with pytest.raises(NotPermitted):
            TICKETS.holder(ticket, "req-1", 1.0)
    with pytest.raises(NotPermitted):
        TICKETS.holder(f"{until}.{mac}", "team-a\nreq-1", 1.0)
    with pytest.raises(NotPermitted):
        Tickets(b"another secret").holder(f"{until}.{tenant}.{mac}", "req-1", 1.0)
    Tickets(b"a secret of this test").holder(f"{until}.{tenant}.{mac}", "req-1", 1.0)
