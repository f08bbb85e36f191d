"""The provider-neutral content of a chunk.

A provider adapter turns one decoded provider event into a list of these; the interface turns
them into messages. Nothing here knows a provider's field names, and nothing here knows Letta's.

They are structs, made in a third of the time of a dataclass: one is made for nearly every chunk, so no validation
happens here. They hold texts and numbers only, in which the garbage collector has nothing to look for.
`choice` is the provider's choice index (0 where the provider has no such thing).
"""

from __future__ import annotations

import msgspec


class Text(msgspec.Struct, gc=False):
    """A piece of plain content."""

    text: str
    choice: int = 0


class Refusal(msgspec.Struct, gc=False):
    """A piece of a refusal, where the provider tells it apart from content."""

    text: str
    choice: int = 0


class Reasoning(msgspec.Struct, gc=False):
    """A piece of the model's native reasoning (or its summary)."""

    text: str
    choice: int = 0


class ReasoningSignature(msgspec.Struct, gc=False):
    """The provider's signature of (or encrypted form of) the reasoning block just streamed."""

    signature: str
    choice: int = 0


class RedactedReasoning(msgspec.Struct, gc=False):
    """A reasoning block that the provider hides: `data` is opaque, None where it was left out."""

    data: str | None
    choice: int = 0


class BlockBoundary(msgspec.Struct, gc=False):
    """What follows is a new block of content: the next text or reasoning is another message.

    Providers with explicit blocks (Anthropic, Responses) send it; others have no such thing.
    """

    choice: int = 0


class ToolCallPiece(msgspec.Struct, gc=False):
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


class ToolCallEnd(msgspec.Struct, gc=False):
    """The arguments of the call are complete (only some providers say so)."""

    index: int | None = None
    id: str | None = None
    choice: int = 0


class ToolReturn(msgspec.Struct, gc=False):
    """What a tool run by the provider gave back, whole. `text` is plain text or JSON text."""

    id: str
    text: str
    name: str | None = None
    status: str = "success"
    choice: int = 0


class Finish(msgspec.Struct, gc=False):
    """The provider's finish reason, in the provider's own word.

    `detail` is what the provider says beside it: the stop sequence that was met, why a response is
    incomplete, a sentence for people. None where it says no more. `meaning` is the stop reason where not the
    word decides but the field it stands in (a block reason is a content filter, whatever the word).
    """

    reason: str
    choice: int = 0
    detail: str | None = None
    meaning: str | None = None


class Usage(msgspec.Struct, gc=False):
    """Token counts so far, in one form: prompt includes cached, completion includes reasoning.

    A later one replaces an earlier one of the same step, but zero never a count. None: the provider did not say.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class StreamError(msgspec.Struct, gc=False):
    """The provider sent an error in mid-stream."""

    text: str
    kind: str = "provider_error"


class Model(msgspec.Struct, gc=False):
    """The model's name, sent once per change (for `describe()` and logs, not for messages)."""

    name: str


class Unknown(msgspec.Struct, gc=False):
    """An event or part that no adapter knows; counted and reported, never fatal."""

    what: str


class Done(msgspec.Struct, gc=False):
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
