"""Tenants: how teams that share a service are kept apart. Off by default. Pure: keys and the time are arguments.

Theory. An identity is a subject (whose requests: one team's, or `*`, everybody's) and scopes (what may be done
with them). It is stated by a *token*, which whoever runs the service signs with its key, and which a process
shows once, to a router. The router gives it a *pass* for that: an ID of the process with its identity and a
signature in it, which every router and stream actor, also one that has just restarted and remembers nothing, can
check by itself. The pass is the client ID, so it rides where a client ID rides anyway, and is checked when it is
first seen. A process that starts an agent elsewhere hands its pass on: behind it, after a slash, stands the name of
who shows it now.

Each subject has a space of names of its own. What a caller calls `req-1` is at every door turned into its full
name, `team-a` + SEPARATOR + `req-1`, and turned back in what the caller is told. Routers and stream actors
know full names only. So the request of another tenant is not hidden by a check that could be forgotten: in the
caller's names it has no name, and asking for it finds nothing, in the same way, with the same words and in the
same time as asking for what never was. Two tenants may use one ID, or one agent's name, and meet nowhere.

Who has the subject `*` names requests in full, `team-a:req-1`, and without a subject those of no team.

    scope      what it allows
    read       subscribe, pull, locate, list, request, describe, overview
    publish    open, take over, go on with a request, claim an agent, end it (cancel too)
    cancel     cancel requests
    operate    drain, resume and stop the service; list, describe, overview; with the subject `*` only

A missing scope is said plainly (`NotPermitted`), before anything is looked up: it tells of the caller alone.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, NamedTuple

from actors.errors import ConfigError, InvalidArgument, NotPermitted, ProtocolViolation

SEPARATOR = "\x1f"
"""Between subject and name. No request ID holds it: those are printable."""

EVERYBODY = "*"
"""The subject of who sees the requests of all."""

TOKEN_VARIABLE = "STREAM_ROUTER_TOKEN"  # noqa: S105  # the name of a variable
"""The environment variable that a process's token is taken from where none is given."""

KEY_BYTES_MIN = 16
_SUBJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHOWN_SEPARATOR = repr(SEPARATOR)[1:-1]
_TOKEN_KIND = "srt1"  # noqa: S105  # the form of a token, not one
_PASS_FIELDS = 4
_MAC_CHARACTERS = 32
_NAME_CHARACTERS_MAX = 200
_PASSES_REMEMBERED_MAX = 10_000


class Scope(StrEnum):
    """What an identity may do."""

    READ = "read"
    PUBLISH = "publish"
    CANCEL = "cancel"
    OPERATE = "operate"


# --- names ----------------------------------------------------------------------------------------


class Names:
    """A caller's names of requests and agents. This one is of a service without tenants: names are what they are."""

    __slots__ = ()

    sees_all = True
    """Whether this caller may see the requests of everybody."""

    subject: str | None = None
    """Whose requests these are names of; None: everybody's."""

    def full(self, name: str) -> str:
        """Return the full name of what the caller calls so. Raises ProtocolViolation."""
        return name

    def own(self, full: str) -> str:
        """Return what the caller calls this."""
        return full

    def sees(self, full: str) -> bool:  # noqa: ARG002  # of a base class
        """Whether the caller has a name for this."""
        return True

    def local(self, name: str) -> str:
        """Return the name within its subject: by it requests are split over routers."""
        return name

    def own_text(self, text: str) -> str:
        """Return a text in which names are the caller's own."""
        return text


def _checked(name: Any) -> str:
    if not isinstance(name, str) or SEPARATOR in name:
        raise ProtocolViolation(f"a name is text without control characters, not {name!r:.60}")
    return name


class _TeamNames(Names):
    """Those of one subject."""

    __slots__ = ("_prefix", "subject")

    sees_all = False

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self._prefix = subject + SEPARATOR

    def full(self, name: str) -> str:
        return self._prefix + _checked(name)

    def own(self, full: str) -> str:
        return full.removeprefix(self._prefix)

    def sees(self, full: str) -> bool:
        return full.startswith(self._prefix)

    def own_text(self, text: str) -> str:
        return text.replace(self._prefix, "").replace(self._prefix[:-1] + _SHOWN_SEPARATOR, "")


class _EverybodysNames(Names):
    """Full names, with a colon for the separator."""

    __slots__ = ()

    def full(self, name: str) -> str:
        subject, colon, rest = _checked(name).partition(":")
        return subject + SEPARATOR + rest if colon and _SUBJECT.fullmatch(subject) else SEPARATOR + name

    def own(self, full: str) -> str:
        subject, _, name = full.partition(SEPARATOR)
        return f"{subject}:{name}" if subject else name

    def local(self, name: str) -> str:
        return own_name(self.full(name))

    def own_text(self, text: str) -> str:
        for separator in (SEPARATOR, _SHOWN_SEPARATOR):
            text = text.replace(f"'{separator}", "'").replace(separator, ":")
        return text


class _NobodysNames(Names):
    """Those of a caller without an identity: nothing that is has such a name."""

    __slots__ = ()

    sees_all = False
    subject: str = SEPARATOR

    def full(self, name: str) -> str:
        return SEPARATOR + SEPARATOR + name

    def own(self, full: str) -> str:
        return full.removeprefix(SEPARATOR + SEPARATOR)

    def sees(self, full: str) -> bool:  # noqa: ARG002  # nothing
        return False

    def own_text(self, text: str) -> str:
        return text.replace(SEPARATOR, "").replace(_SHOWN_SEPARATOR, "")


PLAIN = Names()
"""The names of all callers of a service without tenants."""

NOBODYS = _NobodysNames()
"""The names of a caller without an identity."""


def own_name(full: str) -> str:
    """Return a name without its subject; of a service without tenants, the name as it is."""
    _, separator, name = full.partition(SEPARATOR)
    return name if separator else full


def process_of(client_id: str) -> str:
    """Return the name of a process without its identity, of which its client ID may be made."""
    shown, _, process = client_id.partition("/")
    return process or shown.partition("|")[0]


def handed_on(client_id: str, process: str) -> str:
    """Return a client ID for a process to which another one hands its pass on: with its identity, and its own name."""
    return f"{client_id.partition('/')[0]}/{process}"


def shown_name(full: str) -> str:
    """Return a full name as those see it who see all, for logs."""
    return _EverybodysNames().own(full) if SEPARATOR in full else full


# --- identities -----------------------------------------------------------------------------------


class Identity(NamedTuple):
    """Who a caller is: whose requests it may touch, what it may do with them, and what it calls them."""

    subject: str
    scopes: frozenset[str]
    names: Names

    def permits(self, *scopes: Scope) -> bool:
        """Whether one of these scopes is among its own."""
        return not self.scopes.isdisjoint(scopes)

    def check(self, *scopes: Scope) -> None:
        """Raise NotPermitted where none of these scopes is among its own."""
        if not self.permits(*scopes):
            raise NotPermitted(
                f"the token of {self.subject!r} has the scopes {', '.join(sorted(self.scopes))}; this needs "
                f"{' or '.join(scopes)}: ask whoever runs the service for another token"
            )


def identity_of(subject: Any, scopes: Iterable[Any]) -> Identity:
    """Return an identity. Raises InvalidArgument for what cannot be one."""
    if not isinstance(subject, str) or (subject != EVERYBODY and not _SUBJECT.fullmatch(subject)):
        raise InvalidArgument(
            f"a subject is 1 to 64 letters, digits, dots, dashes and underscores, or {EVERYBODY!r} for everybody; "
            f"this is {subject!r:.80}"
        )
    known = {scope.value for scope in Scope}
    wanted = frozenset(str(scope) for scope in scopes)
    if not wanted or not wanted <= known:
        raise InvalidArgument(f"scopes are some of {', '.join(Scope)}; these are {', '.join(sorted(wanted)) or 'none'}")
    if Scope.OPERATE in wanted and subject != EVERYBODY:
        raise InvalidArgument(f"the scope {Scope.OPERATE} concerns everybody: its subject is {EVERYBODY!r}")
    return Identity(subject, wanted, _EverybodysNames() if subject == EVERYBODY else _TeamNames(subject))


# --- tokens and passes ----------------------------------------------------------------------------


def _mac(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:_MAC_CHARACTERS]


class Key:
    """A service's secret: signs tokens, and gives the key of passes, which signs no token."""

    __slots__ = ("_token_key", "pass_key")

    def __init__(self, secret: bytes) -> None:
        """Raises ConfigError for a secret that is too short."""
        if len(secret) < KEY_BYTES_MIN:
            raise ConfigError(f"tenants: a key has at least {KEY_BYTES_MIN} bytes, this one {len(secret)}")
        self._token_key = hmac.digest(secret, b"stream-router token", "sha256")
        self.pass_key: bytes = hmac.digest(secret, b"stream-router pass", "sha256")

    def token(self, subject: str, scopes: Iterable[str], expires_at: float | None = None) -> str:
        """Return a signed token; `expires_at`: seconds since 1970, None: never. Raises InvalidArgument."""
        identity = identity_of(subject, scopes)
        said = {"sub": identity.subject, "scp": sorted(identity.scopes), "exp": expires_at}
        body = base64.urlsafe_b64encode(json.dumps(said, separators=(",", ":")).encode()).decode().rstrip("=")
        return f"{_TOKEN_KIND}.{body}.{_mac(self._token_key, body)}"

    def identity(self, token: str, now: float) -> Identity:
        """Return whose token this is; `now`: seconds since 1970. Raises NotPermitted."""
        kind, _, rest = token.partition(".") if isinstance(token, str) else ("", "", "")
        body, _, mac = rest.partition(".")
        if kind != _TOKEN_KIND or not hmac.compare_digest(mac.encode("utf-8", "replace"), self._mac_of(body)):
            raise NotPermitted(
                "this token is not one of this service: it was cut short, or signed with another key; ask whoever "
                "runs the service for one (`stream-router token`)"
            )
        try:
            said = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
            identity, expires_at = identity_of(said["sub"], said["scp"]), said["exp"]
        except (binascii.Error, ValueError, KeyError, TypeError) as error:
            raise NotPermitted(f"this token is of another version of the service: {error}") from None
        if expires_at is not None and expires_at <= now:
            raise NotPermitted(f"the token of {identity.subject!r} has expired; ask for a new one")
        return identity

    def _mac_of(self, body: str) -> bytes:
        return _mac(self._token_key, body).encode()


class Passes:
    """Makes and checks passes; a check is remembered. `pass_key`: see `Key`."""

    __slots__ = ("_key", "_known")

    def __init__(self, pass_key: bytes) -> None:
        self._key = pass_key
        self._known: dict[str, Identity] = {}

    def make(self, process: str, identity: Identity) -> str:
        """Return the pass of a process, which is its client ID from now on. Raises ProtocolViolation."""
        is_name = isinstance(process, str) and process.isprintable() and "|" not in process and "/" not in process
        if not is_name or not 0 < len(process) <= _NAME_CHARACTERS_MAX:
            raise ProtocolViolation(f"a process's name is printable text without | and /, not {process!r:.60}")
        signed = f"{process}|{identity.subject}|{'+'.join(sorted(identity.scopes))}"
        return f"{signed}|{_mac(self._key, signed)}"

    def identity(self, client_id: Any) -> Identity | None:
        """Return the identity in a client ID, or in a reader ID that begins with one; None where there is none."""
        known = self._known.get(client_id) if isinstance(client_id, str) else None
        if known is not None:
            return known
        found = self._read(client_id)
        if found is not None:
            if len(self._known) >= _PASSES_REMEMBERED_MAX:
                self._known.clear()
            self._known[client_id] = found
        return found

    def _read(self, client_id: Any) -> Identity | None:
        shown = client_id.partition("/")[0].rpartition("|") if isinstance(client_id, str) else ("", "", "")
        signed, _, mac = shown
        if not hmac.compare_digest(mac.encode("utf-8", "replace"), _mac(self._key, signed).encode()):
            return None
        return _identity_in(signed)

    def names(self, client_id: Any, *scopes: Scope) -> Names:
        """Return the names of a caller who has one of these scopes, `NOBODYS` for any other."""
        identity = self.identity(client_id)
        return identity.names if identity is not None and identity.permits(*scopes) else NOBODYS


def _identity_in(signed: str) -> Identity:
    _, subject, scopes = signed.split("|")
    return identity_of(subject, scopes.split("+"))


def names_in(client_id: str) -> Names:
    """Return the names of a process by its own client ID, unchecked; `PLAIN` where that is no pass."""
    signed, _, _ = client_id.rpartition("|")
    return _identity_in(signed).names if signed.count("|") == _PASS_FIELDS - 2 else PLAIN
