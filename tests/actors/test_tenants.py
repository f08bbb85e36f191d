"""Tenants: names that never meet, tokens that cannot be made up, passes that any router can check."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import ConfigError, InvalidArgument, NotPermitted, ProtocolViolation
from actors.tenants import (
    NOBODYS,
    PLAIN,
    SEPARATOR,
    Key,
    Passes,
    Scope,
    identity_of,
    names_in,
    own_name,
    shown_name,
)

KEY = Key(b"a secret of this test")
PASSES = Passes(KEY.pass_key)
NAMES = st.text(st.characters(exclude_characters=SEPARATOR), min_size=1, max_size=40)
SUBJECTS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,10}", fullmatch=True)
CALLERS = st.one_of(SUBJECTS, st.just("*")).map(lambda subject: identity_of(subject, ["read"]).names)


# --- names


@given(CALLERS, NAMES)
def test_a_name_comes_back_as_its_caller_said_it(names, name):
    assert names.own(names.full(name)) == name
    assert names.sees(names.full(name))


@given(SUBJECTS, SUBJECTS, NAMES, NAMES)
def test_two_subjects_have_no_name_in_common(one, other, name, another):
    mine, theirs = identity_of(one, ["read"]).names, identity_of(other, ["read"]).names
    assert (mine.full(name) == theirs.full(another)) == ((one, name) == (other, another))
    assert mine.sees(theirs.full(another)) == (one == other)


@given(SUBJECTS, NAMES)
def test_who_sees_all_names_the_request_of_a_team_in_full(subject, name):
    everybodys = identity_of("*", ["read"]).names
    full = identity_of(subject, ["read"]).names.full(name)
    assert everybodys.full(f"{subject}:{name}") == full
    assert everybodys.own(full) == shown_name(full) == f"{subject}:{name}"
    # Requests are split over routers by this: it must be the team's own name.
    assert everybodys.local(f"{subject}:{name}") == name == own_name(full)


@given(CALLERS, NAMES)
def test_nobody_names_what_is_there(names, name):
    assert not NOBODYS.sees(names.full(name))
    assert NOBODYS.own(NOBODYS.full(name)) == name


@pytest.mark.parametrize("name", [f"team-b{SEPARATOR}req-1", SEPARATOR, None, 7, b"req-1", ["req-1"]])
def test_what_is_no_name_is_refused(name):
    for subject in ("team-a", "*"):
        with pytest.raises(ProtocolViolation):
            identity_of(subject, ["read"]).names.full(name)


def test_without_tenants_names_are_what_they_are():
    for name in ("req-1", "team-a:req-1", "a b", "é"):
        assert (
            PLAIN.full(name) == PLAIN.own(name) == PLAIN.own_text(name) == PLAIN.local(name) == own_name(name) == name
        )
    assert PLAIN.sees_all


@pytest.mark.parametrize(("subject", "shown"), [("team-a", "no request 'req-1'"), ("*", "no request 'team-a:req-1'")])
def test_a_text_has_the_callers_names(subject, shown):
    full = identity_of("team-a", ["read"]).names.full("req-1")
    names = identity_of(subject, ["read"]).names
    assert names.own_text(f"no request {full!r}") == names.own_text(f"no request '{full}'") == shown


# --- tokens


def test_a_token_says_who_its_holder_is():
    identity = KEY.identity(KEY.token("team-a", ["publish", "read"]), 0.0)
    assert (identity.subject, identity.scopes) == ("team-a", {"read", "publish"})
    identity.check(Scope.PUBLISH)
    identity.check(Scope.CANCEL, Scope.READ)
    with pytest.raises(NotPermitted, match="this needs cancel or operate"):
        identity.check(Scope.CANCEL, Scope.OPERATE)


def test_a_token_expires():
    token = KEY.token("team-a", ["read"], expires_at=100.0)
    assert KEY.identity(token, 99.0).subject == "team-a"
    with pytest.raises(NotPermitted, match="expired"):
        KEY.identity(token, 100.0)


@given(st.data())
def test_a_token_that_was_changed_is_none(data):
    token = KEY.token("team-a", ["read"])
    at = data.draw(st.integers(0, len(token) - 1))
    changed = token[:at] + data.draw(st.characters()) + token[at + 1 :]
    if changed != token:
        with pytest.raises(NotPermitted):
            KEY.identity(changed, 0.0)


@pytest.mark.parametrize("token", ["", ".", "srt1", "srt1..", "srt1.e30.", "\ud800.\ud800.\ud800", None, 7, b"srt1"])
def test_what_is_no_token_is_refused(token):
    with pytest.raises(NotPermitted):
        KEY.identity(token, 0.0)


def test_a_token_of_another_key_is_refused():
    with pytest.raises(NotPermitted, match="another key"):
        KEY.identity(Key(b"the secret of another").token("team-a", ["read"]), 0.0)


def test_a_pass_is_no_token_and_a_token_no_pass():
    token = KEY.token("team-a", ["read"])
    assert PASSES.identity(token) is None
    with pytest.raises(NotPermitted):
        KEY.identity(PASSES.make("host-1", identity_of("team-a", ["read"])), 0.0)


@pytest.mark.parametrize(
    ("subject", "scopes"),
    [("", ["read"]), ("a b", ["read"]), ("a|b", ["read"]), ("a:b", ["read"]), ("x" * 65, ["read"]), ("ä", ["read"]),
     (None, ["read"]), ("a", []), ("a", ["write"]), ("a", ["operate"])],
)  # fmt: skip
def test_what_is_no_identity_is_refused(subject, scopes):
    with pytest.raises(InvalidArgument):
        KEY.token(subject, scopes)


def test_a_key_is_long_enough():
    with pytest.raises(ConfigError, match="at least 16 bytes, this one 5"):
        Key(b"short")


# --- passes


def test_a_pass_is_checked_without_memory_and_also_as_the_beginning_of_a_reader_id():
    client_id = PASSES.make("host-1", identity_of("team-a", ["read", "publish"]))
    for passes in (PASSES, Passes(KEY.pass_key)):
        for shown in (client_id, f"{client_id}/1", f"{client_id}/1/2"):
            identity = passes.identity(shown)
            assert identity is not None
            assert (identity.subject, identity.scopes) == ("team-a", {"read", "publish"})
    assert names_in(client_id).full("x") == f"team-a{SEPARATOR}x"
    assert names_in("host-1-2-3") is PLAIN


@given(st.data())
def test_a_pass_that_was_changed_is_none(data):
    client_id = PASSES.make("host-1", identity_of("team-a", ["read"]))
    at = data.draw(st.integers(0, len(client_id) - 1))
    changed = client_id[:at] + data.draw(st.characters()) + client_id[at + 1 :]
    if changed.partition("/")[0] != client_id:
        assert PASSES.identity(changed) is None
        assert PASSES.names(changed, Scope.READ) is NOBODYS


def test_a_pass_without_the_scope_gives_the_names_of_nobody():
    client_id = PASSES.make("host-1", identity_of("team-a", ["publish"]))
    assert PASSES.names(client_id, Scope.READ) is NOBODYS
    assert PASSES.names(client_id, Scope.READ, Scope.PUBLISH).full("x") == f"team-a{SEPARATOR}x"


@pytest.mark.parametrize("who", ["", None, 7, b"x", "host-1", "|||", "a|b|c|d", "\ud800|*|read|0", ["x"]])
def test_who_shows_no_pass_is_nobody(who):
    assert PASSES.identity(who) is None


@pytest.mark.parametrize("process", ["", "a|b", "a/b", "x" * 201, "nul\0", None, 7])
def test_a_process_has_a_plain_name(process):
    with pytest.raises(ProtocolViolation):
        PASSES.make(process, identity_of("team-a", ["read"]))
