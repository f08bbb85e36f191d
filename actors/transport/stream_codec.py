"""Calls and answers as bytes on a stream, and back. Pure.

Theory. Each message has a head of nine bytes, then its body:

    length   4 bytes   of the body
    number   4 bytes   of the call; its answer bears the same
    kind     1 byte    HELLO, CALL, ANSWER, ERROR, MORE
    body     HELLO     bytes that only those know to whom the address was given
             CALL      packed: [method, arguments]
             ANSWER    packed: what the method returned
             ERROR     packed: (code, text) of the error that it raised
             MORE      packed: an answer that others follow

A stream gives bytes in whatever portions it likes, so `StreamDecoder` takes any, and gives the messages that are
complete. What cannot be a message raises ProtocolViolation; the stream is then worth nothing any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from struct import Struct
from typing import Any, NamedTuple

from actors.errors import ProtocolViolation
from actors.protocol.frames import UNPACKED_BYTES_MAX, pack, unpack

HEAD = Struct("<IIB")
NUMBERS = 1 << 32

# How msgpack packs bytes of up to 32 bits.
LARGE = Struct(">BI")
LARGE_MARK = 0xC6
LARGE_BYTES = 32 * 1024
"""Bytes of this size or more are not packed among others, but go as they are, between the parts before and behind."""


class Kind(IntEnum):
    """What a message is."""

    HELLO = 0
    CALL = 1
    ANSWER = 2
    ERROR = 3
    MORE = 4


class StreamMessage(NamedTuple):
    """One message."""

    number: int
    kind: int
    body: bytes


def encode(number: int, kind: Kind, body: bytes) -> Sequence[bytes]:
    """Return a message as bytes, in one part or more."""
    head = HEAD.pack(len(body), number, kind)
    return (head + body,) if len(body) < LARGE_BYTES else (head, body)


def encode_call(number: int, method: str, arguments: tuple[Any, ...]) -> Sequence[bytes]:
    """Return a call as bytes, in one part or more.

    What is large among the arguments, or in a list that is one, is a part of its own and not copied: a packer that has
    it all grows its buffer again and again, which at two megabytes takes longer than all else that is done with them.
    """
    for argument in arguments:
        for value in argument if argument.__class__ is list else (argument,):
            if value.__class__ is bytes and len(value) >= LARGE_BYTES:  # (`_is_large`, without a call)
                return _encode_large_call(number, method, arguments)
    body = pack((method, arguments))
    return (HEAD.pack(len(body), number, Kind.CALL) + body,)


def _is_large(value: Any) -> bool:
    return value.__class__ is bytes and len(value) >= LARGE_BYTES


def _encode_large_call(number: int, method: str, arguments: tuple[Any, ...]) -> Sequence[bytes]:
    parts = [b"\x92" + pack(method) + _array_head(len(arguments))]
    for argument in arguments:
        if argument.__class__ is list:
            parts[-1] += _array_head(len(argument))
            _add(parts, argument)
        else:
            _add(parts, (argument,))
    parts[0] = HEAD.pack(sum(map(len, parts)), number, Kind.CALL) + parts[0]
    return parts if parts[-1] else parts[:-1]


def _add(parts: list[bytes], values: Iterable[Any]) -> None:
    """Add packed values; the last of the parts is the one that small ones go on with."""
    for value in values:
        if _is_large(value):
            parts[-1] += LARGE.pack(LARGE_MARK, len(value))
            parts += (value, b"")
        else:
            parts[-1] += pack(value)


def _array_head(count: int) -> bytes:
    """Return what stands before so many packed values."""
    return bytes((0x90 | count,)) if count < 16 else b"\xdd" + count.to_bytes(4, "big")  # noqa: PLR2004  # msgpack's


def decode_call(body: bytes) -> tuple[str, list[Any]]:
    """Return (method, arguments) of a call's body. Raises ProtocolViolation."""
    parts = unpack(body)
    if parts.__class__ is list and len(parts) == 2:  # noqa: PLR2004  # as above
        method, arguments = parts
        if method.__class__ is str and arguments.__class__ is list:
            return method, arguments
    raise ProtocolViolation(f"a call is [method, arguments], not {str(parts)[:80]!r}")


class StreamDecoder:
    """Finds messages in a stream of bytes."""

    __slots__ = ("_body_bytes_max", "_rest")

    def __init__(self, body_bytes_max: int = UNPACKED_BYTES_MAX) -> None:
        self._rest = bytearray()
        self._body_bytes_max = body_bytes_max

    def feed(self, data: bytes) -> Iterator[StreamMessage]:
        """Take what has come; give the messages that are complete now. Raises ProtocolViolation."""
        if not self._rest and len(data) >= HEAD.size:
            # One message and no more, as most come where little flows; all else is looked at below.
            length, number, kind = HEAD.unpack_from(data)
            if len(data) == HEAD.size + length <= self._body_bytes_max and kind <= Kind.MORE:
                return iter((tuple.__new__(StreamMessage, (number, kind, data[HEAD.size :])),))
        return self._messages(data)

    def _messages(self, data: bytes) -> Iterator[StreamMessage]:
        if self._rest:
            self._rest += data
            if len(self._rest) < HEAD.size or len(self._rest) < HEAD.size + self._head(self._rest, 0)[0]:
                return
            data = bytes(self._rest)
            self._rest.clear()
        at, end = 0, len(data)
        while end - at >= HEAD.size:
            length, number, kind = self._head(data, at)
            body_at = at + HEAD.size
            if end - body_at < length:
                break
            at = body_at + length
            yield StreamMessage(number, kind, data[body_at:at])
        self._rest += data[at:]

    def _head(self, data: bytes | bytearray, at: int) -> tuple[int, int, int]:
        length, number, kind = HEAD.unpack_from(data, at)
        if length > self._body_bytes_max or kind > Kind.MORE:
            raise ProtocolViolation(
                f"the other end of a socket speaks another language: a body of {length} bytes, kind {kind}"
            )
        return length, number, kind
