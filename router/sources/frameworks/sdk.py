"""Streams of the providers' own SDKs, and whatever else yields a provider's events one by one.

Bytes, text, mappings and plain SDK objects are chunks already. Three SDKs need a little more:

- openai's `chat.completions.stream()` wraps each chunk (`type: chunk`) and adds events made from it; its
  `responses.stream()` adds `snapshot` and `parsed` to the events, all that was said so far in each of them.
- anthropic's `messages.stream()` adds events made from the raw ones (`text`, `input_json`, ...), and puts the whole
  block and the whole message into the last ones.
- google-genai's objects have Python's spelling; on the wire it is another, and so is the alphabet of base64.
"""

from __future__ import annotations

from typing import Any

from router.sources.frameworks.instructions import Instruction, SendChunk

_ANTHROPIC_MADE = frozenset({"text", "input_json", "thinking", "signature", "citation", "compaction"})
_ANTHROPIC_WHOLE = {"message_stop": "message", "content_block_stop": "content_block"}
_OPENAI_MADE = ("snapshot", "parsed")
_GOOGLE_LEFT_OUT = {"sdk_http_response", "automatic_function_calling_history", "parsed"}
_TO_STANDARD = str.maketrans("-_", "+/")


class Chunks:
    """Passes everything on as a chunk."""

    provider: str | None = None
    result = None

    def feed(self, event: Any) -> list[Instruction]:
        """Return the event as a chunk."""
        return [SendChunk(event)]

    def close(self) -> list[Instruction]:
        """Return nothing: nothing is held back."""
        return []


class OpenAIHelper(Chunks):
    """Events of openai's `chat.completions.stream()` and `responses.stream()`."""

    def feed(self, event: Any) -> list[Instruction]:
        """Return the chunk in the event, or the event without what was made of earlier ones."""
        kind = str(getattr(event, "type", ""))
        if kind == "chunk":
            return [SendChunk(event.chunk)]
        if not kind.startswith("response."):
            return []
        return [SendChunk(_without(event, _OPENAI_MADE))] if hasattr(event, "snapshot") else [SendChunk(event)]


class AnthropicHelper(Chunks):
    """Events of anthropic's `messages.stream()`."""

    def feed(self, event: Any) -> list[Instruction]:
        """Return the raw events."""
        kind = str(getattr(event, "type", ""))
        if kind in _ANTHROPIC_MADE:
            return []
        whole = _ANTHROPIC_WHOLE.get(kind)
        return [SendChunk(event if whole is None else _without(event, (whole,)))]


class Google(Chunks):
    """google-genai's `GenerateContentResponse`s."""

    def feed(self, event: Any) -> list[Instruction]:
        """Return the response as it is on the wire."""
        body = event.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=_GOOGLE_LEFT_OUT)
        for candidate in body.get("candidates", ()):
            for part in (candidate.get("content") or {}).get("parts") or ():
                signature = part.get("thoughtSignature")
                if isinstance(signature, str):
                    part["thoughtSignature"] = signature.translate(_TO_STANDARD)
        return [SendChunk(body)]


def _without(event: Any, keys: tuple[str, ...]) -> dict[str, Any]:
    body: dict[str, Any] = event.model_dump(mode="json", exclude_unset=True, warnings=False, exclude=set(keys))
    return body
