"""The events in one chunk's payload, where it is not simply one JSON object.

A payload may have its event's name ahead of it (`sse.named`), hold several documents in a row or in an array, the
end marker among them, a document inside a JSON string, a second `data:`, or a keepalive in plain words. What cannot
be read comes back as it is, with the reason, behind what could.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from pydantic_core import from_json

from actors.providers.sse import ERROR_NAMES, split_name

DONE = b"[DONE]"
_DEPTH_MAX = 3
_WHITE = " \t\r\n"
# What servers send to keep a connection open, where comments would do: a word, a comment, a time.
_KEEPALIVE = re.compile(
    rb"(?i)(?::.*|(?:ping|pong|keep[-_ ]?alive|heartbeat|\.{1,3})\b[^{]*|null|\"\"|\d{4}-\d\d-\d\d[ T][\d:.+Z-]*)\Z",
    re.DOTALL,
)
_KEEPALIVE_BYTES_MAX = 200
# The end marker as some spell it.
_DONE_WORD = re.compile(rb"(?i)[\"']?(?:\[ ?(?:done|end) ?\]|done)[\"']?\Z")


class Read(NamedTuple):
    """`events`: JSON objects, None for the end marker. `broken`: why the rest could not be read; None: there is none.

    `has_halves`: a text may hold half a surrogate pair, whose other half may follow.
    """

    events: list[dict[str, Any] | None]
    broken: str | None = None
    has_halves: bool = False


def read_payload(payload: bytes, depth: int = _DEPTH_MAX) -> Read:
    """Return the events of a payload. Raises nothing."""
    name, data = split_name(payload)
    data = data.strip()
    if name is not None:
        return _named(name, data)
    if data == DONE or _DONE_WORD.match(data):
        return Read([None])
    if not data or (len(data) <= _KEEPALIVE_BYTES_MAX and _KEEPALIVE.match(data)):
        return Read([])
    if depth and data.startswith(b"data:"):
        return read_payload(data[5:], depth - 1)
    try:
        return _flat(from_json(data), depth)
    except ValueError:
        return _documents(data, depth)


def _named(name: str, data: bytes) -> Read:
    """Put an event's name where adapters look for it: `type`, or `error` with what it says."""
    is_error = name in ERROR_NAMES
    read = read_payload(data, 0)
    event = read.events[0] if len(read.events) == 1 else None
    if is_error:
        error: object = event if event is not None else data.decode("utf-8", "replace")
        return Read([{"type": "error", "error": error or "the provider sent an error without a text"}])
    if event is None:
        return read
    return Read([{"type": name, **event}], read.broken, read.has_halves)


def _flat(value: object, depth: int) -> Read:
    if isinstance(value, dict):
        return Read([value])
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return Read(list(value))
    if isinstance(value, str) and depth:
        return read_payload(value.encode("utf-8", "replace"), depth - 1)
    if value is None:
        return Read([])
    return Read([], f"expected a JSON object as the chunk, got {type(value).__name__}")


def _documents(data: bytes, depth: int) -> Read:
    """Read JSON that the fast decoder does not take: halves of surrogate pairs, and documents in a row."""
    try:
        return _flat(json.loads(data), depth)._replace(has_halves=True)
    except (ValueError, RecursionError) as error:
        why = f"not JSON: {error}"
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return Read([], why)
    events: list[dict[str, Any] | None] = []
    decoder = json.JSONDecoder()
    at = 0
    while at < len(text):
        if events and text.startswith("data:", at):
            at = _skip(text, at + len("data:"))
        if text.startswith("[DONE]", at):
            events.append(None)
            at += len(DONE)
        else:
            try:
                value, at = decoder.raw_decode(text, at)
            except (ValueError, RecursionError) as error:
                return Read(events, f"not JSON: {error}" if events else why, has_halves=bool(events))
            read = _flat(value, 0)
            events += read.events
            if read.broken is not None:
                return Read(events, read.broken, has_halves=True)
        at = _skip(text, at)
    return Read(events, has_halves=True)


def _skip(text: str, at: int) -> int:
    """Skip white space, also line ends that a server has escaped once too often."""
    while at < len(text):
        if text[at] in _WHITE:
            at += 1
        elif text.startswith((r"\n", r"\r"), at):
            at += 2
        else:
            break
    return at
