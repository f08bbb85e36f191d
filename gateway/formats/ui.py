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
from actors.openai_format import text_of
from actors.stop_reasons import StopReason, is_failure
from gateway.formats.form import DONE, Fields, Frame, comment, data_of

HEADER = "x-vercel-ai-ui-message-stream"
_PING = comment("ping")
_FINISH: dict[str, str] = {
    StopReason.TOOL_CALL: "tool-calls",
    StopReason.MAX_TOKENS: "length",
    StopReason.CONTENT_FILTER: "content-filter",
}


class _Call:
    """A tool's call while it is told."""

    __slots__ = ("call_id", "is_told", "name", "provider_executed", "text")

    def __init__(self, call_id: str, name: str, *, provider_executed: bool) -> None:
        self.call_id = call_id
        self.name = name
        self.provider_executed = provider_executed
        self.is_told = False
        self.text: list[str] = []

    @property
    def said(self) -> dict[str, Any]:
        """What its parts say of it."""
        more = {"providerExecuted": True} if self.provider_executed else {}
        return {"toolCallId": self.call_id, "toolName": self.name, **more}

    def whole(self) -> dict[str, Any]:
        """Return the part that tells all of it; nothing is told of it behind that."""
        self.is_told = True
        text = "".join(self.text)
        is_json, value = parsed(text) if text.strip() else (True, {})
        if is_json:
            return {"type": "tool-input-available", **self.said, "input": value}
        wrong = "the arguments are no JSON"
        return {"type": "tool-input-error", **self.said, "input": text, "errorText": wrong}


class UiForm:
    """Makes the frames of one request."""

    __slots__ = (
        "_calls",
        "_error",
        "_kind",
        "_known",
        "_number",
        "_part_id",
        "_parts",
        "_request_id",
        "_step",
        "_stop",
    )

    content_type: str = "text/event-stream; charset=utf-8"
    opening: bytes = comment("open")

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self._number = 0
        self._step: str | None = None
        self._parts = 0
        self._kind: str | None = None  # of the text that is open: text, reasoning
        self._part_id: Any = None
        self._calls: dict[Any, _Call] = {}
        self._known: set[str] = set()
        self._error: str | None = None
        self._stop: Fields | None = None

    def feed(self, message: Fields) -> list[Frame]:
        """See `Form`."""
        self._number = message["seq_id"]
        said = [] if message.get("choice_index") else self._said(message)
        if self._step is None:
            self._step = message["id"]
            said = [{"type": "start", "messageId": self._request_id}, {"type": "start-step"}, *said]
        return [Frame(self._number, b"".join(map(data_of, said)))]

    def _said(self, message: Fields) -> list[dict[str, Any]]:
        said: list[dict[str, Any]] = []
        match message["message_type"]:
            case "assistant_message":
                said = self._in_step(message) + self._text("text", message, text_of(message["content"]))
            case "reasoning_message":
                said = self._in_step(message) + self._text("reasoning", message, message["reasoning"])
            case "tool_call_message":
                said = self._in_step(message) + self._call(message)
            case "tool_return_message":
                said = self._close() + self._returned(message)
            case "error_message":
                self._error = self._error or message["message"]
            case "stop_reason":
                self._stop = message
                said = self._close()
            case "usage_statistics":
                said = self._terminal(message)
        return said

    def _in_step(self, message: Fields) -> list[dict[str, Any]]:
        if self._step is None or message["id"] == self._step:
            return []
        said = [*self._close(), {"type": "finish-step"}, {"type": "start-step"}]
        self._step = message["id"]
        return said

    def _text(self, kind: str, message: Fields, text: str) -> list[dict[str, Any]]:
        if not text:
            return []
        said: list[dict[str, Any]] = []
        part = (message["id"], message.get("otid"))
        if (self._kind, self._part_id) != (kind, part):
            said += self._close()
            self._parts += 1
            self._kind, self._part_id = kind, part
            said.append({"type": f"{kind}-start", "id": str(self._parts)})
        return [*said, {"type": f"{kind}-delta", "id": str(self._parts), "delta": text}]

    def _call(self, message: Fields) -> list[dict[str, Any]]:
        told = message["tool_call"]
        key = (message["id"], message.get("otid"), told.get("tool_call_id"))
        call = self._calls.get(key)
        said: list[dict[str, Any]] = []
        if call is None:
            if not told.get("name"):
                return []  # retention has dropped how it began
            said += self._close_text()
            call_id = told.get("tool_call_id") or f"call-{self._number}"
            call = _Call(call_id, told["name"], provider_executed=bool(message.get("provider_executed")))
            self._calls[key] = call
            self._known.add(call_id)
            said.append({"type": "tool-input-start", **call.said})
        text = told.get("arguments")
        if text and not call.is_told:
            call.text.append(text)
            said.append({"type": "tool-input-delta", "toolCallId": call.call_id, "inputTextDelta": text})
            # What comes next may be its return, a long time later. To look costs as much as the arguments are long.
            if text.rstrip().endswith("}") and parsed("".join(call.text))[0]:
                said.append(call.whole())
        return said

    def _close_text(self) -> list[dict[str, Any]]:
        kind, self._kind = self._kind, None
        return [] if kind is None else [{"type": f"{kind}-end", "id": str(self._parts)}]

    def _close(self) -> list[dict[str, Any]]:
        said = self._close_text()
        said += [call.whole() for call in self._calls.values() if not call.is_told]
        self._calls = {}
        return said

    def _returned(self, message: Fields) -> list[dict[str, Any]]:
        call_id = message["tool_call_id"]
        if call_id not in self._known:
            return []  # its client refuses what a call that it does not know has returned
        if message["status"] == "error":
            return [{"type": "tool-output-error", "toolCallId": call_id, "errorText": message["tool_return"]}]
        is_json, value = parsed(message["tool_return"])
        output = value if is_json else message["tool_return"]
        return [{"type": "tool-output-available", "toolCallId": call_id, "output": output}]

    def _terminal(self, usage: Fields) -> list[dict[str, Any]]:
        reason = StopReason.LOST if self._stop is None else self._stop["stop_reason"]
        said: list[dict[str, Any]] = [{"type": "finish-step"}]
        if reason == StopReason.CANCELLED:
            return [*said, {"type": "abort", "reason": "cancelled"}, {"type": "finish", "finishReason": "other"}]
        if is_failure(reason):
            text = self._error or (self._stop or {}).get("detail") or f"The run ended as {reason!r}."
            return [*said, {"type": "error", "errorText": text}]
        counts = {"inputTokens": "prompt_tokens", "outputTokens": "completion_tokens", "totalTokens": "total_tokens"}
        metadata = {"usage": {name: usage[ours] for name, ours in counts.items()}} if usage.get("reported") else {}
        more = {"messageMetadata": metadata} if metadata else {}
        return [*said, {"type": "finish", "finishReason": _FINISH.get(reason, "stop"), **more}]

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
