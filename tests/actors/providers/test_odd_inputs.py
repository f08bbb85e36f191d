"""Promise: what servers say in unusual words, shapes and places is read as what it says, at every cut.

Siblings of the kinds in `test_field_kinds.py`; the numbers are those of the table in `docs/providers.md`.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from test_field import check, payloads_of, read
from test_field_kinds import CREATED, DONE, END, USAGE, chunk, completed, ev, message, named, sse, whole

CHAT = {"dialect": "chat"}
START = {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 25, "output_tokens": 1}}}


def anthropic(*events: dict[str, Any], content: list[Any] | None = None) -> bytes:
    start = {**START, "message": {**START["message"], "content": content or []}}
    return sse(start, *events, {"type": "message_stop"}, names=True)


def block(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": 0, "content_block": {"type": kind, **fields}}


def delta(**fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": fields}


def ended(**usage: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}


def gemini(*parts: Any, **candidate: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, **candidate}]}


FULL = "the disk is full"
ERRORS: list[dict[str, Any]] = [
    {"error": True, "message": FULL},
    {"error": 1, "msg": FULL},
    {"error": {}, "message": FULL},
    {"timestamp": 1, "status": 500, "error": "Internal Server Error", "path": "/v1", "message": FULL},
    {"detail": {"error": {"message": FULL}}},
    {"status": "failed", "reason": FULL},
    {"ret": -1, "msg": FULL},
    {"err": FULL},
    {"err": {"code": 5, "message": FULL}},
    {"data": {"error": {"message": FULL}}},
    {"result": {"error": FULL}},
    {"event": "error", "data": FULL},
    {"event": "error", "data": {"message": FULL}},
]
BEGINNINGS: dict[str, list[Any]] = {
    "chat": [chunk({"content": "Half "})],
    "Anthropic": [START, block("text", text=""), delta(type="text_delta", text="Half ")],
    "Responses": [CREATED, ev("output_text.delta", delta="Half ")],
    "Gemini": [gemini({"text": "Half "})],
}


@pytest.mark.parametrize("error", ERRORS, ids=json.dumps)
@pytest.mark.parametrize("provider", BEGINNINGS)
def test_an_error_in_any_shape_is_one_error_with_its_text(provider: str, error: dict[str, Any]) -> None:
    wanted = {"assistant": "Half ", "stop": "error", "n_errors": 1, "errors_contain": FULL}
    check(read(sse(*BEGINNINGS[provider], error), CHAT), wanted)
    check(read(json.dumps(error, indent=1).encode(), CHAT), {**wanted, "assistant": ""})


TWO = [chunk({"content": "a"}), chunk({"content": "b"}), *END]
MESSAGE = {"type": "message", "id": "m", "content": []}
SIGNED = {"google": {"thought_signature": "S"}}
CASES: dict[str, tuple[bytes, dict[str, Any]]] = {
    "1 a whole completion makes up new ids for its calls": (
        sse(
            chunk({"tool_calls": [named("f", '{"a":1}', "x1")]}),
            whole({"content": None, "tool_calls": [named("f", '{"a": 1}', "y1", None)]}, "tool_calls"),
            DONE,
        ),
        {"calls": [["x1", "f", '{"a":1}']], "stop": "tool_call"},
    ),
    "1 the whole stands in Anthropic's message_start": (
        anthropic(ended(output_tokens=4), content=[{"type": "text", "text": "Hello"}]),
        {"assistant": "Hello", "stop": "end_turn"},
    ),
    "1 the whole stands in message_start, and is streamed": (
        anthropic(
            block("text", text=""),
            delta(type="text_delta", text="Hello"),
            ended(),
            content=[{"type": "text", "text": "Hello"}],
        ),
        {"assistant": "Hello", "stop": "end_turn"},
    ),
    "1 the text that stands in a message's start goes on": (
        sse(
            CREATED,
            ev("output_item.added", output_index=0, item=message("Hi ", id="m")),
            ev("output_text.delta", item_id="m", output_index=0, delta="there"),
            ev("output_text.done", item_id="m", output_index=0, text="Hi there"),
            completed(message("Hi there", id="m")),
        ),
        {"assistant": "Hi there", "stop": "end_turn"},
    ),
    "1 the text that stands in a message's start comes again": (
        sse(
            CREATED,
            ev("output_item.added", output_index=0, item=message("Hi there", id="m")),
            ev("output_text.delta", item_id="m", output_index=0, delta="Hi "),
            ev("output_text.delta", item_id="m", output_index=0, delta="there"),
            completed(message("Hi there", id="m")),
        ),
        {"assistant": "Hi there", "stop": "end_turn"},
    ),
    "1 the text that stands in a part's start goes on": (
        sse(
            CREATED,
            ev("output_item.added", output_index=0, item=MESSAGE),
            ev("content_part.added", item_id="m", output_index=0, part={"type": "output_text", "text": "Hi "}),
            ev("output_text.delta", item_id="m", output_index=0, delta="there"),
            completed(message("Hi there", id="m")),
        ),
        {"assistant": "Hi there"},
    ),
    "1 nothing comes after a message's start": (
        sse(CREATED, ev("output_item.added", output_index=0, item=message("Hi there", id="m"))),
        {"assistant": "Hi there", "stop": "incomplete"},
    ),
    "1 a part begins when all was told": (
        sse(
            CREATED,
            ev("output_item.added", output_index=0, item=MESSAGE),
            ev("output_text.delta", item_id="m", output_index=0, delta="Hi "),
            ev("output_text.delta", item_id="m", output_index=0, delta="there"),
            ev("content_part.added", item_id="m", output_index=0, part={"type": "output_text", "text": "Hi there"}),
            completed(),
        ),
        {"assistant": "Hi there", "stop": "end_turn"},
    ),
    "1 two messages of the same words, of which only the ends come": (
        sse(
            CREATED,
            *(ev("output_item.done", output_index=place, item=message("Yes.")) for place in range(2)),
            completed(message("Yes.", id="a"), message("Yes.", id="b")),
        ),
        {"assistant": "Yes.Yes."},
    ),
    "2 a finish word in an object": (
        sse(chunk({"content": "a"}), {**chunk({}), "choices": [{"delta": {}, "finish_reason": {"type": "length"}}]}),
        {"stop": "max_tokens", "provider_reason": "length"},
    ),
    "2 a finish word as Gemini's number": (sse(gemini({"text": "a"}, finishReason=2)), {"stop": "max_tokens"}),
    "2 a number that nobody knows": (sse(gemini({"text": "a"}, finishReason=77)), {"stop": "unknown_finish"}),
    "4 a signature in a later piece of the call": (
        sse(
            chunk({"tool_calls": [named("f", "{}", "c1")]}),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": ""}, "extra_content": SIGNED}]}),
            chunk({}, "tool_calls"),
        ),
        {"calls": [["c1", "f", "{}"]], "signatures": ["S"]},
    ),
    "4 a signature in an object of its own": (
        sse(chunk({"thinking": {"content": "Hm"}}), chunk({"thinking": {"signature": "S"}}), *TWO),
        {"reasoning": "Hm", "signatures": ["S"], "assistant": "ab"},
    ),
    "4 a signature beside the content": (
        sse(chunk({"reasoning_content": "Hm"}), chunk({"signature": "S"}), *TWO),
        {"reasoning": "Hm", "signatures": ["S"], "assistant": "ab"},
    ),
    "4 encrypted content of a whole message": (
        sse(whole({"content": "a", "reasoning_content": "Hm", "encrypted_content": "E"}), DONE),
        {"reasoning": "Hm", "signatures": ["E"], "assistant": "a"},
    ),
    "4 Anthropic's deltas by other types": (
        anthropic(delta(type="thinking", text="Hm"), delta(type="text", text="a"), delta(text="b"), ended()),
        {"reasoning": "Hm", "assistant": "ab", "stop": "end_turn"},
    ),
    "6 Code Assist's wrapper decides what provider it is": (
        sse({"response": gemini({"text": "a"})}, {"response": gemini({"text": "b"}, finishReason="STOP")}),
        {"assistant": "ab", "stop": "end_turn"},
    ),
    "6 parts that are one object": (
        sse({"candidates": [{"content": {"parts": {"text": "a"}}, "finishReason": "STOP"}]}),
        {"assistant": "a", "stop": "end_turn"},
    ),
    "6 a space ahead of each line": (sse(*TWO).replace(b"data:", b" data:"), {"assistant": "ab", "stop": "end_turn"}),
    "6 the field's name in capitals": (sse(*TWO).replace(b"data:", b"Data:"), {"assistant": "ab", "stop": "end_turn"}),
    "6 a byte-order mark on each event": (
        b"".join(b"\xef\xbb\xbf" + sse(event) for event in TWO),
        {"assistant": "ab", "stop": "end_turn", "n_errors": 0},
    ),
    "6 record separators": (
        b"".join(b"\x1e" + json.dumps(event).encode() + b"\n" for event in TWO[:-1]),
        {"assistant": "ab", "stop": "end_turn", "n_errors": 0},
    ),
    "6 documents in a row in one line": (
        b"".join(json.dumps(event).encode() for event in TWO[:-1]),
        {"assistant": "ab", "stop": "end_turn", "n_errors": 0},
    ),
    "6 no line ends between events": (
        sse(*TWO).replace(b"\n\n", b""),
        {"assistant": "ab", "stop": "end_turn", "n_errors": 0},
    ),
    "6 line ends escaped once too often": (
        sse(*TWO[:-1]).replace(b"\n\n", rb"\n\n"),
        {"assistant": "ab", "stop": "end_turn", "n_errors": 0},
    ),
    **{
        f"6 the end marker as {mark.decode()}": (sse(*TWO[:-1], b"data: " + mark), {"stop": "end_turn", "n_errors": 0})
        for mark in (b"[done]", b"DONE", b'"[DONE]"', b"[END]")
    },
    "8 text and transcript say the same": (
        sse(chunk({"content": "At ten."}), whole({"content": "At ten.", "audio": {"transcript": "At ten."}}), DONE),
        {"assistant": "At ten.", "stop": "end_turn"},
    ),
    "8 Anthropic's later prompt of zero": (
        anthropic(block("text", text=""), delta(type="text_delta", text="a"), ended(input_tokens=0, output_tokens=5)),
        {"prompt_tokens": 25, "completion_tokens": 5, "total_tokens": 30},
    ),
    "8 usage of zero in part": (
        sse(chunk({}, "stop", usage=USAGE), chunk(None, usage={"prompt_tokens": 0, "completion_tokens": 2}), DONE),
        {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_odd_input(name: str) -> None:
    body, right = CASES[name]
    check(read(body, CHAT), right)


@pytest.mark.parametrize("name", CASES)
def test_odd_input_at_every_cut(name: str) -> None:
    body, _ = CASES[name]
    uncut = payloads_of(body)
    assert payloads_of(body, tuple(range(1, len(body)))) == uncut
    for place in range(1, len(body), 11):
        assert payloads_of(body, (place,)) == uncut


@pytest.mark.parametrize("word", ["max_completion_tokens", "context_length"])
def test_more_words_for_too_long(word: str) -> None:
    assert read(sse(chunk({"content": "a"}), chunk({}, word), DONE), CHAT)["stop"] == "max_tokens"


def test_a_finish_word_of_a_million_characters_is_not_looked_up() -> None:
    assert read(sse(chunk({"content": "a"}), chunk({}, "stop" * 250_000), DONE), CHAT)["stop"] == "unknown_finish"
