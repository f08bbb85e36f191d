"""Who may do what: tokens, scopes, and tickets for one stream."""

from __future__ import annotations

import pytest

from actors.errors import ConfigError, NotPermitted
from gateway.access import ANYBODY, SCOPES, Tokens

WEB, OPS = "web-0123456789abcdef", "ops-0123456789abcdef"
TEXT = f"# who may come\n\nweb {WEB} read\n  ops {OPS} read,run,cancel\n"


def tokens(text: str = TEXT) -> Tokens:
    return Tokens.parse(text, "tokens")


def test_a_token_is_its_callers_and_no_other_is_anybodys():
    assert tokens().caller(WEB).name == "web"
    assert tokens().caller(OPS).scopes == SCOPES
    for wrong in ("", WEB[:-1], WEB + " ", WEB.upper(), "web", "\ud800"):
        with pytest.raises(NotPermitted, match="none of this gateway's"):
            tokens().caller(wrong)


def test_a_scope_that_is_missing_is_named():
    with pytest.raises(NotPermitted, match="has the scopes read; this needs cancel"):
        tokens().caller(WEB).check("cancel")
    tokens().caller(WEB).check("read", "any")
    for scope in SCOPES:
        ANYBODY.check(scope, "any")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no token in it"),
        ("# nothing\n", "no token in it"),
        ("web short read", "line 1: a token has 16 characters or more"),
        (f"\nweb {WEB}", "line 2: expected NAME TOKEN SCOPES, got 2 words"),
        (f"web {WEB} read,write", "line 1: expected scopes of cancel, read, run"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_by_its_line_and_tells_no_token(text: str, said: str):
    with pytest.raises(ConfigError) as caught:
        tokens(text)
    assert said in str(caught.value)
    assert WEB not in str(caught.value)


def test_a_ticket_opens_its_stream_for_reading_until_its_time_is_over():
    ticket = tokens().ticket("req-1", 100.0)
    holder = tokens().ticket_holder(ticket, "req-1", 99.0)
    holder.check("read", "req-1")
    for scope, request_id in (("read", "req-2"), ("read", None), ("run", "req-1"), ("cancel", "req-1")):
        with pytest.raises(NotPermitted):
            holder.check(scope, request_id)
    with pytest.raises(NotPermitted, match="its time is over"):
        tokens().ticket_holder(ticket, "req-1", 101.0)


@pytest.mark.parametrize("wrong", ["", ".", "100", "100.", "9999999999999.x", "²00.x", "-1.x"])
def test_what_is_no_ticket_opens_nothing(wrong: str):
    with pytest.raises(NotPermitted):
        tokens().ticket_holder(wrong, "req-1", 1.0)


def test_a_ticket_cannot_be_changed_and_is_taken_by_every_gateway_with_the_same_file():
    until, _, mac = tokens().ticket("req-1", 100.0).partition(".")
    for changed in (f"200.{mac}", f"{until}.{mac[:-1]}", f"{until}.{mac}0", f"{until}.\ud800"):
        with pytest.raises(NotPermitted):
            tokens().ticket_holder(changed, "req-1", 1.0)
    with pytest.raises(NotPermitted):
        tokens().ticket_holder(f"{until}.{mac}", "req-2", 1.0)
    tokens(TEXT + "\n# another order of lines is the same file\n").ticket_holder(f"{until}.{mac}", "req-1", 1.0)
    with pytest.raises(NotPermitted):
        tokens(f"web {WEB} read").ticket_holder(f"{until}.{mac}", "req-1", 1.0)
