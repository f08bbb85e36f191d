"""Why a request ended: one set of words for all providers and for the router itself.

The provider's own word is kept beside it (`StopReasonMessage.provider_reason`). The words' sources are
the providers' public API references: OpenAI chat completions `finish_reason`, OpenAI Responses `status`
and `incomplete_details.reason`, Anthropic Messages `stop_reason`, Gemini `finishReason`; and, for the
dialects of OpenAI chat, recorded streams and public bug reports. How a word is spelled (case, hyphens,
underscores, `FINISH_REASON_` ahead of it) counts for nothing.

A word that is not in the table is never taken for a good end: it gives `unknown_finish`, is counted, and
belongs into the table (`docs/providers.md` says how).
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache


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
    UNKNOWN_FINISH = "unknown_finish"  # it ended, with a word that nobody here knows; the word stands beside it

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


_GOOD_ENDS = frozenset(
    {
        StopReason.END_TURN,
        StopReason.TOOL_CALL,
        StopReason.MAX_TOKENS,
        StopReason.STOP_SEQUENCE,
        StopReason.REFUSAL,
        StopReason.CONTENT_FILTER,
        StopReason.PAUSE_TURN,
    }
)


def is_failure(stop_reason: str) -> bool:
    """Whether a request ended neither by itself nor by a limit of the model's; so does one whose word nobody knows."""
    return stop_reason not in _GOOD_ENDS


# Who says it, what it means, and the words.
_TABLE: tuple[tuple[str, StopReason, str], ...] = (
    ("OpenAI chat", StopReason.END_TURN, "stop"),
    ("OpenAI chat", StopReason.MAX_TOKENS, "length"),
    ("OpenAI chat", StopReason.TOOL_CALL, "tool_calls function_call"),
    ("OpenAI chat, Azure, Copilot", StopReason.CONTENT_FILTER, "content_filter"),
    ("OpenAI Responses", StopReason.END_TURN, "completed"),
    ("OpenAI Responses", StopReason.MAX_TOKENS, "max_output_tokens max_tool_calls"),
    ("OpenAI Responses", StopReason.INCOMPLETE, "incomplete"),
    ("OpenAI Responses", StopReason.ERROR, "failed"),
    ("OpenAI Responses", StopReason.CANCELLED, "cancelled canceled"),
    ("Anthropic", StopReason.END_TURN, "end_turn"),
    ("Anthropic", StopReason.MAX_TOKENS, "max_tokens model_context_window_exceeded"),
    ("Anthropic", StopReason.STOP_SEQUENCE, "stop_sequence"),
    ("Anthropic", StopReason.TOOL_CALL, "tool_use"),
    ("Anthropic", StopReason.PAUSE_TURN, "pause_turn compaction"),
    ("Anthropic", StopReason.REFUSAL, "refusal"),
    ("Bedrock", StopReason.CONTENT_FILTER, "guardrail_intervened content_filtered"),
    ("Bedrock", StopReason.ERROR, "malformed_model_output malformed_tool_use"),
    ("Bedrock (Titan)", StopReason.END_TURN, "finish"),
    (
        "Gemini, Vertex",
        StopReason.CONTENT_FILTER,
        "safety recitation language blocklist prohibited_content spii model_armor jailbreak",
    ),
    (
        "Gemini, Vertex",
        StopReason.CONTENT_FILTER,
        "image_safety image_prohibited_content image_recitation",
    ),
    (
        "Gemini, Vertex",
        StopReason.ERROR,
        "malformed_function_call malformed_response unexpected_tool_call too_many_tool_calls missing_thought_signature",
    ),
    (
        "Gemini, Vertex",
        StopReason.ERROR,
        "no_image image_other other",
    ),
    ("Together, TGI, watsonx", StopReason.END_TURN, "eos eos_token"),
    ("AI21, Writer", StopReason.END_TURN, "endoftext end_of_text"),
    ("Mistral", StopReason.MAX_TOKENS, "model_length"),
    ("DeepSeek", StopReason.ERROR, "insufficient_system_resource"),
    ("Z.ai", StopReason.CONTENT_FILTER, "sensitive"),
    ("Z.ai", StopReason.ERROR, "network_error"),
    ("vLLM, SGLang", StopReason.ERROR, "abort aborted repetition"),
    ("OpenRouter, Mistral, Cohere", StopReason.ERROR, "error"),
    ("Cohere", StopReason.END_TURN, "complete"),
    ("Cohere", StopReason.TOOL_CALL, "tool_call"),
    ("Cohere", StopReason.MAX_TOKENS, "error_limit"),
    ("Cohere", StopReason.CONTENT_FILTER, "error_toxic"),
    ("Cohere", StopReason.CANCELLED, "user_cancel"),
    ("Cohere", StopReason.ERROR, "timeout"),
    ("watsonx, xAI", StopReason.MAX_TOKENS, "token_limit time_limit max_len max_context"),
    ("xAI", StopReason.ERROR, "invalid"),
    ("DashScope", StopReason.CONTENT_FILTER, "data_inspection_failed"),
    ("Baidu", StopReason.END_TURN, "normal"),
    ("Ollama", StopReason.END_TURN, "load"),
    ("llama.cpp", StopReason.MAX_TOKENS, "limit"),
    ("llama.cpp", StopReason.STOP_SEQUENCE, "word"),
    ("LM Studio", StopReason.END_TURN, "eos_found"),
    ("LM Studio", StopReason.STOP_SEQUENCE, "stop_string_found"),
    ("LM Studio", StopReason.MAX_TOKENS, "max_predicted_tokens_reached context_length_reached"),
    ("LM Studio", StopReason.CANCELLED, "user_stopped"),
    ("LM Studio", StopReason.ERROR, "model_unloaded"),
    ("gateways", StopReason.END_TURN, "done finished success stop_token end_of_turn eot end_of_sequence"),
    ("gateways", StopReason.TOOL_CALL, "function_calls tool_uses"),
    ("gateways", StopReason.MAX_TOKENS, "max_length max_new_tokens max_completion_tokens context_length"),
    ("gateways", StopReason.MAX_TOKENS, "context_length_exceeded context_window_exceeded"),
    (
        "gateways",
        StopReason.CONTENT_FILTER,
        "blocked moderation flagged content_policy content_policy_violation guardrail guardrails prompt_blocked unsafe",
    ),
    (
        "gateways",
        StopReason.ERROR,
        "server_error internal_error internal_server_error upstream_error connection_error exception",
    ),
    (
        "gateways",
        StopReason.ERROR,
        "engine_overloaded overloaded rate_limit rate_limited",
    ),
)
_NO_LETTERS = re.compile(r"[^a-z0-9]")
_WORD_CHARS_MAX = 80  # what is longer is no word, and is not kept
_AHEAD = ("finishreason", "stopreason", "blockreason", "reason")
# A word in place of none: Qwen's "null", a proto's default, watsonx while it goes on.
_NO_WORDS = frozenset({"", "null", "none", "unspecified", "notfinished", "unfinished", "inprogress", "undefined"})


@lru_cache(maxsize=1024)
def _spelled(word: str) -> str:
    """Return a word as all its spellings have it."""
    plain = _NO_LETTERS.sub("", word.lower())
    for ahead in _AHEAD:
        if plain.startswith(ahead):
            return plain.removeprefix(ahead)
    return plain


_BY_WORD: dict[str, StopReason] = {_spelled(word): reason for _, reason, words in _TABLE for word in words.split()}


def says_nothing(word: str) -> bool:
    """Tell whether a finish word stands for none: the stream goes on."""
    return len(word) <= _WORD_CHARS_MAX and _spelled(word) in _NO_WORDS


def meaning_of(word: str) -> StopReason | None:
    """Return what a finish word means; None for one that is not in the table."""
    if len(word) > _WORD_CHARS_MAX:
        return None
    plain = _spelled(word)
    reason = _BY_WORD.get(plain)
    return StopReason.ERROR if reason is None and plain.startswith("malformed") else reason


def from_provider(
    word: str | None,
    *,
    has_called_tools: bool = False,
    has_refused: bool = False,
    meaning: str | None = None,
) -> StopReason:
    """Map a provider's finish reason; None (the stream just stopped) is `incomplete`.

    `meaning` is what it means where the adapter knows better than the word tells. A turn that ended in an
    ordinary way is a `refusal` where the provider streamed one, else a `tool_call` where it called tools (Gemini
    and Responses have no finish reason for either). A word that is not known is `unknown_finish`.
    """
    if word is None:
        return StopReason.INCOMPLETE
    reason = meaning_of(word) if meaning is None else StopReason(meaning)
    if reason is None:
        return StopReason.UNKNOWN_FINISH
    return (
        ordinary_end(has_called_tools=has_called_tools, has_refused=has_refused)
        if reason is StopReason.END_TURN
        else reason
    )


def ordinary_end(*, has_called_tools: bool, has_refused: bool) -> StopReason:
    """Return why a turn ended that ended in an ordinary way: by what it did."""
    if has_refused:
        return StopReason.REFUSAL
    return StopReason.TOOL_CALL if has_called_tools else StopReason.END_TURN
