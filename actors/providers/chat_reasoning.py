"""What a delta of OpenAI chat's dialects says of the model's reasoning, and of its signatures.

The text of reasoning is often sent twice or thrice in one delta; it is taken from one place only, the first of
`TEXT_KEYS`, `reasoning_details`, `thinking_blocks` and LiteLLM's `provider_specific_fields` that has it. Signatures are
taken from wherever they are, each once:

- `signature` of a detail, a block or the delta; `reasoning_content_signature` (Letta); `reasoning_opaque` (Copilot);
  `encrypted_content` (xAI);
- `reasoning.encrypted` (OpenRouter): with the id of a tool call it belongs to that call, else to the reasoning;
- `extra_content.google.thought_signature` (Gemini's compatible API), `thought_signature(s)` in LiteLLM's
  `provider_specific_fields`: on a tool call they are the call's (`signature_of_call`).
"""

from __future__ import annotations

from typing import Any

from actors.deltas import Delta, Reasoning, ReasoningSignature, RedactedReasoning, ToolCallPiece
from actors.providers.adapter import as_dict, as_list, as_text, odd, unknown

# In the order in which they are believed.
TEXT_KEYS = (
    "reasoning_content",
    "reasoning",
    "reasoning_text",
    "thinking_content",
    "thinking",
    "thoughts",
    "thought",
    "reasoning_summary",
)
_SIGNATURE_KEYS = (
    "reasoning_content_signature",
    "reasoning_opaque",
    "reasoning_signature",
    "thought_signature",
    "signature",
    "encrypted_content",
)
_CALL_SIGNATURE_KEYS = ("thought_signature", "thoughtSignature", "signature")
_SIGNED = frozenset({*_SIGNATURE_KEYS, "extra_content"})
_CALL_SIGNED = frozenset({*_CALL_SIGNATURE_KEYS, "extra_content", "provider_specific_fields"})
_PART_TEXTS = ("text", "thinking", "content", "summary", "reasoning")
HANDLED = frozenset(
    {
        *TEXT_KEYS,
        *_SIGNATURE_KEYS,
        "extra_content",
        "provider_specific_fields",
        "reasoning_details",
        "redacted_reasoning_content",
        "thinking_blocks",
    }
)
# Ids that gateways give to tool calls; what is signed under another id is reasoning.
_CALL_IDS = ("call", "tool", "function", "fc_")


def read_reasoning(reasoning: object, delta: dict[str, Any], keys: list[str], index: int, out: list[Delta]) -> None:
    """Read all that a delta says of reasoning.

    `reasoning` is its text where the caller has found it already; `keys` are the others that have a value.
    """
    if not reasoning:
        reasoning = next((delta[key] for key in TEXT_KEYS if key in keys), None)
        if reasoning is True:
            reasoning = None  # a flag: the content is a thought (see `is_thought`)
    if isinstance(reasoning, str):
        out.append(Reasoning(reasoning, index))
    elif reasoning:
        read_thinking(reasoning, index, out)
    if not HANDLED.isdisjoint(keys):
        _read_places(delta, keys, index, out, is_taken=bool(reasoning))


def _read_places(delta: dict[str, Any], keys: list[str], index: int, out: list[Delta], *, is_taken: bool) -> None:
    """Read the other places of reasoning and of signatures. `is_taken`: its text has been taken already."""
    extra = as_dict(delta.get("provider_specific_fields"))
    for key, read in _BLOCKS:
        if key in keys or key in extra:
            is_taken = _blocks(key, delta.get(key) or extra.get(key), read, index, out, is_taken=is_taken)
    if not is_taken and extra:
        text = next((as_text(extra.get(key)) for key in TEXT_KEYS if as_text(extra.get(key))), None)
        if text is not None:
            out.append(Reasoning(text, index))
    if extra or not _SIGNED.isdisjoint(keys):
        _signatures(delta, extra, index, out)
    redacted = as_text(delta.get("redacted_reasoning_content"))
    if redacted is not None:
        out.append(RedactedReasoning(redacted, index))


def read_thinking(value: object, index: int, out: list[Delta]) -> None:
    """Read reasoning that is a string, a part or a list of parts, with the signature some parts bear."""
    for part in value if isinstance(value, list) else [value]:
        if isinstance(part, str):
            if part:
                out.append(Reasoning(part, index))
            continue
        text = part.get("text") if isinstance(part, dict) and "signature" not in part else None
        if isinstance(text, str):
            # What nearly all parts are.
            if text:
                out.append(Reasoning(text, index))
            continue
        field = next((key for key in (*_PART_TEXTS, "signature") if isinstance(part, dict) and key in part), None)
        if field is None or not isinstance(part, dict):
            out.append(odd("reasoning", part))
        elif isinstance(part[field], list):
            read_thinking(part[field], index, out)
        else:
            _text_and_signature(part, field, index, out)


def is_thought(delta: dict[str, Any]) -> bool:
    """Tell whether a delta's content is a thought, as Gemini's compatible API says it."""
    return (
        as_dict(as_dict(delta.get("extra_content")).get("google")).get("thought") is True
        or delta.get("thought") is True
    )


def signature_of_call(call: dict[str, Any], function: dict[str, Any]) -> str | None:
    """Return the signature that a tool call bears, wherever its server puts it."""
    if _CALL_SIGNED.isdisjoint(call) and _CALL_SIGNED.isdisjoint(function):
        return None
    for holder in (call, function):
        google = as_dict(as_dict(holder.get("extra_content")).get("google"))
        for place in (google, as_dict(holder.get("provider_specific_fields")), holder):
            for key in _CALL_SIGNATURE_KEYS:
                signature = as_text(place.get(key))
                if signature is not None:
                    return signature
    return None


def is_id_of_call(call_id: str) -> bool:
    """Tell whether an id looks like that of a tool call."""
    return call_id.startswith(_CALL_IDS)


def _blocks(key: str, blocks: object, read: Any, index: int, out: list[Delta], *, is_taken: bool) -> bool:
    found: list[Delta] = []
    for block in blocks if isinstance(blocks, list) else [blocks] if blocks else ():
        if isinstance(block, dict):
            read(block, index, found)
        else:
            found.append(odd(f"delta.{key}", block))
    out.extend(piece for piece in found if not (is_taken and isinstance(piece, Reasoning)))
    return is_taken or any(isinstance(piece, Reasoning) for piece in found)


def _reasoning_detail(detail: dict[str, Any], index: int, out: list[Delta]) -> None:
    kind = detail.get("type")
    field = _DETAIL_TEXTS.get(kind) if isinstance(kind, str) else None
    if field is not None:
        _text_and_signature(detail, field, index, out)
    elif kind == "reasoning.encrypted":
        encrypted, call_id = as_text(detail.get("data")), as_text(detail.get("id"))
        if encrypted is None:
            return
        if call_id is not None and is_id_of_call(call_id):
            out.append(ToolCallPiece(None, call_id, None, None, index, signature=encrypted))
        else:
            out.append(ReasoningSignature(encrypted, index))
    else:
        out.append(unknown("reasoning detail", kind))


def _thinking_block(block: dict[str, Any], index: int, out: list[Delta]) -> None:
    if block.get("type") == "redacted_thinking":
        out.append(RedactedReasoning(as_text(block.get("data")), index))
    else:
        _text_and_signature(block, "thinking", index, out)


_BLOCKS = (("reasoning_details", _reasoning_detail), ("thinking_blocks", _thinking_block))
_DETAIL_TEXTS = {"reasoning.text": "text", "reasoning.summary": "summary"}


def _signatures(delta: dict[str, Any], extra: dict[str, Any], index: int, out: list[Delta]) -> None:
    google = as_dict(as_dict(delta.get("extra_content")).get("google"))
    found = [as_text(delta.get(key)) for key in _SIGNATURE_KEYS]
    found += [as_text(place.get(key)) for place in (google, extra) for key in _CALL_SIGNATURE_KEYS]
    found += [as_text(signature) for signature in as_list(extra.get("thought_signatures"))]
    known = {piece.signature for piece in out if isinstance(piece, ReasoningSignature)}
    for signature in found:
        if signature is not None and signature not in known:
            known.add(signature)
            out.append(ReasoningSignature(signature, index))


def _text_and_signature(part: dict[str, Any], field: str, index: int, out: list[Delta]) -> None:
    text = None if field == "signature" else as_text(part.get(field))
    if text is not None:
        out.append(Reasoning(text, index))
    signature = as_text(part.get("signature"))
    if signature is not None:
        out.append(ReasoningSignature(signature, index))
