"""Where two processes of one node meet: a Unix socket that has a name only until they have.

The name stands in a directory of the user (0700) and is taken away when the asker has come. So nothing is left on
disk, a dead actor has no socket that somebody could mistake for a living one, and names need not be kept apart. The
system says whose process is at the other end.

Names are bound and found through the directory's file descriptor, since a socket's path may have 107 characters and
a temporary directory may have more.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import stat
import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from actors.transport.meeting import LOCAL, Address, make_address

DIRECTORY_MODE = 0o700
SOCKET_MODE = 0o600
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: Linux' `struct ucred`


def is_possible() -> bool:
    """Whether processes can meet on this system."""
    return sys.platform == "linux"


def directory() -> Path:
    """Return the user's directory for sockets, made if it is not there. Raises OSError where it is not safe."""
    path = Path(tempfile.gettempdir()) / f"stream-router-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=DIRECTORY_MODE)
    _check_directory(path)
    return path


def _check_directory(path: Path) -> None:
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise PermissionError(
            f"{path} must be a directory of user {os.getuid()} that nobody else may enter (mode 0700); it is of user "
            f"{status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o}"
        )


@contextlib.contextmanager
def _short(path: Path, name: str) -> Iterator[str]:
    """Give a short path to a name in a directory."""
    descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)


def listen() -> tuple[socket.socket, Address]:
    """Make a socket for one asker; `forget` takes its name away. Raises OSError."""
    where = directory()
    address = make_address(LOCAL, str(where), f"{os.getpid()}-{secrets.token_hex(8)}")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        with _short(where, address.name) as path:
            listening.bind(path)
        (where / address.name).chmod(SOCKET_MODE)
        listening.listen()
    except OSError:
        listening.close()
        forget(address)
        raise
    return listening, address


def forget(address: Address) -> None:
    """Take the name of a socket away."""
    with contextlib.suppress(OSError):
        (Path(address.place) / address.name).unlink(missing_ok=True)


def connect(address: Address) -> socket.socket:
    """Go where an actor waits. Raises OSError (also where its process is another user's)."""
    where = Path(address.place)
    _check_directory(where)
    connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)
        with _short(where, address.name) as path:
            connecting.connect(path)  # a Unix socket that listens is connected at once
        check_peer(connecting)
    except OSError:
        connecting.close()
        raise
    return connecting


def check_peer(connected: socket.socket) -> None:
    """Raise PermissionError unless the process at the other end is this user's."""
    _, uid, _ = _CREDENTIALS.unpack(connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    if uid != os.getuid():
        raise PermissionError(f"the process at the other end of a socket is of user {uid}, this one of {os.getuid()}")


def sweep() -> None:
    """Take away the names of processes that were killed while they waited to be met."""
    with contextlib.suppress(OSError):
        for path in directory().iterdir():
            pid = path.name.partition("-")[0]
            if pid.isdigit() and not Path(f"/proc/{pid}").exists():
                path.unlink(missing_ok=True)
