"""The provider-neutral content of a chunk.

A provider adapter turns one decoded provider event into a list of these; the interface turns
them into messages. Nothing here knows a provider's field names, and nothing here knows Letta's.

They are plain slotted objects: one is made for nearly every chunk, so no validation happens here.
`choice` is the provider's choice index (0 where the provider has no such thing).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Text:
    """A piece of plain content."""

    text: str
    choice: int = 0


@dataclass(slots=True)
class Refusal:
    """A piece of a refusal, where the provider tells it apart from content."""

    text: str
    choice: int = 0


@dataclass(slots=True)
class Reasoning:
    """A piece of the model's native reasoning (or its summary)."""

    text: str
    choice: int = 0


@dataclass(slots=True)
class ReasoningSignature:
    """The provider's signature of (or encrypted form of) the reasoning block just streamed."""

    signature: str
    choice: int = 0


@dataclass(slots=True)
class RedactedReasoning:
    """A reasoning block that the provider hides: `data` is opaque, None where it was left out."""

    data: str | None
    choice: int = 0


@dataclass(slots=True)
class BlockBoundary:
    """What follows is a new block of content: the next text or reasoning is another message.

    Providers with explicit blocks (Anthropic, Responses) send it; others have no such thing.
    """

    choice: int = 0


@dataclass(slots=True)
class ToolCallPiece:
    """A piece of a tool call. Any part may be missing; `index` is None where none was sent.

    `provider_executed` marks a tool that the provider runs itself (web search, code, MCP). `signature` is what the
    provider wants back with this call. `needs_id`: no id will come, so the call gets one of ours at once.
    """

    index: int | None = None
    id: str | None = None
    name: str | None = None
    arguments: str | None = None
    choice: int = 0
    provider_executed: bool = False
    signature: str | None = None
    needs_id: bool = False


@dataclass(slots=True)
class ToolCallEnd:
    """The arguments of the call are complete (only some providers say so)."""

    index: int | None = None
    id: str | None = None
    choice: int = 0


@dataclass(slots=True)
class ToolReturn:
    """What a tool run by the provider gave back, whole. `text` is plain text or JSON text."""

    id: str
    text: str
    name: str | None = None
    status: str = "success"
    choice: int = 0


@dataclass(slots=True)
class Finish:
    """The provider's finish reason, in the provider's own word.

    `detail` is what the provider says beside it: the stop sequence that was met, why a response is
    incomplete, a sentence for people. None where it says no more. `meaning` is the stop reason where not the
    word decides but the field it stands in (a block reason is a content filter, whatever the word).
    """

    reason: str
    choice: int = 0
    detail: str | None = None
    meaning: str | None = None


@dataclass(slots=True)
class Usage:
    """Token counts so far, in one form: prompt includes cached, completion includes reasoning.

    A later one replaces an earlier one of the same step, but zero never a count. None: the provider did not say.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass(slots=True)
class StreamError:
    """The provider sent an error in mid-stream."""

    text: str
    kind: str = "provider_error"


@dataclass(slots=True)
class Model:
    """The model's name, sent once per change (for `describe()` and logs, not for messages)."""

    name: str


@dataclass(slots=True)
class Unknown:
    """An event or part that no adapter knows; counted and reported, never fatal."""

    what: str


@dataclass(slots=True)
class Done:
    """The provider's own end marker (`[DONE]`, `message_stop`, `response.completed`)."""


Delta = (
    Text
    | Refusal
    | Reasoning
    | ReasoningSignature
    | RedactedReasoning
    | BlockBoundary
    | ToolCallPiece
    | ToolCallEnd
    | ToolReturn
    | Finish
    | Usage
    | StreamError
    | Model
    | Unknown
    | Done
)
