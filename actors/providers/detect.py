"""Whose events these are, told by their shape.

Every provider marks its events in some way that no other does; only an error may look the same
everywhere, and so may a keepalive. So an error that comes before anything else is passed on as what it is, a
keepalive is passed over, an event that looks like nobody's is counted as unknown, and the next event decides.
"""

from __future__ import annotations

from collections.abc import Callable

from actors.deltas import Delta
from actors.providers.adapter import Adapter, Common, Event, as_dict, as_object, is_ping, unknown_event
from actors.providers.error_shapes import find_error
from actors.settings import Provider

_ANTHROPIC_TYPES = frozenset(
    {
        "completion",
        "content_block_delta",
        "content_block_start",
        "content_block_stop",
        "message",
        "message_delta",
        "message_start",
        "message_stop",
    }
)
_CHAT_KEYS = frozenset({"choices", "x_groq", "prompt_filter_results", "base_resp"})
_GEMINI_KEYS = frozenset({"candidates", "usageMetadata", "promptFeedback", "modelVersion"})


def provider_of(event: Event) -> Provider | None:
    """Return whose event this is; None where it could be anybody's or is nobody's."""
    kind, shape = event.get("type"), event.get("object")
    if isinstance(kind, str):
        if kind.startswith("response.") or (kind == "error" and "sequence_number" in event):
            return "openai-responses"
        if kind in _ANTHROPIC_TYPES or (kind == "error" and "request_id" in event):
            return "anthropic-messages"
    if not _CHAT_KEYS.isdisjoint(event) or (isinstance(shape, str) and shape.startswith("chat.completion")):
        return "openai-chat"
    if ("done" in event and ("message" in event or "response" in event)) or _is_dashscope(event.get("output")):
        return "openai-chat"  # dialects that its adapter reads: Ollama's own API, DashScope's
    if not _GEMINI_KEYS.isdisjoint(event) or not _GEMINI_KEYS.isdisjoint(as_dict(event.get("response"))):
        return "gemini"  # Code Assist puts each response into another object
    return "openai-responses" if shape == "response" else None


def _is_dashscope(output: object) -> bool:
    return isinstance(output, dict) and ("choices" in output or "text" in output)


class AutoAdapter:
    """Waits for the first event that tells whose the stream is, then leaves everything to that adapter."""

    __slots__ = ("_make", "found", "provider")

    def __init__(self, make: Callable[[Provider], Adapter]) -> None:
        self.found: Adapter | None = None  # the adapter that everything is left to
        self._make = make
        self.provider: Provider = "auto"

    def common(self, payload: bytes) -> Common:
        """Return None while it is not known whose the stream is."""
        return None if self.found is None else self.found.common(payload)

    def feed(self, event: Event) -> list[Delta]:
        """Return the deltas of one event. Raises MalformedChunk where it is no JSON object."""
        if self.found is not None:
            return self.found.feed(event)
        event = as_object(event)
        provider = provider_of(event)
        if provider is not None:
            self.provider = provider
            self.found = self._make(provider)
            return self.found.feed(event)
        if is_ping(event):
            return []
        error = find_error(event)
        return [unknown_event(event) if error is None else error]

    def close(self) -> list[Delta]:
        """Return what the adapter held back; nothing where no event ever told whose the stream is."""
        return [] if self.found is None else self.found.close()
