"""Streams of recordings, played from memory at a chosen pace; no HTTP, no other process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from actors.errors import RecordingError
from actors.recording_format import read_recording


def load_payloads(file: str | Path) -> list[bytes]:
    """Return the payloads of a recording (SSE, or JSONL of chunks). Raises RecordingError."""
    path = Path(file)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        return read_recording(data)
    except RecordingError as error:
        raise RecordingError(f"{path}: {error}") from None


async def replay(payloads: Sequence[bytes], *, events_per_s: float = 0.0) -> AsyncIterator[bytes]:
    """Yield payloads at an even pace, the first at once; 0: as fast as they are taken.

    The pace is kept by the clock, not by the waits, so it holds on the average also when a reader
    is late; what was missed comes at once.
    """
    loop = asyncio.get_running_loop()
    start = loop.time()
    for index, payload in enumerate(payloads):
        if events_per_s:
            wait_s = start + index / events_per_s - loop.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
        yield payload
