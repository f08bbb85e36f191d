"""Recorded provider streams: from the bytes of a file to its chunks.

Four forms, each also compressed by gzip, told apart by how they begin, white space left aside:

- SSE, as the provider sent it: the data of each event is a chunk, `[DONE]` with it.
- JSONL, which opens with `{`: each line is a chunk, blank lines are not. What a line holds is not
  looked at, so that a recording may have a broken chunk. One JSON object over several lines, or several
  of them one after the other, is read too.
- A JSON array, which opens with `[`: each of its objects is a chunk. (Gemini sends this where SSE was
  not asked for.)
- What `record:` in the configuration writes: JSONL whose first line has the key `FORMAT_KEY`. Its other
  lines hold a chunk (`chunk`, or `chunk_base64` where it is no UTF-8), a `record` of the agent loop, or the
  reason why the rest was left out (`cut`), each with its time in seconds since the first (`t_s`). A file
  whose writer died is whole up to where it breaks off.

The chunks keep the bytes that the recording has for them.
"""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass, field
from typing import Any

from actors.errors import RecordingError
from actors.providers.sse import SseDecoder, split_name

FORMAT_KEY = "agent_stream_router_recording"
FORMAT_VERSION = 1
DECOMPRESSED_BYTES_MAX = 1024 * 1024 * 1024

_GZIP = b"\x1f\x8b"
_OWN = b'{"' + FORMAT_KEY.encode() + b'"'
_BOM = b"\xef\xbb\xbf"
_WHITE = " \t\r\n"
_SHOWN_BYTES = 80


def read_recording(data: bytes) -> list[bytes]:
    """Return the chunks of a recorded stream, in order.

    Raises RecordingError where the recording is empty, or none of SSE, JSONL and a JSON array.
    """
    body = _decompressed(data).removeprefix(_BOM).lstrip(_WHITE.encode())
    if body.startswith(_OWN):
        return [chunk for _, chunk in _own(body).chunks]
    if not body:
        raise RecordingError("expected a recorded stream (SSE, JSONL or a JSON array), got an empty file")
    if body.startswith(b"{"):
        return _json_lines(body)
    if body.startswith(b"["):
        return _json_array(body)
    decoder = SseDecoder(event_bytes_max=len(data))
    chunks = [event.data for event in [*decoder.feed(data), *decoder.close()]]
    if not chunks or decoder.is_text:
        raise _neither(body, "no line of it starts with 'data:'")
    return chunks


@dataclass(slots=True)
class TimedRecording:
    """What `record:` kept of one request. Times in seconds since the first item; `cut`: why the rest is missing."""

    request_id: str
    date: str
    settings: dict[str, Any]
    chunks: list[tuple[float, bytes]] = field(default_factory=list)
    records: list[tuple[float, str, dict[str, Any]]] = field(default_factory=list)
    cut: str | None = None


def read_timed_recording(data: bytes) -> TimedRecording:
    """Return a recording that `record:` wrote, with its times. Raises RecordingError for any other."""
    body = _decompressed(data)
    if not body.startswith(_OWN):
        raise RecordingError(f"expected a recording written by 'record:', got {body[:_SHOWN_BYTES]!r}")
    return _own(body)


def as_sse(chunks: list[bytes]) -> bytes:
    """Return chunks as a provider would send them: server-sent events, named by their JSON's `type` if any."""
    events = []
    for chunk in chunks:
        try:
            kind = json.loads(chunk).get("type")
        except (ValueError, AttributeError, RecursionError):
            kind = None
        told, data = split_name(chunk)
        kind = told if told is not None else kind
        name = b"event: " + kind.encode() + b"\n" if isinstance(kind, str) and kind.isprintable() else b""
        lines = b"".join(b"data: " + line + b"\n" for line in data.splitlines())
        events.append(name + lines + b"\n")
    return b"".join(events)


def _decompressed(data: bytes) -> bytes:
    """Undo gzip; a file that breaks off gives what is whole of it."""
    if not data.startswith(_GZIP):
        return data
    parts: list[bytes] = []
    size = 0
    while data.startswith(_GZIP):
        member = zlib.decompressobj(wbits=31)
        try:
            part = member.decompress(data, DECOMPRESSED_BYTES_MAX - size + 1)
        except zlib.error as error:
            if not parts:
                raise RecordingError(f"expected a recorded stream, got gzip that cannot be read: {error}") from None
            break
        parts.append(part)
        size += len(part)
        if size > DECOMPRESSED_BYTES_MAX:
            raise RecordingError(f"a recording of more than {DECOMPRESSED_BYTES_MAX} bytes; is it one stream?")
        data = member.unused_data
    return b"".join(parts)


def _own(body: bytes) -> TimedRecording:
    first, *lines = body.split(b"\n")
    # What stands behind the last newline is empty, or a line whose writer died.
    lines = lines[:-1]
    header = _own_line(first, 1)
    if header.get(FORMAT_KEY) != FORMAT_VERSION:
        raise RecordingError(
            f"expected a recording of version {FORMAT_VERSION}, got {header.get(FORMAT_KEY)!r}: update this program"
        )
    found = TimedRecording(str(header.get("request_id")), str(header.get("date")), header.get("settings") or {})
    for number, line in enumerate(lines, 2):
        entry = _own_line(line, number)
        try:
            _add(found, entry)
        except (KeyError, TypeError, ValueError) as error:
            raise RecordingError(
                f"line {number} of the recording has another shape: {line[:_SHOWN_BYTES]!r}"
            ) from error
    return found


def _add(found: TimedRecording, entry: dict[str, Any]) -> None:
    t_s = float(entry["t_s"])
    if "chunk" in entry:
        found.chunks.append((t_s, entry["chunk"].encode("utf-8", "surrogatepass")))
    elif "chunk_base64" in entry:
        found.chunks.append((t_s, base64.b64decode(entry["chunk_base64"], validate=True)))
    elif "record" in entry:
        kind, record = entry["record"]
        found.records.append((t_s, kind, record))
    else:
        found.cut = str(entry["cut"])


def _own_line(line: bytes, number: int) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RecordingError(f"line {number} of the recording is not JSON: {error}: {line[:_SHOWN_BYTES]!r}") from None
    if not isinstance(entry, dict):
        raise RecordingError(f"line {number} of the recording is no object: {line[:_SHOWN_BYTES]!r}")
    return entry


def _json_lines(body: bytes) -> list[bytes]:
    lines = [line for line in (line.strip() for line in body.split(b"\n")) if line]
    if _is_json(lines[0]):
        return lines
    text = _text(body)
    chunks: list[bytes] = []
    at = 0
    while at < len(text):
        chunk, at = _next_value(text, at, body)
        chunks.append(chunk)
    return chunks


def _json_array(body: bytes) -> list[bytes]:
    text = _text(body)
    chunks: list[bytes] = []
    at = _skip(text, 1)
    while not text.startswith("]", at):
        chunk, at = _next_value(text, at, body)
        if not chunk.startswith(b"{"):
            raise _neither(body, f"element {len(chunks)} of the array is no object")
        chunks.append(chunk)
        if text.startswith(",", at):
            at = _skip(text, at + 1)
        elif not text.startswith("]", at):
            raise _neither(body, f"after element {len(chunks) - 1} of the array neither ',' nor ']' comes")
    if not chunks:
        raise RecordingError("expected a recorded stream, got an empty JSON array")
    return chunks


def _next_value(text: str, at: int, body: bytes) -> tuple[bytes, int]:
    """Return the JSON value at a place as it is written there, and the place after it and its white space."""
    try:
        _, end = json.JSONDecoder().raw_decode(text, at)
    except (ValueError, RecursionError) as error:
        raise _neither(body, f"not JSON: {error}") from None
    return text[at:end].encode(), _skip(text, end)


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _WHITE:
        at += 1
    return at


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise _neither(body, f"not UTF-8: {error}") from None


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _neither(body: bytes, why: str) -> RecordingError:
    return RecordingError(
        f"expected a recorded stream (SSE, JSONL or a JSON array), got {body[:_SHOWN_BYTES]!r}: {why}"
    )
