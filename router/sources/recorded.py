"""Streams of recordings, played from memory at a chosen pace; no HTTP, no other process."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from actors.errors import RecordingError
from actors.recording_format import read_recording

PACKAGED = Path(__file__).resolve().parents[1] / "demo" / "recordings"
"""The recordings that come with the package; `index.json` there names their sources and licences."""


def recording_file(name: str | Path) -> Path:
    """Return the file of a recording: a path, or the name of one that comes with the package."""
    path = Path(name)
    if path.name == str(name) and not path.exists():
        packaged = PACKAGED / f"{path.name.removesuffix('.sse')}.sse"
        if packaged.is_file():
            return packaged
    return path


def why_unreadable(path: Path, error: OSError) -> str:
    """Return what is wrong with a recording's file, and the nearest name where none comes with the package."""
    near = difflib.get_close_matches(path.stem, (file.stem for file in PACKAGED.glob("*.sse")), n=1)
    hint = f"; a recording that comes along is {near[0]!r}" if near else ""
    return f"{path}: cannot be read: {error.strerror}{hint}"


def load_payloads(file: str | Path) -> list[bytes]:
    """Return the chunks of a recording (SSE, or JSONL of chunks): a file, or one that comes along by its name.

    Raises RecordingError.
    """
    path = recording_file(file)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RecordingError(why_unreadable(path, error)) from None
    try:
        return read_recording(data)
    except RecordingError as error:
        raise RecordingError(f"{path}: {error}") from None


async def replay(payloads: Sequence[bytes], *, events_per_s: float = 0.0) -> AsyncIterator[bytes]:
    """Yield chunks at an even pace, the first at once; 0: as fast as they are taken.

    The pace is kept by the clock, not by the waits, so it holds on the average also when a reader
    is late; what was missed comes at once.
    """
    loop = asyncio.get_running_loop()
    start = loop.time()
    for index, chunk in enumerate(payloads):
        if events_per_s:
            wait_s = start + index / events_per_s - loop.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
        yield chunk
