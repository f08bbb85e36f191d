"""Who may do what: a caller, and static tokens from a file. Pure.

A token is a line of the file, `NAME TOKEN SCOPES [TENANT [AGENTS]]`. Other ways in give a caller too: signed tokens
(`gateway.jwks`), what a trusted proxy says (`gateway.trusted_proxy`), and tickets (`gateway.tickets`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import NamedTuple

from actors.errors import ConfigError, NotPermitted

ADMIN = "admin"
SCOPES = frozenset({"read", "run", "cancel", ADMIN})
TOKEN_CHARACTERS_MIN = 16
NAME_CHARACTERS_MAX = 256
_FIELDS_MIN, _FIELDS_MAX = 3, 5
_NONE = "-"
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Caller(NamedTuple):
    """Who asks, and what it may do.

    `tenant`: whose runs these are; None: those of the gateway's own identity. `agents`: of these agents only; None: of
    all. `only`: the one stream, or the one set of streams, that it may read; None: all.
    """

    name: str
    scopes: frozenset[str]
    tenant: str | None = None
    agents: frozenset[str] | None = None
    only: str | None = None

    def check(self, scope: str, request_id: str | None = None) -> None:
        """Raise NotPermitted where this is not allowed."""
        if self.only is not None and request_id != self.only:
            raise NotPermitted("this ticket is for another stream; ask for one for this (POST /v1/streams/ID/ticket)")
        if self.scopes.isdisjoint((scope, ADMIN)):
            raise NotPermitted(
                f"the token of {self.name!r} has the scopes {', '.join(sorted(self.scopes)) or '(none)'}; this needs "
                f"{scope}"
            )

    def may_use(self, agent: str | None) -> bool:
        """Whether it may start an agent, and read its runs."""
        return self.agents is None or agent in self.agents


ANYBODY = Caller("anybody", SCOPES)
"""Whoever comes where nobody is asked who they are: this machine alone can reach the gateway."""


class Tokens:
    """The tokens of a file."""

    def __init__(self, callers: Mapping[bytes, Caller]) -> None:
        self._callers = dict(callers)

    @classmethod
    def parse(cls, text: str, source: str) -> Tokens:
        """Read the text of a file. Raises ConfigError, which names the line and never a token."""
        callers: dict[bytes, Caller] = {}
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip() and not line.lstrip().startswith("#"):
                token, caller = _read(line.split(), f"{source}, line {number}")
                callers[_digest(token)] = caller
        if not callers:
            raise ConfigError(f"{source}: no token in it; a line is one: NAME TOKEN read,run,cancel")
        return cls(callers)

    @property
    def tenants(self) -> set[str]:
        """Whose runs they are for."""
        return {caller.tenant for caller in self._callers.values() if caller.tenant is not None}

    @property
    def secret(self) -> bytes:
        """What every gateway with the same tokens knows, and nobody else."""
        return b"".join(sorted(self._callers))

    def knows(self, token: str) -> bool:
        """Whether this is one of them."""
        return _digest(token) in self._callers

    def caller(self, token: str) -> Caller:
        """Return whose token this is. Raises NotPermitted."""
        caller = self._callers.get(_digest(token))  # by its digest: how long this takes tells nothing of a token
        if caller is None:
            raise NotPermitted("this token is none of this gateway's; ask whoever runs it for one")
        return caller


def _read(fields: list[str], place: str) -> tuple[str, Caller]:
    if not _FIELDS_MIN <= len(fields) <= _FIELDS_MAX:
        raise ConfigError(f"{place}: expected NAME TOKEN SCOPES [TENANT [AGENTS]], got {len(fields)} words")
    name, token, scopes = fields[0], fields[1], frozenset(fields[2].split(","))
    tenant, agents = (*fields[_FIELDS_MIN:], _NONE, _NONE)[:2]
    if len(token) < TOKEN_CHARACTERS_MIN:
        raise ConfigError(f"{place}: a token has {TOKEN_CHARACTERS_MIN} characters or more")
    if not scopes <= SCOPES:
        raise ConfigError(f"{place}: expected scopes of {', '.join(sorted(SCOPES))}, joined by commas")
    if tenant != _NONE and not is_tenant(tenant):
        raise ConfigError(f"{place}: expected a tenant (letters, digits, dots, dashes, underscores), or - for none")
    named = None if agents == _NONE else frozenset(agents.split(","))
    return token, Caller(name, scopes, None if tenant == _NONE else tenant, named)


def is_name(text: str) -> bool:
    """Whether a text can name a caller."""
    return 0 < len(text) <= NAME_CHARACTERS_MAX and text.isprintable()


def is_tenant(text: str) -> bool:
    """Whether a text can name a tenant; see `actors.tenants`."""
    return _TENANT.fullmatch(text) is not None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
