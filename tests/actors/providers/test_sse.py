"""Promise: SSE is read by the standard's rules, and how the bytes were cut changes nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from provider_joining import FILES, INDEX, body_of

from actors.errors import ChunkTooLarge
from actors.providers.sse import SseDecoder, SseEvent
from tests.effort import scaled

BOM = b"\xef\xbb\xbf"
LINE_ENDS = [b"\n", b"\r\n", b"\r"]


def decode(pieces, event_bytes_max=1 << 22):
    """Return events, comments, and whether the stream was refused."""
    decoder = SseDecoder(event_bytes_max)
    events = []
    try:
        for piece in pieces:
            events += decoder.feed(piece)
        events += decoder.close()
    except ChunkTooLarge:
        return events, None, True
    return events, decoder.comments, False


def cut(data, places):
    places = sorted({place for place in places if 0 < place < len(data)})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def by_the_book(data):
    """Read a whole stream as the standard's algorithm says, line by line (with our differences, but JSON)."""
    text = data.removeprefix(BOM).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    lines = text.split(b"\n")
    if lines[-1] != b"":
        lines.append(b"")
    lines.append(b"")
    events, comments, rest = [], 0, b""
    name, last_id, values = None, None, []
    for line in lines:
        if line == b"":
            if values and b"\n".join(values):
                events.append(SseEvent(name, b"\n".join(values), last_id))
                rest = b""
            elif values:
                comments += 1
            name, values = None, []
            continue
        if line[:1] == b":":
            comments += 1
            continue
        field, colon, value = line.partition(b":")
        value = value[1:] if colon and value[:1] == b" " else value
        if field == b"data":
            values.append(value)
        elif field == b"event":
            name = value.decode("utf-8", "replace") or None
        elif field == b"id" and b"\x00" not in value:
            last_id = value.decode("utf-8", "replace") or None
        elif field not in (b"data", b"event", b"id", b"retry"):
            rest += line + b"\n"
    if rest.strip():
        events.append(SseEvent(None, rest.strip(), last_id))
    return events, comments, False


@pytest.mark.parametrize("name", FILES)
def test_recordings_have_the_events_that_their_index_says(name):
    events, comments, _ = decode([body_of(name)])
    entry = INDEX[FILES.index(name)]
    assert len(events) == entry["events"]
    assert bool(comments) == ("sse_comments" in entry["features"])
    if entry["api"] == "openai-chat":
        assert any(event.event for event in events) == ("sse_event_names" in entry["features"])


SMALL = [name for name in FILES if len(body_of(name)) < 4000]


@pytest.mark.parametrize("name", SMALL)
def test_cut_at_every_position(name):
    body = body_of(name)
    whole = decode([body])
    for place in range(len(body) + 1):
        assert decode([body[:place], body[place:]]) == whole


@pytest.mark.parametrize("name", SMALL)
def test_byte_by_byte(name):
    body = body_of(name)
    assert decode([body[at : at + 1] for at in range(len(body))]) == decode([body])


@settings(max_examples=scaled(150), deadline=None)
@given(st.data())
def test_recordings_cut_anywhere(data):
    body = body_of(data.draw(st.sampled_from(FILES)))
    pieces = cut(body, data.draw(st.lists(st.integers(0, len(body)), max_size=60)))
    assert decode(pieces) == decode([body])


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("end", LINE_ENDS, ids=["lf", "crlf", "cr"])
def test_every_line_ending_reads_the_same(name, end):
    lines = body_of(name).replace(b"\r\n", b"\n")
    assert decode([lines.replace(b"\n", end)]) == decode([body_of(name)])


TOKENS = st.sampled_from(
    [
        b"data",
        b"event",
        b"id",
        b"retry",
        b":",
        b" ",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\xc3\xa9",
        b"\0",
        BOM,
        b"x",
    ]
)


@settings(max_examples=scaled(1500), deadline=None)
@given(st.lists(TOKENS, max_size=40).map(b"".join), st.lists(st.integers(0, 80), max_size=12))
def test_any_bytes_read_as_the_standard_says_however_cut(data, places):
    assert decode(cut(data, places)) == decode([data]) == by_the_book(data)


JSON_TOKENS = st.sampled_from(
    [
        b"data: ",
        b"event: error",
        b"error: ",
        b"[DONE]",
        b"\n",
        b"\r\n",
        b"\n\n",
        b"[",
        b"]",
        b",",
        b"{",
        b"}",
        b'{"a":1}',
    ]
)


@settings(max_examples=scaled(1500), deadline=None)
@given(st.lists(JSON_TOKENS, max_size=40).map(b"".join), st.lists(st.integers(0, 120), max_size=12))
def test_json_without_data_reads_the_same_however_cut(data, places):
    assert decode(cut(data, places)) == decode([data])


@settings(max_examples=scaled(600), deadline=None)
@given(
    st.lists(TOKENS, max_size=40).map(b"".join),
    st.lists(st.integers(0, 80), max_size=12),
    st.integers(1, 12),
)
def test_the_limit_falls_on_the_same_event_however_cut(data, places, limit):
    assert decode(cut(data, places), limit) == decode([data], limit)


def test_character_and_crlf_and_byte_order_mark_may_be_cut():
    body = BOM + "data: é€😀\r\nevent: n\r\nid: 7\r\n\r\n".encode()
    for place in range(len(body)):
        assert decode([body[:place], body[place:]])[0] == [SseEvent("n", "é€😀".encode(), "7")]


def test_event_is_there_with_the_cr_that_ends_it():
    decoder = SseDecoder()
    assert decoder.feed(b"data: 1\r\r") == [SseEvent(None, b"1", None)]
    assert decoder.feed(b"\ndata: 2\r\n\r\n") == [SseEvent(None, b"2", None)]


def test_data_lines_are_joined_and_one_blank_is_dropped():
    assert decode([b"data:a\ndata:  b\ndata\ndata: c\n\n"])[0] == [SseEvent(None, b"a\n b\n\nc", None)]


def test_name_is_of_one_event_and_id_of_all_that_follow():
    events, _, _ = decode([b"event: e\nid: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n"])
    assert events == [SseEvent("e", b"a", "1"), SseEvent(None, b"b", "1"), SseEvent(None, b"c", None)]


def test_comments_and_empty_events_are_keepalives():
    events, comments, _ = decode([b": hi\n\n:\n\ndata:\n\ndata: \n\nevent: ping\n\ndata: 1\n\n"])
    assert events == [SseEvent(None, b"1", None)]
    assert comments == 4


def test_event_cut_off_by_the_end_is_delivered_by_close():
    decoder = SseDecoder()
    assert decoder.feed(b"data: whole\n\ndata: [DO") == [SseEvent(None, b"whole", None)]
    assert decoder.close() == [SseEvent(None, b"[DO", None)]
    assert decoder.close() == []


@pytest.mark.parametrize("body", [b"data: " + b"x" * 200, b": " + b"x" * 200, b"data: xxxxx\n" * 40], ids=str)
def test_too_large_is_refused_with_its_first_bytes(body):
    decoder = SseDecoder(event_bytes_max=100)
    with pytest.raises(ChunkTooLarge, match=r"over 100 bytes; it starts with b'.*xxxxx"):
        decoder.feed(body)
    with pytest.raises(ChunkTooLarge):
        decoder.feed(b"data: small\n\n")
    with pytest.raises(ChunkTooLarge):
        decoder.close()


def test_events_before_one_that_is_too_large_are_not_lost():
    decoder = SseDecoder(event_bytes_max=20)
    assert decoder.feed(b"data: 1\n\ndata: " + b"x" * 50) == [SseEvent(None, b"1", None)]
    with pytest.raises(ChunkTooLarge):
        decoder.feed(b"")


def test_long_line_in_many_pieces_is_joined_once():
    decoder = SseDecoder()
    decoder.feed(b"data: ")
    for _ in range(50_000):  # quadratic, this would copy 100 GB
        decoder.feed(b"x" * 80)
    assert decoder.feed(b"\n\n") == [SseEvent(None, b"x" * 4_000_000, None)]
