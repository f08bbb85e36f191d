"""Keeps the raw chunks of chosen requests on disk, with their times. Files are read by `actors/recording_format.py`.

Recorded is what a publisher was given, where it was given: one file a request, whatever crashes
later, with the provider's own timing, and no disk in the way of the stream actors that others share.
Headers and keys never come here; text inside a chunk that looks like a key is taken out.

The event loop only appends to a queue. One thread a process writes: it gathers a request's lines
into blocks and appends each as a gzip member of its own, so that a file is whole up to its last
block whatever happens, and no file, no compressor is held open for each of thousands of streams.

A recording is never worth a request: a full disk, a full folder, a queue that grows too long end the
recording (`cut` says why in the file, where that is still possible) and are warned of, and that is all.
"""

from __future__ import annotations

import base64
import fnmatch
import gzip
import json
import logging
import queue
import re
import threading
import time
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from actors.recording_format import FORMAT_KEY, FORMAT_VERSION
from actors.settings import StreamSettings
from router.config import RecordConfig

log: logging.Logger = logging.getLogger("router.recorder")

# What a thread that cannot keep up may have before it.
PENDING_BYTES_MAX = 64 * 1024 * 1024
BLOCK_BYTES = 64 * 1024
# A process that dies takes at most so many seconds of its recordings with it.
FLUSH_S = 5.0
CLOSE_DEADLINE_S = 10.0
WARN_EVERY_S = 60.0
NAME_CHARACTERS_MAX = 150
LINE_OVERHEAD_BYTES = 32

_KEY = re.compile(
    rb"\b(?:sk|pk|rk|xai|gsk|hf)[-_][A-Za-z0-9_-]{16,}|\bAIza[A-Za-z0-9_-]{30,}|\b[Bb]earer\s+[A-Za-z0-9._~+/=-]{16,}"
)
_REMOVED = b"[removed]"


class Recording:
    """One request's recording. Made by `Recorder.recording`; its methods never wait and never fail."""

    __slots__ = ("_began_at", "_bytes_left", "_closed", "_header", "_recorder", "request_id")

    def __init__(self, recorder: Recorder, request_id: str, settings: StreamSettings, date: str) -> None:
        self.request_id: str = request_id
        self._recorder = recorder
        self._bytes_left = recorder.config.request_bytes_max
        self._closed = False
        self._began_at: float | None = None
        self._header = {
            FORMAT_KEY: FORMAT_VERSION,
            "request_id": request_id,
            "date": date,
            "settings": settings.model_dump(mode="json", exclude_defaults=True),
        }

    def keep(self, what: bytes | list[Any]) -> None:
        """Keep a chunk (bytes) or a record ([kind, body], not packed)."""
        if self._closed:
            return
        now = time.monotonic()
        if self._began_at is None:
            self._began_at = now
            self._recorder.put(self, 0.0, {**self._header, "started_at": datetime.now(UTC).isoformat()}, 0)
        size = len(what) if isinstance(what, bytes) else 0
        self._bytes_left -= size
        if self._bytes_left < 0:
            self.cut(f"request_bytes_max of {self._recorder.config.request_bytes_max} bytes reached")
            return
        if not self._recorder.put(self, now - self._began_at, what, size):
            self.cut("the disk was too slow")

    def cut(self, why: str) -> None:
        """Leave out what follows."""
        if self._began_at is not None and not self._closed:
            self._recorder.put(self, time.monotonic() - self._began_at, {"cut": why}, 0)
        self.close()

    def close(self) -> None:
        """The request has ended here."""
        if not self._closed:
            self._closed = True
            if self._began_at is not None:
                self._recorder.put(self, 0.0, None, 0)


class Recorder:
    """A process's recordings, all into one folder."""

    def __init__(self, config: RecordConfig) -> None:
        self.config = config
        self._queue: queue.SimpleQueue[tuple[Recording | None, float, Any, int]] = queue.SimpleQueue()
        self._pending = _Count()
        self._writer: threading.Thread | None = None
        self._closed = False

    def recording(self, request_id: str, settings: StreamSettings, date: str) -> Recording | None:
        """Return a recording for a request; None where it is not one of those to be kept."""
        config = self.config
        if config.folder is None or self._closed:
            return None
        if config.request_ids and not any(fnmatch.fnmatchcase(request_id, wanted) for wanted in config.request_ids):
            return None
        # By the ID and not by chance, so that every process decides alike.
        if zlib.crc32(request_id.encode("utf-8", "surrogatepass")) >= config.sample * 2**32:
            return None
        return Recording(self, request_id, settings, date)

    def put(self, recording: Recording | None, t_s: float, what: Any, size_bytes: int) -> bool:
        """Queue something for the writer; False where it has too much before it already."""
        if self._pending.value + size_bytes > PENDING_BYTES_MAX:
            return False
        if self._writer is None:
            self._writer = threading.Thread(target=self._write, name="stream-router-recorder", daemon=True)
            self._writer.start()
        self._pending.add(size_bytes)
        self._queue.put((recording, t_s, what, size_bytes))
        return True

    def close(self) -> None:
        """Write what is there, within a few seconds, and end."""
        self._closed = True
        if self._writer is not None:
            self._queue.put((None, 0.0, None, 0))
            self._writer.join(CLOSE_DEADLINE_S)

    def _write(self) -> None:
        files = _Files(self.config)
        next_flush_at = time.monotonic() + FLUSH_S
        while True:
            try:
                recording, t_s, what, size_bytes = self._queue.get(timeout=max(0.0, next_flush_at - time.monotonic()))
            except queue.Empty:
                files.flush_all()
                next_flush_at = time.monotonic() + FLUSH_S
                continue
            if recording is None:
                files.flush_all()
                return
            files.take(recording, t_s, what)
            self._pending.add(-size_bytes)
            if time.monotonic() >= next_flush_at:
                files.flush_all()
                next_flush_at = time.monotonic() + FLUSH_S


class _Count:
    """A number that two threads change."""

    def __init__(self) -> None:
        self.value = 0
        self._lock = threading.Lock()

    def add(self, amount: int) -> None:
        with self._lock:
            self.value += amount


class _File:
    """One recording's file: what is not written yet."""

    __slots__ = ("lines", "path", "size_bytes")

    def __init__(self) -> None:
        self.path: Path | None = None
        self.lines: list[bytes] = []
        self.size_bytes = 0


class _Files:
    """The writer's side: lines into blocks, blocks into files, within `bytes_max` of the folder."""

    def __init__(self, config: RecordConfig) -> None:
        self._config = config
        self._folder = Path(config.folder or ".").expanduser()
        self._ending = ".jsonl.gz" if config.compressed else ".jsonl"
        self._open: dict[Recording, _File] = {}
        self._given_up: set[Recording] = set()
        self._used_bytes: int | None = None
        self._warned: dict[str, float] = {}

    def take(self, recording: Recording, t_s: float, what: Any) -> None:
        """Take a header, a chunk, a record, a cut or (None) the end of a recording."""
        if recording in self._given_up:
            if what is None:
                self._given_up.discard(recording)
            return
        if what is None:
            self._flush(recording)
            self._open.pop(recording, None)
            return
        file = self._open.setdefault(recording, _File())
        line = _line(t_s, what)
        file.lines.append(line)
        file.size_bytes += len(line) + LINE_OVERHEAD_BYTES
        if file.size_bytes >= BLOCK_BYTES:
            self._flush(recording)

    def flush_all(self) -> None:
        for recording in list(self._open):
            self._flush(recording)

    def _flush(self, recording: Recording) -> None:
        file = self._open.get(recording)
        if file is None or not file.lines:
            return
        block = b"".join(file.lines)
        if self._config.compressed:
            block = gzip.compress(block, compresslevel=6)
        file.lines = []
        file.size_bytes = 0
        try:
            if self._used_bytes is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._used_bytes = sum(entry.stat().st_size for entry in self._folder.iterdir() if entry.is_file())
            if self._used_bytes + len(block) > self._config.bytes_max:
                self._give_up(recording, f"record.bytes_max of {self._config.bytes_max} bytes is reached")
                return
            if file.path is None:
                file.path = self._create(recording.request_id)
            with file.path.open("ab") as opened:
                opened.write(block)
            self._used_bytes += len(block)
        except OSError as error:
            self._give_up(recording, error.strerror or type(error).__name__)

    def _create(self, request_id: str) -> Path:
        """Make an empty file of a name that is free (a request that was taken over has one already)."""
        stem = quote(request_id, safe="-_.").lstrip(".") or "request"
        if len(stem) > NAME_CHARACTERS_MAX:
            stem = f"{stem[:NAME_CHARACTERS_MAX]}-{zlib.crc32(request_id.encode('utf-8', 'surrogatepass')):08x}"
        number = 1
        while True:
            path = self._folder / f"{stem}{'' if number == 1 else f'.{number}'}{self._ending}"
            try:
                path.touch(exist_ok=False, mode=0o600)
            except FileExistsError:
                number += 1
                continue
            return path

    def _give_up(self, recording: Recording, why: str) -> None:
        del self._open[recording]
        self._given_up.add(recording)
        now = time.monotonic()
        if now - self._warned.get(why, -WARN_EVERY_S) >= WARN_EVERY_S:
            self._warned[why] = now
            log.warning(
                "request %s is recorded no further: %s: %s", recording.request_id, self._folder, why,
                extra={"request_id": recording.request_id},
            )  # fmt: skip


def _line(t_s: float, what: Any) -> bytes:
    if isinstance(what, dict):
        body = what if FORMAT_KEY in what else {"t_s": round(t_s, 6), **what}
    elif isinstance(what, bytes):
        kept = _KEY.sub(_REMOVED, what)
        try:
            body = {"t_s": round(t_s, 6), "chunk": kept.decode()}
        except UnicodeDecodeError:
            body = {"t_s": round(t_s, 6), "chunk_base64": base64.b64encode(kept).decode()}
    else:
        body = {"t_s": round(t_s, 6), "record": what}
    line = json.dumps(body, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass")
    return (line if isinstance(what, bytes) else _KEY.sub(_REMOVED, line)) + b"\n"
