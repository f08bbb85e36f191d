"""Shapes of events that providers' docs describe, with the deltas they become; many are in no recording here."""

from __future__ import annotations

from typing import Any, NamedTuple

from actors.deltas import (
    BlockBoundary,
    Delta,
    Done,
    Finish,
    Model,
    Reasoning,
    ReasoningSignature,
    RedactedReasoning,
    Refusal,
    StreamError,
    Text,
    ToolCallEnd,
    ToolCallPiece,
    ToolReturn,
    Unknown,
    Usage,
)
from actors.settings import Provider


class Shape(NamedTuple):
    name: str
    provider: Provider
    events: list[Any]
    deltas: list[Delta]


def chat(name: str, delta: dict[str, Any], *deltas: Delta, **choice: Any) -> Shape:
    event = {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, **choice}]}
    return Shape(name, "openai-chat", [event], list(deltas))


def call(function: Any, **fields: Any) -> dict[str, Any]:
    return {"tool_calls": [{**fields, "function": function}]}


def own(call_id: str, name: str | None, arguments: str | None, index: int | None = None) -> ToolCallPiece:
    return ToolCallPiece(index, call_id, name, arguments, provider_executed=True)


CHAT = [
    # --- text
    chat("content", {"content": "a"}, Text("a")),
    chat("content empty", {"content": ""}),
    chat("content null", {"content": None, "role": "assistant", "tool_calls": None}),
    chat("other choice", {"content": "a"}, Text("a", 2), index=2),
    chat("choice index null", {"content": "a"}, Text("a"), index=None),
    chat("choice index as text", {"content": "a"}, Text("a", 1), index="1"),
    chat("refusal", {"content": "", "refusal": "no"}, Refusal("no")),
    chat(
        "Mistral parts",
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "t"}], "signature": "s"},
                {"type": "text", "text": "a"},
                {"type": "reference", "reference_ids": [1]},
                {"type": "text", "text": ""},
                "b",
            ]
        },
        Reasoning("t"),
        ReasoningSignature("s"),
        Text("a"),
        Text("b"),
    ),
    chat("Mistral thinking as text", {"content": [{"type": "thinking", "thinking": "t"}]}, Reasoning("t")),
    chat(
        "Databricks parts",
        {"content": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "t", "signature": "s"}]}]},
        Reasoning("t"),
        ReasoningSignature("s"),
    ),
    chat("refusal part", {"content": [{"type": "refusal", "refusal": "no"}]}, Refusal("no")),
    chat("unknown part", {"content": [{"type": "image_url"}]}, Unknown("content part image_url")),
    # --- reasoning
    chat("DeepSeek", {"content": None, "reasoning_content": "t"}, Reasoning("t")),
    chat("Groq", {"reasoning": "t", "channel": "analysis"}, Reasoning("t")),
    chat("both names", {"reasoning": "other", "reasoning_content": "t"}, Reasoning("t")),
    chat("both names, other order", {"reasoning_content": "t", "reasoning": "other"}, Reasoning("t")),
    chat("thought ends as text begins", {"content": "a", "reasoning": "t"}, Reasoning("t"), Text("a")),
    chat(
        "OpenRouter says it twice",
        {"reasoning": "t", "reasoning_details": [{"type": "reasoning.text", "text": "t", "index": 0}]},
        Reasoning("t"),
    ),
    chat(
        "three times",
        {
            "reasoning_content": "t",
            "reasoning": "t",
            "reasoning_details": [{"type": "reasoning.summary", "summary": "t"}],
            "thinking_blocks": [{"type": "thinking", "thinking": "t", "signature": "s"}],
        },
        Reasoning("t"),
        ReasoningSignature("s"),
    ),
    chat(
        "details alone",
        {
            "reasoning_details": [
                {"type": "reasoning.text", "text": "t", "signature": "s"},
                {"type": "reasoning.summary", "summary": "u"},
                {"type": "reasoning.encrypted", "data": "e"},
                {"type": "reasoning.other"},
            ]
        },
        Reasoning("t"),
        ReasoningSignature("s"),
        Reasoning("u"),
        ReasoningSignature("e"),
        Unknown("reasoning detail reasoning.other"),
    ),
    chat(
        "LiteLLM",
        {
            "reasoning_content": "t",
            "thinking_blocks": [
                {"type": "thinking", "thinking": "t", "signature": None},
                {"type": "redacted_thinking", "data": "x"},
            ],
        },
        Reasoning("t"),
        RedactedReasoning("x"),
    ),
    chat("reasoning as parts", {"reasoning_content": [{"type": "text", "text": "t"}]}, Reasoning("t")),
    chat("Letta, signature", {"reasoning_content": None, "reasoning_content_signature": "s"}, ReasoningSignature("s")),
    chat("Letta, redacted", {"redacted_reasoning_content": "x"}, RedactedReasoning("x")),
    # --- tool calls
    chat("call", call({"name": "f", "arguments": ""}, index=0, id="c"), ToolCallPiece(0, "c", "f", "")),
    chat("call, more", call({"arguments": "{"}, index=0), ToolCallPiece(0, None, None, "{")),
    chat(
        "id empty, name empty", call({"name": "", "arguments": "1"}, index=0, id=""), ToolCallPiece(0, None, None, "1")
    ),
    chat("id and name again", call({"name": "f", "arguments": "1"}, index=0, id="c"), ToolCallPiece(0, "c", "f", "1")),
    chat("no index", call({"name": "f", "arguments": "{}"}, id="c"), ToolCallPiece(None, "c", "f", "{}")),
    chat("index as text", call({"name": "f"}, id="c", index="3"), ToolCallPiece(3, "c", "f")),
    chat("id a number", call({"name": "f"}, id=7, index=0), ToolCallPiece(0, "7", "f")),
    chat("arguments null", call({"name": "f", "arguments": None}, id="c", index=0), ToolCallPiece(0, "c", "f")),
    chat(
        "arguments an object",
        call({"name": "f", "arguments": {"a": "é"}}, id="c", index=0),
        ToolCallPiece(0, "c", "f", '{"a": "é"}'),
    ),
    chat("piece of nothing", call({"arguments": ""}, index=0)),
    chat("neither id nor index", call({"arguments": "x"}), ToolCallPiece(None, None, None, "x")),
    chat(
        "content beside it",
        {"content": "a", **call({"arguments": "x"}, index=1)},
        Text("a"),
        ToolCallPiece(1, arguments="x"),
    ),
    chat(
        "two at once",
        {
            "tool_calls": [
                {"index": 0, "id": "a", "function": {"name": "f"}},
                {"index": 1, "id": "b", "function": {"name": "g"}},
            ]
        },
        ToolCallPiece(0, "a", "f"),
        ToolCallPiece(1, "b", "g"),
    ),
    chat(
        "custom tool",
        {"tool_calls": [{"index": 0, "id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}}]},
        ToolCallPiece(0, "c", "f", "x"),
    ),
    chat(
        "no function level",
        {"tool_calls": [{"id": "c", "name": "f", "arguments": "x"}]},
        ToolCallPiece(None, "c", "f", "x"),
    ),
    chat("one call, no list", {"tool_calls": {"id": "c", "function": {"name": "f"}}}, ToolCallPiece(None, "c", "f")),
    chat("legacy function", {"function_call": {"name": "f", "arguments": "x"}}, ToolCallPiece(0, None, "f", "x")),
    Shape(
        "Groq's own tools",
        "openai-chat",
        [
            {"choices": [{"delta": {"executed_tools": [{"index": 0, "type": "search", "arguments": "{}", **more}]}}]}
            for more in ({}, {"output": "o"}, {"output": "o"}, {}, {"output": "p"})
        ],
        [
            own("executed_tool_0", "search", "{}"),
            ToolReturn("executed_tool_0", "o", "search"),
            own("executed_tool_1", "search", "{}"),
            ToolReturn("executed_tool_1", "p", "search"),
        ],
    ),
    # --- the end
    chat("finish", {}, Finish("stop"), finish_reason="stop"),
    chat("finish with content", {"content": "a"}, Text("a"), Finish("length"), finish_reason="length"),
    chat("finish empty", {}, finish_reason=""),
    chat(
        "usage in the choice",
        {},
        Usage(1, 2, 3, 1),
        usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "cached_tokens": 1},
    ),
    Shape(
        "usage",
        "openai-chat",
        [
            {
                "choices": [],
                "usage": {
                    "prompt_tokens": 10,
                    "completion_tokens": 5,
                    "total_tokens": 15,
                    "prompt_tokens_details": {"cached_tokens": 4},
                    "completion_tokens_details": {"reasoning_tokens": 2},
                },
            }
        ],
        [Usage(10, 5, 15, 4, 2)],
    ),
    Shape(
        "usage of DeepSeek, in part",
        "openai-chat",
        [{"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": None, "prompt_cache_hit_tokens": 4}}],
        [Usage(10, None, None, 4)],
    ),
    Shape(
        "usage of Groq",
        "openai-chat",
        [{"choices": [], "x_groq": {"usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}}],
        [Usage(1, 2, 3)],
    ),
    Shape("usage of nothing", "openai-chat", [{"choices": [], "usage": {}}, {"choices": [], "usage": None}], []),
    Shape(
        "Letta's output_tokens",
        "openai-chat",
        [{"choices": [{"delta": {}, "finish_reason": "stop"}], "output_tokens": 40}],
        [Finish("stop"), Usage(completion_tokens=40)],
    ),
    Shape(
        "Azure's first and its filter",
        "openai-chat",
        [
            {"choices": [], "id": "", "model": "", "object": "", "prompt_filter_results": [{"prompt_index": 0}]},
            {"choices": [{"content_filter_results": {}, "finish_reason": None, "index": 0}]},
            {"choices": [{"content_filter_offsets": {}, "finish_reason": "content_filter", "index": 0, "delta": {}}]},
        ],
        [Finish("content_filter")],
    ),
    Shape(
        "model",
        "openai-chat",
        [{"model": "m", "choices": []}, {"model": "m", "choices": []}, {"model": "n", "choices": []}],
        [Model("m"), Model("n")],
    ),
    # --- errors
    Shape(
        "error of OpenAI",
        "openai-chat",
        [{"error": {"message": "no", "type": "server_error", "code": None}}],
        [StreamError("no", "server_error")],
    ),
    Shape("error as text", "openai-chat", [{"error": "no"}], [StreamError("no")]),
    Shape("error with a code", "openai-chat", [{"error": {"message": "no", "code": 502}}], [StreamError("no", "502")]),
    Shape(
        "error of vLLM",
        "openai-chat",
        [{"object": "error", "message": "no", "type": "BadRequestError", "code": 400}],
        [StreamError("no (400)", "BadRequestError")],
    ),
    Shape(
        "error of OpenRouter",
        "openai-chat",
        [
            {
                "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
                "error": {"code": 502, "message": "no"},
            }
        ],
        [Finish("error"), StreamError("no", "502")],
    ),
    chat(
        "error in the choice",
        {},
        Finish("error"),
        StreamError("no", "502"),
        finish_reason="error",
        error={"code": 502, "message": "no"},
    ),
    Shape("error of Groq", "openai-chat", [{"choices": [], "x_groq": {"error": "over"}}], [StreamError("over")]),
    # --- what is not streamed, or not known
    Shape(
        "whole body",
        "openai-chat",
        [
            {
                "object": "chat.completion",
                "choices": [
                    {
                        "index": 0,
                        "message": {
                            "role": "assistant",
                            "content": "a",
                            "reasoning": "t",
                            "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}],
                        },
                        "finish_reason": "tool_calls",
                    }
                ],
            }
        ],
        [Reasoning("t"), Text("a"), ToolCallPiece(None, "c", "f", "{}"), Finish("tool_calls")],
    ),
    Shape(
        "message that repeats the deltas",
        "openai-chat",
        [{"object": "chat.completion.done", "choices": [{"message": {"content": "abc"}, "delta": {"content": "c"}}]}],
        [Text("c")],
    ),
    Shape("plain completion", "openai-chat", [{"choices": [{"index": 0, "text": "a"}]}], [Text("a")]),
    Shape("unknown event", "openai-chat", [{"hello": 1}], [Unknown("event with keys hello")]),
    Shape("event without keys", "openai-chat", [{}], [Unknown("event without keys")]),
    chat("unknown delta", {"hologram": {"id": "x"}}, Unknown("delta.hologram of type dict")),
    chat("audio", {"audio": {"id": "x", "transcript": "a", "data": "AAAA"}}, Text("a")),
    chat("placeholder", {"graph_data": {"sources": None}}),
]


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[Any]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def anthropic(name: str, events: list[Any], *deltas: Delta) -> Shape:
    return Shape(name, "anthropic-messages", events, list(deltas))


TOOL_USE = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
ANTHROPIC = [
    anthropic(
        "usage of start and end",
        [
            {
                "type": "message_start",
                "message": {
                    "model": "m",
                    "usage": {
                        "input_tokens": 10,
                        "cache_creation_input_tokens": 2,
                        "cache_read_input_tokens": 3,
                        "output_tokens": 1,
                    },
                },
            },
            {"type": "ping"},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "stop_sequence", "stop_sequence": "END"},
                "usage": {"output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4}},
            },
            {"type": "message_stop"},
        ],
        Model("m"),
        Usage(15, 1, 16, 3),
        Usage(15, 9, 24, 3, 4),
        Finish("stop_sequence", detail="END"),
        Done(),
    ),
    anthropic(
        "usage without the prompt",
        [{"type": "message_delta", "delta": {}, "usage": {"output_tokens": 9}}],
        Usage(None, 9),
    ),
    anthropic(
        "text",
        block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "a"}, {"type": "text_delta", "text": ""}),
        BlockBoundary(),
        Text("a"),
    ),
    anthropic("text in the start", block(0, {"type": "text", "text": "a"}), BlockBoundary(), Text("a")),
    anthropic(
        "citations",
        block(
            0,
            {"type": "text", "text": "", "citations": []},
            {"type": "citations_delta", "citation": {"type": "char_location"}},
        ),
        BlockBoundary(),
    ),
    anthropic(
        "thinking",
        block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "t"},
            {"type": "signature_delta", "signature": "s"},
        ),
        BlockBoundary(),
        Reasoning("t"),
        ReasoningSignature("s"),
    ),
    anthropic(
        "redacted", block(0, {"type": "redacted_thinking", "data": "x"}), BlockBoundary(), RedactedReasoning("x")
    ),
    anthropic("redacted, left out", block(0, {"type": "redacted_thinking"}), BlockBoundary(), RedactedReasoning(None)),
    anthropic(
        "tool use",
        block(
            1,
            TOOL_USE,
            {"type": "input_json_delta", "partial_json": ""},
            {"type": "input_json_delta", "partial_json": '{"a"'},
            {"type": "input_json_delta", "partial_json": ": 1}"},
        ),
        ToolCallPiece(1, "t", "f"),
        ToolCallPiece(1, "t", None, '{"a"'),
        ToolCallPiece(1, "t", None, ": 1}"),
        ToolCallEnd(1, "t"),
    ),
    anthropic(
        "tool use without arguments",
        block(0, TOOL_USE, {"type": "input_json_delta", "partial_json": ""}),
        ToolCallPiece(0, "t", "f"),
        ToolCallPiece(0, "t", None, "{}"),
        ToolCallEnd(0, "t"),
    ),
    anthropic(
        "tool use with its input at the start, told again",
        block(0, {**TOOL_USE, "input": {"a": 1}}, {"type": "input_json_delta", "partial_json": '{"a": 1}'}),
        ToolCallPiece(0, "t", "f"),
        ToolCallPiece(0, "t", None, '{"a": 1}'),
        ToolCallEnd(0, "t"),
    ),
    anthropic(
        "tool use with its input at the start only",
        block(0, {**TOOL_USE, "input": {"a": 1}}),
        ToolCallPiece(0, "t", "f"),
        ToolCallPiece(0, "t", None, '{"a": 1}'),
        ToolCallEnd(0, "t"),
    ),
    anthropic(
        "arguments of a call that never began",
        [{"type": "content_block_delta", "index": 3, "delta": {"type": "input_json_delta", "partial_json": "x"}}],
        ToolCallPiece(3, None, None, "x"),
    ),
    anthropic(
        "provider's tool and its return",
        [
            *block(0, {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}),
            *block(
                1,
                {
                    "type": "web_search_tool_result",
                    "tool_use_id": "s",
                    "content": [{"type": "web_search_result", "url": "u"}],
                },
            ),
        ],
        own("s", "web_search", None, 0),
        own("s", None, "{}", 0),
        ToolCallEnd(0, "s"),
        ToolReturn("s", '[{"type": "web_search_result", "url": "u"}]', "web_search"),
    ),
    anthropic(
        "MCP tool that failed",
        [
            *block(0, {"type": "mcp_tool_use", "id": "s", "name": "ask", "server_name": "x", "input": {}}),
            *block(
                1,
                {
                    "type": "mcp_tool_result",
                    "tool_use_id": "s",
                    "is_error": True,
                    "content": [{"type": "text", "text": "no"}],
                },
            ),
        ],
        own("s", "ask", None, 0),
        own("s", None, "{}", 0),
        ToolCallEnd(0, "s"),
        ToolReturn("s", "no", "ask", "error"),
    ),
    anthropic(
        "return that is an error",
        block(
            0,
            {
                "type": "code_execution_tool_result",
                "tool_use_id": "s",
                "content": {"type": "code_execution_tool_result_error", "error_code": "x"},
            },
        ),
        ToolReturn("s", '{"type": "code_execution_tool_result_error", "error_code": "x"}', None, "error"),
    ),
    anthropic(
        "return as text", block(0, {"type": "x_tool_result", "tool_use_id": "s", "content": "o"}), ToolReturn("s", "o")
    ),
    anthropic(
        "compaction",
        block(0, {"type": "compaction", "content": None}, {"type": "compaction_delta", "content": "x"}),
        Unknown("content block compaction"),
    ),
    anthropic(
        "error",
        [{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "r"}],
        StreamError("Overloaded", "overloaded_error"),
    ),
    anthropic(
        "refusal with its reason",
        [
            {
                "type": "message_delta",
                "delta": {"stop_reason": "refusal", "stop_details": {"type": "refusal", "explanation": "why"}},
            }
        ],
        Finish("refusal", detail="why"),
    ),
    anthropic(
        "whole body",
        [
            {
                "type": "message",
                "model": "m",
                "content": [{"type": "text", "text": "a"}, {**TOOL_USE, "input": {"a": 1}}],
                "stop_reason": "tool_use",
                "usage": {"input_tokens": 1, "output_tokens": 2},
            }
        ],
        Model("m"),
        Usage(1, 2, 3),
        BlockBoundary(),
        Text("a"),
        ToolCallPiece(1, "t", "f"),
        ToolCallPiece(1, "t", None, '{"a": 1}'),
        ToolCallEnd(1, "t"),
        Finish("tool_use"),
        Done(),
    ),
    anthropic("unknown block", block(0, {"type": "hologram"}), Unknown("content block hologram")),
    anthropic(
        "unknown delta", [{"type": "content_block_delta", "index": 0, "delta": {"type": "x"}}], Unknown("delta x")
    ),
    anthropic("unknown event", [{"type": "x"}], Unknown("event x")),
]


def responses(name: str, events: list[Any], *deltas: Delta) -> Shape:
    return Shape(name, "openai-responses", events, list(deltas))


def item(kind: str, item_type: str, index: int = 0, **fields: Any) -> dict[str, Any]:
    return {
        "type": f"response.output_item.{kind}",
        "output_index": index,
        "item": {"type": item_type, "id": f"i{index}", **fields},
    }


def ev(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "output_index": 0, **fields}


def answered(item_type: str, name: str, arguments: str, text: str, status: str = "success", /, **fields: Any) -> Shape:
    return responses(
        f"{item_type} {status}",
        [item("added", item_type, status="in_progress"), item("done", item_type, **fields)],
        own("i0", name, None, 0),
        own("i0", None, arguments, 0),
        ToolCallEnd(0, "i0"),
        ToolReturn("i0", text, name, status),
    )


FUNCTION = {"call_id": "c", "name": "f"}
RESPONSES = [
    responses(
        "text, told thrice",
        [
            item("added", "message", content=[]),
            ev("content_part.added", content_index=0, part={"type": "output_text", "text": ""}),
            ev("output_text.delta", content_index=0, delta="a"),
            ev("output_text.delta", content_index=0, delta="b"),
            ev("output_text.annotation.added", annotation={}),
            ev("output_text.done", content_index=0, text="ab"),
            ev("content_part.done", content_index=0, part={"type": "output_text", "text": "ab"}),
            item("done", "message", content=[{"type": "output_text", "text": "ab"}]),
        ],
        BlockBoundary(),
        Text("a"),
        Text("b"),
    ),
    responses(
        "text in .done only",
        [
            ev("output_text.done", content_index=0, text="ab"),
            item("done", "message", content=[{"type": "output_text", "text": "ab"}]),
        ],
        Text("ab"),
    ),
    responses(
        "text in the item only", [item("done", "message", content=[{"type": "output_text", "text": "ab"}])], Text("ab")
    ),
    responses(
        "a second part is a block of its own",
        [
            ev("output_text.delta", content_index=0, delta="a"),
            ev("content_part.added", content_index=1, part={"type": "refusal", "refusal": ""}),
            ev("refusal.delta", content_index=1, delta="no"),
            ev("refusal.done", content_index=1, refusal="no"),
        ],
        Text("a"),
        BlockBoundary(),
        Refusal("no"),
    ),
    responses(
        "reasoning: summaries, text, encrypted",
        [
            item("added", "reasoning", encrypted_content="early", summary=[]),
            ev("reasoning_summary_part.added", summary_index=0),
            ev("reasoning_summary_text.delta", summary_index=0, delta="s"),
            ev("reasoning_summary_text.done", summary_index=0, text="s"),
            ev("reasoning_summary_part.done", summary_index=0),
            ev("reasoning_summary_part.added", summary_index=1),
            ev("reasoning_summary_text.delta", summary_index=1, delta="u"),
            ev("reasoning_text.delta", content_index=0, delta="t"),
            item(
                "done",
                "reasoning",
                encrypted_content="e",
                summary=[{"type": "summary_text", "text": "s"}, {"type": "summary_text", "text": "u"}],
                content=[{"type": "reasoning_text", "text": "t"}],
            ),
        ],
        BlockBoundary(),
        Reasoning("s"),
        BlockBoundary(),
        Reasoning("u"),
        Reasoning("t"),
        ReasoningSignature("e"),
    ),
    responses(
        "function call; its item's id changes",
        [
            item("added", "function_call", arguments="", **FUNCTION),
            ev("function_call_arguments.delta", item_id="x", delta='{"a"'),
            ev("function_call_arguments.delta", item_id="y", delta=":1}"),
            ev("function_call_arguments.done", item_id="z", arguments='{"a":1}', name="f"),
            item("done", "function_call", arguments='{"a":1}', **FUNCTION),
        ],
        ToolCallPiece(0, "c", "f"),
        ToolCallPiece(0, "c", None, '{"a"'),
        ToolCallPiece(0, "c", None, ":1}"),
        ToolCallEnd(0, "c"),
    ),
    responses(
        "function call whole at its start",
        [
            item("added", "function_call", arguments="{}", **FUNCTION),
            ev("function_call_arguments.done", arguments="{}"),
            item("done", "function_call", arguments="{}", **FUNCTION),
        ],
        ToolCallPiece(0, "c", "f"),
        ToolCallPiece(0, "c", None, "{}"),
        ToolCallEnd(0, "c"),
    ),
    responses(
        "function call in its end only",
        [item("done", "function_call", arguments="{}", **FUNCTION)],
        ToolCallPiece(0, "c", "f"),
        ToolCallPiece(0, "c", None, "{}"),
        ToolCallEnd(0, "c"),
    ),
    responses(
        "arguments of no call",
        [ev("function_call_arguments.delta", item_id="i", delta="x")],
        ToolCallPiece(0, "i", None, "x"),
    ),
    responses(
        "custom tool",
        [
            item("added", "custom_tool_call", input="", **FUNCTION),
            ev("custom_tool_call_input.delta", delta="x"),
            item("done", "custom_tool_call", input="x", **FUNCTION),
        ],
        ToolCallPiece(0, "c", "f"),
        ToolCallPiece(0, "c", None, "x"),
        ToolCallEnd(0, "c"),
    ),
    responses(
        "local shell is the client's",
        [item("done", "local_shell_call", call_id="c", action={"command": ["ls"]})],
        ToolCallPiece(0, "c", "local_shell"),
        ToolCallPiece(0, "c", None, '{"command": ["ls"]}'),
        ToolCallEnd(0, "c"),
    ),
    responses(
        "shell in a local environment is the client's",
        [item("done", "shell_call", call_id="c", action={"commands": ["ls"]}, environment={"type": "local"})],
        ToolCallPiece(0, "c", "shell"),
        ToolCallPiece(0, "c", None, '{"commands": ["ls"]}'),
        ToolCallEnd(0, "c"),
    ),
    responses(
        "hosted shell, answered by an item of its own",
        [
            item(
                "done",
                "shell_call",
                call_id="c",
                action={"commands": ["ls"]},
                environment={"type": "container_reference"},
            ),
            item("done", "shell_call_output", 1, call_id="c", output=[{"stdout": "o"}]),
        ],
        own("c", "shell", None, 0),
        own("c", None, '{"commands": ["ls"]}', 0),
        ToolCallEnd(0, "c"),
        ToolReturn("c", '[{"stdout": "o"}]', "shell"),
    ),
    responses(
        "tool search tells no id",
        [
            item("done", "tool_search_call", arguments={"q": 1}, execution="server"),
            item("done", "tool_search_output", 1, tools=[{"name": "f"}]),
        ],
        own("i0", "tool_search", None, 0),
        own("i0", None, '{"q": 1}', 0),
        ToolCallEnd(0, "i0"),
        ToolReturn("i0", '[{"name": "f"}]', "tool_search"),
    ),
    answered(
        "web_search_call", "web_search", '{"type": "search", "query": "q"}', "", action={"type": "search", "query": "q"}
    ),
    answered(
        "file_search_call",
        "file_search",
        '{"queries": ["q"]}',
        '[{"text": "r"}]',
        queries=["q"],
        results=[{"text": "r"}],
    ),
    answered("image_generation_call", "image_generation", '{"size": "1x1"}', "aGk=", size="1x1", result="aGk="),
    answered("mcp_list_tools", "mcp_list_tools", '{"server_label": "s"}', "[]", server_label="s", tools=[]),
    answered("mcp_call", "mcp", '{"a":1}', "boom", "error", arguments='{"a":1}', error="boom"),
    answered(
        "code_interpreter_call",
        "code_interpreter",
        '{"code": "1"}',
        "one\ntwo",
        code="1",
        container_id="x",
        outputs=[{"type": "logs", "logs": "one"}, {"type": "logs", "logs": "two"}],
    ),
    answered("hologram_call", "hologram", '{"size": 1}', "{}", size=1, output={}),
    responses(
        "code streams as the JSON of its argument",
        [
            item("added", "code_interpreter_call", code=""),
            ev("code_interpreter_call_code.delta", delta='print("'),
            ev("code_interpreter_call_code.delta", delta='é")\n'),
            ev("code_interpreter_call_code.done", code='print("é")\n'),
            ev("code_interpreter_call.interpreting"),
            item("done", "code_interpreter_call", code='print("é")\n', outputs=None, status="completed"),
        ],
        own("i0", "code_interpreter", None, 0),
        own("i0", None, '{"code": "print(\\"', 0),
        own("i0", None, 'é\\")\\n', 0),
        own("i0", None, '"}', 0),
        ToolCallEnd(0, "i0"),
        ToolReturn("i0", "", "code_interpreter"),
    ),
    responses(
        "approval request has no return",
        [item("done", "mcp_approval_request", name="f", server_label="s", arguments="{}")],
        own("i0", "mcp_approval_request", None, 0),
        own("i0", None, '{"name": "f", "server_label": "s", "arguments": "{}"}', 0),
        ToolCallEnd(0, "i0"),
    ),
    responses(
        "xAI's own search",
        [item("done", "custom_tool_call", call_id="c", name="x_keyword_search", input='{"q":1}')],
        own("c", "x_keyword_search", None, 0),
        own("c", None, '{"q":1}', 0),
        ToolCallEnd(0, "c"),
        ToolReturn("c", "", "x_keyword_search"),
    ),
    responses(
        "completed",
        [
            ev("created", response={"model": "m", "status": "in_progress"}),
            ev("queued", response={"model": "m"}),
            item("added", "message"),
            ev(
                "completed",
                response={
                    "status": "completed",
                    "output": [{"type": "message", "content": [{"type": "output_text", "text": "missing"}]}],
                    "usage": {
                        "input_tokens": 10,
                        "output_tokens": 5,
                        "total_tokens": 15,
                        "input_tokens_details": {"cached_tokens": 4},
                        "output_tokens_details": {"reasoning_tokens": 2},
                    },
                },
            ),
        ],
        Model("m"),
        BlockBoundary(),
        Text("missing"),
        Usage(10, 5, 15, 4, 2),
        Finish("completed"),
        Done(),
    ),
    responses(
        "incomplete",
        [ev("incomplete", response={"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}})],
        Finish("incomplete", detail="max_output_tokens", meaning="max_tokens"),
        Done(),
    ),
    responses(
        "error, and failed with the same error",
        [
            {"type": "error", "code": "rate_limit", "message": "no", "param": None, "sequence_number": 1},
            ev("failed", response={"status": "failed", "error": {"code": "rate_limit", "message": "no"}}),
        ],
        StreamError("no", "rate_limit"),
        Finish("failed"),
        Done(),
    ),
    responses(
        "failed",
        [ev("failed", response={"error": {"code": "x", "message": "no"}})],
        StreamError("no", "x"),
        Finish("failed"),
        Done(),
    ),
    responses(
        "whole body",
        [
            {
                "object": "response",
                "model": "m",
                "status": "completed",
                "output": [{"type": "message", "content": [{"type": "output_text", "text": "a"}]}],
            }
        ],
        Model("m"),
        Text("a"),
        Finish("completed"),
        Done(),
    ),
    responses(
        "progress and keepalives",
        [
            ev("web_search_call.searching"),
            ev("mcp_call.failed"),
            {"type": "keepalive"},
            ev("image_generation_call.partial_image"),
        ],
    ),
    responses("unknown event", [ev("hologram.delta")], Unknown("event response.hologram.delta")),
    responses("unknown item", [item("done", "hologram")], Unknown("output item hologram")),
]


def gemini(name: str, parts: list[Any], *deltas: Delta, **candidate: Any) -> Shape:
    return Shape(
        name, "gemini", [{"candidates": [{"content": {"role": "model", "parts": parts}, **candidate}]}], list(deltas)
    )


def partial(path: str, value: str, *, goes_on: bool = False) -> dict[str, Any]:
    return {
        "functionCall": {
            "partialArgs": [{"jsonPath": path, "stringValue": value, "willContinue": goes_on}],
            "willContinue": True,
        }
    }


GEMINI = [
    gemini("text", [{"text": "a"}, {"text": ""}], Text("a")),
    gemini(
        "thought", [{"text": "t", "thought": True, "thoughtSignature": "s"}], Reasoning("t"), ReasoningSignature("s")
    ),
    gemini("signature on an empty text", [{"text": "", "thoughtSignature": "s"}], ReasoningSignature("s")),
    gemini("other candidate", [{"text": "a"}], Text("a", 1), index=1),
    gemini(
        "calls without ids",
        [
            {"functionCall": {"name": "f", "args": {"a": "é"}}, "thoughtSignature": "s"},
            {"functionCall": {"name": "f", "args": {}}},
            {"functionCall": {"name": "g"}},
        ],
        ToolCallPiece(0, None, "f", '{"a": "é"}', signature="s", needs_id=True),
        ToolCallEnd(0),
        ToolCallPiece(1, None, "f", "{}", needs_id=True),
        ToolCallEnd(1),
        ToolCallPiece(2, None, "g", "{}", needs_id=True),
        ToolCallEnd(2),
    ),
    gemini(
        "call with an id",
        [{"functionCall": {"id": "c", "name": "f", "args": {}}}],
        ToolCallPiece(0, "c", "f", "{}"),
        ToolCallEnd(0, "c"),
    ),
    gemini(
        "arguments that stream",
        [
            {"functionCall": {"name": "f", "willContinue": True}},
            partial("$.a", "x", goes_on=True),
            partial("$.a", "y"),
            partial("$.b", "z"),
            {"functionCall": {}},
        ],
        ToolCallPiece(0, None, "f", needs_id=True),
        ToolCallPiece(0, None, None, '{"a": "x'),
        ToolCallPiece(0, None, None, 'y"'),
        ToolCallPiece(0, None, None, ', "b": "z"'),
        ToolCallPiece(0, None, None, "}"),
        ToolCallEnd(0),
    ),
    gemini(
        "arguments that stream, cut off",
        [{"functionCall": {"name": "f", "willContinue": True}}, partial("$.a", "x", goes_on=True)],
        ToolCallPiece(0, None, "f", needs_id=True),
        ToolCallPiece(0, None, None, '{"a": "x'),
        ToolCallPiece(0, None, None, '"}'),
        ToolCallEnd(0),
        Finish("MAX_TOKENS"),
        finishReason="MAX_TOKENS",
    ),
    gemini("end of no call", [{"functionCall": {}}]),
    gemini(
        "code",
        [
            {"executableCode": {"language": "PYTHON", "code": "1"}},
            {"codeExecutionResult": {"outcome": "OUTCOME_FAILED", "output": "no"}},
        ],
        own("provider_call_0", "code_execution", '{"language": "PYTHON", "code": "1"}'),
        ToolCallEnd(None, "provider_call_0"),
        ToolReturn("provider_call_0", "no", "code_execution", "error"),
    ),
    gemini(
        "other tools of the provider",
        [
            {"toolCall": {"id": "x", "toolType": "GOOGLE_SEARCH_WEB", "args": {"q": 1}}},
            {"toolResponse": {"id": "x", "response": {"r": 1}}},
        ],
        own("x", "google_search_web", '{"q": 1}'),
        ToolCallEnd(None, "x"),
        ToolReturn("x", '{"r": 1}', "google_search_web"),
    ),
    gemini("picture", [{"inlineData": {"mimeType": "image/png"}}], Unknown("part inlineData")),
    gemini(
        "finish",
        [],
        Finish("MALFORMED_FUNCTION_CALL", 0, "why"),
        finishReason="MALFORMED_FUNCTION_CALL",
        finishMessage="why",
    ),
    Shape(
        "no parts",
        "gemini",
        [{"candidates": [{"content": {"role": "model"}, "groundingMetadata": {}, "finishReason": "STOP"}]}],
        [Finish("STOP")],
    ),
    Shape(
        "blocked",
        "gemini",
        [{"promptFeedback": {"blockReason": "SAFETY"}}],
        [Finish("SAFETY", meaning="content_filter")],
    ),
    Shape(
        "error",
        "gemini",
        [{"error": {"code": 429, "message": "no", "status": "RESOURCE_EXHAUSTED"}}],
        [StreamError("no (429)", "RESOURCE_EXHAUSTED")],
    ),
    Shape(
        "usage",
        "gemini",
        [
            {
                "modelVersion": "m",
                "usageMetadata": {
                    "promptTokenCount": 10,
                    "toolUsePromptTokenCount": 5,
                    "candidatesTokenCount": 3,
                    "thoughtsTokenCount": 4,
                    "totalTokenCount": 22,
                    "cachedContentTokenCount": 6,
                },
            },
            {"usageMetadata": {"trafficType": "ON_DEMAND"}},
        ],
        [Model("m"), Usage(15, 7, 22, 6, 4)],
    ),
    Shape("unknown event", "gemini", [{"x": 1}], [Unknown("event with keys x")]),
]

SHAPES = [*CHAT, *ANTHROPIC, *RESPONSES, *GEMINI]
