"""A request's messages read back as OpenAI chat-completion chunks, for clients that speak only that.

    message                         chunk
    assistant_message               delta.content
    reasoning_message               delta.reasoning_content, as DeepSeek and vLLM have it
    tool_call_message               delta.tool_calls[], each call with an index of its own
    stop_reason                     finish_reason of each choice; or an error event, see below
    usage_statistics                a chunk with empty choices and usage, as `include_usage` gives it
    error_message                   kept for the end
    all others                      nothing: OpenAI's chunks have no place for them

A request that ended neither well nor by a limit of the model's (`error`, `incomplete`, `cancelled`,
`lost`, a timeout) ends in `{"error": {...}}`, which the official clients raise as an APIError: an OpenAI
client must not take a broken stream for a finished one. What the provider runs itself (`provider_executed`)
is left out, since a client would try to run it.

A client that resumes has what came before, so all of a stream's chunks are those of one `OpenAIFormat`, which
is fed from the beginning (`subscribe` does). Where retention has dropped the beginning of a tool call, the rest
of it is left out: without its name and its index no client could do anything with it.

The shape is that of the public API reference ("chat completion chunk object").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from actors.stop_reasons import StopReason

Chunk = dict[str, Any]

_FINISH_REASONS: dict[str, str] = {
    StopReason.END_TURN: "stop",
    StopReason.STOP_SEQUENCE: "stop",
    StopReason.REFUSAL: "stop",
    StopReason.PAUSE_TURN: "stop",
    StopReason.TOOL_CALL: "tool_calls",
    StopReason.MAX_TOKENS: "length",
    StopReason.CONTENT_FILTER: "content_filter",
}
DEFAULT_MODEL = "agent"


class OpenAIFormat:
    """Turns the messages of one request, in order, into chunks. `model` is the name that they bear."""

    __slots__ = ("_call_counts", "_call_indexes", "_created", "_error", "_id", "_model", "_seen_choices", "has_gap")

    def __init__(self, model: str = DEFAULT_MODEL) -> None:
        self._model = model
        self._id = ""
        self._created = 0
        self._seen_choices: list[int] = []
        self._call_counts: dict[int, int] = {}
        # (choice, message id, otid, tool call id) to the index that the call has in its choice.
        self._call_indexes: dict[tuple[Any, ...], int] = {}
        self._error: Mapping[str, Any] | None = None
        self.has_gap: bool = False

    def feed(self, message: Mapping[str, Any]) -> list[Chunk]:
        """Return the chunks of one message, given as the plain dict that its model dumps to."""
        if not self._id:
            self._id = f"chatcmpl-{message.get('run_id') or message['id']}"
            self._created = _epoch_seconds(message["date"])
        choice = message.get("choice_index") or 0
        match message["message_type"]:
            case "assistant_message":
                return self._delta(choice, {"content": text_of(message["content"])})
            case "reasoning_message":
                return self._delta(choice, {"reasoning_content": message["reasoning"]}) if message["reasoning"] else []
            case "tool_call_message" if not message.get("provider_executed"):
                piece = self._tool_call(choice, message)
                return [] if piece is None else self._delta(choice, {"tool_calls": [piece]})
            case "error_message":
                self._error = self._error or message
            case "stop_reason":
                return self._stop(message)
            case "usage_statistics":
                return [self._chunk([], usage=_usage(message))]
        return []

    def _tool_call(self, choice: int, message: Mapping[str, Any]) -> Chunk | None:
        call = message["tool_call"]
        key = (choice, message["id"], message.get("otid"), call.get("tool_call_id"))
        index = self._call_indexes.get(key)
        is_first = index is None
        if index is None:
            if self.has_gap and not call.get("name"):
                return None
            index = self._call_counts.get(choice, 0)
            self._call_counts[choice] = index + 1
            self._call_indexes[key] = index
        piece: Chunk = {"index": index, "function": {"arguments": call.get("arguments") or ""}}
        if is_first:
            # A name in a later piece would be appended by clients; it stands in the first.
            piece = {"id": call.get("tool_call_id") or f"call_{choice}_{index}", "type": "function", **piece}
            piece["function"]["name"] = call.get("name") or ""
        return piece

    def _delta(self, choice: int, delta: Chunk) -> list[Chunk]:
        if choice not in self._seen_choices:
            self._seen_choices.append(choice)
            delta = {"role": "assistant", **delta}
        return [self._chunk([{"index": choice, "delta": delta, "logprobs": None, "finish_reason": None}])]

    def _stop(self, message: Mapping[str, Any]) -> list[Chunk]:
        reason = message["stop_reason"]
        finish = _FINISH_REASONS.get(reason)
        if finish is None:
            error = self._error or {}
            text = error.get("message") or message.get("detail") or f"The request ended as {reason!r}."
            return [
                {"error": {"message": text, "type": error.get("error_type") or reason, "param": None, "code": reason}}
            ]
        if finish == "tool_calls" and not self._call_indexes:
            # The call was the assistant's message: what a client sees is a turn that ended.
            finish = "stop"
        return [
            self._chunk([{"index": choice, "delta": {}, "logprobs": None, "finish_reason": finish}])
            for choice in self._seen_choices or [0]
        ]

    def _chunk(self, choices: list[Chunk], *, usage: Chunk | None = None) -> Chunk:
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._model,
            "choices": choices,
            "usage": usage,
        }


def to_chunks(messages: Iterable[Mapping[str, Any]], model: str = DEFAULT_MODEL) -> Iterator[Chunk]:
    """Yield the chunks of one request's messages, given as plain dicts."""
    shape = OpenAIFormat(model)
    for message in messages:
        yield from shape.feed(message)


def text_of(content: str | list[dict[str, Any]]) -> str:
    """Return content as text: of a list of parts, the text parts."""
    if isinstance(content, str):
        return content
    return "".join(str(part["text"]) for part in content if isinstance(part.get("text"), str))


def _usage(message: Mapping[str, Any]) -> Chunk:
    usage: Chunk = {key: message[key] for key in ("prompt_tokens", "completion_tokens", "total_tokens")}
    if message.get("cached_tokens") is not None:
        usage["prompt_tokens_details"] = {"cached_tokens": message["cached_tokens"]}
    if message.get("reasoning_tokens") is not None:
        usage["completion_tokens_details"] = {"reasoning_tokens": message["reasoning_tokens"]}
    return usage


def _epoch_seconds(date: str | datetime) -> int:
    return int((datetime.fromisoformat(date) if isinstance(date, str) else date).timestamp())
