"""Messages as Letta's API streams them, for its clients: letta-client (Python) and @letta-ai/letta-client.

    our message                what goes out
    stop_reason                Letta's own word for it, and ours where there is none is `error` (see `STOP_REASONS`)
    usage_statistics           with `run_ids`, and Letta's names of the counts
    function_call, gap         nothing: its clients know neither
    all others                 themselves, without the fields that only we have
    after the terminal         data: [DONE]

Events bear neither `id` nor `event` nor `retry`: of those its clients make events of their own, or none at all. A
cursor is the `seq_id` in the data. A ping is a message here, and bears the last `seq_id`.
"""

from __future__ import annotations

from typing import Any

from actors.stop_reasons import StopReason
from gateway.formats.form import DONE, Fields, Frame, comment, data_of

STOP_REASONS: dict[str, str] = {
    StopReason.END_TURN: "end_turn",
    StopReason.STOP_SEQUENCE: "end_turn",
    StopReason.PAUSE_TURN: "end_turn",
    StopReason.REFUSAL: "end_turn",
    StopReason.CONTENT_FILTER: "end_turn",
    StopReason.TOOL_CALL: "requires_approval",  # the call stands there, and whoever reads is to run it
    StopReason.MAX_TOKENS: "max_tokens_exceeded",
    StopReason.UNKNOWN_FINISH: "invalid_llm_response",
    StopReason.INCOMPLETE: "invalid_llm_response",
    StopReason.CANCELLED: "cancelled",
    StopReason.TIMEOUT_FIRST_MESSAGE: "llm_api_error",
    StopReason.TIMEOUT_STALL: "llm_api_error",
}
"""All others (`error`, `lost`, ...) are `error`."""

NOT_SHOWN = frozenset({"function_call", "gap", "ping"})
_OURS = ("choice_index", "signature", "provider_executed")


def letta_stop_reason(stop_reason: str) -> str:
    """Return one of Letta's words for why a request ended."""
    return STOP_REASONS.get(stop_reason, "error")


def letta_message(message: Fields) -> dict[str, Any]:
    """Return a message as Letta's clients take it; `letta_usage` and `letta_stop_reason` are for the terminal."""
    said = {key: value for key, value in message.items() if key not in _OURS}
    if message["message_type"] == "tool_call_message":
        # Its clients want all three keys there, also where a piece has none of one.
        call = message["tool_call"]
        said["tool_call"] = {
            "name": call.get("name"),
            "arguments": call.get("arguments"),
            "tool_call_id": call.get("tool_call_id"),
        }
    return said


def letta_usage(message: Fields, run_id: str) -> dict[str, Any]:
    """Return token counts under Letta's names."""
    return {
        "message_type": "usage_statistics",
        "completion_tokens": message.get("completion_tokens") or 0,
        "prompt_tokens": message.get("prompt_tokens") or 0,
        "total_tokens": message.get("total_tokens") or 0,
        "step_count": message.get("step_count") or 1,
        "cached_input_tokens": message.get("cached_tokens"),
        "reasoning_tokens": message.get("reasoning_tokens"),
        "run_ids": [run_id],
    }


class LettaForm:
    """Makes the frames of one request. `with_pings`: silence is told as a message, else as a comment."""

    __slots__ = ("_date", "_number", "_request_id", "_with_pings")

    content_type: str = "text/event-stream; charset=utf-8"
    opening: bytes = comment("open")

    def __init__(self, request_id: str, *, with_pings: bool = False) -> None:
        self._request_id = request_id
        self._with_pings = with_pings
        self._number = 0
        self._date: str | None = None

    def feed(self, message: Fields) -> list[Frame]:
        """See `Form`."""
        kind, number = message["message_type"], message["seq_id"]
        self._number = number
        self._date = message.get("date")
        if kind in NOT_SHOWN:
            return [Frame(number, b"")]
        return [Frame(number, data_of(self._said(kind, message)))]

    def _said(self, kind: str, message: Fields) -> dict[str, Any]:
        common = {"run_id": self._request_id, "seq_id": message["seq_id"]}
        if kind == "stop_reason":
            return {"message_type": kind, "stop_reason": letta_stop_reason(message["stop_reason"]), **common}
        if kind == "usage_statistics":
            return {**letta_usage(message, self._request_id), **common}
        return {**letta_message(message), **common}

    def gap(self, first: int, last: int) -> list[Frame]:  # noqa: ARG002  # there is no word for it
        """See `Form`."""
        self._number = last
        return [Frame(last, b"")]

    def end(self) -> list[Frame]:
        """See `Form`."""
        return [Frame(self._number + 1, DONE)]

    def ping(self) -> bytes:
        """See `Form`."""
        if not self._with_pings or self._date is None:
            return comment("ping")
        common = {"run_id": self._request_id, "seq_id": self._number}
        return data_of({"message_type": "ping", "id": f"ping-{self._request_id}", "date": self._date, **common})

    def broken(self, code: str, text: str) -> bytes:
        """See `Form`. Without it a client takes a cut stream for one that ended well."""
        said = {"message_type": "error_message", "run_id": self._request_id, "error_type": code, "message": text}
        return data_of({**said, "detail": "the run goes on; read its stream from the last seq_id (starting_after)"})
