"""Messages as OpenAI's chat completions, streamed and whole, for whatever speaks to those (docs: OpenAI's reference).

Chunks are those of `actors.openai_format`. A failed end is an `error` in place of a chunk, and no `[DONE]` follows it.
There is no cursor: who comes back with the same `Idempotency-Key` has the whole stream again. The usage is told only
where it was asked for (`stream_options.include_usage`), as OpenAI does.
"""

from __future__ import annotations

from typing import Any

from actors.openai_format import OpenAIFormat
from actors.result import Result
from gateway.formats.form import DONE, Fields, Frame, comment, data_of

_PING = comment("ping")


class ChatForm:
    """Makes the frames of one request. `model`: what the chunks bear."""

    __slots__ = ("_chunks", "_has_failed", "_number", "_with_usage")

    content_type: str = "text/event-stream; charset=utf-8"
    opening: bytes = comment("open")

    def __init__(self, model: str, *, with_usage: bool = False) -> None:
        self._chunks = OpenAIFormat(model)
        self._with_usage = with_usage
        self._has_failed = False
        self._number = 0

    def feed(self, message: Fields) -> list[Frame]:
        """See `Form`."""
        self._number = message["seq_id"]
        said = b"".join(map(self._said, self._chunks.feed(message)))
        return [Frame(self._number, said)]

    def _said(self, chunk: dict[str, Any]) -> bytes:
        if "error" in chunk:
            self._has_failed = True
            return data_of(chunk)
        if self._has_failed or (not self._with_usage and not chunk["choices"]):
            return b""  # nothing follows an error; and a usage nobody has asked for
        if not self._with_usage:
            del chunk["usage"]
        return data_of(chunk)

    def gap(self, first: int, last: int) -> list[Frame]:  # noqa: ARG002  # there is no word for it
        """See `Form`."""
        self._chunks.has_gap = True
        self._number = last
        return [Frame(last, b"")]

    def end(self) -> list[Frame]:
        """See `Form`."""
        return [Frame(self._number + 1, b"" if self._has_failed else DONE)]

    def ping(self) -> bytes:
        """See `Form`."""
        return _PING

    def broken(self, code: str, text: str) -> bytes:
        """See `Form`."""
        return data_of({"error": {"message": text, "type": code, "param": None, "code": code}})


def completion(result: Result, model: str) -> dict[str, Any]:
    """Return a request that ended as one chat completion; raises `result.failure()` where it failed."""
    failure = result.failure()
    if failure is not None:
        raise failure
    chunks = OpenAIFormat(model)
    told: list[dict[str, Any]] = []
    for message in result.messages:
        told += chunks.feed(message.model_dump(mode="json"))
    choices: dict[int, dict[str, Any]] = {}
    usage = None
    for chunk in told:
        usage = chunk["usage"] or usage
        for choice in chunk["choices"]:
            _add(choices, choice)
    last = told[-1]
    return {
        "id": last["id"],
        "object": "chat.completion",
        "created": last["created"],
        "model": model,
        "choices": [choices[index] for index in sorted(choices)],
        "usage": usage,
    }


def _add(choices: dict[int, dict[str, Any]], piece: dict[str, Any]) -> None:
    """Add a chunk's choice to the whole ones."""
    whole = choices.setdefault(
        piece["index"],
        {
            "index": piece["index"],
            "message": {"role": "assistant", "content": None},
            "logprobs": None,
            "finish_reason": None,
        },
    )
    whole["finish_reason"] = piece["finish_reason"] or whole["finish_reason"]
    message, delta = whole["message"], piece["delta"]
    for field in ("content", "reasoning_content"):
        if field in delta:
            message[field] = (message.get(field) or "") + delta[field]
    for call in delta.get("tool_calls", ()):
        calls = message.setdefault("tool_calls", [])
        if call["index"] == len(calls):
            calls.append({key: value for key, value in call.items() if key != "index"})
        else:
            calls[call["index"]]["function"]["arguments"] += call["function"]["arguments"]
