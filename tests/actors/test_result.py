"""What a request came to is what its batches say, whatever the dialect and wherever the batches are cut."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.errors import RequestCancelled, RequestFailed, RequestLost, RequestTimedOut
from actors.joining import Joiner, Part
from actors.messages import MESSAGE_ADAPTER, MessagePiece, as_dict
from actors.providers.sse import SseDecoder
from actors.result import Result, ResultBuilder, Timings, model_of
from actors.settings import StreamSettings
from actors.stop_reasons import StopReason
from actors.stream.log import Log
from actors.translator import Translator
from router.client.reading.inbox import Cursor, joined, split
from tests.assemble import TRACES, load, payload, traces, translator_of
from tests.effort import scaled

NO_TIME = Timings(None, 0.0)
CHUNKED = [*traces("golden", "chunks"), *traces("defects", "chunks")]
STREAMED = sorted((TRACES / "recorded").glob("*.sse")) + sorted((TRACES / "field").glob("*.sse"))


def of_chunks(path: Path) -> list[MessagePiece]:
    trace = load(path)
    translator = translator_of(trace)
    pieces = [one for chunk in trace["chunks"] for one in translator.chunk(payload(chunk))]
    return pieces + translator.end()


def of_events(path: Path, dialect: str) -> list[MessagePiece]:
    decoder = SseDecoder()
    translator = Translator(StreamSettings.load({"dialect": dialect}), run_id="req")
    events = decoder.feed(path.read_bytes()) + decoder.close()
    pieces = [one for event in events if not translator.ended for one in translator.chunk(event.data)]
    return pieces + translator.end()


SOURCES: list[tuple[str, Callable[[], list[MessagePiece]]]] = [
    *((path.stem, lambda path=path: of_chunks(path)) for path in CHUNKED),
    *(
        (f"{path.stem}-{dialect}", lambda path=path, dialect=dialect: of_events(path, dialect))
        for path in STREAMED
        for dialect in ("chat", "letta")
    ),
]


def batches(log: Log, sizes: Iterator[int], *, joins: bool = True) -> Iterator[list[Part]]:
    """Read a log as a subscription does, so many pieces at a time."""
    cursor = Cursor(0)
    while cursor.last_seq_id < log.last_seq:
        reading = log.read(cursor.last_seq_id, through=log.last_seq, bytes_max=1 << 30, pieces_max=max(1, next(sizes)))
        segments = cursor.take(reading.segments, reading.gap)
        if joins:
            yield [Part(*one) for one in joined(segments)]
        else:
            yield [
                Part(seq, fields, *split(piece))
                for first, fields, pieces in segments
                for seq, piece in enumerate(pieces, first)
            ]


def endlessly(draw: Callable[[], int]) -> Iterator[int]:
    while True:
        yield draw()


def result_of(pieces: list[MessagePiece], sizes: Iterator[int], *, joins: bool = True) -> Result:
    log = Log()
    log.append(pieces)
    builder = ResultBuilder("req")
    for batch in batches(log, sizes, joins=joins):
        builder.feed(batch)
    return builder.result(NO_TIME)


def said(pieces: list[MessagePiece], kind: str, field: str) -> str:
    messages = (as_dict(head.fields, text, extra, None) for head, text, extra in pieces)
    return "".join(
        message[field] for message in messages if message["message_type"] == kind and not message.get("choice_index")
    )


@pytest.mark.parametrize(("name", "source"), SOURCES, ids=[name for name, _ in SOURCES])
def test_a_result_says_what_the_batches_say_however_they_are_cut(name: str, source: Callable[[], list[MessagePiece]]):
    pieces = source()
    whole = result_of(pieces, endlessly(lambda: 1 << 30))
    assert whole.text == said(pieces, "assistant_message", "content")
    assert whole.reasoning == said(pieces, "reasoning_message", "reasoning")
    shown = [as_dict(head.fields, text, extra, None) for head, text, extra in pieces]
    arguments = [p["tool_call"].get("arguments", "") for p in shown if p["message_type"] == "tool_call_message"]
    in_order = whole.messages
    assert "".join(m.tool_call.arguments or "" for m in in_order if m.message_type == "tool_call_message") == "".join(
        arguments
    )
    assert sorted("".join(call.arguments_text for call in whole.tool_calls)) == sorted("".join(arguments))
    assert whole.stop_reason == next(p["stop_reason"] for p in shown if p["message_type"] == "stop_reason")
    assert whole.usage is not None

    chance = random.Random(name)
    for n in range(max(1, scaled(4))):
        cut = result_of(pieces, endlessly(lambda: chance.randint(1, 9)), joins=bool(n % 2))
        assert cut == whole
        assert cut.messages == whole.messages
    assert result_of(pieces, endlessly(lambda: 1), joins=False) == whole


@pytest.mark.parametrize(("name", "source"), SOURCES, ids=[name for name, _ in SOURCES])
def test_messages_shown_early_say_the_same_as_those_that_wait(name: str, source: Callable[[], list[MessagePiece]]):
    pieces = source()
    log = Log()
    log.append(pieces)
    chance = random.Random(name)
    joiner = Joiner()
    shown: list[Any] = []
    for batch in batches(log, endlessly(lambda: chance.randint(1, 9))):
        shown += map(model_of, joiner.feed(batch))
        shown += map(model_of, joiner.take_if_whole())
    shown += map(model_of, joiner.take())
    assert [m.seq_id for m in shown] == sorted({m.seq_id for m in shown})
    assert shown[-1].seq_id == log.last_seq
    late = result_of(pieces, endlessly(lambda: 1 << 30))
    assert "".join(m.content for m in shown if m.message_type == "assistant_message") == said(
        pieces, "assistant_message", "content"
    )
    assert [m.message_type for m in shown][-1] == late.messages[-1].message_type
    for message in late.messages:
        assert MESSAGE_ADAPTER.validate_python(message.model_dump(mode="json")) == message


# --- tool calls -------------------------------------------------------------------------------------------


def parts(*rows: tuple[dict[str, Any], str | None, dict[str, Any] | None]) -> list[Part]:
    shared = {"id": "m", "date": "2026-01-01T00:00:00+00:00"}
    return [Part(n, {**shared, **fields}, text, extra) for n, (fields, text, extra) in enumerate(rows, 1)]


def call(call_id: str, text: str | None, name: str | None = None) -> tuple[Any, ...]:
    fields = {"message_type": "tool_call_message", "tool_call_id": call_id, "otid": call_id}
    return fields, text, {"tool_name": name} if name else None


def returned(call_id: str, text: str, status: str = "success") -> tuple[Any, ...]:
    fields = {"message_type": "tool_return_message", "tool_call_id": call_id, "status": status}
    return {**fields, "tool_return": text}, None, None


STOP = ({"message_type": "stop_reason", "stop_reason": "tool_call"}, None, None)


def built(*rows: Any) -> Result:
    builder = ResultBuilder("req")
    builder.feed(parts(*rows))
    return builder.result(NO_TIME)


def test_a_call_has_its_arguments_parsed_and_its_return():
    one, other = built(
        call("a", None, "weather"), call("a", '{"city": "Rome"}'), call("b", '{"q": ', "search"), call("b", "1"),
        returned("a", "15 °C"), returned("b", "no", "error"), STOP,
    ).tool_calls  # fmt: skip
    assert (one.name, one.arguments, one.arguments_text) == ("weather", {"city": "Rome"}, '{"city": "Rome"}')
    assert one.returned is not None
    assert one.returned.tool_return == "15 °C"
    assert not one.has_failed
    assert (other.name, other.arguments, other.arguments_text) == ("search", None, '{"q": 1')
    assert other.has_failed


def test_calls_whose_pieces_alternate_are_put_together():
    calls = built(call("a", '{"x":', "f"), call("b", '{"y":', "g"), call("a", "1}"), call("b", "2}"), STOP).tool_calls
    assert [(one.name, one.arguments) for one in calls] == [("f", {"x": 1}), ("g", {"y": 2})]


def test_a_call_without_arguments_has_none_of_them():
    assert built(call("a", None, "now"), STOP).tool_calls[0].arguments == {}


def test_a_call_is_shown_as_soon_as_its_arguments_are_complete():
    joiner = Joiner()
    first, second, third = parts(call("a", '{"city": "{}', "weather"), call("a", '"}'), returned("a", "15 °C"))
    assert joiner.feed([first]) == []
    assert joiner.take_if_whole() == [], "a brace within a text ends nothing"
    assert joiner.feed([second]) == []
    assert [json.loads(part.text or "") for part in joiner.take_if_whole()] == [{"city": "{}"}]
    assert joiner.take() == []
    assert joiner.feed([third]) == []
    assert len(joiner.take_if_whole()) == 1, "a return has no text that could grow"


def test_a_text_waits_for_what_follows_it():
    joiner = Joiner()
    assistant = {"message_type": "assistant_message"}
    [part] = parts((assistant, "Hello", None))
    joiner.feed([part])
    assert joiner.take_if_whole() == []


def test_the_answer_is_what_was_said_last():
    talk = {"message_type": "assistant_message"}
    result = built(
        ({**talk, "otid": "1"}, "Let me look.", None),
        call("a", "{}", "f"),
        ({**talk, "otid": "2"}, "15 °C", None),
        STOP,
    )
    assert (result.text, result.answer) == ("Let me look.15 °C", "15 °C")


def test_further_choices_are_in_the_messages_and_not_in_the_text():
    talk = {"message_type": "assistant_message"}
    result = built(({**talk, "choice_index": 0}, "one", None), ({**talk, "choice_index": 1}, "two", None), STOP)
    assert result.text == "one"
    assert [m.content for m in result.messages[:2]] == ["one", "two"]


def test_what_stands_on_both_sides_of_a_gap_is_not_joined():
    builder = ResultBuilder("req")
    first, _, third, stop = parts(*[({"message_type": "assistant_message"}, text, None) for text in "abc"], STOP)
    builder.feed([first])
    builder.gap(2, 2)
    builder.feed([third, stop])
    result = builder.result(NO_TIME)
    assert [m.content for m in result.messages[:2]] == ["a", "c"]
    assert result.gaps == ((2, 2),)


# --- ends ---------------------------------------------------------------------------------------------------

GOOD = {"end_turn", "tool_call", "max_tokens", "stop_sequence", "refusal", "content_filter", "pause_turn"}
NAMED = {
    "cancelled": RequestCancelled, "lost": RequestLost, "timeout_stall": RequestTimedOut,
    "timeout_request": RequestTimedOut, "timeout_first_message": RequestTimedOut,
    "timeout_idle_reader": RequestTimedOut,
}  # fmt: skip


@pytest.mark.parametrize("reason", list(StopReason))
def test_a_failed_end_has_a_named_error_with_what_there_was(reason: StopReason):
    talk = {"message_type": "assistant_message"}
    stop = {"message_type": "stop_reason", "stop_reason": str(reason), "detail": "the reader saw it"}
    result = built((talk, "half an ans", None), (stop, None, None))
    failure = result.failure()
    if reason in GOOD:
        assert failure is None
        return
    assert type(failure) is NAMED.get(reason, RequestFailed)
    assert failure.result is result
    assert f"ended as '{reason}'" in str(failure)
    assert "the reader saw it" in str(failure)


def test_the_first_error_of_the_stream_explains_the_end():
    error = {"message_type": "error_message", "error_type": "overloaded", "message": "try later"}
    stop = {"message_type": "stop_reason", "stop_reason": "error"}
    failure = built((error, None, None), (stop, None, None)).failure()
    assert "overloaded: try later" in str(failure)


def test_the_provider_s_word_is_said_where_nothing_else_explains():
    stop = {"message_type": "stop_reason", "stop_reason": "unknown_finish", "provider_reason": "gremlins"}
    assert "gremlins" in str(built((stop, None, None)).failure())
