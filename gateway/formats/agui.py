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

from actors.stop_reasons import StopReason, is_failure
from gateway.formats.form import Fields, Frame, comment, data_of
from gateway.formats.parts import CALL, REASONING, TEXT, Begun, Ended, Grown, Happening, Over, Part, Parts, Returned

_PING = comment("ping")
_KINDS = {TEXT: "TEXT_MESSAGE", REASONING: "REASONING_MESSAGE"}
Event = dict[str, Any]


class AguiForm:
    """Makes the frames of one request. `had`: what a reader that comes again had before the run; None: it is new."""

    __slots__ = ("_ids", "_known", "_number", "_parent", "_parts", "_run", "_step", "opening")

    content_type: str = "text/event-stream; charset=utf-8"

    def __init__(self, thread_id: str, run_id: str, had: Sequence[Fields] | None = None) -> None:
        self._run = {"threadId": thread_id, "runId": run_id}
        self._number = 0
        self._parts = Parts()
        self._ids = 0
        self._parent: str | None = None  # the assistant's message that calls of its step belong to
        self._step: str | None = None
        self._known: set[str] = set()  # the IDs of the calls that were told
        snapshot = [] if had is None else [{"type": "MESSAGES_SNAPSHOT", "messages": list(had)}]
        self.opening: bytes = b"".join(map(data_of, [{"type": "RUN_STARTED", **self._run}, *snapshot]))

    def feed(self, message: Fields) -> list[Frame]:
        """See `Form`."""
        self._number = message["seq_id"]
        said = [event for happening in self._parts.feed(message) for event in self._said(happening)]
        return [Frame(self._number, b"".join(map(data_of, said)))]

    def _said(self, happening: Happening) -> list[Event]:
        said: list[Event] = []
        match happening:
            case Grown(part, text) if part.kind != CALL:
                said = [{"type": f"{_KINDS[part.kind]}_CONTENT", "messageId": self._id(), "delta": text}]
            case Begun(part) | Grown(part) | Over(part) if part.provider_executed:
                pass
            case Begun(part):
                said = self._begun(part)
            case Grown(part, text):
                said = [{"type": "TOOL_CALL_ARGS", "toolCallId": part.call_id, "delta": text}]
            case Over(part):
                said = self._over(part)
            case Returned(message) if message["tool_call_id"] in self._known:
                returned = {"toolCallId": message["tool_call_id"], "content": message["tool_return"], "role": "tool"}
                said = [{"type": "TOOL_CALL_RESULT", "messageId": self._new_id(), **returned}]
            case Ended():
                said = [self._terminal(happening)]
        return said

    def _new_id(self) -> str:
        self._ids += 1
        return self._id()

    def _id(self) -> str:
        return message_id(self._run["runId"], self._ids)

    def _begun(self, part: Part) -> list[Event]:
        if part.kind == REASONING:
            part_id = self._new_id()
            begun = {"type": "REASONING_MESSAGE_START", "messageId": part_id, "role": "reasoning"}
            return [{"type": "REASONING_START", "messageId": part_id}, begun]
        if part.kind == TEXT or self._step != part.step or self._parent is None:
            self._parent, self._step = self._new_id(), part.step
        if part.kind == TEXT:
            return [{"type": "TEXT_MESSAGE_START", "messageId": self._parent, "role": "assistant"}]
        part.call_id = part.call_id or self._new_id()
        self._known.add(part.call_id)
        called = {"toolCallId": part.call_id, "toolCallName": part.name, "parentMessageId": self._parent}
        return [{"type": "TOOL_CALL_START", **called}]

    def _over(self, part: Part) -> list[Event]:
        if part.kind == CALL:
            return [{"type": "TOOL_CALL_END", "toolCallId": part.call_id}]
        ended = {"messageId": self._id()}
        said: list[Event] = [{"type": f"{_KINDS[part.kind]}_END", **ended}]
        return said if part.kind == TEXT else [*said, {"type": "REASONING_END", **ended}]

    def _terminal(self, end: Ended) -> Event:
        if end.reason == StopReason.CANCELLED:
            return {"type": "RUN_FINISHED", **self._run, "outcome": {"type": "cancelled"}}
        if is_failure(end.reason):
            return {"type": "RUN_ERROR", "message": end.why, "code": str(end.reason)}
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
