"""Tickets: each opens one stream for reading, for a minute. Pure: the time is an argument.

They are made for browsers, whose `EventSource` can send no header: a ticket stands in the address, where logs and
histories keep it. It is signed with a key that all gateways of a service have, so every one of them takes it.
"""

from __future__ import annotations

import hashlib
import hmac

from actors.errors import NotPermitted
from gateway.access import Caller, is_tenant

_MAC_CHARACTERS = 43
_DIGITS_MAX = 12


class Tickets:
    """Makes and checks tickets. `secret`: what all gateways of a service know."""

    def __init__(self, secret: bytes) -> None:
        self._key = hashlib.sha256(b"stream-router ticket" + secret).digest()

    def make(self, name: str, tenant: str | None, expires_at_s: float) -> str:
        """Return a ticket for a stream of a tenant, which whoever may read it may give away."""
        until = str(int(expires_at_s))
        return ".".join([until, *([] if tenant is None else [tenant]), self._mac(until, tenant or "", name)])

    def holder(self, ticket: str, name: str, now_s: float) -> Caller:
        """Return who has a ticket for this stream. Raises NotPermitted."""
        said, _, mac = ticket.rpartition(".")
        until, _, tenant = said.partition(".")
        is_one = until.isdecimal() and len(until) <= _DIGITS_MAX and (not tenant or is_tenant(tenant))
        expected = self._mac(until, tenant, name).encode()
        if not is_one or not hmac.compare_digest(mac.encode("utf-8", "replace"), expected) or int(until) < now_s:
            raise NotPermitted("this ticket is of another stream, or its time is over; ask for a new one")
        return Caller("ticket", frozenset({"read"}), tenant or None, None, name)

    def _mac(self, until: str, tenant: str, name: str) -> str:
        said = f"{until}\n{tenant}\n{name}".encode("utf-8", "surrogatepass")
        return hmac.new(self._key, said, hashlib.sha256).hexdigest()[:_MAC_CHARACTERS]
