"""Where processes of different nodes meet: a TCP port that listens only until they have.

It listens on the address by which Ray knows the node. Where Ray itself speaks TLS (`RAY_USE_TLS=1`), so do these
connections, with the certificates that Ray's own variables name, and each end must show one of that authority.
Names in certificates are not compared, as nodes come and go: what the two say first ties the connection to the actor.

A peer that has vanished with its machine closes nothing. What was sent and not taken for `UNTAKEN_MS_MAX`, and a
silence that no probe breaks, end the connection; the calls on it then have an unknown outcome, as after any break.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Mapping

from actors.transport.meeting import NETWORK, Address, make_address

UNTAKEN_MS_MAX = 5_000
SILENCE_S_MAX = 5
PROBE_S = 2
PROBES_MAX = 3
TLS_NAMES = ("RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT")
"""Ray's own variables: this node's certificate, its key, and the authority that all nodes trust."""


def listen(host: str, ports: tuple[int, int]) -> tuple[socket.socket, Address]:
    """Make a socket for one asker at a node's address. Raises OSError, also where no port of the range is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    first, last = ports
    for port in range(first, last + 1):
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setblocking(False)
            listening.bind((host, port))
            listening.listen()
        except OSError as error:
            listening.close()
            if port == last:
                raise OSError(error.errno, f"no port from {first} to {last} is free at {host}: {error}") from error
        else:
            return listening, make_address(NETWORK, host, str(listening.getsockname()[1]))
    raise OSError(f"there is no port from {first} to {last}")


def tls(*, is_asker: bool, variables: Mapping[str, str] | None = None) -> ssl.SSLContext | None:
    """Return what Ray's variables ask for; None where Ray speaks without TLS. Raises OSError.

    A certificate that is not there is an error and no reason to speak openly.
    """
    found = os.environ if variables is None else variables
    if found.get("RAY_USE_TLS", "0").lower() not in ("1", "true"):
        return None
    missing = [name for name in TLS_NAMES if not found.get(name)]
    if missing:
        raise OSError(f"RAY_USE_TLS is set, so {', '.join(missing)} must name a file")
    certificate, key, authority = (found[name] for name in TLS_NAMES)
    context = ssl.create_default_context(
        ssl.Purpose.SERVER_AUTH if is_asker else ssl.Purpose.CLIENT_AUTH, cafile=authority
    )
    context.load_cert_chain(certificate, key)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def notice_silence(connected: socket.socket) -> None:
    """Let the system end a connection whose other end has vanished."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_USER_TIMEOUT", UNTAKEN_MS_MAX),
        ("TCP_KEEPIDLE", SILENCE_S_MAX),
        ("TCP_KEEPINTVL", PROBE_S),
        ("TCP_KEEPCNT", PROBES_MAX),
    ):
        if hasattr(socket, name):  # not on every system
            with contextlib.suppress(OSError):
                connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
