"""Recorded provider streams: from the bytes of a file to its chunks.

Three forms, told apart by the first character that is no white space:

- SSE, as the provider sent it: the data of each event is a chunk, `[DONE]` with it.
- JSONL, which opens with `{`: each line is a chunk, blank lines are not. What a line holds is not
  looked at, so that a recording may have a broken chunk. One JSON object over several lines, or several
  of them one after the other, is read too.
- A JSON array, which opens with `[`: each of its objects is a chunk. (Gemini sends this where SSE was
  not asked for.)

The chunks keep the bytes that the recording has for them.
"""

from __future__ import annotations

import json

from actors.errors import RecordingError
from actors.providers.sse import SseDecoder

_BOM = b"\xef\xbb\xbf"
_WHITE = " \t\r\n"
_SHOWN_BYTES = 80


def read_recording(data: bytes) -> list[bytes]:
    """Return the payloads of a recorded stream, one a chunk, in order.

    Raises RecordingError where the recording is empty, or none of SSE, JSONL and a JSON array.
    """
    body = data.removeprefix(_BOM).lstrip(_WHITE.encode())
    if not body:
        raise RecordingError("expected a recorded stream (SSE, JSONL or a JSON array), got an empty file")
    if body.startswith(b"{"):
        return _json_lines(body)
    if body.startswith(b"["):
        return _json_array(body)
    decoder = SseDecoder(event_bytes_max=len(data))
    payloads = [event.data for event in [*decoder.feed(data), *decoder.close()]]
    if not payloads:
        raise _neither(body, "no line of it starts with 'data:'")
    return payloads


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
