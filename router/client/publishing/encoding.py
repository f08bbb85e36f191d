"""What a caller hands over, turned into bytes and plain data in the caller's own call. Pure.

Everything behind this packs what it gets without looking at it, in loops that thousands of streams share.
So what cannot be packed is refused here: a chunk with MalformedChunk, all else with InvalidRecord.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, Protocol
from uuid import UUID

from pydantic_core import to_json

from actors.errors import (
    InvalidArgument,
    InvalidRecord,
    MalformedChunk,
    MessageTooLarge,
    SettingsError,
    StreamRouterError,
)
from actors.protocol.items import pack_body, record_bytes_max
from actors.settings import StreamSettings
from actors.tracing import current_traceparent

ERROR_TEXT_CHARACTERS_MAX = 2_000
DEPTH_MAX = 100
# What msgpack can hold.
INTEGER_MIN, INTEGER_MAX = -(1 << 63), (1 << 64) - 1

_SECRET = re.compile(
    r"(?i:(authorization|api[-_ ]?key|x-api-key|token|secret|password)(\"?\s*[:=]\s*\"?)(?:bearer\s+|basic\s+)?)"
    r"[^\s\"',;}]+"
    r"|\b(?:sk|pk|rk|xai|gsk|hf|AIza)[-_A-Za-z0-9]{12,}"
    r"|(?i:bearer)\s+[A-Za-z0-9._~+/=-]{8,}"
)


class HasModelDump(Protocol):
    """A pydantic-like object of a provider's SDK."""

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """Return the object as plain data."""
        ...


Chunk = bytes | bytearray | memoryview | str | Mapping[str, Any] | HasModelDump


# --- chunks -----------------------------------------------------------------------------------------


def to_bytes(chunk: Chunk) -> bytes:
    """Return a chunk as its provider sends it: the bytes behind `data:`.

    Bytes and text are taken as they are (a leading `data:` is dropped); mappings and SDK objects
    become JSON. Raises MalformedChunk for anything else.
    """
    if isinstance(chunk, bytes):
        raw = bytes(chunk)
    elif isinstance(chunk, str):
        raw = chunk.encode("utf-8", "surrogatepass")
    elif isinstance(chunk, (bytearray, memoryview)):
        raw = _bytes_of(chunk)
    else:
        return _to_json(chunk)
    return raw[5:].strip() if raw.startswith(b"data:") else raw


def each_chunk(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """Iterate over several chunks. Raises InvalidArgument for what is no iterable of chunks."""
    if not isinstance(chunks, (str, bytes, bytearray, memoryview, Mapping)):
        with contextlib.suppress(Exception):  # whatever a hostile value does when it is asked
            return iter(chunks)
    raise InvalidArgument(
        f"Publisher.chunks: chunks is an iterable of chunks; this is {type(chunks).__name__} "
        "(one chunk is sent with `chunk`)"
    )


def _bytes_of(chunk: bytearray | memoryview) -> bytes:
    try:
        return bytes(chunk)
    except (ValueError, BufferError) as error:
        raise MalformedChunk(f"a chunk of type {type(chunk).__name__} cannot be read: {error}") from error


def _to_json(chunk: Any) -> bytes:
    try:
        if isinstance(chunk, Mapping):
            return to_json(dict(chunk))
        dump = getattr(chunk, "model_dump", None)
        if callable(dump):
            return to_json(_dumped(dump, {"mode": "json", "exclude_unset": True, "warnings": False}))
    except Exception as error:  # whatever the caller's object does when it is read
        raise MalformedChunk(
            f"a chunk of type {type(chunk).__name__} cannot be written as JSON: {type(error).__name__}: "
            f"{safe_text(error)[:300]}"
        ) from error
    raise MalformedChunk(
        f"a chunk is bytes, text, a mapping or an object with model_dump(), not {type(chunk).__name__}"
    )


def _dumped(dump: Any, options: dict[str, Any]) -> Any:
    try:
        return dump(**options)
    except TypeError:
        return dump()  # it has the method, and not pydantic's options


# --- records ----------------------------------------------------------------------------------------


def to_plain(value: Any, what: str) -> Any:
    """Return a value as plain data that can be packed: mappings, models, dataclasses, enums, dates, nested.

    `what` names it in the error. Raises InvalidRecord.
    """
    try:
        return _plain(value, what, 0)
    except InvalidRecord:
        raise
    except Exception as error:  # whatever the caller's object does when it is read
        raise InvalidRecord(
            f"{what} of type {type(value).__name__} cannot be read: {type(error).__name__}: {safe_text(error)[:300]}"
        ) from error


def to_mapping(value: Any, what: str) -> dict[str, Any]:
    """Return a value as plain data that is a mapping. Raises InvalidRecord."""
    plain = to_plain(value, what)
    if not isinstance(plain, dict):
        raise InvalidRecord(
            f"{what} is a mapping, a dataclass or an object with model_dump(), not {type(value).__name__}"
        )
    return plain


def _plain(value: Any, path: str, depth: int) -> Any:
    kind = value.__class__
    if value is None or kind is bool or kind is float:
        return value
    if depth > DEPTH_MAX:
        raise InvalidRecord(f"{path}: nested more than {DEPTH_MAX} deep (does it hold itself?)")
    for kinds, convert in _LEAVES:
        if isinstance(value, kinds):
            return convert(value, path)
    if isinstance(value, Mapping):
        return {_key(key, path): _plain(inner, f"{path}.{key}", depth + 1) for key, inner in value.items()}
    if isinstance(value, (list, tuple, AbstractSet)) and not hasattr(value, "_asdict"):
        return [_plain(inner, f"{path}[{at}]", depth + 1) for at, inner in enumerate(value)]
    return _plain(_opened(value, path), path, depth + 1)


def _opened(value: Any, path: str) -> Any:
    """Return what is inside an object."""
    if not isinstance(value, type):
        dump = getattr(value, "model_dump", None)
        if callable(dump):
            return _dumped(dump, {"mode": "json", "warnings": False})
        if is_dataclass(value):
            return {field.name: getattr(value, field.name) for field in fields(value)}
        for name in ("_asdict", "tolist", "to_dict"):  # named tuples; numpy; older SDKs
            convert = getattr(value, name, None)
            if callable(convert):
                return convert()
    raise InvalidRecord(
        f"{path}: expected plain values, mappings, lists, dataclasses or objects with model_dump(), got "
        f"{type(value).__name__}"
    )


def _text(value: str, path: str) -> str:
    text = str.__str__(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRecord(f"{path}: a text holds half of a surrogate pair ({error.reason})") from None
    return text


def _integer(value: int, path: str) -> int:
    number = int(value)
    if not INTEGER_MIN <= number <= INTEGER_MAX:
        raise InvalidRecord(f"{path}: an integer of {number.bit_length()} bits; 64 can be sent")
    return number


def _decimal(value: Decimal, _path: str) -> int | str:
    is_sendable = value.is_finite() and INTEGER_MIN <= value <= INTEGER_MAX and value == value.to_integral_value()
    return int(value) if is_sendable else str(value)


_Convert = Callable[[Any, str], Any]
_LEAVES: tuple[tuple[type | tuple[type, ...], _Convert], ...] = (
    (Enum, lambda value, path: _plain(value.value, path, 1)),
    (str, _text),
    (int, _integer),
    (float, lambda value, _path: float(value)),
    ((datetime, date, time), lambda value, _path: value.isoformat()),
    (timedelta, lambda value, _path: value.total_seconds()),
    (Decimal, _decimal),
    ((UUID, PurePath), lambda value, path: _text(str(value), path)),
    ((bytes, bytearray), lambda value, _path: bytes(value).decode()),
)


def _key(key: Any, path: str) -> str:
    if isinstance(key, Enum):
        key = key.value
    if isinstance(key, str):
        return _text(key, path)
    if key is None or isinstance(key, (bool, int, float, date, UUID)):
        return str(key)
    raise InvalidRecord(f"{path}: expected text as the key of a mapping, got {type(key).__name__}")


def pack_record(kind: str, body: dict[str, Any], message_bytes_max: int) -> bytes:
    """Return a record's body as bytes. Raises InvalidRecord, MessageTooLarge."""
    packed = pack_body(kind, body)
    bytes_max = record_bytes_max(kind, message_bytes_max)
    if len(packed) > bytes_max:
        raise MessageTooLarge(
            f"a {kind} record of {len(packed)} bytes; {bytes_max} are allowed (message_bytes_max). "
            "It was not sent; the request stays open"
        )
    return packed


# --- texts ------------------------------------------------------------------------------------------


def safe_text(value: object) -> str:
    """Return what an object says of itself, also where saying it fails."""
    try:
        text = str(value) or repr(value)
    except Exception as error:  # noqa: BLE001  # of a caller's own class
        text = f"{type(value).__name__} (its text cannot be had: {type(error).__name__})"
    return text.encode("utf-8", "replace").decode()


def clean(text: str) -> str:
    """Return an error text without keys and authorization headers, and of bounded length."""
    text = text.encode("utf-8", "replace").decode()[: 4 * ERROR_TEXT_CHARACTERS_MAX]
    shown = _SECRET.sub(lambda found: (found[1] + found[2] if found[1] else "") + "[removed]", text)
    return shown if len(shown) <= ERROR_TEXT_CHARACTERS_MAX else shown[:ERROR_TEXT_CHARACTERS_MAX] + " [cut]"


# --- settings ---------------------------------------------------------------------------------------


def within_span(settings: StreamSettings) -> StreamSettings:
    """Return the settings with the span that is current here, where they name none."""
    traceparent = current_traceparent() if settings.traceparent is None else None
    return settings if traceparent is None else settings.model_copy(update={"traceparent": traceparent})


def load_settings(settings: StreamSettings | Mapping[str, Any]) -> StreamSettings:
    """Return a request's settings. Raises SettingsError."""
    try:
        return StreamSettings.load(settings)
    except StreamRouterError:
        raise
    except Exception as error:  # whatever a caller's own mapping does when it is read
        raise SettingsError(f"settings cannot be read: {type(error).__name__}: {safe_text(error)[:300]}") from error
