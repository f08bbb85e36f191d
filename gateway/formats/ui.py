"""Messages as the Vercel AI SDK's UI message stream (its documentation: "Stream protocols", data stream, v1).

    our message                what goes out
    the first one              start
    another step's             finish-step, start-step
    assistant_message          text-start, text-delta, text-end
    reasoning_message          reasoning-start, reasoning-delta, reasoning-end
    tool_call_message          tool-input-start, tool-input-delta, and tool-input-available when the call is complete
    tool_return_message        tool-output-available, tool-output-error
    stop_reason, usage         finish; error where the run failed; abort and finish (`other`) where it was cancelled
    all others                 nothing; error messages are told at the end
    after the terminal         data: [DONE]

Its client refuses parts that it does not know and optional keys that are null, and takes a cut stream for a good end:
so there are none of the first two, and a stream that breaks off says so in an `error`. There is no cursor: a reader
that comes back has all of it again, and the client builds the message anew.
"""

from __future__ import annotations

from typing import Any

from actors.joining import parsed
from actors.stop_reasons import StopReason, is_failure
from gateway.formats.form import DONE, Fields, Frame, comment, data_of
from gateway.formats.parts import CALL, Begun, Ended, Grown, Happening, Over, Part, Parts, Returned, Stepped

HEADER = "x-vercel-ai-ui-message-stream"
_PING = comment("ping")
_FINISH: dict[str, str] = {
    StopReason.TOOL_CALL: "tool-calls",
    StopReason.MAX_TOKENS: "length",
    StopReason.CONTENT_FILTER: "content-filter",
}


class UiForm:
    """Makes the frames of one request."""

    __slots__ = ("_has_begun", "_known", "_number", "_parts", "_request_id", "_texts")

    content_type: str = "text/event-stream; charset=utf-8"
    opening: bytes = comment("open")

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self._number = 0
        self._has_begun = False
        self._parts = Parts()
        self._texts = 0
        self._known: set[str] = set()  # the IDs of the calls that were told

    def feed(self, message: Fields) -> list[Frame]:
        """See `Form`."""
        said: list[dict[str, Any]] = []
        if not self._has_begun:
            self._has_begun = True
            said = [{"type": "start", "messageId": self._request_id}, {"type": "start-step"}]
        self._number = message["seq_id"]
        for happening in self._parts.feed(message):
            said += self._said(happening)
        return [Frame(self._number, b"".join(map(data_of, said)))]

    def _said(self, happening: Happening) -> list[dict[str, Any]]:
        said: list[dict[str, Any]] = []
        match happening:
            case Grown(part, text) if part.kind != CALL:
                said = [{"type": f"{part.kind}-delta", "id": str(self._texts), "delta": text}]
            case Stepped():
                said = [{"type": "finish-step"}, {"type": "start-step"}]
            case Begun(part):
                said = [self._begun(part)]
            case Grown(part, text):
                said = [{"type": "tool-input-delta", "toolCallId": part.call_id, "inputTextDelta": text}]
            case Over(part):
                said = [
                    _whole_call(part) if part.kind == CALL else {"type": f"{part.kind}-end", "id": str(self._texts)}
                ]
            case Returned(message):
                said = self._returned(message)
            case Ended():
                said = _terminal(happening)
        return said

    def _begun(self, part: Part) -> dict[str, Any]:
        if part.kind != CALL:
            self._texts += 1
            return {"type": f"{part.kind}-start", "id": str(self._texts)}
        part.call_id = part.call_id or f"call-{self._number}"
        self._known.add(part.call_id)
        return {"type": "tool-input-start", **_call_fields(part)}

    def _returned(self, message: Fields) -> list[dict[str, Any]]:
        call_id = message["tool_call_id"]
        if call_id not in self._known:
            return []  # its client refuses what a call that it does not know has returned
        if message["status"] == "error":
            return [{"type": "tool-output-error", "toolCallId": call_id, "errorText": message["tool_return"]}]
        is_json, value = parsed(message["tool_return"])
        output = value if is_json else message["tool_return"]
        return [{"type": "tool-output-available", "toolCallId": call_id, "output": output}]

    def gap(self, first: int, last: int) -> list[Frame]:  # noqa: ARG002  # there is no word for it
        """See `Form`."""
        self._number = last
        return [Frame(last, b"")]

    def end(self) -> list[Frame]:
        """See `Form`."""
        return [Frame(self._number + 1, DONE)]

    def ping(self) -> bytes:
        """See `Form`."""
        return _PING

    def broken(self, code: str, text: str) -> bytes:
        """See `Form`."""
        return data_of({"type": "error", "errorText": f"{text} [{code}]"})


def _call_fields(part: Part) -> dict[str, Any]:
    more = {"providerExecuted": True} if part.provider_executed else {}
    return {"toolCallId": part.call_id, "toolName": part.name, **more}


def _whole_call(part: Part) -> dict[str, Any]:
    """Return what tells all of a call; nothing is told of it behind that."""
    is_json, value = parsed(part.text) if part.text.strip() else (True, {})
    if is_json:
        return {"type": "tool-input-available", **_call_fields(part), "input": value}
    wrong = "the arguments are no JSON"
    return {"type": "tool-input-error", **_call_fields(part), "input": part.text, "errorText": wrong}


def _terminal(end: Ended) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = [{"type": "finish-step"}]
    if end.reason == StopReason.CANCELLED:
        return [*said, {"type": "abort", "reason": "cancelled"}, {"type": "finish", "finishReason": "other"}]
    if is_failure(end.reason):
        return [*said, {"type": "error", "errorText": end.why}]
    counts = {"inputTokens": "prompt_tokens", "outputTokens": "completion_tokens", "totalTokens": "total_tokens"}
    metadata = {"usage": {name: end.usage[ours] for name, ours in counts.items()}} if end.usage.get("reported") else {}
    more = {"messageMetadata": metadata} if metadata else {}
    return [*said, {"type": "finish", "finishReason": _FINISH.get(end.reason, "stop"), **more}]
