"""Gemini `streamGenerateContent`, of the Gemini API and of Vertex AI.

The shape, from the public API reference ("GenerateContentResponse"): every event is a whole response
with what is new in `candidates[]` (`index`, `content.parts[]`, `finishReason`) and `usageMetadata` so
far. There are no ids, no starts and no ends; what a part is shows in the field it has:

- `text`; with `thought: true` it is a summary of the model's reasoning.
- `thoughtSignature` on any part, also on an empty text or a function call: the signature of what the
  model thought up to there. On a call it is the call's, since it has to go back with it; else the reasoning's.
- `functionCall` (`name`, `args`, rarely `id`): a call, whole. It gets an index of its own, counted
  through the stream, and an id of ours where it has none. A call whose
  id came before is told again. On Vertex the arguments may stream: a start with `willContinue`, parts with
  `partialArgs[]` (see `gemini_args.py`) and no name, and at last an empty `functionCall`.
- `executableCode` and `codeExecutionResult`: code that the provider runs itself, and what came of it;
  `toolCall` and `toolResponse`: the same for its other tools. An id is made up where there is none.
- `inlineData`, `fileData` have no message form; they are named, to be counted.

`groundingMetadata`, `urlContextMetadata`, `citationMetadata` and safety ratings are passed over.
`promptFeedback.blockReason` is a finish, and means a content filter whatever its word: the prompt was refused.

Usage: the prompt is `promptTokenCount` and `toolUsePromptTokenCount`; the completion is
`candidatesTokenCount` and `thoughtsTokenCount`, which Gemini counts apart.
"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from actors.deltas import (
    Delta,
    Finish,
    Model,
    Reasoning,
    ReasoningSignature,
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
from actors.providers.decode import read_gemini
from actors.providers.error_shapes import find_error
from actors.providers.gemini_args import PartialArguments
from actors.stop_reasons import StopReason, says_nothing

_KNOWN = frozenset({"createTime", "error", "modelVersion", "promptFeedback", "responseId", "usageMetadata"})
# The numbers of finish reasons that the Gemini API and Vertex have in common, for servers that send those.
_REASONS = {"0": "UNSPECIFIED", "1": "STOP", "2": "MAX_TOKENS", "3": "SAFETY", "4": "RECITATION", "5": "OTHER"}
_COUNTS = (
    "promptTokenCount",
    "toolUsePromptTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "totalTokenCount",
    "cachedContentTokenCount",
)
# What a part says of its text, and nothing that has a message of its own.
_ASIDES = frozenset({"partMetadata", "text", "thought", "thoughtSignature", "thought_signature", "videoMetadata"})


class _Call:
    """A function call whose arguments are streaming. Without an id of the provider's it is known by its index."""

    __slots__ = ("arguments", "id", "index")

    def __init__(self, index: int, call_id: str | None) -> None:
        self.index = index
        self.id = call_id
        self.arguments = PartialArguments()


class GeminiAdapter:
    """Reads `streamGenerateContent` responses. Keeps the count of calls and the call whose arguments stream."""

    __slots__ = ("_call_count", "_call_ids", "_model", "_open", "_own_count", "_own_id", "_own_name")

    def __init__(self) -> None:
        self._call_count = 0
        self._call_ids: dict[tuple[int, str], None] = {}  # of whole calls, by candidate
        self._model: str | None = None
        self._open: dict[int, _Call] = {}  # by candidate
        # The latest call that the provider runs itself; the return that follows may not say whose it is.
        self._own_count = 0
        self._own_id: str | None = None
        self._own_name = "code_execution"

    def common(self, payload: bytes) -> Common:
        """Return the deltas of a response with one candidate; None for any other payload."""
        event = read_gemini(payload)
        if event is None or event.error is not UNSET:
            return None
        out: list[Delta] = []
        model = event.modelVersion
        if model != self._model and model:
            self._model = model
            out.append(Model(model))
        (candidate,) = event.candidates
        choice = (as_index(candidate.index) or 0) if candidate.index else 0
        content, reason = candidate.content, candidate.finishReason
        for part in (content and content.parts) or ():
            self._part(part, choice, out)
        if reason is not None:
            self._finish(as_word(reason), choice, candidate.finishMessage, out)
        usage = event.usageMetadata
        if usage is not None:
            _usage(
                out,
                usage.promptTokenCount,
                usage.toolUsePromptTokenCount,
                usage.candidatesTokenCount,
                usage.thoughtsTokenCount,
                usage.totalTokenCount,
                usage.cachedContentTokenCount,
            )
        return out

    def feed(self, event: Event) -> list[Delta]:
        """Return the deltas of one response. Raises MalformedChunk where it is no JSON object."""
        if event.__class__ is not dict:
            event = as_object(event)
        out: list[Delta] = []
        model = event.get("modelVersion")
        if model != self._model and model and isinstance(model, str):
            self._model = model
            out.append(Model(model))
        candidates = event.get("candidates")
        if isinstance(candidates, list):
            for candidate in candidates:
                if isinstance(candidate, dict):
                    self._candidate(candidate, out)
                else:
                    out.append(odd("candidate", candidate))
        elif candidates is not None:
            out.append(odd("candidates", candidates))
        elif not _KNOWN.intersection(event):
            self._other(event, out)
        if "promptFeedback" in event:
            _blocked(as_dict(event["promptFeedback"]), out)
        _usage(out, *map(as_dict(event.get("usageMetadata")).get, _COUNTS))
        if "error" in event:
            self._error(event, out)
        return out

    def _error(self, event: Event, out: list[Delta]) -> None:
        error = find_error(event)
        if error is not None:
            out.append(error)

    def _other(self, event: Event, out: list[Delta]) -> None:
        response = event.get("response")
        if isinstance(response, dict):
            out += self.feed(response)  # Code Assist puts each response into another object
        elif not is_ping(event):
            error = find_error(event)
            out.append(unknown_event(event) if error is None else error)

    def close(self) -> list[Delta]:
        """Close the JSON of a call whose arguments were still streaming."""
        out: list[Delta] = []
        for choice in list(self._open):
            self._end_call(choice, out)
        return out

    def _candidate(self, candidate: dict[str, Any], out: list[Delta]) -> None:
        choice = as_index(candidate.get("index")) or 0
        parts = as_dict(candidate.get("content")).get("parts")
        for part in parts if isinstance(parts, list) else [parts] if parts else ():
            if isinstance(part, dict):
                self._part(part, choice, out)
            else:
                out.append(odd("part", part))
        reason = candidate.get("finishReason")
        if reason is not None:
            self._finish(as_word(reason), choice, candidate.get("finishMessage"), out)

    def _finish(self, reason: str | None, choice: int, message: object, out: list[Delta]) -> None:
        reason = _REASONS.get(reason or "", reason)
        if reason is not None and not says_nothing(reason):
            self._end_call(choice, out)
            out.append(Finish(reason, choice, as_text(message)))

    def _part(self, part: dict[str, Any], choice: int, out: list[Delta]) -> None:
        text = part.get("text")
        if len(part) == 1 and text and text.__class__ is str:
            out.append(Text(text, choice))
            return
        if text and isinstance(text, str):
            out.append(Reasoning(text, choice) if part.get("thought") is True else Text(text, choice))
        signature = as_text(part.get("thoughtSignature")) or as_text(part.get("thought_signature"))
        if signature is not None and not isinstance(part.get("functionCall"), dict):
            out.append(ReasoningSignature(signature, choice))
            signature = None
        for field, value in part.items():
            if field in _ASIDES:
                continue
            if not isinstance(value, dict):
                out.append(odd(f"part {field}", value))
            elif field == "functionCall":
                self._function_call(value, choice, signature, out)
            elif field in ("executableCode", "toolCall"):
                self._own_call(value, choice, out)
            elif field in ("codeExecutionResult", "toolResponse"):
                self._own_return(value, choice, out)
            else:
                out.append(unknown("part", field))

    # --- function calls -------------------------------------------------------------------------

    def _function_call(self, function: dict[str, Any], choice: int, signature: str | None, out: list[Delta]) -> None:
        name, args = as_text(function.get("name")), function.get("args")
        pieces = as_list(function.get("partialArgs"))
        goes_on = function.get("willContinue") is True
        call = self._open.get(choice)
        if name is not None or call is None:
            if name is None and not args and not pieces:
                return  # the end of a call whose start never came
            self._end_call(choice, out)
            call_id = as_id(function.get("id"))
            if call_id is not None and (choice, call_id) in self._call_ids:
                return  # told again, as some servers do with all calls in their last event
            call = self._start_call(function, name, choice, out, is_whole=not goes_on and not pieces)
        elif args:
            self._give(call, call.arguments.whole(args), choice, out)
        if signature is not None:
            _sign(call, signature, choice, out)
        for piece in pieces:
            text = call.arguments.feed(piece) if isinstance(piece, dict) else None
            if text is None:
                out.append(Unknown("partial argument that fits nowhere"))
            else:
                self._give(call, text, choice, out)
        if not goes_on:
            self._end_call(choice, out)

    def _start_call(
        self, function: dict[str, Any], name: str | None, choice: int, out: list[Delta], *, is_whole: bool
    ) -> _Call:
        call = _Call(self._call_count, as_id(function.get("id")))
        self._call_count += 1
        remember(self._open, choice, call)
        if call.id is not None:
            remember(self._call_ids, (choice, call.id), None)
        args = function.get("args")
        text = call.arguments.whole(args or {}) if args or is_whole else None
        out.append(ToolCallPiece(call.index, call.id, name, text, choice, needs_id=call.id is None))
        return call

    def _give(self, call: _Call, text: str, choice: int, out: list[Delta]) -> None:
        if text:
            out.append(ToolCallPiece(call.index, call.id, None, text, choice))

    def _end_call(self, choice: int, out: list[Delta]) -> None:
        call = self._open.pop(choice, None)
        if call is not None:
            self._give(call, call.arguments.close(), choice, out)
            out.append(ToolCallEnd(call.index, call.id, choice))

    # --- what the provider runs itself ----------------------------------------------------------

    def _own_call(self, call: dict[str, Any], choice: int, out: list[Delta]) -> None:
        self._own_id = as_id(call.get("id")) or f"provider_call_{self._own_count}"
        self._own_count += 1
        if "toolType" in call:
            self._own_name = (as_text(call["toolType"]) or "tool").lower()
            arguments = as_json_text(call.get("args") or {})
        else:
            self._own_name = "code_execution"
            arguments = as_json_text({field: value for field, value in call.items() if field != "id"})
        out.append(ToolCallPiece(None, self._own_id, self._own_name, arguments, choice, provider_executed=True))
        out.append(ToolCallEnd(None, self._own_id, choice))

    def _own_return(self, result: dict[str, Any], choice: int, out: list[Delta]) -> None:
        call_id = as_id(result.get("id")) or self._own_id
        if call_id is None:
            out.append(Unknown("return of a tool that was not called"))
            return
        text = as_json_text(result.get("output") or result.get("response") or "")
        status = "success" if result.get("outcome", "OUTCOME_OK") == "OUTCOME_OK" else "error"
        name = self._own_name if call_id == self._own_id else None
        out.append(ToolReturn(call_id, text, name, status, choice))


def _sign(call: _Call, signature: str, choice: int, out: list[Delta]) -> None:
    """Put a signature on the piece with which its call begins, else on one of its own."""
    last = out[-1] if out else None
    if isinstance(last, ToolCallPiece) and last.index == call.index and last.name is not None:
        last.signature = signature
    else:
        out.append(ToolCallPiece(call.index, call.id, None, None, choice, signature=signature))


def _blocked(feedback: dict[str, Any], out: list[Delta]) -> None:
    reason = as_word(feedback.get("blockReason"))
    if reason is not None and not says_nothing(reason):
        detail = as_text(feedback.get("blockReasonMessage"))
        out.append(Finish(reason, detail=detail, meaning=StopReason.CONTENT_FILTER))


def _usage(
    out: list[Delta],
    prompt: object,
    tools: object,
    candidates: object,
    thoughts: object,
    total: object,
    cached: object,
) -> None:
    thought = as_count(thoughts)
    prompt_sum, completion = _sum(as_count(prompt), as_count(tools)), _sum(as_count(candidates), thought)
    total_count = as_count(total)
    if prompt_sum is not None or completion is not None or total_count is not None:
        out.append(Usage(prompt_sum, completion, total_count, as_count(cached), thought))


def _sum(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else one + other
