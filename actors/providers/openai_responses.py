"""OpenAI Responses (streamed), also as served by Azure, Bedrock, OpenRouter, xAI and DeepSeek.

The shape, from the public API reference ("Streaming events"): `response.created`, `.queued`,
`.in_progress`; then output items, each as `response.output_item.added`, events of its own, and
`response.output_item.done` with the whole item; at last `response.completed`, `.incomplete` or
`.failed` with status, usage and the whole output once more. `error` may come at any time, flat or
with an `error` object. Items are told apart by `output_index`: their ids may change on the way
(gateways make up temporary ones), and a few events have none.

Everything comes twice or thrice: in deltas, in the part's `.done`, in the item's `.done`. What deltas
have told is not told again; what no delta told (a server that does not stream, say) is taken from
the first that has it.

Items and what they become:

- `message`: text (`output_text`) and refusals; its second and further parts are blocks of their own.
- `reasoning`: reasoning from `reasoning_summary_text` and `reasoning_text`; `encrypted_content` of the
  finished item is its signature (the one at its start is replaced by then).
- `function_call`, `custom_tool_call`: calls of the client's tools, with `call_id` as their id. So are
  the tools that OpenAI defines and the client runs: `local_shell_call`, `computer_call`,
  `apply_patch_call`, and `shell_call` in a local environment, `tool_search_call` run by the client.
- Every other `…_call` (web and file search, code interpreter, image generation, MCP, hosted shell,
  tool search), `mcp_list_tools` and `mcp_approval_request`: calls of tools that the provider runs.
  The return is in the same item (`output`, `outputs`, `results`, `result`, `tools`, `error`), or in
  an item of its own, `shell_call_output` and `tool_search_output`. xAI sends its own searches on X as
  `custom_tool_call`. An approval request has no return: the client answers it in its next request.

The finish reason is the response's `status`; why a response is incomplete is its detail.
"""

from __future__ import annotations

import json
from typing import Any

from actors.deltas import (
    BlockBoundary,
    Delta,
    Done,
    Finish,
    Model,
    Reasoning,
    ReasoningSignature,
    Refusal,
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
    as_list,
    as_object,
    as_text,
    error_delta,
    odd,
    remember,
    unknown,
    unknown_event,
)

# Text that streams: the event's stem, what it becomes, the field that numbers the part, and the field of
# the whole in its `.done`.
_TEXTS: dict[str, tuple[type[Text | Refusal | Reasoning], str, str]] = {
    "response.output_text": (Text, "content_index", "text"),
    "response.refusal": (Refusal, "content_index", "refusal"),
    "response.reasoning_text": (Reasoning, "content_index", "text"),
    "response.reasoning_summary_text": (Reasoning, "summary_index", "text"),
}
_PARTS: dict[str, tuple[type[Text | Refusal | Reasoning], str]] = {
    "output_text": (Text, "text"),
    "text": (Text, "text"),
    "refusal": (Refusal, "refusal"),
    "reasoning_text": (Reasoning, "text"),
    "summary_text": (Reasoning, "text"),
}
_ARGUMENTS = {
    "response.function_call_arguments": "arguments",
    "response.custom_tool_call_input": "input",
    "response.mcp_call_arguments": "arguments",
}
_TERMINALS = frozenset(
    {"response.completed", "response.done", "response.incomplete", "response.failed", "response.cancelled"}
)
_CLIENT_CALLS = frozenset(
    {"function_call", "custom_tool_call", "local_shell_call", "computer_call", "apply_patch_call"}
)
_XAI_SEARCHES = frozenset({"x_user_search", "x_keyword_search", "x_semantic_search", "x_thread_fetch"})
_CALLS_BY_OTHER_NAMES = frozenset({"mcp_list_tools", "mcp_approval_request"})
_ANSWERED_ELSEWHERE = frozenset({"shell_call", "tool_search_call", "mcp_approval_request"})
_OUTPUT_FIELDS = ("output", "outputs", "results", "result", "tools")
_NOT_ARGUMENTS = frozenset({"id", "type", "status", "call_id", "error", *_OUTPUT_FIELDS})

# Progress of what the item's end tells in full, repetition, and keepalives.
_PASSED_OVER = frozenset(
    {
        "keepalive",
        "response.code_interpreter_call_code.done",
        "response.content_part.done",
        "response.image_generation_call.partial_image",
        "response.output_text.annotation.added",
        "response.reasoning_summary_part.done",
        "response.shell_call_command.added",
        "response.shell_call_command.delta",
        "response.shell_call_command.done",
        "response.shell_call_output_content.delta",
        "response.shell_call_output_content.done",
    }
)
_PROGRESS = frozenset({"in_progress", "searching", "interpreting", "generating", "completed", "failed", "incomplete"})

Key = int | str | None


class _Call:
    """A tool call whose item is open. `is_whole`: its start had the arguments already."""

    __slots__ = ("has_arguments", "id", "index", "is_providers", "is_whole", "name")

    def __init__(self, index: int | None, call_id: str | None, name: str | None, *, is_providers: bool) -> None:
        self.index = index
        self.id = call_id
        self.name = name
        self.is_providers = is_providers
        self.is_whole = False
        self.has_arguments = False


class OpenAIResponsesAdapter:
    """Reads Responses events. Keeps the open calls, which parts have been told, and the names of server-run tools."""

    __slots__ = ("_calls", "_has_error", "_has_items", "_model", "_told", "_unanswered")

    def __init__(self) -> None:
        self._calls: dict[Key, _Call] = {}
        self._has_error = False
        self._has_items = False
        self._model: str | None = None
        # The parts of which some text has been passed on: (item, numbering field, number).
        self._told: dict[tuple[Key, str, Any], None] = {}
        # Calls whose return comes as an item of its own: id to name, the latest last.
        self._unanswered: dict[str, str | None] = {}

    def feed(self, event: Event) -> list[Delta]:
        """Return the deltas of one event. Raises MalformedChunk where it is no JSON object."""
        if event.__class__ is not dict:
            event = as_object(event)
        kind = event.get("type")
        out: list[Delta] = []
        if not isinstance(kind, str):
            self._untyped(event, out)
            return out
        stem, _, ending = kind.rpartition(".")
        if stem in _TEXTS:
            self._text(stem, ending, event, out)
        elif stem in _ARGUMENTS:
            self._arguments(_ARGUMENTS[stem] if ending == "done" else "delta", event, out)
        elif stem == "response.output_item":
            self._item(ending, _key(event), event.get("item"), out)
        elif kind == "response.code_interpreter_call_code.delta":
            self._code(event, out)
        elif kind in ("response.content_part.added", "response.reasoning_summary_part.added"):
            if as_index(event.get("content_index" if "content" in kind else "summary_index")):
                out.append(BlockBoundary())
        elif kind not in _PASSED_OVER:
            self._response_event(kind, event, out)
        return out

    def close(self) -> list[Delta]:
        """Return nothing: a call whose item was cut off stays without its end."""
        return []

    # --- the response ---------------------------------------------------------------------------

    def _untyped(self, event: Event, out: list[Delta]) -> None:
        if event.get("object") == "response":  # a body that was not streamed
            self._begin(as_dict(event), out)
            self._end(as_dict(event), None, out)
        elif event.get("error"):
            self._error(event["error"], out)
        else:
            out.append(unknown_event(event))

    def _response_event(self, kind: str, event: Event, out: list[Delta]) -> None:
        response = as_dict(event.get("response"))
        if kind in ("response.created", "response.queued", "response.in_progress"):
            if kind == "response.created":
                self._begin(response, out)
            self._take_model(response, out)
        elif kind in _TERMINALS:
            self._take_model(response, out)
            self._end(response, kind.removeprefix("response."), out)
        elif kind in ("error", "response.error"):
            self._error(event.get("error") or event, out)
        elif not (kind.startswith("response.") and kind.rpartition(".")[2] in _PROGRESS):
            out.append(unknown_event(event))

    def _begin(self, response: dict[str, Any], out: list[Delta]) -> None:
        self._calls.clear()
        self._told.clear()
        self._unanswered.clear()
        self._has_error = self._has_items = False
        self._take_model(response, out)

    def _take_model(self, response: dict[str, Any], out: list[Delta]) -> None:
        model = as_text(response.get("model"))
        if model is not None and model != self._model:
            self._model = model
            out.append(Model(model))

    def _error(self, error: object, out: list[Delta]) -> None:
        # `error` is followed by `response.failed` with the same words.
        if not self._has_error:
            self._has_error = True
            out.append(error_delta(error))

    def _end(self, response: dict[str, Any], ending: str | None, out: list[Delta]) -> None:
        if not self._has_items:
            for index, item in enumerate(as_list(response.get("output"))):
                self._item("done", index, item, out)
        if response.get("error"):
            self._error(response["error"], out)
        _usage(as_dict(response.get("usage")), out)
        status = as_text(response.get("status")) or ending
        if status is not None:
            out.append(Finish(status, detail=as_text(as_dict(response.get("incomplete_details")).get("reason"))))
        out.append(Done())

    # --- items ----------------------------------------------------------------------------------

    def _item(self, ending: str, key: Key, item: object, out: list[Delta]) -> None:
        self._has_items = True
        if not isinstance(item, dict):
            out.append(odd("output item", item))
        elif ending == "added":
            self._item_added(key, item, out)
        elif ending == "done":
            self._item_done(key, item, out)

    def _item_added(self, key: Key, item: dict[str, Any], out: list[Delta]) -> None:
        kind = item.get("type")
        if kind in ("message", "reasoning"):
            out.append(BlockBoundary())
        elif _is_call(kind):
            call = self._open_call(key, item, out)
            arguments = item.get("input" if kind == "custom_tool_call" else "arguments")
            if not call.is_providers and arguments:
                call.is_whole = True
                self._give(call, as_json_text(arguments), out)

    def _item_done(self, key: Key, item: dict[str, Any], out: list[Delta]) -> None:
        kind = item.get("type")
        if kind == "message":
            self._parts(key, "content_index", item.get("content"), out)
        elif kind == "reasoning":
            self._parts(key, "summary_index", item.get("summary"), out)
            self._parts(key, "content_index", item.get("content"), out)
            signature = as_text(item.get("encrypted_content"))
            if signature is not None:
                out.append(ReasoningSignature(signature))
        elif _is_call(kind):
            self._call_done(key, item, out)
        elif isinstance(kind, str) and kind.endswith("_output"):
            self._output_item(item, out)
        else:
            out.append(unknown("output item", kind))

    def _parts(self, key: Key, field: str, parts: object, out: list[Delta]) -> None:
        for number, part in enumerate(as_list(parts)):
            kind = as_dict(part).get("type")
            found = _PARTS.get(kind) if isinstance(kind, str) else None
            if found is None:
                out.append(unknown("content part", kind))
                continue
            make, text_field = found
            text = as_text(part.get(text_field))
            if text is not None and (key, field, number) not in self._told:
                remember(self._told, (key, field, number), None)
                out.append(make(text))

    def _text(self, stem: str, ending: str, event: Event, out: list[Delta]) -> None:
        make, field, whole = _TEXTS[stem]
        text = event.get("delta" if ending == "delta" else whole)
        if not text:
            return
        if not isinstance(text, str):
            out.append(odd(stem, text))
            return
        part = (_key(event), field, as_index(event.get(field)) or 0)
        if part not in self._told:
            remember(self._told, part, None)
        elif ending != "delta":
            return
        out.append(make(text))

    # --- calls ----------------------------------------------------------------------------------

    def _open_call(self, key: Key, item: dict[str, Any], out: list[Delta]) -> _Call:
        kind = item["type"]
        is_providers = not _is_clients(item)
        name = as_text(item.get("name")) if kind != "mcp_approval_request" else None
        call_id = as_id(item.get("call_id")) or as_id(item.get("id"))
        index = key if isinstance(key, int) else None
        call = _Call(index, call_id, name or kind.removesuffix("_call"), is_providers=is_providers)
        remember(self._calls, key, call)
        if kind in _ANSWERED_ELSEWHERE and call_id is not None:
            remember(self._unanswered, call_id, call.name)
        out.append(ToolCallPiece(index, call_id, call.name, None, 0, is_providers))
        return call

    def _give(self, call: _Call, arguments: str, out: list[Delta]) -> None:
        if arguments:
            call.has_arguments = True
            out.append(ToolCallPiece(call.index, call.id, None, arguments, 0, call.is_providers))

    def _arguments(self, field: str, event: Event, out: list[Delta]) -> None:
        piece = event.get(field)
        if not piece:
            return
        call = self._calls.get(_key(event))
        if call is None:  # its start never came
            key = _key(event)
            call = _Call(key if isinstance(key, int) else None, as_id(event.get("item_id")), None, is_providers=False)
            remember(self._calls, key, call)
        if not (call.is_whole or (field != "delta" and call.has_arguments)):
            self._give(call, as_json_text(piece), out)

    def _code(self, event: Event, out: list[Delta]) -> None:
        """Stream code as the JSON it is an argument of: {"code": "…"}."""
        code = as_text(event.get("delta"))
        call = self._calls.get(_key(event))
        if code is None or call is None:
            return
        opening = "" if call.has_arguments else '{"code": "'
        self._give(call, opening + json.dumps(code, ensure_ascii=False)[1:-1], out)

    def _call_done(self, key: Key, item: dict[str, Any], out: list[Delta]) -> None:
        call = self._calls.get(key)
        if call is None:
            call = self._open_call(key, item, out)
        self._calls.pop(key, None)
        kind = item["type"]
        if not call.has_arguments:
            self._give(call, _arguments_of(item), out)
        elif kind == "code_interpreter_call":
            self._give(call, '"}', out)
        out.append(ToolCallEnd(call.index, call.id))
        if call.is_providers and call.id is not None and kind not in _ANSWERED_ELSEWHERE:
            error = item.get("error")
            failed = bool(error) or item.get("status") in ("failed", "incomplete")
            text = as_json_text(error) if error else _output_of(item)
            out.append(ToolReturn(call.id, text, call.name, "error" if failed else "success"))

    def _output_item(self, item: dict[str, Any], out: list[Delta]) -> None:
        call_id = as_id(item.get("call_id"))
        if call_id is None and self._unanswered:
            call_id = next(reversed(self._unanswered))  # tool search tells no id; it is the call just made
        if call_id is None:
            out.append(Unknown("output item without a call"))
            return
        name = self._unanswered.pop(call_id, None)
        status = "error" if item.get("status") in ("failed", "incomplete") else "success"
        out.append(ToolReturn(call_id, _output_of(item), name, status))


def _key(event: Event) -> Key:
    index = as_index(event.get("output_index"))
    return as_id(event.get("item_id")) if index is None else index


def _is_call(kind: object) -> bool:
    return isinstance(kind, str) and (kind.endswith("_call") or kind in _CALLS_BY_OTHER_NAMES)


def _is_clients(item: dict[str, Any]) -> bool:
    """Tell whether the client, not the provider, has to run this call."""
    kind = item["type"]
    if kind == "custom_tool_call":
        return as_text(item.get("name")) not in _XAI_SEARCHES
    if kind == "shell_call":
        return as_dict(item.get("environment")).get("type") == "local"
    if kind == "tool_search_call":
        return item.get("execution") == "client"
    return kind in _CLIENT_CALLS


def _arguments_of(item: dict[str, Any]) -> str:
    kind = item["type"]
    if kind == "function_call":
        return as_json_text(item.get("arguments") or "")
    if kind == "custom_tool_call":
        return as_json_text(item.get("input") or "")
    if kind == "code_interpreter_call":
        return as_json_text({"code": item.get("code")})
    for field in ("arguments", "action"):
        if item.get(field) is not None and kind != "mcp_approval_request":
            return as_json_text(item[field])
    return as_json_text({field: value for field, value in item.items() if field not in _NOT_ARGUMENTS})


def _output_of(item: dict[str, Any]) -> str:
    """Return what a tool gave back: the first output field that is there, logs as plain text."""
    for field in _OUTPUT_FIELDS:
        output = item.get(field)
        if output is not None:
            logs = [as_dict(part).get("logs") for part in as_list(output)]
            if logs and all(isinstance(log, str) for log in logs):
                return "\n".join(map(str, logs))
            return as_json_text(output)
    return ""


def _usage(usage: dict[str, Any], out: list[Delta]) -> None:
    prompt, completion = as_count(usage.get("input_tokens")), as_count(usage.get("output_tokens"))
    total = as_count(usage.get("total_tokens"))
    if prompt is None and completion is None and total is None:
        return
    cached = as_count(as_dict(usage.get("input_tokens_details")).get("cached_tokens"))
    reasoning = as_count(as_dict(usage.get("output_tokens_details")).get("reasoning_tokens"))
    out.append(Usage(prompt, completion, total, cached, reasoning))
