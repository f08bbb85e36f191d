"""Promise: a recording's form is told by itself, and its chunks keep their bytes."""

from __future__ import annotations

import json

import pytest
from provider_joining import FILES, body_of, texts_of

from actors.errors import RecordingError
from actors.recording_format import read_recording


@pytest.mark.parametrize("name", FILES)
def test_the_same_chunks_from_sse_jsonl_and_array(name):
    chunks = [text.encode() for text in texts_of(name)]
    payloads = read_recording(body_of(name))
    assert [payload for payload in payloads if payload != b"[DONE]"] == chunks
    assert read_recording(b"\n".join(chunks)) == chunks
    assert read_recording(b"\r\n\r\n".join(chunks) + b"\r\n") == chunks
    assert read_recording(b"\xef\xbb\xbf[" + b",\r\n".join(chunks) + b"]\n") == chunks


def test_done_marker_is_a_chunk():
    assert read_recording(b'data: {"a":1}\n\ndata: [DONE]\n\n') == [b'{"a":1}', b"[DONE]"]
    assert read_recording(b'{"a":1}\n[DONE]\n') == [b'{"a":1}', b"[DONE]"]


def test_comments_ahead_of_sse_are_no_chunks():
    assert read_recording(b": hello\n\nevent: e\ndata: {}\n\n") == [b"{}"]


def test_objects_over_several_lines_are_read_one_after_the_other():
    body = json.dumps({"a": "é", "b": [1]}, indent=2, ensure_ascii=False) + "\n" + json.dumps({"c": 2}, indent=2)
    assert [json.loads(chunk) for chunk in read_recording(body.encode())] == [{"a": "é", "b": [1]}, {"c": 2}]


def test_a_broken_line_stays_a_chunk():
    assert read_recording(b'{"a":1}\n{"b":\n{"c":3}\n') == [b'{"a":1}', b'{"b":', b'{"c":3}']


def test_sse_may_end_without_a_blank_line():
    assert read_recording(b'data: {"a":1}') == [b'{"a":1}']


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "empty"),
        (b" \r\n\xef", "neither|data:"),
        (b"\xef\xbb\xbf \n", "empty"),
        (b"hello world\n", "data:"),
        (b"<html>\n</html>", "data:"),
        (b": only a comment\n\n", "data:"),
        (b"data:\n\n", "data:"),
        (b"{oops", "not JSON"),
        (b'{"a":\n1} {"b":', "not JSON"),
        (b"{\xff}", "not UTF-8"),
        (b"[]", "empty JSON array"),
        (b"[1, 2]", "element 0 of the array is no object"),
        (b'[{"a":1} {"b":2}]', "neither ',' nor"),
        (b'[{"a":1},', "not JSON"),
        (b"[DONE]", "not JSON"),
        (b"[" * 5000, "not JSON"),
        (b'{"a":' * 5000, "not JSON"),
    ],
)
def test_what_is_no_recording_is_refused_with_its_first_bytes(body, why):
    with pytest.raises(RecordingError, match=why):
        read_recording(body)
