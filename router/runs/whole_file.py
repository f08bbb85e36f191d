"""Files that are written whole or not at all.

The new text goes into a partial file beside the target, which then takes the target's place. The
partial file is made exclusively and for its owner alone: whatever somebody else has put under its
name, a link above all, is never opened. The target keeps its mode, and where it is a symbolic link,
the file behind the link is replaced and the link stays.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_OWN_ONLY = 0o600
_NEW_FILE = 0o666


def write_whole(file: Path, text: str) -> None:
    """Write a file all at once or not at all. Raises OSError (a full disk, say); nothing half is left behind."""
    with whole_file(file) as stream:
        stream.write(text)


@contextmanager
def whole_file(file: Path) -> Iterator[IO[str]]:
    """Give a stream whose text takes the place of `file` when the block ends without an error.

    Raises OSError, which names `file`; then `file` is as it was and no partial file is left.
    """
    try:
        target = file.resolve()
        part, descriptor = _open_part(target)
    except OSError as error:
        raise _named(error, file) from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            yield stream
            stream.flush()
            os.fchmod(stream.fileno(), _mode_of(target))
            os.fsync(stream.fileno())
        part.replace(target)
    except OSError as error:
        raise _named(error, file) from error
    finally:
        with suppress(OSError):
            part.unlink()


def _open_part(target: Path) -> tuple[Path, int]:
    """Make the partial file. One that an earlier run of ours left behind is taken away first."""
    usual = target.with_name(f".{target.name}.part")
    with suppress(OSError):
        left = usual.lstat()
        if stat.S_ISREG(left.st_mode) and left.st_uid == os.geteuid():
            usual.unlink()
    try:
        return usual, _open_exclusively(usual)
    except FileExistsError:
        # A link, or somebody else's file: it stays, and ours gets a name that nobody can guess.
        other = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
        return other, _open_exclusively(other)


def _open_exclusively(part: Path) -> int:
    return os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _OWN_ONLY)


def _mode_of(target: Path) -> int:
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        return _NEW_FILE & ~_umask()


def _umask() -> int:
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    # Elsewhere it can only be read by setting it, which other threads would see for a moment: the strictest it is.
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def _named(error: OSError, file: Path) -> OSError:
    """Return the error with the name of the file that the caller knows: what fails at a write names none."""
    return OSError(error.errno, error.strerror or str(error), str(file))
