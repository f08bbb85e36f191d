"""Frames: the bytes that cross processes. msgpack only, bounded, never pickle.

A frame is one argument or one result of a call. What is in it is a shape: a NamedTuple of this
package, packed as a list of its parts in their order. Nothing else in the product packs or unpacks
them. `unpack` refuses what is too large, too deep or cut short, and `checked` what has another shape;
both raise ProtocolViolation, so that a caller who lies harms nobody.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgpack

from actors.errors import ProtocolViolation

UNPACKED_BYTES_MAX = 512 * 1024 * 1024
"""No frame may be larger; a whole sealed log must fit."""

# Ray carries arguments of up to 100 KB inside the call, many of them if need be; a larger one goes
# through its object store, which costs more than a whole call of several small arguments.
ARGUMENT_BYTES_MAX = 96 * 1024
# What an envelope adds to a frame beside its packed items; those without any are settings and small words.
ENVELOPE_BYTES = 128
ENVELOPE_WITHOUT_ITEMS_BYTES = 1536

FITTING_MAX = 64
"""Of each shape so many rows of types that fit it are remembered."""

PACKER_BYTES_MAX = 64 * 1024
"""What has packed more is not used again, since it has grown as large."""

_Shape = TypeVar("_Shape", bound=tuple[Any, ...])
_unpackb = msgpack.unpackb
_UNREADABLE = (ValueError, TypeError, ArithmeticError, msgpack.UnpackException, RecursionError)
_fitting: defaultdict[type[Any], set[tuple[type[Any], ...]]] = defaultdict(set)
# Packers at rest: to make one costs more than most of what is packed. One at work is in nobody else's reach, in another
# thread or in what a collection runs meanwhile.
_packers: list[Any] = []


def pack(value: Any) -> bytes:
    """Pack a value of plain types, or a shape."""
    try:
        packer = _packers.pop()
    except IndexError:
        packer = msgpack.Packer()
    packed: bytes = packer.pack(value)
    if len(packed) <= PACKER_BYTES_MAX:
        _packers.append(packer)
    return packed


def unpack(frame: bytes) -> Any:
    """Unpack a frame. Raises ProtocolViolation for what is not one."""
    if not isinstance(frame, bytes):
        raise ProtocolViolation(f"a frame is bytes, this one {type(frame).__name__}")
    if len(frame) > UNPACKED_BYTES_MAX:
        raise ProtocolViolation(f"a frame of {len(frame)} bytes; the most allowed is {UNPACKED_BYTES_MAX}")
    try:
        return _unpackb(frame, strict_map_key=False, use_list=True)
    except _UNREADABLE as error:
        raise ProtocolViolation(f"a frame of {len(frame)} bytes cannot be read: {error}") from error


def unpack_list(frame: bytes) -> list[Any]:
    """Unpack a frame that is a list. Raises ProtocolViolation."""
    # As `unpack` does it, and without a further call: the items of each envelope come here.
    try:
        is_plain = frame.__class__ is bytes and len(frame) <= UNPACKED_BYTES_MAX
        value = _unpackb(frame, strict_map_key=False, use_list=True) if is_plain else unpack(frame)
    except _UNREADABLE:
        value = unpack(frame)  # which says what is wrong
    if value.__class__ is not list:
        raise ProtocolViolation(f"expected a list, got {type(value).__name__} {str(value)[:60]!r}")
    return value


def checked(shape: type[_Shape], parts: Any) -> _Shape:
    """Return the shape that came as these parts. Raises ProtocolViolation where their number or a type is wrong."""
    known = _fitting[shape]
    if parts.__class__ is list and tuple(map(type, parts)) in known:
        return tuple.__new__(shape, parts)  # what `_make` does, without a call for each; most of what comes
    kinds = _kinds(shape)
    if not isinstance(parts, (list, tuple)) or len(parts) != len(kinds):
        raise ProtocolViolation(f"{shape.__name__} has {len(kinds)} parts; this is {str(parts)[:80]!r}")
    for part, (name, kind) in zip(parts, kinds, strict=True):
        if not isinstance(part, kind):
            raise ProtocolViolation(f"{shape.__name__}.{name} cannot be {str(part)[:40]!r}: {str(parts)[:80]!r}")
    if len(known) < FITTING_MAX:
        known.add(tuple(map(type, parts)))
    return tuple.__new__(shape, parts)


def read(shape: type[_Shape], frame: bytes) -> _Shape:
    """Return the shape packed in a frame. Raises ProtocolViolation."""
    return checked(shape, unpack(frame))


@cache
def _kinds(shape: type[Any]) -> tuple[tuple[str, Any], ...]:
    hints = get_type_hints(shape)
    return tuple((name, _kind(hints[name])) for name in shape._fields)


def _kind(hint: Any) -> Any:
    """Return what `isinstance` takes for an annotation. What is inside a list its own reader checks."""
    if hint is Any:
        return object
    if get_origin(hint) in (UnionType, Union):
        return tuple(_kind(part) for part in get_args(hint))
    origin = get_origin(hint) or hint
    if origin in (list, tuple) or (
        isinstance(origin, type) and issubclass(origin, (Sequence, tuple)) and origin is not str and origin is not bytes
    ):
        return (list, tuple)
    if isinstance(origin, type) and issubclass(origin, str):
        return str
    if isinstance(origin, type) and issubclass(origin, int):
        return int
    return (int, float) if origin is float else origin


def cut_into_frames(envelopes: Sequence[tuple[Any, ...]]) -> list[bytes]:
    """Return envelopes, in order, as frames that each fit inside a Ray call, unless one alone is larger.

    An envelope that carries items has them in `packed_items`.
    """
    if len(envelopes) == 1:
        return [pack(envelopes)]
    sizes = _sizes(envelopes)
    if sum(sizes) <= ARGUMENT_BYTES_MAX:
        return [pack(envelopes)]
    found: list[bytes] = []
    begin = size = 0
    for at, more in enumerate(sizes):
        if size + more > ARGUMENT_BYTES_MAX and at > begin:
            found.append(pack(envelopes[begin:at]))
            begin, size = at, 0
        size += more
    found.append(pack(envelopes[begin:]))
    return found


def _sizes(envelopes: Sequence[Any]) -> list[int]:
    """Return about how much room each takes."""
    try:
        return [ENVELOPE_BYTES + len(envelope.packed_items) for envelope in envelopes]
    except AttributeError:  # there are some without items among them, which is rarer
        found = [getattr(envelope, "packed_items", None) for envelope in envelopes]
        return [ENVELOPE_WITHOUT_ITEMS_BYTES if items is None else ENVELOPE_BYTES + len(items) for items in found]
