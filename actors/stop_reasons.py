"""Why a request ended: one set of words for all providers and for the router itself.

The provider's own word is kept beside it (`StopReasonMessage.provider_reason`). The words' sources are
the providers' public API references: OpenAI chat completions `finish_reason`, OpenAI Responses `status`
and `incomplete_details.reason`, Anthropic Messages `stop_reason`, Gemini `finishReason`; and, for the
dialects of OpenAI chat, recorded streams.
"""

from __future__ import annotations

from enum import StrEnum


class StopReason(StrEnum):
    """All stop reasons. The first group comes from the model, the second from what happened around it."""

    # The model's side.
    END_TURN = "end_turn"  # it said all it had to say
    TOOL_CALL = "tool_call"  # it wants a tool's result before it goes on
    MAX_TOKENS = "max_tokens"  # the token limit, or the context window, cut it off
    STOP_SEQUENCE = "stop_sequence"  # it wrote one of the caller's stop sequences
    REFUSAL = "refusal"  # the model declined to answer
    CONTENT_FILTER = "content_filter"  # a filter outside the model withheld the rest
    PAUSE_TURN = "pause_turn"  # the provider paused a long turn of its own tools; send it back to go on

    # What happened around it.
    ERROR = "error"  # the provider sent an error, or a chunk could not be read, or the publisher failed
    INCOMPLETE = "incomplete"  # the stream just stopped: no finish reason, no error
    CANCELLED = "cancelled"  # somebody cancelled the request
    LOST = "lost"  # no survivor of a crash could restore the request
    PUBLISHER_LOST = "publisher_lost"  # the publisher went away and none took its place within the grace time
    TIMEOUT_FIRST_MESSAGE = "timeout_first_message"  # no message came within `first_message_timeout_s`
    TIMEOUT_STALL = "timeout_stall"  # no content came for `stall_timeout_s`
    TIMEOUT_REQUEST = "timeout_request"  # the request was open for `request_timeout_s`
    TIMEOUT_IDLE_READER = "timeout_idle_reader"  # nobody had read for `idle_reader_timeout_s`


_BY_PROVIDER_WORD: dict[str, StopReason] = {
    # OpenAI chat and its dialects (`eos`, `eos_token`: Together, TGI; `tool_use`: some gateways).
    "stop": StopReason.END_TURN,
    "eos": StopReason.END_TURN,
    "eos_token": StopReason.END_TURN,
    "length": StopReason.MAX_TOKENS,
    "model_length": StopReason.MAX_TOKENS,
    "tool_calls": StopReason.TOOL_CALL,
    "function_call": StopReason.TOOL_CALL,
    "content_filter": StopReason.CONTENT_FILTER,
    "insufficient_system_resource": StopReason.ERROR,
    "error": StopReason.ERROR,
    # Anthropic Messages.
    "end_turn": StopReason.END_TURN,
    "max_tokens": StopReason.MAX_TOKENS,
    "model_context_window_exceeded": StopReason.MAX_TOKENS,
    "stop_sequence": StopReason.STOP_SEQUENCE,
    "tool_use": StopReason.TOOL_CALL,
    "pause_turn": StopReason.PAUSE_TURN,
    "refusal": StopReason.REFUSAL,
    "compaction": StopReason.PAUSE_TURN,
    # OpenAI Responses: the status, or the reason of an incomplete one.
    "completed": StopReason.END_TURN,
    "max_output_tokens": StopReason.MAX_TOKENS,
    "max_tool_calls": StopReason.MAX_TOKENS,
    "incomplete": StopReason.INCOMPLETE,
    "failed": StopReason.ERROR,
    "cancelled": StopReason.CANCELLED,
    # Gemini (compared in lower case).
    "safety": StopReason.CONTENT_FILTER,
    "recitation": StopReason.CONTENT_FILTER,
    "language": StopReason.CONTENT_FILTER,
    "blocklist": StopReason.CONTENT_FILTER,
    "prohibited_content": StopReason.CONTENT_FILTER,
    "spii": StopReason.CONTENT_FILTER,
    "image_safety": StopReason.CONTENT_FILTER,
    "image_prohibited_content": StopReason.CONTENT_FILTER,
    "image_recitation": StopReason.CONTENT_FILTER,
    "model_armor": StopReason.CONTENT_FILTER,
    "malformed_function_call": StopReason.ERROR,
    "unexpected_tool_call": StopReason.ERROR,
    "too_many_tool_calls": StopReason.ERROR,
    "missing_thought_signature": StopReason.ERROR,
    "malformed_response": StopReason.ERROR,
    "no_image": StopReason.ERROR,
    "image_other": StopReason.ERROR,
    "other": StopReason.ERROR,
    "finish_reason_unspecified": StopReason.END_TURN,
}


def from_provider(word: str | None, *, has_called_tools: bool = False, has_refused: bool = False) -> StopReason:
    """Map a provider's finish reason; None (the stream just stopped) is `incomplete`.

    A turn that ended in an ordinary way is a `refusal` where the provider streamed one, else a
    `tool_call` where it called tools (Gemini and Responses have no finish reason for either). A word
    that is not known still says that the model ended by itself.
    """
    if word is None:
        return StopReason.INCOMPLETE
    reason = _BY_PROVIDER_WORD.get(word.lower(), StopReason.END_TURN)
    if reason is StopReason.END_TURN:
        if has_refused:
            return StopReason.REFUSAL
        if has_called_tools:
            return StopReason.TOOL_CALL
    return reason
