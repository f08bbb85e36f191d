"""Content that is no plain text, tool calls, finish and usage of OpenAI chat and its dialects."""

from __future__ import annotations

from typing import Any

from actors.deltas import (
    Delta,
    Finish,
    Reasoning,
    ReasoningSignature,
    Refusal,
    Text,
    ToolCallPiece,
    Usage,
)
from actors.providers.adapter import (
    Event,
    as_count,
    as_dict,
    as_id,
    as_index,
    as_json_text,
    as_text,
    as_word,
    odd,
    unknown,
)
from actors.providers.chat_reasoning import read_thinking, signature_of_call
from actors.providers.error_shapes import error_delta
from actors.providers.told import PIECES_MAX, Said
from actors.stop_reasons import StopReason, meaning_of, says_nothing

_THOUGHT, _THOUGHT_END = "<thought>", "</thought>"
_BARE_KEYS = 2  # of a piece of a call: `index`, `function`; from some also `type` or an empty `id`
_ENDS = frozenset({StopReason.END_TURN, StopReason.TOOL_CALL, None})
_DETAILS = ("finish_message", "finishMessage", "stop_details", "stopping_word", "stop_sequence", "matched_stop")

_EXPLAINING = frozenset({*_DETAILS, "stop_reason", "native_finish_reason", "content_filter_results"})


# --- content ------------------------------------------------------------------------------------


def read_parts(content: object, index: int, out: list[Delta]) -> None:
    """Read content that is a part or a list of parts."""
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, dict):
            _content_part(part, index, out)
        elif isinstance(part, str):
            _content_part({"type": "text", "text": part}, index, out)
        else:
            out.append(odd("content part", part))


def read_thought(content: object, index: int, out: list[Delta]) -> None:
    """Read content that is marked as a thought; Gemini's compatible API puts it into tags besides."""
    if not isinstance(content, str):
        read_parts(content, index, out)
        return
    before, _, after = content.removeprefix(_THOUGHT).partition(_THOUGHT_END)
    if before:
        out.append(Reasoning(before, index))
    if after:
        out.append(Text(after, index))


def read_audio(audio: object, index: int, out: list[Delta]) -> None:
    """Read the transcript of audio, which is what the assistant says; the sound itself has no message form."""
    transcript = as_text(as_dict(audio).get("transcript"))
    if transcript is not None:
        out.append(Text(transcript, index))


def _content_part(part: dict[str, Any], index: int, out: list[Delta]) -> None:
    kind = part.get("type")
    if kind in ("text", "output_text") or (kind is None and "text" in part):
        text = as_text(part.get("text"))
        if text is not None:
            out.append(Text(text, index))
    elif kind == "refusal":
        refusal = as_text(part.get("refusal"))
        if refusal is not None:
            out.append(Refusal(refusal, index))
    elif kind in ("thinking", "reasoning", "reasoning_text"):
        # Mistral's field is `thinking`, Databricks's `summary`; each a list of parts, or plain text.
        read_thinking(part.get("thinking") or part.get("summary") or part.get("text") or "", index, out)
        signature = as_text(part.get("signature"))
        if signature is not None:
            out.append(ReasoningSignature(signature, index))
    elif kind in ("audio", "output_audio"):
        read_audio(part.get("audio") or part, index, out)
    elif kind not in ("reference", "tool_reference"):
        out.append(unknown("content part", kind))


# --- tool calls ---------------------------------------------------------------------------------


def read_tool_calls(calls: object, choice: int, said: Said, out: list[Delta]) -> None:
    """Read the pieces of tool calls. Whose piece a piece is, is not decided here."""
    for call in calls if calls.__class__ is list else [calls]:
        if call.__class__ is not dict:
            out.append(odd("tool call", call))
            continue
        function = call.get("function")
        index = call.get("index")
        known = said.by_index.get(index) if index.__class__ is int else None
        is_common = (
            known is not None
            and function.__class__ is dict
            and len(function) == 1
            and (len(call) == _BARE_KEYS or _is_bare(call))
        )
        arguments = function.get("arguments") if function is not None and is_common else None
        if known is None or arguments.__class__ is not str:
            _tool_call(call, choice, said, out)
            continue
        # The common case: one more piece of arguments, and no more.
        if arguments:
            out.append(ToolCallPiece(index, None, None, arguments, choice))
            pieces = known.pieces
            pieces.append(arguments)
            if len(pieces) > PIECES_MAX:
                known.compact()


def _is_bare(call: dict[str, Any]) -> bool:
    return len(call) == _BARE_KEYS + 1 and ("type" in call or ("id" in call and not call["id"]))


def _tool_call(call: dict[str, Any], choice: int, said: Said, out: list[Delta]) -> None:
    call_id = as_id(call.get("id"))
    function = call.get("function")
    if not isinstance(function, dict):
        function = _function_elsewhere(call)
    start = len(out)
    read_function(function, as_index(call.get("index")), call_id, choice, out, signature_of_call(call, function))
    said.take(out[start:])


def read_function(
    function: dict[str, Any],
    index: int | None,
    call_id: str | None,
    choice: int,
    out: list[Delta],
    signature: str | None = None,
) -> None:
    """Read name and arguments of a call."""
    name = function.get("name") or None
    if name is not None and name.__class__ is not str:
        out.append(odd("tool name", name))
        name = None
    arguments = function.get("arguments")
    if arguments is not None and arguments.__class__ is not str:
        arguments = as_json_text(arguments)
    if call_id is None and name is None and not arguments and signature is None:
        return
    out.append(ToolCallPiece(index, call_id, name, arguments, choice, signature=signature))


def _function_elsewhere(call: dict[str, Any]) -> dict[str, Any]:
    """Find name and arguments of a call without `function`: a custom tool, or a level left out."""
    custom = call.get("custom")
    if isinstance(custom, dict):
        return {"name": custom.get("name"), "arguments": custom.get("input")}
    return call


# --- the end ------------------------------------------------------------------------------------


def read_finish(choice: dict[str, Any], index: int, event: Event, out: list[Delta]) -> None:
    """Read why a choice ended, in the provider's word, and what it explains."""
    reason = as_word(choice["finish_reason"])
    if reason is None:
        out.append(odd("finish_reason", choice["finish_reason"]))
        return
    if says_nothing(reason):
        return
    out.append(Finish(reason, index, _finish_detail(choice, reason)))
    if "output_tokens" in event:
        tokens = as_count(event["output_tokens"])
        if tokens:
            out.append(Usage(completion_tokens=tokens))


def _finish_detail(choice: dict[str, Any], reason: str) -> str | None:
    if _EXPLAINING.isdisjoint(choice):
        return None
    for key in _DETAILS:
        value = choice.get(key)
        if value:
            return error_delta(value).text
    stop = choice.get("stop_reason")
    if isinstance(stop, str) and stop and stop != reason and meaning_of(stop) is None:
        return stop  # vLLM: the caller's stop string that was met
    native = as_text(choice.get("native_finish_reason"))
    if native is not None and native != reason and meaning_of(native) not in _ENDS:
        return native  # OpenRouter: the upstream's own word, where it says more than its own does
    return _filtered(as_dict(choice.get("content_filter_results")))


def _filtered(results: dict[str, Any]) -> str | None:
    """Return what Azure's content filter found; None where it filtered nothing."""
    found = [
        f"{name}: {as_text(result.get('severity')) or 'filtered'}"
        for name, result in results.items()
        if isinstance(result, dict) and result.get("filtered") is True
    ]
    return ", ".join(found) or None


def read_usage(usage: object, out: list[Delta]) -> None:
    """Read token counts, in the words of OpenAI or, from some gateways, of Anthropic."""
    if not isinstance(usage, dict) or not usage:
        return
    prompt, completion = as_count(usage.get("prompt_tokens")), as_count(usage.get("completion_tokens"))
    if prompt is None:
        prompt = as_count(usage.get("input_tokens"))
    if completion is None:
        completion = as_count(usage.get("output_tokens"))
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
