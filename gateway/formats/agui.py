"""Messages as events of AG-UI, the protocol of CopilotKit and others (its documentation: "Events").

    our message                what goes out
    (the beginning)            RUN_STARTED; to who comes again, MESSAGES_SNAPSHOT of what it had before the run
    assistant_message          TEXT_MESSAGE_START, _CONTENT, _END
    reasoning_message          REASONING_START, REASONING_MESSAGE_START, _CONTENT, _END, REASONING_END
    tool_call_message          TOOL_CALL_START, _ARGS, and _END when the call is complete
    tool_return_message        TOOL_CALL_RESULT
    stop_reason, usage         RUN_FINISHED (`cancelled` where it was), or RUN_ERROR
    all others                 nothing; error messages are told at the end

There is exactly one RUN_FINISHED or RUN_ERROR, and nothing behind it: no `[DONE]`, at which its client fails. It takes
a cut stream for a good end, so one that breaks off is a RUN_ERROR. There is no cursor: who comes again with the same
run gets all of it anew, behind a snapshot that takes back what it had of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actors.joining import parsed
from actors.openai_format import text_of
from actors.stop_reasons import StopReason, is_failure
from gateway.formats.form import Fields, Frame, comment, data_of

_PING = comment("ping")
Event = dict[str, Any]


class AguiForm:
    """Makes the frames of one request. `had`: what a reader that comes again had before the run; None: it is new."""

    __slots__ = (
        "_calls",
        "_error",
        "_known",
        "_number",
        "_open",
        "_open_key",
        "_parent",
        "_parts",
        "_run",
        "_step",
        "_stop",
        "opening",
    )

    content_type: str = "text/event-stream; charset=utf-8"

    def __init__(self, thread_id: str, run_id: str, had: Sequence[Fields] | None = None) -> None:
        self._run = {"threadId": thread_id, "runId": run_id}
        self._number = 0
        self._parts = 0
        self._open: str | None = None  # the kind of the text that is open: TEXT_MESSAGE, REASONING_MESSAGE
        self._open_key: Any = None
        self._parent: str | None = None  # the assistant's message that calls belong to
        self._step: str | None = None
        self._calls: dict[Any, list[str]] = {}  # the arguments of each call that is open
        self._known: dict[Any, str] = {}  # the IDs of all calls
        self._error: str | None = None
        self._stop: Fields | None = None
        snapshot = [] if had is None else [{"type": "MESSAGES_SNAPSHOT", "messages": list(had)}]
        self.opening: bytes = b"".join(map(data_of, [{"type": "RUN_STARTED", **self._run}, *snapshot]))

    def feed(self, message: Fields) -> list[Frame]:
        """See `Form`."""
        self._number = message["seq_id"]
        said = [] if message.get("choice_index") else self._said(message)
        return [Frame(self._number, b"".join(map(data_of, said)))]

    def _said(self, message: Fields) -> list[Event]:
        said: list[Event] = []
        match message["message_type"]:
            case "assistant_message":
                said = self._text("TEXT_MESSAGE", message, text_of(message["content"]))
            case "reasoning_message":
                said = self._text("REASONING_MESSAGE", message, message["reasoning"])
            case "tool_call_message" if not message.get("provider_executed"):
                said = self._call(message)
            case "tool_return_message" if message["tool_call_id"] in self._known.values():
                returned = {"toolCallId": message["tool_call_id"], "content": message["tool_return"], "role": "tool"}
                said = [*self._close(), {"type": "TOOL_CALL_RESULT", "messageId": self._new_id(), **returned}]
            case "error_message":
                self._error = self._error or message["message"]
            case "stop_reason":
                self._stop = message
                said = self._close()
            case "usage_statistics":
                said = [self._terminal()]
        return said

    def _new_id(self) -> str:
        self._parts += 1
        return message_id(self._run["runId"], self._parts)

    def _part_id(self) -> str:
        return message_id(self._run["runId"], self._parts)

    def _text(self, kind: str, message: Fields, text: str) -> list[Event]:
        if not text:
            return []
        key = (kind, message["id"], message.get("otid"))
        said: list[Event] = []
        if self._open is None or self._open_key != key:
            said += self._close()
            self._open, self._open_key = kind, key
            part_id = self._new_id()
            if kind == "TEXT_MESSAGE":
                self._parent, self._step = part_id, message["id"]
                said.append({"type": "TEXT_MESSAGE_START", "messageId": part_id, "role": "assistant"})
            else:
                said.append({"type": "REASONING_START", "messageId": part_id})
                said.append({"type": "REASONING_MESSAGE_START", "messageId": part_id, "role": "reasoning"})
        return [*said, {"type": f"{kind}_CONTENT", "messageId": self._part_id(), "delta": text}]

    def _call(self, message: Fields) -> list[Event]:
        told = message["tool_call"]
        key = (message["id"], message.get("otid"), told.get("tool_call_id"))
        said: list[Event] = []
        if key not in self._known:
            if not told.get("name"):
                return []  # retention has dropped how it began
            said += self._close_text()
            if self._step != message["id"] or self._parent is None:
                self._parent, self._step = self._new_id(), message["id"]
            call_id = self._known[key] = told.get("tool_call_id") or self._new_id()
            self._calls[key] = []
            started = {"toolCallId": call_id, "toolCallName": told["name"], "parentMessageId": self._parent}
            said.append({"type": "TOOL_CALL_START", **started})
        text = told.get("arguments")
        if text and key in self._calls:
            self._calls[key].append(text)
            said.append({"type": "TOOL_CALL_ARGS", "toolCallId": self._known[key], "delta": text})
            # What comes next may be its return, a long time later. To look costs as much as the arguments are long.
            if text.rstrip().endswith("}") and parsed("".join(self._calls[key]))[0]:
                del self._calls[key]
                said.append({"type": "TOOL_CALL_END", "toolCallId": self._known[key]})
        return said

    def _close_text(self) -> list[Event]:
        kind, self._open = self._open, None
        if kind is None:
            return []
        ended = {"messageId": self._part_id()}
        said: list[Event] = [{"type": f"{kind}_END", **ended}]
        return said if kind == "TEXT_MESSAGE" else [*said, {"type": "REASONING_END", **ended}]

    def _close(self) -> list[Event]:
        said = self._close_text()
        said += [{"type": "TOOL_CALL_END", "toolCallId": self._known[key]} for key in self._calls]
        self._calls = {}
        return said

    def _terminal(self) -> Event:
        reason = StopReason.LOST if self._stop is None else self._stop["stop_reason"]
        if reason == StopReason.CANCELLED:
            return {"type": "RUN_FINISHED", **self._run, "outcome": {"type": "cancelled"}}
        if is_failure(reason):
            text = self._error or (self._stop or {}).get("detail") or f"The run ended as {reason!r}."
            return {"type": "RUN_ERROR", "message": text, "code": str(reason)}
        return {"type": "RUN_FINISHED", **self._run}

    def gap(self, first: int, last: int) -> list[Frame]:  # noqa: ARG002  # there is no word for it
        """See `Form`."""
        self._number = last
        return [Frame(last, b"")]

    def end(self) -> list[Frame]:
        """See `Form`."""
        return []

    def ping(self) -> bytes:
        """See `Form`."""
        return _PING

    def broken(self, code: str, text: str) -> bytes:
        """See `Form`."""
        return data_of({"type": "RUN_ERROR", "message": text, "code": code})


def message_id(run_id: str, number: int) -> str:
    """Return the ID of a run's message; it tells them from all that its client had before."""
    return f"{run_id}-{number}"


def had_before(messages: Sequence[Any], run_id: str) -> list[Any]:
    """Return a client's messages without those of the run."""
    return [one for one in messages if not (isinstance(one, dict) and str(one.get("id")).startswith(f"{run_id}-"))]
