"""What two processes must know of each other to meet: how far each may go, and an address that is good once. Pure.

An actor that is asked for an address listens for this one asker, and stops when the asker has come. Only those know
what the two must say first to whom Ray has brought the address, so nobody else is taken for either of them.
"""

from __future__ import annotations

import secrets
from typing import NamedTuple

NONCE_BYTES = 16
LOCAL, NETWORK = "local", "network"


class Reach(NamedTuple):
    """How far a process goes without Ray."""

    node_id: str
    """Where it stands."""
    host: str
    """The IP address of that node."""
    is_local: bool
    """Through Unix sockets, to processes of its node."""
    ports: tuple[int, int] | None
    """Through TCP, to all others, on ports from the first to the last, 0 and 0 being any; None: not at all."""


class Address(NamedTuple):
    """Where an actor waits for whoever asked, once."""

    means: str
    """`LOCAL` or `NETWORK`."""
    place: str
    """The directory of a Unix socket, or an IP address."""
    name: str
    """The name of the socket in it, or the port."""
    asker_says: bytes
    """What whoever comes must say first."""
    actor_says: bytes
    """What the actor then says."""


def make_address(means: str, place: str, name: str) -> Address:
    """Return an address with words that nobody can guess."""
    return Address(means, place, name, secrets.token_bytes(NONCE_BYTES), secrets.token_bytes(NONCE_BYTES))
