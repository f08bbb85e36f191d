"""OpenAI chat completions (streamed), and the many servers that speak a dialect of it.

The shape, from the public API reference ("chat completion chunk object"): each event has
`choices[]`, each choice an `index`, a `delta` and at last a `finish_reason`; the delta has pieces
of `content`, `refusal` and `tool_calls[]` (`index`, `id`, `function.name`, `function.arguments`).
With `stream_options.include_usage` one more event with empty `choices` carries `usage`.

What the dialects add, from their public docs and recorded streams:

- Azure OpenAI: a first event with empty `choices`, `id` and `object` ("" each) and
  `prompt_filter_results`; choices without a `delta` that carry `content_filter_results` only.
- DeepSeek, xAI, Z.AI, vLLM, SGLang: `delta.reasoning_content`.
- Groq, Ollama, Cerebras, OpenRouter, newer vLLM: `delta.reasoning`.
- OpenRouter and gateways like it: `delta.reasoning_details[]`, of the types `reasoning.text` (`text`,
  `signature`), `reasoning.summary` (`summary`) and `reasoning.encrypted` (`data`). The text of these
  is the same as that of `reasoning`, sent twice; so one delta's reasoning text is taken from one place
  only: `reasoning_content`, else `reasoning`, else the details, else `thinking_blocks`.
- LiteLLM: `delta.thinking_blocks[]` (`thinking`, `signature`; `redacted_thinking` with `data`).
- Mistral, Databricks: `content` is a list of parts (`text`; `thinking` with parts of its own;
  `reasoning` with a `summary`; `reference`).
- Letta's conversion of Anthropic events: `delta.reasoning_content_signature` and
  `delta.redacted_reasoning_content`, and `output_tokens` beside `choices`.
- Groq: `x_groq.usage`, `x_groq.error`; `delta.executed_tools[]`, tools that the server ran: once
  with arguments, later again with its `output`.
- OpenRouter: comments as keepalive (no events), errors as `{"error": …, "choices": […]}` or in a choice.
- xAI counts reasoning tokens beside the completion's, not in them; its numbers go on as they came.
- Perplexity, Databricks, vLLM on request: `usage` in every event. Moonshot: `usage` in the choice.
- vLLM: an error as `{"object": "error", "message": …}`.
- Writer, Perplexity: `message` beside `delta`, with the whole or the same text; the delta counts.
- A body that was not streamed (`object: chat.completion`): `message` in place of `delta`.
- Legacy: `delta.function_call`; `text` in place of a delta (plain completions).

Identity of tool calls is not decided here. `id` and `index` go on as they came, the empty id as
None; an empty name as None. A name or id repeated on every delta is passed on every time, and a
name in pieces comes in pieces: which is which only the owner of the call's state can tell.
"""

from __future__ import annotations

from typing import Any

from actors.deltas import (
    Delta,
    Finish,
    Model,
    Reasoning,
    ReasoningSignature,
    RedactedReasoning,
    Refusal,
    Text,
    ToolCallPiece,
    ToolReturn,
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
    error_delta,
    odd,
    remember,
    unknown,
    unknown_event,
)

# Keys of a delta that say nothing a reader of messages needs.
_PASSED_OVER = frozenset(
    {
        "annotations",  # links of a web search; they stand in the text as well
        "channel",
        "index",
        "obfuscation",
        "provider_metadata",
        "provider_specific_fields",
        "role",
        "token_id",
        "token_ids",
    }
)


class OpenAIChatAdapter:
    """Reads chat-completion chunks. Keeps the model's name and the server-run tools that are under way."""

    __slots__ = ("_executed", "_executed_count", "_model")

    def __init__(self) -> None:
        self._model: str | None = None
        # (choice, index) of a server-run tool to its id, its arguments, and whether it has returned.
        self._executed: dict[tuple[int, int], tuple[str, str, bool]] = {}
        self._executed_count = 0

    def feed(self, event: Event) -> list[Delta]:
        """Return the deltas of one chunk. Raises MalformedChunk where it is no JSON object."""
        # This and `_delta` are the hot path of most streams: every lookup here is paid once a token.
        if event.__class__ is not dict:
            event = as_object(event)
        out: list[Delta] = []
        model = event.get("model")
        if model != self._model and model and model.__class__ is str:
            self._model = model
            out.append(Model(model))
        choices = event.get("choices")
        if choices.__class__ is list:
            for choice in choices:
                if choice.__class__ is dict:
                    self._choice(choice, event, out)
                else:
                    out.append(odd("choice", choice))
        elif choices is not None or not _KNOWN_WITHOUT_CHOICES.intersection(event):
            _without_choices(event, out)
        if "usage" in event:
            _usage(event["usage"], out)
        if "x_groq" in event:
            _x_groq(event["x_groq"], out)
        if event.get("error"):
            out.append(error_delta(event["error"]))
        return out

    def close(self) -> list[Delta]:
        """Return nothing: whatever came was passed on at once."""
        return []

    def _choice(self, choice: dict[str, Any], event: Event, out: list[Delta]) -> None:
        index = choice.get("index")
        if index.__class__ is not int:
            index = as_index(index) or 0
        delta = choice.get("delta")
        if delta.__class__ is dict:
            self._delta(delta, index, out)
        else:
            self._without_delta(choice, index, event, out)
        if choice.get("finish_reason"):
            _finish(choice["finish_reason"], index, event, out)
        if choice.get("error"):
            out.append(error_delta(choice["error"]))
        if "usage" in choice:
            _usage(choice["usage"], out)

    def _delta(self, delta: dict[str, Any], index: int, out: list[Delta]) -> None:  # noqa: C901  # hot: one call
        content = calls = reasoning = None
        has_more = False
        for key, value in delta.items():
            if not value:
                continue
            if key == "content":
                content = value
            elif key == "tool_calls":
                calls = value
            elif key == "reasoning_content" or (key == "reasoning" and not reasoning):
                reasoning = value
            elif key not in _PASSED_OVER:
                has_more = True
        # Whatever order the keys come in: a model reasons, then speaks, then calls.
        if reasoning or has_more:
            _reasoning(reasoning, delta, index, out)
        if content:
            if content.__class__ is str:
                out.append(Text(content, index))
            else:
                _content_parts(content, index, out)
        if calls:
            _tool_calls(calls, index, out)
        if has_more:
            self._the_rest(delta, index, out)

    def _without_delta(self, choice: dict[str, Any], index: int, event: Event, out: list[Delta]) -> None:
        delta, message = choice.get("delta"), choice.get("message")
        text = as_text(choice.get("text"))
        if delta is not None:
            out.append(odd("delta", delta))
        elif isinstance(message, dict) and event.get("object") == "chat.completion":
            # Only a body that was not streamed has its text in `message` alone; in a stream, `message`
            # repeats what the deltas said.
            self._delta(message, index, out)
        elif text is not None:
            out.append(Text(text, index))

    def _the_rest(self, delta: dict[str, Any], index: int, out: list[Delta]) -> None:
        for key, value in delta.items():
            if not value or key in _HANDLED or key in _PASSED_OVER:
                continue
            if key == "refusal" and isinstance(value, str):
                out.append(Refusal(value, index))
            elif key == "function_call" and isinstance(value, dict):
                # A response has at most one of these, so it is the call with index 0.
                _function(value, 0, None, index, out)
            elif key == "executed_tools" and isinstance(value, list):
                for place, tool in enumerate(value):
                    self._executed_tool(tool, place, index, out)
            elif not _is_hollow(value):
                out.append(odd(f"delta.{key}", value))

    def _executed_tool(self, tool: object, place: int, choice: int, out: list[Delta]) -> None:
        if not isinstance(tool, dict):
            out.append(odd("executed tool", tool))
            return
        index = as_index(tool.get("index"))
        key = (choice, place if index is None else index)
        arguments = as_json_text(tool.get("arguments") or "")
        name = as_text(tool.get("name")) or as_text(tool.get("type"))
        output = tool.get("output")
        call_id, known_arguments, returned = self._executed.get(key, ("", "", True))
        if returned and call_id and output is not None and arguments == known_arguments:
            return  # told again
        if returned:
            # The server gives no ids; a place that is used again is another call.
            call_id, returned = f"executed_tool_{self._executed_count}", False
            self._executed_count += 1
            out.append(ToolCallPiece(None, call_id, name, arguments, choice, provider_executed=True))
        if output is not None:
            returned = True
            out.append(ToolReturn(call_id, as_json_text(output), name, choice=choice))
        remember(self._executed, key, (call_id, arguments, returned))


_KNOWN_WITHOUT_CHOICES = frozenset({"error", "usage", "x_groq", "prompt_filter_results"})
_HANDLED = frozenset(
    {
        "content",
        "reasoning",
        "reasoning_content",
        "reasoning_content_signature",
        "reasoning_details",
        "redacted_reasoning_content",
        "thinking_blocks",
        "tool_calls",
    }
)


def _is_hollow(value: object) -> bool:
    """Tell whether a value is an object all of whose members are null (a placeholder, as Writer sends)."""
    return isinstance(value, dict) and all(member is None for member in value.values())


def _without_choices(event: Event, out: list[Delta]) -> None:
    choices = event.get("choices")
    if choices is not None:
        out.append(odd("choices", choices))
    elif event.get("object") == "error":
        out.append(error_delta(event))
    else:
        out.append(unknown_event(event))


# --- reasoning ----------------------------------------------------------------------------------


def _reasoning(reasoning: object, delta: dict[str, Any], index: int, out: list[Delta]) -> None:
    """Read all that a delta says of reasoning; its text from one place only (the header says why)."""
    is_taken = bool(reasoning)
    if isinstance(reasoning, str):
        out.append(Reasoning(reasoning, index))
    elif reasoning:
        _thinking(reasoning, index, out)
    for key, read in _REASONING_BLOCKS:
        blocks = delta.get(key)
        if blocks:
            found: list[Delta] = []
            for block in blocks if isinstance(blocks, list) else [blocks]:
                if isinstance(block, dict):
                    read(block, index, found)
                else:
                    found.append(odd(f"delta.{key}", block))
            out.extend(piece for piece in found if not (is_taken and isinstance(piece, Reasoning)))
            is_taken = is_taken or any(isinstance(piece, Reasoning) for piece in found)
    signature = as_text(delta.get("reasoning_content_signature"))
    if signature is not None:
        out.append(ReasoningSignature(signature, index))
    redacted = as_text(delta.get("redacted_reasoning_content"))
    if redacted is not None:
        out.append(RedactedReasoning(redacted, index))


def _reasoning_detail(detail: dict[str, Any], index: int, out: list[Delta]) -> None:
    kind = detail.get("type")
    field = _DETAIL_TEXTS.get(kind) if isinstance(kind, str) else None
    if field is not None:
        _text_and_signature(detail, field, index, out)
    elif kind == "reasoning.encrypted":
        encrypted = as_text(detail.get("data"))
        if encrypted is not None:
            out.append(ReasoningSignature(encrypted, index))
    else:
        out.append(unknown("reasoning detail", kind))


def _thinking_block(block: dict[str, Any], index: int, out: list[Delta]) -> None:
    if block.get("type") == "redacted_thinking":
        out.append(RedactedReasoning(as_text(block.get("data")), index))
    else:
        _text_and_signature(block, "thinking", index, out)


_DETAIL_TEXTS = {"reasoning.text": "text", "reasoning.summary": "summary"}
_REASONING_BLOCKS = (("reasoning_details", _reasoning_detail), ("thinking_blocks", _thinking_block))


def _thinking(value: object, index: int, out: list[Delta]) -> None:
    """Read reasoning that is a string, a part or a list of parts, with the signature some parts bear."""
    for part in value if isinstance(value, list) else [value]:
        if isinstance(part, str):
            if part:
                out.append(Reasoning(part, index))
        elif isinstance(part, dict) and "text" in part:
            _text_and_signature(part, "text", index, out)
        else:
            out.append(odd("reasoning", part))


def _text_and_signature(part: dict[str, Any], field: str, index: int, out: list[Delta]) -> None:
    text = as_text(part.get(field))
    if text is not None:
        out.append(Reasoning(text, index))
    signature = as_text(part.get("signature"))
    if signature is not None:
        out.append(ReasoningSignature(signature, index))


# --- content ------------------------------------------------------------------------------------


def _content_parts(content: object, index: int, out: list[Delta]) -> None:
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, dict):
            _content_part(part, index, out)
        elif isinstance(part, str):
            _content_part({"type": "text", "text": part}, index, out)
        else:
            out.append(odd("content part", part))


def _content_part(part: dict[str, Any], index: int, out: list[Delta]) -> None:
    kind = part.get("type")
    if kind in ("text", "output_text"):
        text = as_text(part.get("text"))
        if text is not None:
            out.append(Text(text, index))
    elif kind == "refusal":
        refusal = as_text(part.get("refusal"))
        if refusal is not None:
            out.append(Refusal(refusal, index))
    elif kind in ("thinking", "reasoning"):
        # Mistral's field is `thinking`, Databricks's `summary`; each a list of parts, or plain text.
        _thinking(part.get("thinking") or part.get("summary") or "", index, out)
        signature = as_text(part.get("signature"))
        if signature is not None:
            out.append(ReasoningSignature(signature, index))
    elif kind not in ("reference", "tool_reference"):
        out.append(unknown("content part", kind))


# --- tool calls ---------------------------------------------------------------------------------


def _tool_calls(calls: object, choice: int, out: list[Delta]) -> None:
    for call in calls if isinstance(calls, list) else [calls]:
        if not isinstance(call, dict):
            out.append(odd("tool call", call))
            continue
        index = call.get("index")
        if index.__class__ is not int:
            index = as_index(index)
        call_id = call.get("id") or None
        if call_id is not None and call_id.__class__ is not str:
            call_id = as_id(call_id)
        function = call.get("function")
        if function.__class__ is not dict:
            function = _function_elsewhere(call)
        _function(function, index, call_id, choice, out)


def _function_elsewhere(call: dict[str, Any]) -> dict[str, Any]:
    """Find name and arguments of a call without `function`: a custom tool, or a level left out."""
    custom = call.get("custom")
    if isinstance(custom, dict):
        return {"name": custom.get("name"), "arguments": custom.get("input")}
    return call


def _function(function: dict[str, Any], index: int | None, call_id: str | None, choice: int, out: list[Delta]) -> None:
    name = function.get("name") or None
    if name is not None and name.__class__ is not str:
        out.append(odd("tool name", name))
        name = None
    arguments = function.get("arguments")
    if arguments is not None and arguments.__class__ is not str:
        arguments = as_json_text(arguments)
    if call_id is None and name is None and not arguments:
        return
    out.append(ToolCallPiece(index, call_id, name, arguments, choice))


# --- the end ------------------------------------------------------------------------------------


def _finish(reason: object, index: int, event: Event, out: list[Delta]) -> None:
    if not isinstance(reason, str):
        out.append(odd("finish_reason", reason))
        return
    out.append(Finish(reason, index))
    if "output_tokens" in event:
        tokens = as_count(event["output_tokens"])
        if tokens:
            out.append(Usage(completion_tokens=tokens))


def _usage(usage: object, out: list[Delta]) -> None:
    if not isinstance(usage, dict) or not usage:
        return
    prompt = as_count(usage.get("prompt_tokens"))
    completion = as_count(usage.get("completion_tokens"))
    cached = as_count(as_dict(usage.get("prompt_tokens_details")).get("cached_tokens"))
    for key in ("prompt_cache_hit_tokens", "cache_read_input_tokens", "cached_tokens"):
        if cached is None:
            cached = as_count(usage.get(key))
    reasoning = as_count(as_dict(usage.get("completion_tokens_details")).get("reasoning_tokens"))
    if reasoning is None:
        reasoning = as_count(usage.get("reasoning_tokens"))
    total = as_count(usage.get("total_tokens"))
    if prompt is None and completion is None and total is None:
        return
    out.append(Usage(prompt, completion, total, cached, reasoning))


def _x_groq(extra: object, out: list[Delta]) -> None:
    if not isinstance(extra, dict):
        return
    _usage(extra.get("usage"), out)
    error = extra.get("error")
    if error:
        out.append(error_delta(error))
