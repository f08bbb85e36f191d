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

from collections.abc import Set as AbstractSet
from typing import Any

from actors.joining import parsed
from actors.messages import TEXT_FIELDS, TOOL_CALL
from actors.stop_reasons import StopReason
from gateway.formats.form import DONE, TERMINAL, Fields, Frame, comment, data_of

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
COME_WHOLE = frozenset({"user_message", "system_message", "tool_return_message"})
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


class LettaJoiner:
    """Joins the pieces of one request's messages, for a client that wants each message whole (`stream_tokens` false).

    A joined message has the `seq_id` of its last piece. It is over when something else comes, or nothing; a tool call
    when its arguments are complete, since what comes next may be its return.
    """

    __slots__ = ("_key", "_message", "_text")

    def __init__(self) -> None:
        self._message: dict[str, Any] | None = None
        self._key: Any = None
        self._text: list[str] = []

    def feed(self, message: Fields) -> list[dict[str, Any]]:
        """Take a message or a piece of one; return what is over."""
        kind = message["message_type"]
        call = message.get("tool_call") or {}
        text = call.get("arguments") if kind == TOOL_CALL else message.get(TEXT_FIELDS.get(kind, ""))
        if kind in TERMINAL or (text is not None and not isinstance(text, str)):
            return [*self.take(), dict(message)]
        key = (kind, message["id"], message.get("otid"), message.get("choice_index"), call.get("tool_call_id"))
        over = self.take() if self._message is None or key != self._key else []
        if self._message is None:
            self._key, self._message = key, dict(message)
        for field in ("seq_id", "signature"):
            if field in message:
                self._message[field] = message[field]
        if call.get("name"):
            self._message["tool_call"] = {**self._message["tool_call"], "name": call["name"]}
        if text is not None:
            self._text.append(text)
        return [*over, *self.take()] if kind in COME_WHOLE or self._is_complete_call(kind) else over

    def _is_complete_call(self, kind: str) -> bool:
        # To look costs as much as the arguments are long, so the last character is asked first.
        if kind != TOOL_CALL or not self._text or not self._text[-1].rstrip().endswith("}"):
            return False
        return parsed("".join(self._text))[0]

    def take(self) -> list[dict[str, Any]]:
        """Return the message under way, if there is one."""
        message, text = self._message, "".join(self._text)
        self._message, self._text = None, []
        if message is None:
            return []
        kind = message["message_type"]
        if kind == TOOL_CALL:
            message["tool_call"] = {**message["tool_call"], "arguments": text}
        elif kind in TEXT_FIELDS and (text or message.get(TEXT_FIELDS[kind]) is not None):
            message[TEXT_FIELDS[kind]] = text
        return [message]


class LettaForm:
    """Makes the frames of one request.

    `whole`: messages come whole and not in pieces. `with_pings`: silence is told as a message, else as a comment.
    `types`: of these messages only, and the terminal; None: of all.
    """

    __slots__ = ("_date", "_joiner", "_number", "_request_id", "_types", "_with_pings")

    content_type: str = "text/event-stream; charset=utf-8"
    opening: bytes = comment("open")

    def __init__(
        self,
        request_id: str,
        *,
        whole: bool = False,
        with_pings: bool = False,
        types: AbstractSet[str] | None = None,
    ) -> None:
        self._request_id = request_id
        self._joiner = LettaJoiner() if whole else None
        self._with_pings = with_pings
        self._types = types
        self._number = 0
        self._date: str | None = None

    def feed(self, message: Fields) -> list[Frame]:
        """See `Form`."""
        self._number = message["seq_id"]
        self._date = message.get("date")
        if self._joiner is None:
            return [self._frame(message)]
        return [self._frame(whole) for whole in self._joiner.feed(message)]

    def _frame(self, message: Fields) -> Frame:
        kind, number = message["message_type"], message["seq_id"]
        is_wanted = self._types is None or kind in self._types or kind in TERMINAL
        if kind in NOT_SHOWN or not is_wanted:
            return Frame(number, b"")
        return Frame(number, data_of(self._said(kind, message)))

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
        over = [] if self._joiner is None else [self._frame(whole) for whole in self._joiner.take()]
        return [*over, Frame(last, b"")]

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
