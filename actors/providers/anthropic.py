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
two cache counts. Each field of a later usage replaces that of an earlier one, but a prompt of zero none.

Servers that speak this API by half put text or thinking into `content_block_start` and repeat it in the first
deltas, leave `index` out, begin a block at an index that is still open, never stop a block, or send the whole
message once more after the stream: nothing is told twice (`told.py`).

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
    Common,
    Event,
    as_count,
    as_dict,
    as_id,
    as_index,
    as_json_text,
    as_list,
    as_object,
    as_text,
    as_word,
    is_ping,
    odd,
    remember,
    unknown,
    unknown_event,
)
from actors.providers.decode import read_anthropic
from actors.providers.error_shapes import error_delta, find_error
from actors.providers.told import Said, Told
from actors.stop_reasons import says_nothing

_USAGE_FIELDS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")


class _Call:
    """A tool call whose block is open. `given`: the arguments of its start, until it shows whether others come."""

    __slots__ = ("given", "has_arguments", "id", "index", "is_providers", "told")

    def __init__(self, index: int | None, call_id: str | None, given: str, told: Told, *, is_providers: bool) -> None:
        self.index = index
        self.id = call_id
        self.given = given
        self.is_providers = is_providers
        self.has_arguments = False
        self.told = told


class AnthropicAdapter:
    """Reads Messages events. Keeps the open tool calls, the usage so far and the names of server-run tools."""

    __slots__ = (
        "_calls",
        "_echo",
        "_given",
        "_model",
        "_names",
        "_said",
        "_usage",
    )

    def __init__(self) -> None:
        self._calls: dict[int | None, _Call] = {}
        self._said = Said()
        # What a block's start said and its deltas may say again: what is left of it, and what was left out for it.
        self._echo: tuple[str, str] | None = None
        self._given: list[Any] = []  # the blocks that stood in the message's start
        self._model: str | None = None
        self._names: dict[str, str] = {}
        self._usage: dict[str, int] = {}

    def common(self, payload: bytes) -> Common:
        """Return the deltas of a piece of text, of thinking or of a tool's arguments; None for any other payload."""
        event = read_anthropic(payload)
        # The hot path: every lookup and call is paid once a token.
        if event is None or event.type != "content_block_delta":
            return None
        delta = event.delta
        if delta is None:
            return None
        kind = delta.type
        if kind == "input_json_delta":
            return self._arguments(event.index, delta.partial_json)
        if self._echo is not None:
            return None
        is_text = kind == "text_delta"
        text = delta.text if is_text else delta.thinking
        if not text:
            return None if delta.text else []
        (self._said.text if is_text else self._said.reasoning).add(text)
        return text if is_text else [Reasoning(text)]

    def feed(self, event: Event) -> list[Delta]:
        """Return the deltas of one event. Raises MalformedChunk where it is no JSON object."""
        if event.__class__ is not dict:
            event = as_object(event)
        kind = event.get("type")
        if kind == "content_block_delta":
            return self._block_delta(event, event.get("delta"))
        out: list[Delta] = []
        if kind == "content_block_start":
            self._block_start(as_index(event.get("index")), event.get("content_block"), out)
        elif kind == "content_block_stop":
            self._block_stop(as_index(event.get("index")), out)
        elif kind != "ping":
            self._message_event(kind, event, out)
        return out

    def close(self) -> list[Delta]:
        """Return the arguments that were given at a start and not since; a call cut off stays without its end."""
        out: list[Delta] = []
        self._take_given_blocks(out)
        for call in self._calls.values():
            self._take_given(call, out)
        return out

    def _message_event(self, kind: object, event: Event, out: list[Delta]) -> None:
        if kind == "message_start":
            message = as_dict(event.get("message"))
            self._message_start(message, out)
            self._given = as_list(message.get("content"))
        elif kind == "message_delta":
            self._take_given_blocks(out)
            self._take_usage(event.get("usage"), out)
            _finish(as_dict(event.get("delta")), out)
        elif kind == "message_stop":
            out += self.close()
            out.append(Done())
        elif kind == "message":
            self._whole_message(as_dict(event), out)
        elif kind == "error":
            out.append(find_error(event) or error_delta(event))
        elif not is_ping(event):
            error = find_error(event)
            out.append(unknown_event(event) if error is None else error)

    def _message_start(self, message: dict[str, Any], out: list[Delta]) -> None:
        self._calls.clear()
        self._usage.clear()
        self._forget()
        self._echo = None
        model = as_text(message.get("model"))
        if model is not None and model != self._model:
            self._model = model
            out.append(Model(model))
        self._take_usage(message.get("usage"), out)

    def _whole_message(self, message: dict[str, Any], out: list[Delta]) -> None:
        """Read a message that was not streamed, as if each block had come at once; what was told is not repeated."""
        if not self._said.is_empty:
            whole = AnthropicAdapter()
            found: list[Delta] = []
            whole._whole_message(message, found)
            missing = self._said.missing(piece for piece in found if not isinstance(piece, Model | BlockBoundary))
            out += missing
            self._forget()
            return
        self._message_start(message, out)
        self._blocks(as_list(message.get("content")), out)
        _finish(message, out)
        out.append(Done())
        self._forget()

    def _take_given_blocks(self, out: list[Delta]) -> None:
        """Take the blocks that stood in the message's start, unless they came as blocks of their own."""
        given, self._given = self._given, []
        if given and self._said.is_empty:
            self._blocks(given, out)

    def _blocks(self, blocks: list[Any], out: list[Delta]) -> None:
        for index, block in enumerate(blocks):
            self._block_start(index, block, out)
            self._block_stop(index, out)

    def _forget(self) -> None:
        """Let what was told go: what comes is the next response."""
        if not self._said.is_empty:
            self._said = Said()

    def _block_delta(self, event: Event, delta: object) -> list[Delta]:
        if not isinstance(delta, dict):
            return [odd("delta", delta)]
        kind = delta.get("type")
        if kind == "input_json_delta":
            return self._arguments(event.get("index"), delta.get("partial_json"))
        out: list[Delta] = []
        if kind == "signature_delta":
            self._signature(delta.get("signature"), out)
        elif kind in ("thinking_delta", "thinking"):
            self._text(delta.get("thinking") or delta.get("text"), Reasoning, self._said.reasoning, out)
        elif kind in ("text_delta", "text") or (kind is None and "text" in delta):
            self._text(delta.get("text"), Text, self._said.text, out)
        elif kind not in ("citations_delta", "compaction_delta"):
            out.append(unknown("delta", kind))
        return out

    def _text(self, text: object, make: type[Text | Reasoning], told: Told, out: list[Delta]) -> None:
        if not text or not isinstance(text, str):
            return
        if self._echo is not None:
            text = self._without_echo(text)
            if not text:
                return
        told.add(text)
        out.append(make(text))

    def _signature(self, signature: object, out: list[Delta]) -> None:
        text = as_text(signature)
        if text is not None:
            self._said.sign(text)
            out.append(ReasoningSignature(text))

    def _arguments(self, index: object, piece: object) -> list[Delta]:
        if not piece:
            return []
        text = piece if piece.__class__ is str else as_json_text(piece)
        call = self._calls.get(index if index.__class__ is int else as_index(index))
        if call is None and self._calls:
            call = next(reversed(self._calls.values()))  # the index is wrong or left out
        if call is None:  # its start never came
            return [ToolCallPiece(as_index(index), arguments=text)]
        call.given = ""  # the deltas say it
        return [self._give(call, text)]

    def _give(self, call: _Call, text: str) -> ToolCallPiece:
        """Take note of a piece of a call's arguments, and return it."""
        call.has_arguments = True
        call.told.add(text)
        return ToolCallPiece(call.index, call.id, None, text, 0, call.is_providers)

    def _take_given(self, call: _Call, out: list[Delta]) -> None:
        given, call.given = call.given, ""
        if given:
            out.append(self._give(call, given))

    def _without_echo(self, text: str) -> str:
        """Return what a delta adds to what its block's start has said already."""
        left, left_out = self._echo or ("", "")
        self._echo = None
        if left.startswith(text):
            self._echo = (left[len(text) :], left_out + text) if len(left) > len(text) else None
            return ""
        # It goes on after the repetition; or it was none, and what was left out belongs to it.
        return text[len(left) :] if left and text.startswith(left) else left_out + text

    def _block_start(self, index: int | None, block: object, out: list[Delta]) -> None:
        self._echo = None
        if index in self._calls:
            self._block_stop(index, out)  # its end never came
        if not isinstance(block, dict):
            out.append(odd("content block", block))
            return
        kind = block.get("type")
        if kind == "text":
            out.append(BlockBoundary())
            self._begin_text(block.get("text"), Text, self._said.text, out)
        elif kind == "thinking":
            out.append(BlockBoundary())
            self._begin_text(block.get("thinking"), Reasoning, self._said.reasoning, out)
            self._signature(block.get("signature"), out)
        elif kind == "redacted_thinking":
            out.append(BlockBoundary())
            out.append(RedactedReasoning(as_text(block.get("data"))))
            self._said.sign(as_text(block.get("data")))
        elif kind in ("tool_use", "server_tool_use", "mcp_tool_use"):
            self._call_start(index, block, out, is_providers=kind != "tool_use")
        elif isinstance(kind, str) and kind.endswith("_tool_result"):
            self._tool_result(block, out)
        else:
            out.append(unknown("content block", kind))

    def _begin_text(self, text: object, make: type[Text | Reasoning], told: Told, out: list[Delta]) -> None:
        """Tell the text of a block's start; the deltas that follow may tell it again."""
        self._text(text, make, told, out)
        if text and isinstance(text, str):
            self._echo = (text, "")

    def _call_start(self, index: int | None, block: dict[str, Any], out: list[Delta], *, is_providers: bool) -> None:
        given = as_json_text(block["input"]) if block.get("input") else ""
        if given.strip() == "{}":
            given = ""
        call_id, name = as_id(block.get("id")), as_text(block.get("name"))
        told = self._said.begin(index, call_id, name) or Told()
        remember(self._calls, index, _Call(index, call_id, given, told, is_providers=is_providers))
        if is_providers and call_id is not None and name is not None:
            remember(self._names, call_id, name)
        out.append(ToolCallPiece(index, call_id, name, None, 0, is_providers, None, call_id is None))

    def _block_stop(self, index: int | None, out: list[Delta]) -> None:
        call = self._calls.pop(index, None)
        if call is None:
            return
        self._take_given(call, out)
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
        known = self._usage
        # A prompt of zero in place of a count: the server forgot it, it did not take it back.
        is_forgotten = "input_tokens" in known and not (
            usage.get("input_tokens")
            or usage.get("cache_creation_input_tokens")
            or usage.get("cache_read_input_tokens")
        )
        for field in ("output_tokens",) if is_forgotten else _USAGE_FIELDS:
            value = usage.get(field)
            if value is not None:
                count = as_count(value)
                if count or (count == 0 and not (is_forgotten and known.get(field))):
                    known[field] = count
        if "output_tokens_details" in usage:
            thinking = as_count(as_dict(usage["output_tokens_details"]).get("thinking_tokens"))
            if thinking is not None:
                known["thinking_tokens"] = thinking
        if not known:
            return
        prompt = known.get("input_tokens")
        if prompt is not None:
            prompt += known.get("cache_creation_input_tokens", 0) + known.get("cache_read_input_tokens", 0)
        completion = known.get("output_tokens")
        total = None if prompt is None or completion is None else prompt + completion
        cached = known.get("cache_read_input_tokens")
        out.append(Usage(prompt, completion, total, cached, known.get("thinking_tokens")))


def _finish(source: dict[str, Any], out: list[Delta]) -> None:
    reason = as_word(source.get("stop_reason"))
    if reason is not None and not says_nothing(reason):
        detail = as_text(source.get("stop_sequence"))
        if detail is None and "stop_details" in source:
            detail = _explained(source["stop_details"])
        out.append(Finish(reason, 0, detail))


def _explained(details: object) -> str | None:
    if not isinstance(details, dict):
        return as_text(details)
    found = (as_text(details.get(key)) for key in ("explanation", "message", "category", "reason"))
    return next((text for text in found if text is not None), None)


def _result_text(content: object) -> str:
    """Return a tool result as text: plain where it is text blocks only, else as JSON."""
    if content is None:
        return ""
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
        if content and len(texts) == len(content) and all(isinstance(text, str) for text in texts):
            return "".join(text for text in texts if isinstance(text, str))
    return as_json_text(content)
