"""Messages as OpenAI's Responses API streams them (its reference: "Streaming events").

    our message                what goes out
    the first one              response.created, response.in_progress
    reasoning_message          an item `reasoning`, its text as a summary
    assistant_message          an item `message` with one `output_text`
    tool_call_message          an item `function_call`; calls that are told at the same time are open side by side
    stop_reason, usage         response.completed, response.incomplete (a limit, a filter) or response.failed
    all others                 nothing: tools' returns are no output there, and error messages are told at the end

Every event has a `sequence_number`, counted from 0, which is the cursor; nothing follows the last event. A frame's
number is one more than that, since 0 is the cursor of who has had nothing. A response that was cancelled ends in
`response.failed`, the nearest event that there is, with the status `cancelled`. What a provider runs itself, and all
choices but the first, are left out.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from actors.openai_format import text_of
from actors.stop_reasons import StopReason, is_failure
from gateway.formats.form import Fields, Frame, comment, encode

_PING = comment("ping")
_BEHIND_ALL = 1 << 62
_INCOMPLETE = {StopReason.MAX_TOKENS: "max_output_tokens", StopReason.CONTENT_FILTER: "content_filter"}
_CALL, _MESSAGE, _REASONING = "function_call", "message", "reasoning"
_PREFIXES = {_CALL: "fc", _MESSAGE: "msg", _REASONING: "rs"}


class _Item:
    """One item of the output while it is told."""

    __slots__ = ("call_id", "index", "item_id", "kind", "name", "text")

    def __init__(self, kind: str, index: int, request_id: str) -> None:
        self.kind = kind
        self.index = index
        self.item_id = f"{_PREFIXES[kind]}_{request_id}_{index}"
        self.call_id = ""
        self.name = ""
        self.text: list[str] = []

    @property
    def place(self) -> dict[str, Any]:
        """What its events say of where they belong."""
        return {"item_id": self.item_id, "output_index": self.index}

    def part(self, text: str) -> dict[str, Any]:
        """Return its one part."""
        if self.kind == _REASONING:
            return {"type": "summary_text", "text": text}
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

    def shown(self, status: str, text: str) -> dict[str, Any]:
        """Return it as it stands with a text; it has no part yet where it is in progress."""
        parts = [] if status == "in_progress" else [self.part(text)]
        if self.kind == _CALL:
            more: dict[str, Any] = {"call_id": self.call_id, "name": self.name, "arguments": text}
        elif self.kind == _MESSAGE:
            more = {"role": "assistant", "content": parts}
        else:
            more = {"summary": parts}
        return {"id": self.item_id, "type": self.kind, "status": status, **more}


class ResponsesForm:
    """Makes the frames of one request. `model`: what the response bears."""

    __slots__ = (
        "_calls",
        "_created_at",
        "_error",
        "_incomplete",
        "_is_lost",
        "_model",
        "_open",
        "_open_key",
        "_output",
        "_request_id",
        "_sequence",
        "_status",
        "_usage",
    )

    content_type: str = "text/event-stream; charset=utf-8"
    opening: bytes = comment("open")

    def __init__(self, request_id: str, model: str) -> None:
        self._request_id = request_id
        self._model = model
        self._created_at = 0
        self._sequence = 0
        self._status = "in_progress"
        self._error: dict[str, Any] | None = None
        self._incomplete: dict[str, Any] | None = None
        self._is_lost = False
        self._usage: dict[str, Any] | None = None
        self._output: list[dict[str, Any]] = []
        self._open: _Item | None = None
        self._open_key: Any = None
        self._calls: dict[Any, _Item] = {}

    def response(self) -> dict[str, Any]:
        """Return the response as it stands."""
        return {
            "id": self._request_id,
            "object": "response",
            "created_at": self._created_at,
            "status": self._status,
            "error": self._error if self._status in {"failed", "cancelled"} else None,
            "incomplete_details": self._incomplete,
            "instructions": None,
            "metadata": {},
            "model": self._model,
            "output": list(self._output),
            "parallel_tool_calls": True,
            "temperature": None,
            "tool_choice": "auto",
            "tools": [],
            "top_p": None,
            "usage": self._usage,
        }

    # --- messages ---------------------------------------------------------------------------

    def feed(self, message: Fields) -> list[Frame]:
        """See `Form`."""
        frames: list[Frame] = []
        if self._is_lost:
            return frames
        if not self._sequence:
            self._created_at = int(datetime.fromisoformat(message["date"]).timestamp())
            frames += self._lifecycle("response.created") + self._lifecycle("response.in_progress")
        if message.get("choice_index"):
            return frames
        match message["message_type"]:
            case "reasoning_message":
                frames += self._text(_REASONING, message, message["reasoning"])
            case "assistant_message":
                frames += self._text(_MESSAGE, message, text_of(message["content"]))
            case "tool_call_message" if not message.get("provider_executed"):
                frames += self._call(message)
            case "error_message":
                self._error = self._error or {"code": "server_error", "message": message["message"]}
            case "stop_reason":
                frames += self._close_all()
                self._stop(message)
            case "usage_statistics":
                self._usage = _usage(message)
                frames += self._terminal()
        return frames

    def _text(self, kind: str, message: Fields, text: str) -> list[Frame]:
        if not text:
            return []
        key = (kind, message["id"], message.get("otid"))
        frames: list[Frame] = []
        if self._open is None or self._open_key != key:
            frames += self._close_all()
            self._open, self._open_key = self._new(kind), key
            frames += self._added(self._open)
        item = self._open
        item.text.append(text)
        if kind == _REASONING:
            said = {**item.place, "summary_index": 0, "delta": text}
            return [*frames, self._event("response.reasoning_summary_text.delta", said)]
        said = {**item.place, "content_index": 0, "delta": text, "logprobs": []}
        return [*frames, self._event("response.output_text.delta", said)]

    def _call(self, message: Fields) -> list[Frame]:
        call = message["tool_call"]
        key = (message["id"], message.get("otid"), call.get("tool_call_id"))
        item = self._calls.get(key)
        frames: list[Frame] = []
        if item is None:
            if not call.get("name"):
                return []  # retention has dropped how it began: without its name nobody could run it
            frames += self._close_open()
            item = self._calls[key] = self._new(_CALL)
            item.call_id, item.name = call.get("tool_call_id") or item.item_id, call["name"]
            frames += self._added(item)
        if text := call.get("arguments"):
            item.text.append(text)
            frames.append(self._event("response.function_call_arguments.delta", {**item.place, "delta": text}))
        return frames

    def _new(self, kind: str) -> _Item:
        item = _Item(kind, len(self._output), self._request_id)
        self._output.append(item.shown("in_progress", ""))
        return item

    def _added(self, item: _Item) -> list[Frame]:
        said = {"output_index": item.index, "item": item.shown("in_progress", "")}
        frames = [self._event("response.output_item.added", said)]
        if item.kind != _CALL:
            name, index = _part_words(item.kind)
            said = {**item.place, index: 0, "part": item.part("")}
            frames.append(self._event(f"response.{name}.added", said))
        return frames

    def _close_open(self) -> list[Frame]:
        item, self._open = self._open, None
        return [] if item is None else self._done(item)

    def _close_all(self) -> list[Frame]:
        frames = self._close_open()
        for item in self._calls.values():
            frames += self._done(item)
        self._calls = {}
        return frames

    def _done(self, item: _Item) -> list[Frame]:
        text = "".join(item.text)
        shown = self._output[item.index] = item.shown("completed", text)
        frames: list[Frame] = []
        if item.kind == _CALL:
            said = {**item.place, "name": item.name, "arguments": text}
            frames.append(self._event("response.function_call_arguments.done", said))
        else:
            name, index = _part_words(item.kind)
            kind = "reasoning_summary_text" if item.kind == _REASONING else "output_text"
            said = {**item.place, index: 0, "text": text}
            frames.append(
                self._event(f"response.{kind}.done", said if index == "summary_index" else {**said, "logprobs": []})
            )
            frames.append(self._event(f"response.{name}.done", {**item.place, index: 0, "part": item.part(text)}))
        frames.append(self._event("response.output_item.done", {"output_index": item.index, "item": shown}))
        return frames

    # --- the end ----------------------------------------------------------------------------

    def _stop(self, message: Fields) -> None:
        reason = message["stop_reason"]
        if reason in _INCOMPLETE:
            self._status, self._incomplete = "incomplete", {"reason": _INCOMPLETE[reason]}
        elif is_failure(reason):
            self._status = "cancelled" if reason == StopReason.CANCELLED else "failed"
            text = message.get("detail") or f"The run ended as {reason!r}."
            self._error = self._error or {"code": "server_error", "message": text}
        else:
            self._status = "completed"

    def _terminal(self) -> list[Frame]:
        return self._lifecycle(
            "response.failed" if self._status in {"failed", "cancelled"} else f"response.{self._status}"
        )

    def _lifecycle(self, name: str) -> list[Frame]:
        return [self._event(name, {"response": self.response()})]

    def _event(self, name: str, said: dict[str, Any]) -> Frame:
        number = self._sequence
        self._sequence += 1
        data = encode({"type": name, "sequence_number": number, **said})
        return Frame(number + 1, b"event: " + name.encode() + b"\ndata: " + data + b"\n\n")

    def gap(self, first: int, last: int) -> list[Frame]:
        """See `Form`. Nobody can count events that are gone, so this is where it ends, from whatever cursor."""
        self._is_lost = True
        text = f"messages {first} to {last} are kept no more (retain_bytes_max), and the events' numbers with them"
        return [Frame(_BEHIND_ALL, self.broken("gap", text))]

    def end(self) -> list[Frame]:
        """See `Form`."""
        return []

    def ping(self) -> bytes:
        """See `Form`."""
        return _PING

    def broken(self, code: str, text: str) -> bytes:
        """See `Form`. Its number is none of the response's: who comes again goes on behind the last one of those."""
        # Both of the shapes that clients look for: the event's own, and that of any other answer.
        error = {"message": text, "type": code, "param": None, "code": code}
        said = {"type": "error", "code": code, "message": text, "param": None, "sequence_number": 0, "error": error}
        return b"event: error\ndata: " + encode(said) + b"\n\n"


def _part_words(kind: str) -> tuple[str, str]:
    """Return what a kind's part, and its index, are called."""
    if kind == _REASONING:
        return "reasoning_summary_part", "summary_index"
    return "content_part", "content_index"


def _usage(message: Fields) -> dict[str, Any]:
    return {
        "input_tokens": message.get("prompt_tokens") or 0,
        "input_tokens_details": {"cached_tokens": message.get("cached_tokens") or 0, "cache_write_tokens": 0},
        "output_tokens": message.get("completion_tokens") or 0,
        "output_tokens_details": {"reasoning_tokens": message.get("reasoning_tokens") or 0},
        "total_tokens": message.get("total_tokens") or 0,
    }
