"""Who may do what: static tokens from a file, and tickets made of them. Pure: the time is an argument.

A token is a line of the file, `NAME TOKEN SCOPES`. A ticket opens one stream for reading, for a minute, and is made for
browsers, whose `EventSource` can send no header: it stands in the address, where logs and histories keep it. It is
signed with a key made of the file, so every gateway with the same file takes it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import NamedTuple

from actors.errors import ConfigError, NotPermitted

SCOPES = frozenset({"read", "run", "cancel"})
TOKEN_CHARACTERS_MIN = 16
_FIELDS = 3
_MAC_CHARACTERS = 43


class Caller(NamedTuple):
    """Who asks, and what it may do. `only`: the one stream that it may read; None: all."""

    name: str
    scopes: frozenset[str]
    only: str | None = None

    def check(self, scope: str, request_id: str | None = None) -> None:
        """Raise NotPermitted where this is not allowed."""
        if self.only is not None and request_id != self.only:
            raise NotPermitted("this ticket is for another stream; ask for one for this (POST /v1/streams/ID/ticket)")
        if scope not in self.scopes:
            raise NotPermitted(
                f"the token of {self.name!r} has the scopes {', '.join(sorted(self.scopes))}; this needs {scope}"
            )


ANYBODY = Caller("anybody", SCOPES)
"""Whoever comes where no tokens are: this machine alone can reach the gateway."""


class Tokens:
    """The tokens of a file."""

    def __init__(self, callers: Mapping[bytes, Caller], key: bytes) -> None:
        self._callers = dict(callers)
        self._key = key

    @classmethod
    def parse(cls, text: str, source: str) -> Tokens:
        """Read the text of a file. Raises ConfigError, which names the line and never a token."""
        callers: dict[bytes, Caller] = {}
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            fields = line.split()
            if len(fields) != _FIELDS:
                raise ConfigError(f"{source}, line {number}: expected NAME TOKEN SCOPES, got {len(fields)} words")
            name, token, scopes = fields[0], fields[1], frozenset(fields[2].split(","))
            if len(token) < TOKEN_CHARACTERS_MIN:
                raise ConfigError(f"{source}, line {number}: a token has {TOKEN_CHARACTERS_MIN} characters or more")
            if not scopes <= SCOPES:
                raise ConfigError(
                    f"{source}, line {number}: expected scopes of {', '.join(sorted(SCOPES))}, joined by commas"
                )
            callers[_digest(token)] = Caller(name, scopes)
        if not callers:
            raise ConfigError(f"{source}: no token in it; a line is one: NAME TOKEN read,run,cancel")
        return cls(callers, hashlib.sha256(b"stream-router ticket" + b"".join(sorted(callers))).digest())

    def caller(self, token: str) -> Caller:
        """Return whose token this is. Raises NotPermitted."""
        caller = self._callers.get(_digest(token))  # by its digest: how long this takes tells nothing of a token
        if caller is None:
            raise NotPermitted("this token is none of this gateway's; ask whoever runs it for one")
        return caller

    def ticket(self, request_id: str, expires_at_s: float) -> str:
        """Return a ticket for a stream, which whoever may read it may give away."""
        return f"{int(expires_at_s)}.{self._mac(request_id, int(expires_at_s))}"

    def ticket_holder(self, ticket: str, request_id: str, now_s: float) -> Caller:
        """Return who has a ticket for this stream. Raises NotPermitted."""
        until, _, mac = ticket.partition(".")
        is_ours = until.isdecimal() and hmac.compare_digest(
            mac.encode("utf-8", "replace"), self._mac(request_id, int(until[:12])).encode()
        )
        if not is_ours or int(until) < now_s:
            raise NotPermitted("this ticket is of another stream, or its time is over; ask for a new one")
        return Caller("ticket", frozenset({"read"}), request_id)

    def _mac(self, request_id: str, until: int) -> str:
        said = f"{until}\n{request_id}".encode("utf-8", "surrogatepass")
        return hmac.new(self._key, said, hashlib.sha256).hexdigest()[:_MAC_CHARACTERS]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
