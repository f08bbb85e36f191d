"""OpenAI Responses (streamed), also as served by Azure, Bedrock, OpenRouter, xAI and DeepSeek.

The shape, from the public API reference ("Streaming events"): `response.created`, `.queued`,
`.in_progress`; then output items, each as `response.output_item.added`, events of its own, and
`response.output_item.done` with the whole item; at last `response.completed`, `.incomplete` or
`.failed` with status, usage and the whole output once more. `error` may come at any time, flat or
with an `error` object. Whose event an event is, `responses_items.py` tells.

Everything comes twice to four times: in deltas, in the part's `.done`, in the item's, in the response's. Each
repetition is compared with what was told (`told.py`): what is missing is told, nothing is told twice. A call whose
name has not come yet (a server that sends `.done` events and no items) waits for it.

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

The finish reason is the response's `status`; why a response is incomplete is its detail, and decides what the end
means. Transcripts of audio are text.
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
    Refusal,
    StreamError,
    Text,
    Unknown,
    Usage,
)
from actors.providers.adapter import (
    Common,
    Event,
    as_count,
    as_dict,
    as_index,
    as_list,
    as_object,
    as_text,
    is_ping,
    odd,
    unknown,
    unknown_event,
)
from actors.providers.decode import read_responses
from actors.providers.error_shapes import error_delta, find_error
from actors.providers.responses_calls import ResponsesCalls
from actors.providers.responses_items import MESSAGE, REASONING, Item, Items, ids_of
from actors.providers.responses_tools import is_call
from actors.providers.told import DIFFERS
from actors.stop_reasons import StopReason, meaning_of

Make = type[Text | Refusal | Reasoning]

# Text that streams: the event's stem, the kind of its item, its channel, what it becomes, the field that numbers the
# part, and the field of the whole in its `.done`.
_TEXTS: dict[str, tuple[str, str, Make, str, str]] = {
    "response.output_text": (MESSAGE, "text", Text, "content_index", "text"),
    "response.text": (MESSAGE, "text", Text, "content_index", "text"),
    "response.refusal": (MESSAGE, "refusal", Refusal, "content_index", "refusal"),
    "response.audio.transcript": (MESSAGE, "text", Text, "content_index", "transcript"),
    "response.audio_transcript": (MESSAGE, "text", Text, "content_index", "transcript"),
    "response.output_audio_transcript": (MESSAGE, "text", Text, "content_index", "transcript"),
    "response.reasoning_text": (REASONING, "reasoning", Reasoning, "content_index", "text"),
    "response.reasoning": (REASONING, "reasoning", Reasoning, "content_index", "text"),
    "response.reasoning_summary_text": (REASONING, "summary", Reasoning, "summary_index", "text"),
    "response.reasoning_summary": (REASONING, "summary", Reasoning, "summary_index", "text"),
}
_TEXT_DELTAS = {f"{stem}.delta": (kind, channel, make) for stem, (kind, channel, make, _, _) in _TEXTS.items()}
# Parts: the type, its channel, what it becomes, and its text.
_PARTS: dict[str, tuple[str, Make, str]] = {
    "output_text": ("text", Text, "text"),
    "text": ("text", Text, "text"),
    "output_audio": ("text", Text, "transcript"),
    "audio": ("text", Text, "transcript"),
    "refusal": ("refusal", Refusal, "refusal"),
    "reasoning_text": ("reasoning", Reasoning, "text"),
    "summary_text": ("summary", Reasoning, "text"),
}
_ARGUMENTS = {
    "response.function_call_arguments": "arguments",
    "response.custom_tool_call_input": "input",
    "response.mcp_call_arguments": "arguments",
}
_TERMINALS = frozenset(
    {"response.completed", "response.done", "response.incomplete", "response.failed", "response.cancelled"}
)
_PART_STEMS = frozenset({"response.content_part", "response.reasoning_part", "response.reasoning_summary_part"})
_GOOD_ENDINGS = frozenset({"completed", "done"})

# Progress of what the item's end tells in full, sound, pictures, and keepalives.
_PASSED_OVER = frozenset(
    {
        "response.audio.delta",
        "response.audio.done",
        "response.code_interpreter_call_code.done",
        "response.image_generation_call.partial_image",
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.output_text.annotation.added",
        "response.output_text_annotation.added",
        "response.shell_call_command.added",
        "response.shell_call_command.delta",
        "response.shell_call_command.done",
        "response.shell_call_output_content.delta",
        "response.shell_call_output_content.done",
    }
)
_PROGRESS = frozenset({"in_progress", "searching", "interpreting", "generating", "completed", "failed", "incomplete"})


class OpenAIResponsesAdapter:
    """Reads Responses events. Keeps the items and what they have told."""

    __slots__ = ("_calls", "_has_error", "_items", "_model")

    def __init__(self) -> None:
        self._items = Items()
        self._has_error = False
        self._model: str | None = None
        self._calls = ResponsesCalls(self._items)

    def common(self, payload: bytes) -> Common:
        """Return the deltas of a piece of text or arguments whose item is known; None for any other payload."""
        event = read_responses(payload)
        if event is None or not event.delta or not event.item_id:
            return None
        text, known = event.delta, _TEXT_DELTAS.get(event.type)
        if known is None:
            is_arguments = event.type == "response.function_call_arguments.delta"
            return self._calls.piece(event.item_id, text) if is_arguments else None
        item = self._items.by_id(known[0], event.item_id)
        if item is None or item.is_done or item.given:
            return None
        item.of(known[1]).add(text)
        return text if known[2] is Text else [known[2](text)]

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
            self._calls.arguments(_ARGUMENTS[stem], ending, event, out)
        elif stem == "response.output_item":
            self._item(ending, event, event.get("item"), out)
        elif stem in _PART_STEMS:
            self._part(stem, ending, event, out)
        elif kind == "response.code_interpreter_call_code.delta":
            self._calls.code(event, out)
        elif kind not in _PASSED_OVER:
            self._response_event(kind, event, out)
        return out

    def close(self) -> list[Delta]:
        """Return the calls whose name never came; a call whose item was cut off stays without its end."""
        out: list[Delta] = []
        self._show_given(out)
        self._calls.show_hidden(out)
        return out

    def _show_given(self, out: list[Delta]) -> None:
        """Let out the texts that stood in the starts of messages and never came again."""
        for row in self._items.rows:
            if row.kind == MESSAGE and row.given:
                _take_given(row, None, out)

    # --- the response ---------------------------------------------------------------------------

    def _untyped(self, event: Event, out: list[Delta]) -> None:
        if event.get("object") == "response":  # a body that was not streamed
            self._begin(as_dict(event), out)
            self._end(as_dict(event), "completed", out)
        elif not is_ping(event):
            self._error_or_unknown(event, out)

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
            self._error(find_error(event) or error_delta(event), out)
        elif not is_ping(event) and not (kind.startswith("response.") and kind.rpartition(".")[2] in _PROGRESS):
            self._error_or_unknown(event, out)

    def _error_or_unknown(self, event: Event, out: list[Delta]) -> None:
        error = find_error(event)
        if error is None:
            out.append(unknown_event(event))
        else:
            self._error(error, out)

    def _begin(self, response: dict[str, Any], out: list[Delta]) -> None:
        self._items.clear()
        self._calls.clear()
        self._has_error = False
        self._take_model(response, out)

    def _take_model(self, response: dict[str, Any], out: list[Delta]) -> None:
        model = as_text(response.get("model"))
        if model is not None and model != self._model:
            self._model = model
            out.append(Model(model))

    def _error(self, error: StreamError, out: list[Delta]) -> None:
        # `error` is followed by `response.failed` with the same words.
        if not self._has_error:
            self._has_error = True
            out.append(error)

    def _end(self, response: dict[str, Any], ending: str, out: list[Delta]) -> None:
        for place, item in enumerate(as_list(response.get("output"))):
            self._item("again" if self._items.rows else "done", {"output_index": place}, item, out)
        self._show_given(out)
        self._calls.show_hidden(out)
        if response.get("error"):
            self._error(error_delta(response["error"]), out)
        _usage(as_dict(response.get("usage")), out)
        out.append(_finish(response, ending))
        out.append(Done())

    # --- text -----------------------------------------------------------------------------------

    def _text(self, stem: str, ending: str, event: Event, out: list[Delta]) -> None:
        kind, channel, make, field, whole_field = _TEXTS[stem]
        text = event.get("delta" if ending == "delta" else whole_field)
        if not text:
            return
        if not isinstance(text, str):
            out.append(odd(stem, text))
        elif ending == "delta":
            item = self._items.by_id(kind, event.get("item_id"))
            if item is None or item.is_done:
                item = self._items.find(kind, event) or self._begin_implicit(kind, event, out)
            if item.given:
                _take_given(item, text, out)
            item.of(channel).add(text)
            out.append(make(text))
        else:
            self._whole_part(kind, channel, make, as_index(event.get(field)) or 0, text, event, out)

    def _part(self, stem: str, ending: str, event: Event, out: list[Delta]) -> None:
        is_summary = "summary" in stem
        number = as_index(event.get("summary_index" if is_summary else "content_index")) or 0
        part = as_dict(event.get("part"))
        found = _PARTS.get(part.get("type")) if isinstance(part.get("type"), str) else None  # type: ignore[arg-type]
        if ending == "added":
            if number:
                out.append(BlockBoundary())
            self._part_begins(event, part)
        elif ending == "done" and found is not None:
            channel, make, field = found
            text = as_text(part.get(field))
            if text is not None:
                kind = REASONING if make is Reasoning else MESSAGE
                self._whole_part(kind, channel, make, number, text, event, out)

    def _part_begins(self, event: Event, part: dict[str, Any]) -> None:
        text = as_text(part.get("text"))
        if text is not None and part.get("type") == "output_text":
            item = self._items.find(MESSAGE, event)
            if item is not None:
                item.given = text

    def _whole_part(
        self, kind: str, channel: str, make: Make, number: int, text: str, event: Event, out: list[Delta]
    ) -> None:
        """Tell what a part's whole has beyond its deltas."""
        items = self._items
        item = items.by_id(kind, event.get("item_id"))
        is_by_id = item is not None
        if item is None:
            item = items.find(kind, event, is_whole=True)
        start = 0 if item is None else item.starts.get(channel, 0)
        if item is None or not item.of(channel).text[start:]:
            if items.repeated(kind, text, item, ids_of(event), only_implicit=is_by_id) is not None:
                return
            if item is not None and any(told.text.endswith(text) for told in item.told.values()):
                return  # its `.done` once more, or the same in the other channel
        if item is None:
            item = self._begin_implicit(kind, event, out)
        told = item.of(channel)
        item.given = ""
        rest = told.rest_of(text, start)
        if rest:
            told.add(rest)
            out.append(make(rest))
        elif rest is None and text not in told.text:
            out.append(Unknown(DIFFERS))
        item.starts[channel] = len(told.text)
        item.done_parts.add((channel, number))

    def _begin_implicit(self, kind: str, event: Event, out: list[Delta]) -> Item:
        """Return an item for an event that belongs to none: its start never came."""
        if self._items.rows:
            out.append(BlockBoundary())
        return self._items.begin(kind, event, None, is_implicit=True)

    # --- items ----------------------------------------------------------------------------------

    def _item(self, ending: str, event: Event, item: object, out: list[Delta]) -> None:
        """Take an item at its start (added), at its end (done), or in the response's whole (again)."""
        if not isinstance(item, dict):
            out.append(odd("output item", item))
            return
        kind = item.get("type")
        if ending not in ("added", "done", "again"):
            out.append(unknown_event(event))
        elif kind in (MESSAGE, REASONING):
            if ending == "added":
                self._begin_block(str(kind), event, item, out)
            else:
                self._block_done(str(kind), ending, event, item, out)
        elif is_call(kind):
            if ending == "added":
                self._calls.added(event, item, out)
            else:
                self._calls.done(ending, event, item, out)
        elif ending == "done" and isinstance(kind, str) and kind.endswith("_output"):
            self._calls.output(item, out)
        elif ending == "done":
            out.append(unknown("output item", kind))

    def _begin_block(self, kind: str, event: Event, item: dict[str, Any], out: list[Delta]) -> None:
        known = self._items.by_id(kind, item.get("id"))
        if known is not None and not known.is_done:
            return  # told twice that it begins
        out.append(BlockBoundary())
        row = self._items.begin(kind, event, item, is_implicit=False)
        if kind == MESSAGE and item.get("content"):
            texts = [as_text(as_dict(part).get("text")) or "" for part in _parts_of(item["content"])]
            row.given = "".join(texts)

    def _block_done(self, kind: str, ending: str, event: Event, item: dict[str, Any], out: list[Delta]) -> None:
        parts: dict[str, list[tuple[Make, str]]] = {}
        for part in [*as_list(item.get("summary")), *_parts_of(item.get("content"))]:
            part_type = as_dict(part).get("type")
            found = _PARTS.get(part_type) if isinstance(part_type, str) else None
            if found is None:
                if ending == "done":
                    out.append(unknown("content part", part_type))
                continue
            channel, make, field = found
            text = as_text(part.get(field))
            if text is not None:
                parts.setdefault(channel, []).append((make, text))
        whole = "".join(text for texts in parts.values() for _, text in texts)
        row, is_new = self._items.of_whole(kind, ending, event, item, whole)
        if is_new and ending == "again" and whole:
            out.append(BlockBoundary())
        if whole:
            row.given = ""
        for channel, texts in parts.items():
            _tell_parts(row, channel, texts, out)
        row.is_done = True
        signature = as_text(item.get("encrypted_content")) or as_text(item.get("signature"))
        if signature is not None and kind == REASONING and row.signature != signature:
            row.signature = signature
            out.append(ReasoningSignature(signature))


def _take_given(item: Item, text: str | None, out: list[Delta]) -> None:
    """Tell the text that stood in a message's start, unless the first delta (None: none came) begins to repeat it."""
    given, item.given = item.given, ""
    told = item.of("text")
    is_repeated = given.strip() in told.text if text is None else given.startswith(text) or text.startswith(given)
    if not is_repeated:
        told.add(given)
        out.append(Text(given))


def _parts_of(content: object) -> list[Any]:
    """Return an item's content as parts; some servers put plain text there."""
    if isinstance(content, str):
        return [{"type": "output_text", "text": content}]
    return as_list(content)


def _tell_parts(row: Item, channel: str, texts: list[tuple[Make, str]], out: list[Delta]) -> None:
    """Tell what the parts of a whole item have beyond what the item has told in their channel."""
    told = row.of(channel)
    whole = "".join(text for _, text in texts)
    if not told.text and any(other.text == whole for other in row.told.values()):
        return  # the same, told in the other channel
    rest = told.rest_of(whole)
    if rest is None:
        if whole.strip() not in told.text:
            out.append(Unknown(DIFFERS))
        return
    told.add(rest)
    skip = len(whole) - len(rest)
    for make, text in texts:
        if skip < len(text):
            out.append(make(text[skip:]))
        skip = max(0, skip - len(text))


def _finish(response: dict[str, Any], ending: str) -> Finish:
    """Return why a response ended: the worse of its status and its event's name, with what it explains."""
    status = as_text(response.get("status"))
    if status is None or ending not in _GOOD_ENDINGS or status in ("in_progress", "queued"):
        status = "completed" if ending == "done" else ending
    details = response.get("incomplete_details") or response.get("status_details")
    reason = as_text(details) or as_text(as_dict(details).get("reason"))
    meaning: StopReason | None = None
    if status == "incomplete":
        meaning = (meaning_of(reason) if reason is not None else None) or StopReason.INCOMPLETE
    return Finish(status, detail=reason, meaning=meaning)


def _usage(usage: dict[str, Any], out: list[Delta]) -> None:
    prompt, completion = as_count(usage.get("input_tokens")), as_count(usage.get("output_tokens"))
    total = as_count(usage.get("total_tokens"))
    if prompt is None and completion is None and total is None:
        return
    cached = as_count(as_dict(usage.get("input_tokens_details")).get("cached_tokens"))
    reasoning = as_count(as_dict(usage.get("output_tokens_details")).get("reasoning_tokens"))
    out.append(Usage(prompt, completion, total, cached, reasoning))
