"""Chunks for OpenAI clients: whoever resumes gets exactly what an uninterrupted reader would have had from there on."""

from __future__ import annotations

from typing import Any

import pytest

from actors.messages import MessagePiece
from actors.providers.sse import SseDecoder
from actors.settings import StreamSettings
from actors.stream.log import Log
from actors.translator import Translator
from router.client.reading.batch import Shaper
from router.client.reading.inbox import Cursor
from tests.assemble import TRACES, payload

NAMES = [
    "openai-parallel-tools-1.sse",
    "anthropic-parallel-tools-2.sse",
    "google-parallel-tools-1.sse",
    "openai-text-1.sse",
    "deepseek-text-2.sse",
]


def log_of(name: str) -> Log:
    decoder = SseDecoder()
    events = decoder.feed((TRACES / "recorded" / name).read_bytes()) + decoder.close()
    return logged([event.data for event in events])


def logged(payloads: list[bytes]) -> Log:
    translator = Translator(StreamSettings(dialect="chat"), run_id="req")
    pieces: list[MessagePiece] = [one for item in payloads for one in translator.chunk(item)]
    log = Log()
    log.append(pieces + translator.end())
    return log


def read(log: Log, after: int, *, pieces: int, coalesce: bool = False) -> list[tuple[int, dict[str, Any]]]:
    """Return the chunks that a subscription gives, each with the cursor of its batch."""
    shaper = Shaper("openai", coalesce=coalesce)
    cursor = Cursor(shaper.begin(after))
    found = []
    while cursor.last_seq_id < log.last_seq:
        reading = log.read(cursor.last_seq_id, through=log.last_seq, bytes_max=1 << 30, pieces_max=pieces)
        if reading.gap is not None:
            shaper.gap(*reading.gap)
        batch = shaper.shape(cursor.take(reading.segments, reading.gap), cursor.last_seq_id)
        if cursor.last_seq_id <= shaper.had_through:
            assert not batch.messages
        found += [(cursor.last_seq_id, chunk) for chunk in batch]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_what_is_resumed_is_the_rest_of_what_is_not_interrupted(name: str) -> None:
    log = log_of(name)
    whole = read(log, 0, pieces=1)
    for after in range(log.last_seq + 1):
        rest = [chunk for seq_id, chunk in whole if seq_id > after]
        assert [chunk for _, chunk in read(log, after, pieces=1)] == rest
        assert [chunk for _, chunk in read(log, after, pieces=7)] == rest


def text_of(chunks: list[dict[str, Any]]) -> str:
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c.get("choices"))


def test_what_was_had_is_not_joined_with_what_follows() -> None:
    log = log_of("openai-text-1.sse")
    whole = read(log, 0, pieces=1)
    for after in range(log.last_seq):
        rest = [chunk for seq_id, chunk in whole if seq_id > after]
        assert text_of([c for _, c in read(log, after, pieces=99, coalesce=True)]) == text_of(rest)


def call(index: int, arguments: str, name: str | None = None) -> bytes:
    function = {"arguments": arguments, **({"name": name} if name else {})}
    head = {"id": f"c{index}", "type": "function"} if name else {}
    delta = {"tool_calls": [{"index": index, **head, "function": function}]}
    return payload({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]})


def test_resumed_in_the_middle_of_a_second_call_its_pieces_bear_its_index() -> None:
    log = logged([call(0, "{}", "f"), call(1, "", "g"), call(1, '{"x":'), call(1, "1}")])
    first_after = next(seq for seq, chunk in read(log, 0, pieces=1) if '{"x":' in str(chunk))
    chunk = read(log, first_after, pieces=1)[0][1]
    assert chunk["choices"][0]["delta"] == {"tool_calls": [{"index": 1, "function": {"arguments": "1}"}}]}


def test_where_the_beginning_of_a_call_was_dropped_no_call_without_a_name_is_given() -> None:
    log = logged([call(0, "", "f"), *(call(0, "xy") for _ in range(50)), call(1, "{}", "g")])
    log.release(log.last_seq)
    log.drop(0, through=20)
    chunks = [chunk for _, chunk in read(log, 0, pieces=3)]
    calls = [one for c in chunks if c.get("choices") for one in c["choices"][0]["delta"].get("tool_calls", ())]
    assert [one["function"].get("name") for one in calls] == ["g", None]
    assert {one["index"] for one in calls} == {0}
