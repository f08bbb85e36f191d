"""What every provider adapter is, and how they all read values they cannot trust.

An adapter turns one decoded provider event into deltas (`actors/deltas.py`). Adapters share one
attitude to what a provider sends:

- The event itself must be a JSON object; anything else is MalformedChunk.
- Inside it, nothing is taken for granted. A value of the wrong kind is left out, or named in an
  `Unknown` where it stood in for content. No shape of event makes an adapter raise.
- What is known and carries nothing for the reader (log probabilities, moderation scores, padding)
  is passed over in silence; what is not known is named, so that it can be counted and reported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

from actors.deltas import Delta, Unknown
from actors.errors import MalformedChunk

Event = Mapping[str, Any]
Common = list[Delta] | str | None
"""What a payload of a common shape says: deltas, or a text in the place of `[Text(text)]`. None: it has another."""
Key = TypeVar("Key")
Value = TypeVar("Value")

PINGS = frozenset({"ping", "pong", "keepalive", "keep-alive", "keep_alive", "heartbeat"})
_SHOWN_CHARS_MAX = 200
_KEPT_MAX = 256
_DIGITS_MAX = 9


class Adapter(Protocol):
    """Turns the events of one provider stream into deltas. One instance a response, or several in a row."""

    def common(self, payload: bytes) -> Common:
        """Return what a payload of a common shape says (`decode.py`); None for any other, which `feed` reads.

        The deltas and the state after it are those of `feed` with the decoded payload. Raises nothing.
        """
        ...

    def feed(self, event: Event) -> list[Delta]:
        """Return the deltas of one decoded JSON event, in the order in which a reader should see them.

        Raises MalformedChunk where `event` is no JSON object, and nothing else.
        """
        ...

    def close(self) -> list[Delta]:
        """Return what was held back; call it once, when the stream is over."""
        ...


def as_object(event: object) -> dict[str, Any]:
    """Return an event as a dict; raise MalformedChunk where it is no JSON object."""
    if isinstance(event, dict):
        return event
    if isinstance(event, Mapping):
        return dict(event)
    shown = shorten(as_json_text(event))
    raise MalformedChunk(
        f"expected a JSON object as the chunk, got {type(event).__name__}: {shown}; "
        "check that each chunk is one whole provider event"
    )


def as_text(value: object) -> str | None:
    """Return a non-empty string, or None for all else."""
    return value if isinstance(value, str) and value else None


def as_word(value: object) -> str | None:
    """Return a word that should be a string, also one in an object or a number; None for all else."""
    if isinstance(value, dict):
        value = next((value[key] for key in ("type", "reason", "name") if value.get(key)), None)
    return as_id(value)


def as_id(value: object) -> str | None:
    """Return an id as text; None where it is missing or empty. A number is an id too."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None


def as_index(value: object) -> int | None:
    """Return an index, also one sent as a float or as digits; None for all else."""
    count = as_count(value)
    if count is None and isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _DIGITS_MAX:
        return int(value)
    return count


def as_count(value: object) -> int | None:
    """Return a whole number that is not negative (a token count, an index); None for all else."""
    if value.__class__ is int:
        return value if value >= 0 else None
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    return None


def as_dict(value: object) -> dict[str, Any]:
    """Return a JSON object, or an empty one for all else."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """Return a JSON array, or an empty one for all else."""
    return value if isinstance(value, list) else []


def as_json_text(value: object) -> str:
    """Return a string as it is, anything else as JSON text (empty where it nests beyond what can be written)."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (RecursionError, ValueError, TypeError):
        return ""


def shorten(text: str) -> str:
    """Return text cut to what fits into one line of a report."""
    return text if len(text) <= _SHOWN_CHARS_MAX else f"{text[:_SHOWN_CHARS_MAX]}…"


def unknown(what: str, kind: object) -> Unknown:
    """Return the Unknown for something whose kind, as the provider names it, is not known."""
    return Unknown(shorten(f"{what} {kind}")) if isinstance(kind, str) else odd(f"{what} with a kind", kind)


def odd(what: str, value: object) -> Unknown:
    """Return the Unknown for something that is of another JSON type than it should be."""
    return Unknown(shorten(f"{what} of type {type(value).__name__}"))


def unknown_event(event: Event) -> Unknown:
    """Return the Unknown for an event that no adapter knows: by its type, else by its keys."""
    kind = event.get("type")
    if isinstance(kind, str):
        return unknown("event", kind)
    return Unknown(shorten(f"event with keys {', '.join(map(str, event))}" if event else "event without keys"))


def remember(table: dict[Key, Value], key: Key, value: Value) -> None:
    """Put a value into a table that a hostile stream must not be able to grow: past 256, the oldest goes."""
    table[key] = value
    if len(table) > _KEPT_MAX:
        del table[next(iter(table))]


def is_ping(event: Event) -> bool:
    """Tell whether an event is a keepalive: it neither tells whose the stream is nor says anything."""
    for key in ("type", "event", "object"):
        kind = event.get(key)
        if isinstance(kind, str) and kind.lower() in PINGS:
            return True
    return False
