"""Messages come out of a stream as they went in, whatever the portions; what is no message is refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import ProtocolViolation
from actors.protocol.frames import pack, unpack
from actors.transport.stream_codec import (
    HEAD,
    LARGE_BYTES,
    Kind,
    StreamDecoder,
    decode_call,
    encode,
    encode_call,
)

MESSAGES = st.lists(st.tuples(st.integers(0, 2**32 - 1), st.sampled_from(Kind), st.binary(max_size=40)), max_size=6)


def test_messages_come_out_whole_at_every_cut():
    sent = [(7, Kind.CALL, b"abc"), (8, Kind.ANSWER, b""), (9, Kind.ERROR, b"x" * 20)]
    data = b"".join(part for message in sent for part in encode(*message))
    for cut in range(len(data) + 1):
        decoder = StreamDecoder()
        assert [*decoder.feed(data[:cut]), *decoder.feed(data[cut:])] == sent


@given(MESSAGES, st.data())
def test_messages_come_out_whole_in_any_portions(sent, data):
    stream = b"".join(part for message in sent for part in encode(*message))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    decoder = StreamDecoder()
    found = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += decoder.feed(stream[begin:end])
    assert found == sent


def test_a_message_that_comes_byte_by_byte_costs_no_square():
    decoder = StreamDecoder()
    data = b"".join(encode(1, Kind.CALL, b"x" * 200_000))
    found = [message for at in range(len(data)) for message in decoder.feed(data[at : at + 1])]
    assert found == [(1, Kind.CALL, b"x" * 200_000)]


@pytest.mark.parametrize("head", [HEAD.pack(1 << 31, 1, Kind.CALL), HEAD.pack(3, 1, 9)])
def test_what_is_no_message_is_refused_at_its_head(head):
    with pytest.raises(ProtocolViolation, match="speaks another language"):
        list(StreamDecoder().feed(head))
    decoder = StreamDecoder()
    assert list(decoder.feed(head[:5])) == []
    with pytest.raises(ProtocolViolation):
        list(decoder.feed(head[5:]))


def test_a_call_comes_as_it_was_made():
    _, _, body = next(StreamDecoder().feed(b"".join(encode_call(5, "feed", ("me", [None, 0], b"\x00frame")))))
    assert decode_call(body) == ("feed", ["me", [None, 0], b"\x00frame"])


@pytest.mark.parametrize("body", [b"\x01", b"\x91\xa4feed", b"\x92\x01\x90", b"\x92\xa4feed\x01", b"\xc1", b""])
def test_what_is_no_call_is_refused(body):
    with pytest.raises(ProtocolViolation):
        decode_call(body)


@pytest.mark.parametrize("count", [0, 1, 15, 16, 300])
@pytest.mark.parametrize("size", [0, 1, LARGE_BYTES - 1, LARGE_BYTES, LARGE_BYTES + 1])
def test_a_call_is_what_packing_it_whole_would_make(count: int, size: int):
    frames = [bytes([n % 256]) * size for n in range(count)]
    arguments = ("client", ["seen", 7], *frames, frames, True)
    (message,) = StreamDecoder().feed(b"".join(encode_call(3, "feed", arguments)))
    assert (message.number, message.kind) == (3, Kind.CALL)
    assert decode_call(message.body) == ("feed", unpack(pack(list(arguments))))


def test_what_is_large_in_a_call_is_a_part_of_it_as_it_is():
    frames = [b"x" * LARGE_BYTES, b"small", b"y" * LARGE_BYTES]
    for arguments in (("client", *frames), ("client", frames, True)):
        parts = encode_call(3, "feed", arguments)
        assert parts[1] is frames[0]
        assert parts[3] is frames[2]
