"""Promise: each kind of oddity that servers have is read right, not only the one stream that showed it.

The siblings of the streams in `tests/traces/field/`, a group a kind (the numbers are those of the table in
`docs/providers.md`). What is right was decided from the providers' documents.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from test_field import check, payloads_of, read

CHAT = {"dialect": "chat"}


def sse(*events: Any, names: bool = False) -> bytes:
    """Return events as a body: objects as `data:`, bytes as they are."""
    blocks = []
    for event in events:
        if isinstance(event, bytes):
            blocks.append(event)
            continue
        name = f"event: {event['type']}\n" if names and "type" in event else ""
        blocks.append(f"{name}data: {json.dumps(event)}".encode())
    return b"".join(block + b"\n\n" for block in blocks)


DONE = b"data: [DONE]"


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **more}


def piece(arguments: str, index: int | None = 0, **more: Any) -> dict[str, Any]:
    call = {"function": {"arguments": arguments}, **more}
    if index is not None:
        call["index"] = index
    return call


def named(name: str, arguments: str, call_id: str | None, index: int | None = 0, **more: Any) -> dict[str, Any]:
    call = {"type": "function", "function": {"name": name, "arguments": arguments}, **more}
    if index is not None:
        call["index"] = index
    if call_id is not None:
        call["id"] = call_id
    return call


def whole(message: dict[str, Any], finish: str = "stop", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion", "model": "m", "choices": [choice], **more}


def ev(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", **fields}


def completed(*output: dict[str, Any], status: str = "completed", **more: Any) -> dict[str, Any]:
    usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    return ev(status, response={"id": "r", "status": status, "output": list(output), "usage": usage, **more})


def message(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}], **more}


def call_item(arguments: str, **more: Any) -> dict[str, Any]:
    return {"type": "function_call", "name": "f", "arguments": arguments, **more}


CREATED = ev("created", response={"id": "r", "status": "in_progress", "model": "m"})
END = [chunk({}, "stop"), DONE]
USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}

# --- 1 identity -------------------------------------------------------------------------------------------------

IDENTITY: dict[str, tuple[bytes, dict[str, Any], dict[str, Any]]] = {
    "llama.cpp text, dones at the end": (
        sse(
            CREATED,
            ev("output_item.added", item={"id": "rs", "type": "reasoning", "summary": [], "content": []}),
            ev("reasoning_text.delta", item_id="rs", delta="Hm."),
            ev("output_item.added", item={"id": "msg", "type": "message", "content": []}),
            ev("content_part.added", item_id="msg", part={"type": "output_text", "text": ""}),
            ev("output_text.delta", item_id="msg", delta="Hello "),
            ev("output_text.delta", item_id="msg", delta="there"),
            ev(
                "output_item.done",
                item={"id": "rs", "type": "reasoning", "content": [{"type": "reasoning_text", "text": "Hm."}]},
            ),
            ev("output_text.done", item_id="msg", text="Hello there"),
            ev("content_part.done", item_id="msg", part={"type": "output_text", "text": "Hello there"}),
            ev("output_item.done", item=message("Hello there", id="msg")),
            completed(
                {"id": "rs", "type": "reasoning", "content": [{"type": "reasoning_text", "text": "Hm."}]},
                message("Hello there", id="msg"),
            ),
        ),
        CHAT,
        {"assistant": "Hello there", "reasoning": "Hm.", "stop": "end_turn", "n_errors": 0},
    ),
    "llama.cpp calls through the letta dialect": (
        sse(
            CREATED,
            *(
                event
                for name in ("one", "two")
                for event in (
                    ev(
                        "output_item.added",
                        item={"type": "function_call", "call_id": name, "name": "send_message", "arguments": ""},
                    ),
                    ev("function_call_arguments.delta", item_id=name, delta='{"inner_thoughts": "I ", '),
                    ev("function_call_arguments.delta", item_id=name, delta='"message": "' + name + '"}'),
                )
            ),
            completed(),
        ),
        {"dialect": "letta"},
        {"assistant": "onetwo", "reasoning": "I I ", "calls": [], "n_errors": 0},
    ),
    "each delta has a content index of its own": (
        sse(
            CREATED,
            ev("output_item.added", output_index=0, item={"id": "m", "type": "message", "content": []}),
            *(
                ev("output_text.delta", output_index=0, item_id="m", content_index=n, delta=text)
                for n, text in enumerate(["One ", "two ", "three"])
            ),
            ev("output_text.done", output_index=0, item_id="m", content_index=3, text="One two three"),
            ev("output_item.done", output_index=0, item=message("One two three", id="m")),
            completed(message("One two three", id="m")),
        ),
        CHAT,
        {"assistant": "One two three"},
    ),
    "the done is shifted to the next index, without ids": (
        sse(
            CREATED,
            ev("output_text.delta", output_index=0, content_index=0, delta="One "),
            ev("output_text.delta", output_index=0, content_index=0, delta="two"),
            ev("output_text.done", output_index=1, content_index=0, text="One two"),
            ev("output_item.done", output_index=1, item=message("One two")),
            completed(message("One two", id="msg_final")),
        ),
        CHAT,
        {"assistant": "One two"},
    ),
    "ids of the end are others than those of the deltas": (
        sse(
            CREATED,
            ev("output_item.added", output_index=0, item={"id": "tmp", "type": "message", "content": []}),
            ev("output_text.delta", output_index=0, item_id="tmp", delta="Text"),
            ev("output_item.added", output_index=1, item=call_item("", id="fc_tmp", call_id="call_1")),
            ev("function_call_arguments.delta", output_index=1, item_id="fc_tmp", delta='{"a":1}'),
            ev("output_item.done", output_index=1, item=call_item('{"a": 1}', id="fc_9", call_id="call_1")),
            completed(message("Text", id="msg_9"), call_item('{"a": 1}', id="fc_9", call_id="call_1")),
        ),
        CHAT,
        {"assistant": "Text", "calls": [["call_1", "f", '{"a":1}']], "stop": "tool_call"},
    ),
    "calls interleave by item id, with one output index for all": (
        sse(
            CREATED,
            ev("output_item.added", output_index=0, item=call_item("", id="a", call_id="ca")),
            ev("output_item.added", output_index=0, item=call_item("", id="b", call_id="cb")),
            ev("function_call_arguments.delta", output_index=0, item_id="b", delta='{"b"'),
            ev("function_call_arguments.delta", output_index=0, item_id="a", delta='{"a"'),
            ev("function_call_arguments.delta", output_index=0, item_id="b", delta=":2}"),
            ev("function_call_arguments.delta", output_index=0, item_id="a", delta=":1}"),
            ev("function_call_arguments.done", output_index=0, item_id="a", arguments='{"a":1}'),
            ev("function_call_arguments.done", output_index=0, item_id="b", arguments='{"b":2}'),
            completed(),
        ),
        CHAT,
        {"calls": [["ca", "f", '{"a":1}'], ["cb", "f", '{"b":2}']], "n_errors": 0},
    ),
    "two calls of which only the dones come": (
        sse(
            CREATED,
            ev("function_call_arguments.done", item_id="f1", name="f", call_id="c1", arguments='{"a":1}'),
            ev("function_call_arguments.done", item_id="f2", name="f", call_id="c2", arguments='{"a":1}'),
            completed(
                call_item('{"a":1}', id="f1", call_id="c1"),
                call_item('{"a":1}', id="f2", call_id="c2"),
            ),
        ),
        CHAT,
        {"calls": [["c1", "f", '{"a":1}'], ["c2", "f", '{"a":1}']], "stop": "tool_call"},
    ),
    "a done without a name; the name comes with the whole": (
        sse(
            CREATED,
            ev("function_call_arguments.done", item_id="f1", arguments='{"a":1}'),
            completed(call_item('{"a":1}', id="f1", call_id="c1")),
        ),
        CHAT,
        {"calls": [["c1", "f", '{"a":1}']], "stop": "tool_call", "n_errors": 0},
    ),
    "text of which only the done comes": (
        sse(CREATED, ev("output_text.done", text="Whole."), completed(message("Whole."))),
        CHAT,
        {"assistant": "Whole."},
    ),
    "everything in the response's end": (
        sse(CREATED, completed(message("Whole."), call_item("{}", id="f1", call_id="c1"))),
        CHAT,
        {"assistant": "Whole.", "calls": [["c1", "f", "{}"]], "stop": "tool_call"},
    ),
    "reasoning streams as text and is repeated as a summary": (
        sse(
            CREATED,
            ev("output_item.added", output_index=0, item={"id": "rs", "type": "reasoning", "summary": []}),
            ev("reasoning_text.delta", output_index=0, item_id="rs", delta="Think."),
            ev(
                "output_item.done",
                output_index=0,
                item={
                    "id": "rs",
                    "type": "reasoning",
                    "summary": [{"type": "summary_text", "text": "Think."}],
                    "encrypted_content": "SIG",
                },
            ),
            completed(),
        ),
        CHAT,
        {"reasoning": "Think.", "signatures": ["SIG"]},
    ),
    "an id is used again for the next message": (
        sse(
            CREATED,
            *(
                event
                for text in ("One.", "Two.")
                for event in (
                    ev("output_item.added", item={"id": "m0", "type": "message", "content": []}),
                    ev("output_text.delta", item_id="m0", delta=text),
                    ev("output_item.done", item=message(text, id="m0")),
                )
            ),
            completed(message("One.", id="m0"), message("Two.", id="m0")),
        ),
        CHAT,
        {"assistant": "One.Two."},
    ),
    "types stand in the event's name only": (
        (
            b'event: response.created\ndata: {"response": {"id": "r"}}\n\n'
            b'event: response.output_text.delta\ndata: {"item_id": "m", "delta": "Hi"}\n\n'
            b'event: response.completed\ndata: {"response": {"status": "completed"}}\n\n'
        ),
        CHAT,
        {"assistant": "Hi", "stop": "end_turn", "n_errors": 0},
    ),
    "a whole chat completion repeats its calls": (
        sse(
            chunk({"tool_calls": [named("f", "", "c1")]}),
            chunk({"tool_calls": [piece('{"a":')]}),
            chunk({"tool_calls": [piece("1}")]}),
            chunk({}, "tool_calls"),
            whole({"content": None, "tool_calls": [named("f", '{"a": 1}', "c1", None)]}, "tool_calls"),
            DONE,
        ),
        CHAT,
        {"calls": [["c1", "f", '{"a":1}']], "stop": "tool_call", "n_errors": 0},
    ),
    "a whole chat completion says more than its pieces": (
        sse(chunk({"content": "One "}), whole({"content": "One two.", "reasoning_content": "R"}), DONE),
        CHAT,
        {"assistant": "One two.", "reasoning": "R", "stop": "end_turn"},
    ),
    "cumulative messages in place of deltas (DashScope)": (
        sse(
            *(
                {"output": {"choices": [{"message": {"content": text}, "finish_reason": word}]}, "request_id": "r"}
                for text, word in (("One", "null"), ("One two", "null"), ("One two.", "stop"))
            )
        ),
        CHAT,
        {"assistant": "One two.", "stop": "end_turn", "provider_reason": "stop"},
    ),
    "Anthropic's start is repeated by its deltas": (
        sse(
            {"type": "message_start", "message": {"model": "m", "content": []}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "Hm"}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm, yes"}},
            {"type": "content_block_stop", "index": 0},
            {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": "Hello"}},
            {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hel"}},
            {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "lo"}},
            {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": " you"}},
            {"type": "content_block_stop", "index": 1},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
            {"type": "message_stop"},
            {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "Hello you"}]},
            names=True,
        ),
        CHAT,
        {"assistant": "Hello you", "reasoning": "Hm, yes", "stop": "end_turn"},
    ),
    "Anthropic's block begins while another at its index is open, without ids": (
        sse(
            {"type": "message_start", "message": {"model": "m"}},
            *(
                event
                for name in ("f", "g")
                for event in (
                    {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "name": name}},
                    {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "{}"}},
                )
            ),
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
            {"type": "message_stop"},
        ),
        CHAT,
        {"stop": "tool_call", "n_errors": 0},
    ),
}

# --- 2 words for the end ----------------------------------------------------------------------------------------

WORDS = [
    ("network_error", "error"),
    ("abort", "error"),
    ("sensitive", "content_filter"),
    ("guardrail_intervened", "content_filter"),
    ("content-filter", "content_filter"),
    ("Content_Filter", "content_filter"),
    ("model_context_window_exceeded", "max_tokens"),
    ("token_limit", "max_tokens"),
    ("time_limit", "max_tokens"),
    ("MAX_TOKENS", "max_tokens"),
    ("maxTokens", "max_tokens"),
    ("malformed_model_output", "error"),
    ("malformed_anything", "error"),
    ("insufficient_system_resource", "error"),
    ("COMPLETE", "end_turn"),
    ("eos_token", "end_turn"),
    ("end-turn", "end_turn"),
    ("FINISH_REASON_STOP", "end_turn"),
    ("something_new", "unknown_finish"),
]


@pytest.mark.parametrize(("word", "stop"), WORDS)
def test_words_for_the_end(word: str, stop: str) -> None:
    found = read(sse(chunk({"content": "a"}), chunk({}, word), DONE), CHAT)
    assert (found["stop"], found["provider_reason"]) == (stop, word)


ENDS = {
    "null as a word": (
        sse(chunk({"content": "a"}, "null"), chunk({"content": "b"}, "null"), chunk({}, "stop"), DONE),
        {"assistant": "ab", "stop": "end_turn", "provider_reason": "stop"},
    ),
    "no word, but usage and the marker": (
        sse(chunk({"content": "a"}), chunk(None, usage=USAGE), DONE),
        {"stop": "end_turn", "provider_reason": None},
    ),
    "no word, but usage and the marker, with a call": (
        sse(chunk({"tool_calls": [named("f", "{}", "c")]}), chunk(None, usage=USAGE), DONE),
        {"stop": "tool_call"},
    ),
    "no word, usage, no marker": (sse(chunk({"content": "a"}, usage=USAGE)), {"stop": "incomplete"}),
    "nothing but a marker": (sse(DONE), {"stop": "incomplete"}),
    "usage of zero comes later": (
        sse(
            chunk({"content": "a"}),
            chunk({}, "stop", usage=USAGE),
            chunk(None, usage={"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}),
            DONE,
        ),
        {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    ),
    "incomplete by a filter": (
        sse(CREATED, completed(status="incomplete", incomplete_details={"reason": "content_filter"})),
        {"stop": "content_filter", "provider_reason": "incomplete", "detail": "content_filter"},
    ),
    "incomplete for a reason that nobody knows": (
        sse(CREATED, completed(status="incomplete", incomplete_details={"reason": "tides"})),
        {"stop": "incomplete", "detail": "tides"},
    ),
    "Gemini's finish message": (
        sse({"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": "bad call"}]}),
        {"stop": "error", "detail": "bad call"},
    ),
    "a block reason of any word": (
        sse({"promptFeedback": {"blockReason": "OTHER", "blockReasonMessage": "no"}, "candidates": []}),
        {"stop": "content_filter", "provider_reason": "OTHER", "detail": "no"},
    ),
    "Anthropic's stop details": (
        sse(
            {"type": "message_start", "message": {"model": "m"}},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "refusal", "stop_details": {"category": "cyber", "explanation": None}},
            },
            {"type": "message_stop"},
        ),
        {"stop": "refusal", "detail": "cyber"},
    ),
    "vLLM's stop string": (
        sse(
            {
                "object": "chat.completion.chunk",
                "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop", "stop_reason": "###"}],
            }
        ),
        {"stop": "end_turn", "detail": "###"},
    ),
}

# --- 3 errors ---------------------------------------------------------------------------------------------------

ERRORS = {
    "flat code and message": {"code": "1302", "message": "Too many requests"},
    "msg": {"code": 500, "msg": "Too many requests", "success": False},
    "errors": {"errors": [{"message": "Too many requests", "code": 7}]},
    "errors of texts": {"errors": ["Too many requests"]},
    "detail": {"detail": "Too many requests"},
    "detail of FastAPI": {"detail": [{"loc": ["body", "model"], "msg": "Too many requests", "type": "missing"}]},
    "base_resp": {"base_resp": {"status_code": 1002, "status_msg": "Too many requests"}},
    "base_resp beside choices": {
        "choices": None,
        "base_resp": {"status_code": 1002, "status_msg": "Too many requests"},
    },
    "problem": {"type": "about:blank", "title": "Limit", "status": 429, "detail": "Too many requests"},
    "type error": {"type": "error", "message": "Too many requests"},
    "type error, nested": {"type": "error", "error": {"type": "overloaded_error", "message": "Too many requests"}},
    "error as text, code beside": {"code": "resource-exhausted", "error": "Too many requests"},
    "error inside a text": {"error": json.dumps({"error": {"message": "Too many requests"}})},
    "error twice nested": {"error": {"error": {"message": "Too many requests", "type": "x"}}},
    "object error": {"object": "error", "message": "Too many requests", "code": 429},
    "Bedrock": {"throttlingException": {"message": "Too many requests"}},
    "AWS": {"__type": "ThrottlingException", "message": "Too many requests"},
    "message alone": {"message": "Too many requests", "request_id": "r"},
    "error_code and error_msg": {"error_code": 18, "error_msg": "Too many requests"},
    "error_message": {"choices": [], "error_message": "Too many requests"},
    "raw that is JSON": {
        "error": {
            "message": "Provider returned error",
            "metadata": {"raw": '{"error":{"message":"Too many requests"}}'},
        }
    },
    "failed generation": {"error": {"message": "Failed", "failed_generation": "Too many requests"}},
    "in the choice": {"choices": [{"index": 0, "delta": {}, "error": {"message": "Too many requests"}}]},
}


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("how", ["in the stream", "first", "named", "alone"])
def test_errors_in_every_shape(name: str, how: str) -> None:
    body = json.dumps(ERRORS[name]).encode()
    start = sse(chunk({"content": "Half "}))
    bodies = {
        "in the stream": start + b"data: " + body + b"\n\n",
        "first": b"data: " + body + b"\n\n" + DONE + b"\n\n",
        "named": start + b"event: error\ndata: " + body + b"\n\n",
        "alone": json.dumps(ERRORS[name], indent=2).encode(),
    }
    found = read(bodies[how], CHAT)
    assert (found["stop"], found["n_errors"]) == ("error", 1)
    assert "Too many requests" in found["errors"][0]
    assert found["assistant"] == ("Half " if how in ("in the stream", "named") else "")


@pytest.mark.parametrize("provider", ["openai-chat", "openai-responses", "anthropic-messages", "gemini"])
@pytest.mark.parametrize("name", [name for name in ERRORS if "choice" not in name and name != "error_message"])
def test_errors_in_every_shape_from_every_provider(name: str, provider: str) -> None:
    found = read(sse(ERRORS[name]), {"dialect": "chat", "provider": provider})
    assert (found["stop"], found["n_errors"]) == ("error", 1)
    assert "Too many requests" in found["errors"][0]


def test_an_error_that_is_plain_text_is_told_by_its_name() -> None:
    found = read(sse(chunk({"content": "Half "}), b"event: error\ndata: the engine died"), CHAT)
    assert (found["stop"], found["errors"]) == ("error", ["provider_error: the engine died "])
    found = read(sse(chunk({"content": "Half "}), b"error: the engine died"), CHAT)
    assert (found["stop"], found["errors"]) == ("error", ["provider_error: the engine died "])


@pytest.mark.parametrize(
    "event",
    [
        {"base_resp": {"status_code": 0, "status_msg": ""}, "choices": []},
        {"code": 200, "message": "ok", "choices": []},
        {"type": "status", "message": "thinking"},
        {"error": None, "choices": []},
        {"object": "prelude", "conversation_id": "c"},
    ],
)
def test_what_is_no_error_is_none(event: dict[str, Any]) -> None:
    assert read(sse(event, chunk({"content": "a"}), *END), CHAT)["n_errors"] == 0


# --- 4 reasoning and signatures ---------------------------------------------------------------------------------

REASONING = {
    **{
        key: (sse(chunk({key: "Hm "}), chunk({key: "yes."}), chunk({"content": "A"}), *END), {"reasoning": "Hm yes."})
        for key in (
            "reasoning_content",
            "reasoning",
            "reasoning_text",
            "thinking",
            "thinking_content",
            "thought",
            "thoughts",
            "reasoning_summary",
        )
    },
    "a signature of its own for each of two thoughts": (
        sse(
            chunk({"reasoning_details": [{"type": "reasoning.text", "text": "One.", "signature": "S1"}]}),
            chunk({"reasoning_details": [{"type": "reasoning.text", "text": "Two.", "signature": "S2"}]}),
            chunk({"reasoning_details": [{"type": "reasoning.encrypted", "data": "S3", "id": "rs_1"}]}),
            *END,
        ),
        {"reasoning": "One.Two.", "signatures": ["S1", "S2", "S3"]},
    ),
    "a call's signature ahead of the call": (
        sse(
            chunk({"reasoning_details": [{"type": "reasoning.encrypted", "data": "S1", "id": "tool_0"}]}),
            chunk({"tool_calls": [named("f", "{}", "tool_0")]}),
            chunk({}, "tool_calls"),
        ),
        {"signatures": ["S1"], "calls": [["tool_0", "f", "{}"]]},
    ),
    "a call's signature whose call never comes": (
        sse(chunk({"reasoning_details": [{"type": "reasoning.encrypted", "data": "S1", "id": "tool_0"}]}), *END),
        {"signatures": ["S1"]},
    ),
    "LiteLLM's fields on the call": (
        sse(
            chunk({"tool_calls": [named("f", "{}", "c", provider_specific_fields={"thought_signature": "S1"})]}),
            chunk({}, "tool_calls"),
        ),
        {"signatures": ["S1"], "calls": [["c", "f", "{}"]]},
    ),
    "LiteLLM's fields on the delta": (
        sse(
            chunk({"content": "A", "provider_specific_fields": {"thought_signatures": ["S1", "S2"]}}),
            *END,
        ),
        {"signatures": ["S1", "S2"], "assistant": "A"},
    ),
    "LiteLLM's thinking blocks in its fields": (
        sse(
            chunk(
                {
                    "provider_specific_fields": {
                        "thinking_blocks": [{"type": "thinking", "thinking": "T", "signature": "S"}]
                    }
                }
            ),
            *END,
        ),
        {"signatures": ["S"], "reasoning": "T"},
    ),
    "Gemini's compatible API: content that is a thought": (
        sse(
            chunk({"content": "<thought>Hm.", "extra_content": {"google": {"thought": True}}}),
            chunk({"content": "</thought>Yes."}),
            *END,
        ),
        {"reasoning": "Hm."},
    ),
    "Gemini's own: one signature a call": (
        sse(
            {
                "candidates": [
                    {
                        "content": {
                            "parts": [
                                {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "S1"},
                                {"functionCall": {"name": "f", "args": {"a": 2}}, "thoughtSignature": "S2"},
                            ]
                        },
                        "finishReason": "STOP",
                    }
                ]
            }
        ),
        {"signatures": ["S1", "S2"], "stop": "tool_call"},
    ),
}

# --- 5 beginnings and keepalives --------------------------------------------------------------------------------

PINGS = [
    b"event: ping\ndata: {}",
    b"event: ping\ndata: 2026-04-27 01:35:43.686476",
    b'event: ping\ndata: {"type": "ping"}',
    b'event: ping\ndata: {"type":"ping","cost":"0"}',
    b"event: keepalive\ndata: x",
    b"event: heartbeat\ndata:",
    b'data: {"type":"ping"}',
    b'data: {"type":"keepalive"}',
    b'data: {"event":"heartbeat"}',
    b"data: ping",
    b"data: keep-alive",
    b"data: : OPENROUTER PROCESSING",
    b"data: null",
    b": ping - 2026-01-01",
    b"data:",
]


@pytest.mark.parametrize("ping", PINGS)
def test_a_ping_decides_nothing_and_ends_nothing(ping: bytes) -> None:
    wanted = {"assistant": "Fair wind.", "stop": "end_turn", "n_errors": 0}
    check(
        read(sse(ping, chunk({"content": "Fair "}), ping, chunk({"content": "wind."}), ping, *END, ping), CHAT), wanted
    )
    anthropic = [
        {"type": "message_start", "message": {"model": "m"}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Fair wind."}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
    ]
    check(read(sse(ping, *anthropic, ping), CHAT), wanted)
    check(read(sse(ping, CREATED, ping, completed(message("Fair wind.")), ping), CHAT), wanted)
    gemini = {"candidates": [{"content": {"parts": [{"text": "Fair wind."}]}, "finishReason": "STOP"}]}
    check(read(sse(ping, gemini, ping), CHAT), wanted)


# --- 6 not SSE --------------------------------------------------------------------------------------------------

HELLO = [chunk({"content": "One "}), chunk({"content": "two."}), chunk({}, "stop")]
BODIES = {
    "whole answer, in one line": json.dumps(whole({"content": "One two."})).encode(),
    "whole answer, printed": json.dumps(whole({"content": "One two."}), indent=2).encode(),
    "whole answer in an event": sse(whole({"content": "One two."}), DONE),
    "whole Responses answer": json.dumps(
        {"object": "response", "status": "completed", "output": [message("One two.")]}
    ).encode(),
    "whole Anthropic answer": json.dumps(
        {"type": "message", "content": [{"type": "text", "text": "One two."}], "stop_reason": "end_turn"}, indent=1
    ).encode(),
    "JSON lines": b"".join(json.dumps(event).encode() + b"\n" for event in HELLO),
    "Ollama's own lines": b"".join(
        json.dumps(event).encode() + b"\n"
        for event in (
            {"model": "m", "message": {"role": "assistant", "content": "One "}, "done": False},
            {"model": "m", "message": {"role": "assistant", "content": "two."}, "done": False},
            {"model": "m", "message": {"content": ""}, "done": True, "done_reason": "stop", "eval_count": 2},
        )
    ),
    "an array over several lines": b"["
    + b"\n,\n".join(json.dumps(event, indent=2).encode() for event in HELLO)
    + b"\n]\n",
    "an array in one line": json.dumps(HELLO).encode(),
    "an array in one event": sse(b"data: " + json.dumps(HELLO).encode()),
    "documents in a row in one event": b"data: " + b"".join(json.dumps(event).encode() for event in HELLO) + b"\n\n",
    "documents by line in one event": b"data: "
    + b"\ndata: ".join(json.dumps(event).encode() for event in HELLO)
    + b"\n\n",
    "single newlines, with names": b"".join(
        b"event: message\ndata: " + json.dumps(event).encode() + b"\n" for event in HELLO
    ),
    "data twice": b"".join(b"data: data: " + json.dumps(event).encode() + b"\n\n" for event in HELLO),
    "JSON inside a text": sse(*(b"data: " + json.dumps(json.dumps(event)).encode() for event in HELLO)),
    "SSE and then a bare marker": sse(*HELLO) + b"[DONE]\n",
}


@pytest.mark.parametrize("name", BODIES)
def test_what_is_no_sse_is_read_all_the_same(name: str) -> None:
    check(read(BODIES[name], CHAT), {"assistant": "One two.", "stop": "end_turn", "n_errors": 0})


@pytest.mark.parametrize(
    "page",
    [b"upstream connect error or disconnect", b"<html>\n<body>Bad gateway</body>\n</html>", b"Internal Server Error\n"],
)
def test_a_page_is_an_error_with_its_first_bytes(page: bytes) -> None:
    found = read(page, CHAT)
    assert (found["stop"], found["n_errors"]) == ("error", 1)
    assert page.split(b"\n")[0].decode() in found["errors"][0]


def test_a_line_of_a_proxy_after_half_a_stream_is_an_error() -> None:
    found = read(sse(chunk({"content": "Half "})) + b"Internal Server Error", CHAT)
    assert (found["assistant"], found["stop"]) == ("Half ", "error")


# --- 8 and 9 ----------------------------------------------------------------------------------------------------

OTHERS = {
    "audio in a whole message": (
        json.dumps(whole({"content": None, "audio": {"id": "a", "transcript": "Ten.", "data": "AA"}})).encode(),
        {"assistant": "Ten.", "stop": "end_turn"},
    ),
    "audio of Responses": (
        sse(
            CREATED,
            ev("audio.transcript.delta", delta="At "),
            ev("audio.delta", delta="AAAA"),
            ev("audio.transcript.delta", delta="ten."),
            ev("audio.transcript.done", transcript="At ten."),
            completed(),
        ),
        {"assistant": "At ten.", "n_errors": 0},
    ),
}

CASES = {
    **{f"1 {name}": (body, settings, right) for name, (body, settings, right) in IDENTITY.items()},
    **{f"2 {name}": (body, CHAT, right) for name, (body, right) in ENDS.items()},
    **{f"4 {name}": (body, CHAT, right) for name, (body, right) in REASONING.items()},
    **{f"8 {name}": (body, CHAT, right) for name, (body, right) in OTHERS.items()},
}


@pytest.mark.parametrize("name", CASES)
def test_kind(name: str) -> None:
    body, settings, right = CASES[name]
    check(read(body, settings), right)


@pytest.mark.parametrize("name", CASES)
def test_kind_at_every_cut(name: str) -> None:
    body, _, _ = CASES[name]
    for place in range(1, len(body), 97):
        assert payloads_of(body, (place,)) == payloads_of(body)


IDLESS = {
    "Gemini": (
        sse(
            {
                "candidates": [
                    {
                        "content": {"parts": [{"functionCall": {"name": "f", "args": {"n": n}}} for n in (1, 2)]},
                        "finishReason": "STOP",
                    }
                ]
            }
        ),
        ["letta", "chat"],
    ),
    "chat": (
        sse(
            chunk({"tool_calls": [named("f", '{"n": 1}', None, 0), named("f", '{"n": 2}', None, 1)]}),
            chunk({}, "tool_calls"),
        ),
        ["chat"],
    ),
    "Ollama without indexes": (
        sse(
            chunk({"tool_calls": [named("f", '{"n": 1}', "", None)]}),
            chunk({"tool_calls": [named("f", '{"n": 2}', None, None)]}),
            chunk({}, "tool_calls"),
        ),
        ["chat"],
    ),
}


@pytest.mark.parametrize("name", IDLESS)
def test_every_call_has_an_id_which_is_always_the_same(name: str) -> None:
    body, dialects = IDLESS[name]
    for dialect in dialects:
        calls = read(body, {"dialect": dialect})["calls"]
        assert [json.loads(call[2]) for call in calls] == [{"n": 1}, {"n": 2}]
        assert len({call[0] for call in calls} - {None}) == 2
        assert read(body, {"dialect": dialect}, tuple(range(1, len(body))))["calls"] == calls


def test_the_letta_dialect_shows_an_idless_call_as_the_reference_does() -> None:
    assert [call[0] for call in read(IDLESS["chat"][0], {"dialect": "letta"})["calls"]] == [None, None]


THINKING = [
    ("<think>Plan.</think>Answer.", "Plan.", "Answer."),
    ("<think>\nPlan.\n</think>\n\nAnswer <b>.", "Plan.\n", "Answer <b>."),
    ("a < b <think>x</think>y<think>z", "xz", "a < b y"),
    ("no tags, <thin", "", "no tags, <thin"),
]


@pytest.mark.parametrize(("content", "reasoning", "answer"), THINKING)
def test_think_tags_are_split_where_asked_for_at_every_cut(content: str, reasoning: str, answer: str) -> None:
    wanted = {"reasoning": reasoning, "assistant": answer, "stop": "end_turn"}
    for place in range(len(content)):
        pieces = [chunk({"content": part}) for part in (content[:place], content[place:]) if part]
        check(read(sse(*pieces, *END), {**CHAT, "split_think_tags": True}), wanted)
    check(read(sse(*(chunk({"content": char}) for char in content), *END), {**CHAT, "split_think_tags": True}), wanted)
    assert read(sse(chunk({"content": content}), *END), CHAT)["assistant"] == content
