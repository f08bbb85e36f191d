"""The messages' file: JSONL, a line a message, written as they come; what is complete in it is not asked again.

A request is complete when the file has its `stop_reason` and the model ended it by itself. Lines of
other requests (an error, a cancel, a crash in the middle, a full disk) are taken out when the file is
opened again, so that each request's messages stand in it once. A file in which all is complete is
not written anew, so that a run can go on where the disk has no room for a second copy.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from actors.errors import ConfigError
from actors.stop_reasons import StopReason
from router.runs.whole_file import whole_file

_ASK_AGAIN = frozenset(
    reason
    for reason in StopReason
    if reason
    in {StopReason.ERROR, StopReason.INCOMPLETE, StopReason.CANCELLED, StopReason.LOST, StopReason.PUBLISHER_LOST}
    or reason.value.startswith("timeout_")
)


class Output:
    """An open messages' file; use it as a context manager."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stream: IO[str] | None = None
        self.complete: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Open the file; `complete` has the requests that are complete in it. Raises ConfigError, OSError."""
        if self._file.is_file():  # and no pipe, /dev/stdout say
            self.complete, is_clean = _complete_in(self._file)
            if not is_clean:
                _keep_only(self._file, self.complete)
        self._stream = self._file.open("a", encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is None:
            return
        try:
            self._stream.close()
        except OSError as failure:
            # Where writing has failed already, closing fails for the same reason.
            if error is None:
                raise OSError(failure.errno, failure.strerror, str(self._file)) from failure

    def write(self, messages: Iterable[Mapping[str, Any]]) -> None:
        """Append messages and hand them to the system, so that a killed run loses nothing. Raises OSError."""
        if self._stream is None:
            raise ConfigError(f"{self._file} is not open; use Output as a context manager")
        try:
            self._stream.writelines(json.dumps(message, ensure_ascii=False) + "\n" for message in messages)
            self._stream.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._file)) from error


def is_complete(stop_reason: str | None) -> bool:
    """Whether a request that ended so need not be asked again."""
    return stop_reason is not None and stop_reason not in _ASK_AGAIN


def _complete_in(file: Path) -> tuple[dict[str, str], bool]:
    """Return the stop reasons of the requests that are complete, and whether there is nothing else in the file."""
    ends: dict[str, str] = {}
    counted: set[str] = set()
    seen: set[str] = set()
    is_whole = True
    with file.open(encoding="utf-8", errors="replace") as stream:
        for number, line in enumerate(stream, 1):
            message = _read(line)
            if message is None:
                if line.endswith("\n"):
                    raise ConfigError(
                        f"{file}, line {number}: not a message of an earlier run; give --out another file"
                    )
                is_whole = False
                continue  # the last line of a run that was killed, or met a full disk, while it wrote
            is_whole = line.endswith("\n")
            seen.add(message["run_id"])
            if message["message_type"] == "stop_reason":
                ends[message["run_id"]] = str(message.get("stop_reason"))
            elif message["message_type"] == "usage_statistics":
                counted.add(message["run_id"])
    complete = {name: reason for name, reason in ends.items() if is_complete(reason) and name in counted}
    return complete, is_whole and seen == complete.keys()


def _keep_only(file: Path, names: Mapping[str, str]) -> None:
    """Rewrite the file with the lines of these requests only, all at once or not at all."""
    with file.open(encoding="utf-8", errors="replace") as old, whole_file(file) as new:
        for line in old:
            message = _read(line)
            if message is not None and message["run_id"] in names:
                new.write(line if line.endswith("\n") else f"{line}\n")


def _read(line: str) -> dict[str, Any] | None:
    try:
        message = json.loads(line)
    except ValueError:
        return None
    is_message = isinstance(message, dict) and "message_type" in message and isinstance(message.get("run_id"), str)
    return message if is_message else None
