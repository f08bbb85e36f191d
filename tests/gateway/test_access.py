"""Who may do what: tokens of a file, their scopes, tenants and agents."""

from __future__ import annotations

import pytest

from actors.errors import ConfigError, NotPermitted
from gateway.access import ANYBODY, SCOPES, Caller, Tokens

WEB, OPS = "web-0123456789abcdef", "ops-0123456789abcdef"
TEXT = f"# who may come\n\nweb {WEB} read\n  ops {OPS} read,run,cancel\n"


def tokens(text: str = TEXT) -> Tokens:
    return Tokens.parse(text, "tokens")


def test_a_token_is_its_callers_and_no_other_is_anybodys():
    assert tokens().caller(WEB).name == "web"
    assert tokens().caller(OPS) == Caller("ops", frozenset({"read", "run", "cancel"}))
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
        (f"\nweb {WEB}", "line 2: expected NAME TOKEN SCOPES [TENANT [AGENTS]], got 2 words"),
        (f"web {WEB} read team-a ada bob", "got 6 words"),
        (f"web {WEB} read,write", "line 1: expected scopes of admin, cancel, read, run"),
        (f"web {WEB} read *", "line 1: expected a tenant"),
        (f"web {WEB} read team:a", "line 1: expected a tenant"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_by_its_line_and_tells_no_token(text: str, said: str):
    with pytest.raises(ConfigError) as caught:
        tokens(text)
    assert said in str(caught.value)
    assert WEB not in str(caught.value)


def test_a_line_may_say_whose_runs_and_of_which_agents():
    text = f"a {WEB} read team-a ada,bob\nb {OPS} run - ada\nc {WEB}c read team-b"
    found = tokens(text)
    assert found.caller(WEB) == Caller("a", frozenset({"read"}), "team-a", frozenset({"ada", "bob"}))
    assert found.caller(OPS) == Caller("b", frozenset({"run"}), None, frozenset({"ada"}))
    assert found.caller(WEB + "c") == Caller("c", frozenset({"read"}), "team-b")
    assert found.tenants == {"team-a", "team-b"}
    assert [found.caller(WEB).may_use(agent) for agent in ("ada", "eve", None)] == [True, False, False]
    assert found.caller(WEB + "c").may_use("eve")


def test_admin_may_do_everything():
    for scope in SCOPES:
        Caller("root", frozenset({"admin"})).check(scope)
    with pytest.raises(NotPermitted, match=r"has the scopes \(none\); this needs admin"):
        Caller("web", frozenset()).check("admin")
