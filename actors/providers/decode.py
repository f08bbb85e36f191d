"""JSON bytes into what adapters read: once, and no more of it than they look at.

    payload --> common shape, as a struct --> deltas
        `-----> any other, whole, as plain values --> deltas

Theory. Of the common events of a stream an adapter looks at a few fields; the ids, names and fingerprints around them
come again in each. So the envelope of a common event is read into a struct that has only the fields that count for
it; the decoder steps over all others without making anything of them. What the fields hold stays plain values where
dialects differ in it (a chat's `delta`, Gemini's `parts`), so that it is read by the same code in both ways.

A shape claims no more than it can prove. A field of another type, another type of event, a field that would change
what the event means: then it is no common event (None), and is decoded whole. An adapter that finds a shape and is
in no state for it leaves it to its `feed` in the same way. Both ways lead to the same deltas and the same state. (A
shape also takes in what the other events of its stream look like: an exception costs more than to decode them.)

`decode` takes what `json.loads` takes, and makes the same of it, or refuses it (ValueError): halves of surrogate
pairs, a byte order mark, other encodings than UTF-8, and nesting that it cannot follow. These `payloads.py` reads.
A common shape is refused wherever stepping over a field could hide what `json.loads` refuses:

- bytes that are not UTF-8: the decoder checks the texts that it makes, so the whole is checked before;
- integers of more than 4,300 digits: a payload that could hold one is longer than `COMMON_BYTES_MAX`.

What nests deeper than the interpreter's stack is refused by either, each at a depth of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from msgspec import UNSET, MsgspecError, Struct, UnsetType
from msgspec.json import Decoder
from pydantic_core import from_json

COMMON_BYTES_MAX = 4096
Shape = TypeVar("Shape")
_REFUSALS = (MsgspecError, ValueError, RecursionError)
_decode_any = Decoder().decode


def decode(payload: bytes) -> Any:
    """Return the value of a payload. Raises ValueError for what is no JSON, and for what only `json.loads` takes."""
    try:
        return _decode_any(payload)
    except _REFUSALS:
        # It takes NaN, Infinity and numbers beyond a float, which some servers put among log probabilities.
        return from_json(payload)


def _shape(kind: type[Shape]) -> Callable[[bytes], Shape | None]:
    """Return what reads payloads of a shape; None for any other."""
    decode_shape = Decoder(kind).decode

    def read(payload: bytes) -> Shape | None:
        if len(payload) > COMMON_BYTES_MAX:
            return None
        try:
            if not payload.isascii():
                payload.decode()
            return decode_shape(payload)
        except _REFUSALS:
            return None

    return read


# --- OpenAI chat ----------------------------------------------------------------------------------


class ChatChoice(Struct, gc=False):
    """A choice with a delta. A `message` beside a delta that says nothing would count in its place."""

    delta: dict[str, Any]
    index: int | None = 0
    finish_reason: str | None = None
    error: None = None
    usage: None = None
    message: Any = UNSET


class ChatChunk(Struct, gc=False):
    """A chunk with one choice that goes on."""

    choices: tuple[ChatChoice]
    model: str | None = None
    usage: dict[str, Any] | None = None
    x_groq: None = None
    error: None = None
    base_resp: UnsetType | None = UNSET


read_chat: Callable[[bytes], ChatChunk | None] = _shape(ChatChunk)


# --- OpenAI Responses -----------------------------------------------------------------------------


class ResponsesDelta(Struct, gc=False):
    """A piece of a text, or of a call's arguments, of an item with an id; or an event without these."""

    type: str
    delta: str | None = None
    item_id: str | None = None


read_responses: Callable[[bytes], ResponsesDelta | None] = _shape(ResponsesDelta)


# --- Anthropic Messages ---------------------------------------------------------------------------


class AnthropicPiece(Struct, gc=False):
    """What is new of a block, under the name that its type gives it."""

    type: Literal["text_delta", "thinking_delta", "input_json_delta"]
    text: str = ""
    thinking: str = ""
    partial_json: str = ""


class AnthropicDelta(Struct, gc=False):
    """A piece of a block; or an event of another type without one."""

    type: str
    delta: AnthropicPiece | None = None
    index: int | None = None


read_anthropic: Callable[[bytes], AnthropicDelta | None] = _shape(AnthropicDelta)


# --- Gemini ---------------------------------------------------------------------------------------


class GeminiContent(Struct, gc=False):
    """What is new of a candidate."""

    parts: list[dict[str, Any]] | None = None


class GeminiCandidate(Struct, gc=False):
    """A candidate with something new; its ratings, citations and groundings are stepped over."""

    content: GeminiContent | None = None
    index: int | None = None
    finishReason: str | None = None  # noqa: N815  # the provider's word
    finishMessage: Any = None  # noqa: N815  # the provider's word


class GeminiUsage(Struct, gc=False):
    """The counts so far, without their details."""

    promptTokenCount: int | None = None  # noqa: N815  # the provider's word
    toolUsePromptTokenCount: int | None = None  # noqa: N815  # the provider's word
    candidatesTokenCount: int | None = None  # noqa: N815  # the provider's word
    thoughtsTokenCount: int | None = None  # noqa: N815  # the provider's word
    totalTokenCount: int | None = None  # noqa: N815  # the provider's word
    cachedContentTokenCount: int | None = None  # noqa: N815  # the provider's word


class GeminiResponse(Struct, gc=False):
    """A response with something new of one candidate."""

    candidates: tuple[GeminiCandidate]
    modelVersion: str | None = None  # noqa: N815  # the provider's word
    usageMetadata: GeminiUsage | None = None  # noqa: N815  # the provider's word
    promptFeedback: None = None  # noqa: N815  # the provider's word
    error: UnsetType | None = UNSET


read_gemini: Callable[[bytes], GeminiResponse | None] = _shape(GeminiResponse)
