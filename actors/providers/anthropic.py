"""Anthropic Messages (streamed), also as served by Vertex, Bedrock and Azure.

The shape, from the public API reference ("Streaming Messages"): `message_start` (the message, still
empty, with the usage of the prompt); then the content blocks, each as `content_block_start`, some
`content_block_delta` and `content_block_stop`, told apart by `index`; `message_delta` with the
`stop_reason` and the usage so far; `message_stop`. Anywhere between: `ping`, `error`.

Blocks and what they become:

- `text` (`text_delta`): text. `citations_delta` is passed over: what it points at is in the text.
- `thinking` (`thinking_delta`, `signature_delta`): reasoning and its signature. With thinking not
  displayed there is a signature only. `redacted_thinking` (`data`): redacted reasoning, whole.
- `tool_use` (`input_json_delta`): a call of the client's tool. Its `input` is `{}` at the start and
  the pieces of JSON text follow; a tool without arguments gets one empty piece or none, and its
  arguments are then the `input` of the start: `{}`.
- `server_tool_use`, `mcp_tool_use`: the same for tools that the provider runs itself; and every type
  that ends in `_tool_result` (web search, web fetch, code execution, text editor, tool search,
  advisor, MCP) is the return of one, whole at its start, an error where its content's type ends in
  `_error` or `is_error` says so.
- `compaction` (`compaction_delta`): the provider's summary of a conversation that grew too long. It
  is no output of the agent, so it becomes no message; it is named once, to be counted.

Usage: `input_tokens` leaves out what went through the cache, so the prompt is the sum of it and the
two cache counts. Each field of a later usage replaces that of an earlier one.

The older text completions (`type: completion`) are not this API; they are named as unknown.
"""

from __future__ import annotations

from typing import Any

from actors.deltas import (
    BlockBoundary,
    Delta,
    Done,
    Finish,
    Model,
    Reasoning,
    ReasoningSignature,
    RedactedReasoning,
    Text,
    ToolCallEnd,
    ToolCallPiece,
    ToolReturn,
    Unknown,
    Usage,
)
from actors.providers.adapter import (
    Event,
    as_count,
    as_dict,
    as_id,
    as_index,
    as_json_text,
    as_object,
    as_text,
    odd,
    remember,
    unknown,
    unknown_event,
)
from actors.providers.error_shapes import error_delta

_USAGE_FIELDS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")


class _Call:
    """A tool call whose block is open. `is_whole`: its start had the arguments already."""

    __slots__ = ("has_arguments", "id", "index", "is_providers", "is_whole")

    def __init__(self, index: int | None, call_id: str | None, *, is_providers: bool, is_whole: bool) -> None:
        self.index = index
        self.id = call_id
        self.is_providers = is_providers
        self.is_whole = is_whole
        self.has_arguments = is_whole


class AnthropicAdapter:
    """Reads Messages events. Keeps the open tool calls, the usage so far and the names of server-run tools."""

    __slots__ = ("_calls", "_model", "_names", "_usage")

    def __init__(self) -> None:
        self._calls: dict[int | None, _Call] = {}
        self._model: str | None = None
        self._names: dict[str, str] = {}
        self._usage: dict[str, int] = {}

    def feed(self, event: Event) -> list[Delta]:
        """Return the deltas of one event. Raises MalformedChunk where it is no JSON object."""
        if event.__class__ is not dict:
            event = as_object(event)
        kind = event.get("type")
        out: list[Delta] = []
        if kind == "content_block_delta":
            self._block_delta(event, out)
        elif kind == "content_block_start":
            self._block_start(as_index(event.get("index")), event.get("content_block"), out)
        elif kind == "content_block_stop":
            self._block_stop(as_index(event.get("index")), out)
        elif kind != "ping":
            self._message_event(kind, event, out)
        return out

    def close(self) -> list[Delta]:
        """Return nothing: a call whose block was cut off stays without its end."""
        return []

    def _message_event(self, kind: object, event: Event, out: list[Delta]) -> None:
        if kind == "message_start":
            self._message_start(as_dict(event.get("message")), out)
        elif kind == "message_delta":
            self._take_usage(event.get("usage"), out)
            _finish(as_dict(event.get("delta")), out)
        elif kind == "message_stop":
            out.append(Done())
        elif kind == "message":
            self._whole_message(as_dict(event), out)
        elif kind == "error":
            out.append(error_delta(event.get("error") or event))
        else:
            out.append(unknown_event(event))

    def _message_start(self, message: dict[str, Any], out: list[Delta]) -> None:
        self._calls.clear()
        self._usage.clear()
        model = as_text(message.get("model"))
        if model is not None and model != self._model:
            self._model = model
            out.append(Model(model))
        self._take_usage(message.get("usage"), out)

    def _whole_message(self, message: dict[str, Any], out: list[Delta]) -> None:
        """Read a message that was not streamed, as if each block had come at once."""
        self._message_start(message, out)
        content = message.get("content")
        for index, block in enumerate(content if isinstance(content, list) else []):
            self._block_start(index, block, out)
            self._block_stop(index, out)
        _finish(message, out)
        out.append(Done())

    def _block_delta(self, event: Event, out: list[Delta]) -> None:
        delta = event.get("delta")
        if not isinstance(delta, dict):
            out.append(odd("delta", delta))
            return
        kind = delta.get("type")
        if kind == "text_delta":
            text = delta.get("text")
            if text and isinstance(text, str):
                out.append(Text(text))
        elif kind == "input_json_delta":
            self._arguments(event.get("index"), delta.get("partial_json"), out)
        elif kind == "thinking_delta":
            thinking = delta.get("thinking")
            if thinking and isinstance(thinking, str):
                out.append(Reasoning(thinking))
        elif kind == "signature_delta":
            signature = as_text(delta.get("signature"))
            if signature is not None:
                out.append(ReasoningSignature(signature))
        elif kind not in ("citations_delta", "compaction_delta"):
            out.append(unknown("delta", kind))

    def _arguments(self, index: object, piece: object, out: list[Delta]) -> None:
        if not piece:
            return
        text = as_json_text(piece)
        call = self._calls.get(as_index(index))
        if call is None:  # its start never came
            out.append(ToolCallPiece(as_index(index), arguments=text))
            return
        if not call.is_whole:
            call.has_arguments = True
            out.append(ToolCallPiece(call.index, call.id, None, text, 0, call.is_providers))

    def _block_start(self, index: int | None, block: object, out: list[Delta]) -> None:
        if not isinstance(block, dict):
            out.append(odd("content block", block))
            return
        kind = block.get("type")
        if kind == "text":
            out.append(BlockBoundary())
            text = as_text(block.get("text"))
            if text is not None:
                out.append(Text(text))
        elif kind == "thinking":
            out.append(BlockBoundary())
            thinking, signature = as_text(block.get("thinking")), as_text(block.get("signature"))
            if thinking is not None:
                out.append(Reasoning(thinking))
            if signature is not None:
                out.append(ReasoningSignature(signature))
        elif kind == "redacted_thinking":
            out.append(BlockBoundary())
            out.append(RedactedReasoning(as_text(block.get("data"))))
        elif kind in ("tool_use", "server_tool_use", "mcp_tool_use"):
            self._call_start(index, block, out, is_providers=kind != "tool_use")
        elif isinstance(kind, str) and kind.endswith("_tool_result"):
            self._tool_result(block, out)
        else:
            out.append(unknown("content block", kind))

    def _call_start(self, index: int | None, block: dict[str, Any], out: list[Delta], *, is_providers: bool) -> None:
        given = as_json_text(block["input"]) if block.get("input") else None
        call = _Call(index, as_id(block.get("id")), is_providers=is_providers, is_whole=given is not None)
        remember(self._calls, index, call)
        name = as_text(block.get("name"))
        if is_providers and call.id is not None and name is not None:
            remember(self._names, call.id, name)
        out.append(ToolCallPiece(index, call.id, name, given, 0, is_providers))

    def _block_stop(self, index: int | None, out: list[Delta]) -> None:
        call = self._calls.pop(index, None)
        if call is None:
            return
        if not call.has_arguments:
            out.append(ToolCallPiece(call.index, call.id, None, "{}", 0, call.is_providers))
        out.append(ToolCallEnd(call.index, call.id))

    def _tool_result(self, block: dict[str, Any], out: list[Delta]) -> None:
        call_id = as_id(block.get("tool_use_id"))
        if call_id is None:
            out.append(Unknown("tool result without tool_use_id"))
            return
        content = block.get("content")
        failed = block.get("is_error") is True or (as_text(as_dict(content).get("type")) or "").endswith("_error")
        status = "error" if failed else "success"
        out.append(ToolReturn(call_id, _result_text(content), self._names.get(call_id), status))

    def _take_usage(self, usage: object, out: list[Delta]) -> None:
        if not isinstance(usage, dict):
            return
        for field in _USAGE_FIELDS:
            count = as_count(usage.get(field))
            if count is not None:
                self._usage[field] = count
        thinking = as_count(as_dict(usage.get("output_tokens_details")).get("thinking_tokens"))
        if thinking is not None:
            self._usage["thinking_tokens"] = thinking
        known = self._usage
        if not known:
            return
        prompt = None
        if "input_tokens" in known:
            prompt = sum(known.get(field, 0) for field in _USAGE_FIELDS[:3])
        completion = known.get("output_tokens")
        total = None if prompt is None or completion is None else prompt + completion
        cached = known.get("cache_read_input_tokens")
        out.append(Usage(prompt, completion, total, cached, known.get("thinking_tokens")))


def _finish(source: dict[str, Any], out: list[Delta]) -> None:
    reason = as_text(source.get("stop_reason"))
    if reason is not None:
        details = as_dict(source.get("stop_details"))
        detail = as_text(source.get("stop_sequence")) or as_text(details.get("explanation"))
        out.append(Finish(reason, detail=detail))


def _result_text(content: object) -> str:
    """Return a tool result as text: plain where it is text blocks only, else as JSON."""
    if content is None:
        return ""
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
        if content and len(texts) == len(content) and all(isinstance(text, str) for text in texts):
            return "".join(text for text in texts if isinstance(text, str))
    return as_json_text(content)
