"""How one reader of a load test reads one request, in each format that gateways speak. Pure.

Theory. Nothing of the gateway's own is used here, since a check shares no code with what it checks: each format is read
as its documentation has it. A format reader says what is to be asked for, takes events, and gives what they say as the
few messages that `verify.Assembly` knows, each with a place in the order (`seq_id`), so that all formats are checked
alike. It lasts as long as the reading does, over any number of connections.

    format      how a request is joined            after a cut        the places
    native      GET /v1/streams/ID/events          `Last-Event-ID`    the messages' own `seq_id`
    letta       POST /v1/runs/ID/stream            `starting_after`   the same
    responses   GET /v1/responses/ID?stream=true   `starting_after`   `sequence_number`, each event counts
    langgraph   GET /threads/ID/runs/ID/stream     `Last-Event-ID`    counted; its `id`s must grow
    agui        POST /agui with the `runId`        all of it again    counted
    chat, ui    GET /v1/streams/ID/as/FORMAT       all of it again    counted

The own routes of chat begin runs, and that of ui joins only what is under way, so these two are read at the route that
gives any format's bytes. Where all comes again, so many messages are left out as were had. Where messages are counted,
none can be seen to be missing or doubled but by what it says: then the content is wrong, or the end. An end that says
less than our stop reason `stands_for` several of them. A stream that a gateway breaks off is no end, in any format.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple
from urllib.parse import quote

from actors.stop_reasons import StopReason, is_failure

SseFormat = Literal["native", "letta", "chat", "responses", "ui", "agui", "langgraph"]

COUNT_AS_WE_DO: frozenset[SseFormat] = frozenset({"native", "letta"})
"""Of these a reader's places are the numbers of our messages, so that one that is missing is known."""
TIMED: frozenset[SseFormat] = COUNT_AS_WE_DO | {"langgraph"}
"""Their events say of which message they come, so that added latency can be measured."""
TELL_GAPS: frozenset[SseFormat] = frozenset({"native"})
"""These have a word for messages that a stream has dropped."""

AGUI_PREFIX = "agui-"
"""Of the request IDs that a client of AG-UI can join, by what follows."""

_LANGGRAPH_EVENTS_MAX = 100  # its numbers are a message's times so many, and its events counted
_REASONS = frozenset(map(str, StopReason))
_FAILED = frozenset(filter(is_failure, _REASONS))
_GOOD = _REASONS - _FAILED
_CANCELLED = frozenset({"cancelled"})
_MAX_TOKENS = frozenset({"max_tokens"})
_FILTERED = frozenset({"content_filter"})
_TOOL_CALL = frozenset({"tool_call"})
_ENDED = _GOOD - _MAX_TOKENS - _FILTERED

_CHAT_ENDS: Mapping[str, frozenset[str]] = {
    "stop": _ENDED,  # of a tool call too, where the call was the message
    "tool_calls": _TOOL_CALL,
    "length": _MAX_TOKENS,
    "content_filter": _FILTERED,
}
_UI_ENDS: Mapping[str, frozenset[str]] = {
    "stop": _ENDED - _TOOL_CALL,
    "tool-calls": _TOOL_CALL,
    "length": _MAX_TOKENS,
    "content-filter": _FILTERED,
}
_LLM_API = frozenset({"timeout_first_message", "timeout_stall"})
_INVALID = frozenset({"unknown_finish", "incomplete"})
_LETTA_ENDS: Mapping[str, frozenset[str]] = {
    "end_turn": (_ENDED - _TOOL_CALL) | _FILTERED,
    "requires_approval": _TOOL_CALL,
    "max_tokens_exceeded": _MAX_TOKENS,
    "cancelled": _CANCELLED,
    "llm_api_error": _LLM_API,
    "invalid_llm_response": _INVALID,
    "error": _FAILED - _CANCELLED - _LLM_API - _INVALID,
}
_RESPONSES_ENDS: Mapping[str, frozenset[str]] = {
    "completed": _ENDED,
    "incomplete": _MAX_TOKENS | _FILTERED,
    "failed": _FAILED - _CANCELLED,
    "cancelled": _CANCELLED,
}
_LANGGRAPH_ENDS: Mapping[str, frozenset[str]] = {"success": _GOOD, "interrupted": _CANCELLED}

Message = dict[str, Any]


class Event(NamedTuple):
    """One event of server-sent events."""

    data: bytes
    name: bytes = b""
    number: bytes = b""


def event_of(block: bytes) -> Event | None:
    """Return the event in a block, which is what lies between two empty lines; None: it has no data."""
    found: dict[bytes, bytes] = {}
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        found[name] = value.removeprefix(b" ")
    return Event(found[b"data"], found.get(b"event", b""), found.get(b"id", b"")) if b"data" in found else None


@dataclass
class Asked:
    """What is to be asked of a gateway."""

    path: str
    method: str = "GET"
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] | None = None


class FormatReader(ABC):
    """Reads one request. `cursor`: how far it is; `is_over`: nothing may follow."""

    def __init__(self, request_id: str) -> None:
        self.request_id: str = request_id
        self.place: str = quote(request_id, safe="")
        self.cursor: int = 0
        self.is_over: bool = False

    @abstractmethod
    def asked(self) -> Asked:
        """Return what is to be asked for now. What was had comes no more, or is left out."""

    def begin(self) -> None:  # noqa: B027  # most have nothing to do
        """Hear that a connection begins."""

    @abstractmethod
    def take(self, event: Event) -> list[Message]:
        """Return what an event says. Raises ValueError, LookupError and TypeError for what is not of the format."""


# --- our own messages -----------------------------------------------------------------------------


class _Native(FormatReader):
    def asked(self) -> Asked:
        headers = {"Last-Event-ID": str(self.cursor)} if self.cursor else {}
        return Asked(f"/v1/streams/{self.place}/events", headers=headers)

    def take(self, event: Event) -> list[Message]:
        if event.name == b"end":
            self.is_over = True
            return []
        message: Message = json.loads(event.data)
        self.cursor = max(self.cursor, message["seq_id"])
        return [message]


class _Letta(FormatReader):
    def asked(self) -> Asked:
        return Asked(f"/v1/runs/{self.place}/stream", "POST", body={"starting_after": self.cursor})

    def take(self, event: Event) -> list[Message]:
        if event.data == b"[DONE]":
            self.is_over = True
            return []
        message: Message = json.loads(event.data)
        if "seq_id" not in message:
            return []  # the stream breaks off
        self.cursor = max(self.cursor, message["seq_id"])
        if message["message_type"] == "stop_reason":
            message["stands_for"] = _LETTA_ENDS[message["stop_reason"]]
        elif message["message_type"] == "tool_call_message":
            message["whose"] = "unknown"  # Letta has no word for calls that the provider runs itself
        return [message]


# --- others' events -------------------------------------------------------------------------------


def _text(content: str) -> Message:
    return {"message_type": "assistant_message", "content": content}


def _reasoning(text: str) -> Message:
    return {"message_type": "reasoning_message", "reasoning": text}


def _call(key: Any, name: str | None = None, arguments: str | None = None) -> Message:
    return {"message_type": "tool_call_message", "otid": str(key), "tool_call": {"name": name, "arguments": arguments}}


def _other() -> Message:
    return {"message_type": "other"}


def _stop(word: str, stands_for: Iterable[str]) -> Message:
    return {"message_type": "stop_reason", "stop_reason": word, "stands_for": frozenset(stands_for)}


class _Responses(FormatReader):
    def asked(self) -> Asked:
        query = {"stream": "true"}
        if self.cursor:
            query["starting_after"] = str(self.cursor - 1)
        return Asked(f"/v1/responses/{self.place}", query=query)

    def take(self, event: Event) -> list[Message]:
        said = json.loads(event.data)
        if said["type"] == "error":
            return []  # the stream breaks off; its number is none of the response's
        number = said["sequence_number"] + 1
        self.cursor = max(self.cursor, number)
        return [{**self._said(said), "seq_id": number, "of_seq_id": None}]

    def _said(self, said: Mapping[str, Any]) -> Message:
        match said["type"]:
            case "response.output_text.delta":
                return _text(said["delta"])
            case "response.reasoning_summary_text.delta":
                return _reasoning(said["delta"])
            case "response.output_item.added" if said["item"]["type"] == "function_call":
                return _call(said["item"]["id"], name=said["item"]["name"])
            case "response.function_call_arguments.delta":
                return _call(said["item_id"], arguments=said["delta"])
            case "response.completed" | "response.incomplete" | "response.failed":
                self.is_over = True
                status = said["response"]["status"]
                return _stop(status, _RESPONSES_ENDS[status])
        return _other()


class _LangGraph(FormatReader):
    """Reads the mode `messages-tuple`, in which each piece comes by itself."""

    def __init__(self, request_id: str) -> None:
        super().__init__(request_id)
        self._count = 0

    def asked(self) -> Asked:
        headers = {"Last-Event-ID": str(self.cursor)} if self.cursor else {}
        query = {"stream_mode": "messages-tuple"}
        return Asked(f"/threads/{self.place}/runs/{self.place}/stream", query=query, headers=headers)

    def take(self, event: Event) -> list[Message]:
        number = int(event.number)
        told = self._said(event.name, json.loads(event.data))
        seq_id = self._count = self._count + (number > self.cursor)  # what does not grow was had, and is doubled
        self.cursor = max(self.cursor, number)
        return [{**message, "seq_id": seq_id, "of_seq_id": number // _LANGGRAPH_EVENTS_MAX} for message in told]

    def _said(self, name: bytes, said: Any) -> list[Message]:
        if name == b"end":
            self.is_over = True
            return [_stop(said["status"], _LANGGRAPH_ENDS[said["status"]])]
        if name == b"error":
            self.is_over = True
            return [_stop(said["error"], {said["error"]})]
        is_said = name == b"messages" and said[0]["type"] == "AIMessageChunk"
        return [self._of_piece(said[0]) if is_said else _other()]

    @staticmethod
    def _of_piece(piece: Mapping[str, Any]) -> Message:
        if reasoning := piece["additional_kwargs"].get("reasoning_content"):
            return _reasoning(reasoning)
        if calls := piece.get("tool_call_chunks"):
            (call,) = calls
            return _call(f"{piece['id']} {call['index']}", call["name"], call["args"])
        return _text(piece["content"])


class _Counted(FormatReader):
    """Of a format without a cursor: all of it comes again after a cut, and what was had is left out."""

    FORMAT: ClassVar[SseFormat]

    def __init__(self, request_id: str) -> None:
        super().__init__(request_id)
        self._told = 0

    def asked(self) -> Asked:
        return Asked(f"/v1/streams/{self.place}/as/{self.FORMAT}")

    def begin(self) -> None:
        self._told = 0

    def take(self, event: Event) -> list[Message]:
        message = self._said(event.data)
        if message is None:
            return []
        self._told += 1
        if self._told <= self.cursor:
            return []
        self.cursor = self._told
        return [{**message, "seq_id": self._told, "of_seq_id": None}]

    @abstractmethod
    def _said(self, data: bytes) -> Message | None:
        """Return what an event says; None: nothing that is the run's."""


class _Chat(_Counted):
    FORMAT = "chat"

    def _said(self, data: bytes) -> Message | None:
        if data == b"[DONE]":
            self.is_over = True
            return None
        said = json.loads(data)
        if "error" in said:
            why = said["error"]["code"]
            if why not in _REASONS:
                return None  # the stream breaks off
            self.is_over = True
            return _stop(why, {why})
        for choice in said["choices"]:
            if choice["index"] == 0:
                return self._of_choice(choice)
        return _other()

    @staticmethod
    def _of_choice(choice: Mapping[str, Any]) -> Message:
        delta = choice["delta"]
        if choice["finish_reason"] is not None:
            return _stop(choice["finish_reason"], _CHAT_ENDS[choice["finish_reason"]])
        if "reasoning_content" in delta:
            return _reasoning(delta["reasoning_content"])
        if "tool_calls" in delta:
            (call,) = delta["tool_calls"]
            return _call(call["index"], call["function"].get("name"), call["function"]["arguments"])
        return _text(delta["content"])


class _Ui(_Counted):
    FORMAT = "ui"

    def __init__(self, request_id: str) -> None:
        super().__init__(request_id)
        self._has_failed = False
        self._not_the_clients: set[str] = set()  # calls that the provider runs itself

    def begin(self) -> None:
        super().begin()
        self._has_failed = False

    def _said(self, data: bytes) -> Message | None:
        if data == b"[DONE]":
            self.is_over = True
            return _stop("error", _FAILED - _CANCELLED) if self._has_failed else None
        said = json.loads(data)
        message: Message | None = _other()
        match said["type"]:
            case "error":
                self._has_failed = True  # unless `[DONE]` follows, the stream breaks off, and not the run
                message = None
            case "text-delta":
                message = _text(said["delta"])
            case "reasoning-delta":
                message = _reasoning(said["delta"])
            case "tool-input-start" if said.get("providerExecuted"):
                self._not_the_clients.add(said["toolCallId"])
            case "tool-input-start":
                message = _call(said["toolCallId"], name=said["toolName"])
            case "tool-input-delta" if said["toolCallId"] not in self._not_the_clients:
                message = _call(said["toolCallId"], arguments=said["inputTextDelta"])
            case "abort":
                message = _stop("abort", _CANCELLED)
            case "finish" if said["finishReason"] != "other":  # which follows an abort
                message = _stop(said["finishReason"], _UI_ENDS[said["finishReason"]])
        return message


class _Agui(_Counted):
    FORMAT = "agui"

    def asked(self) -> Asked:
        run_id = self.request_id.removeprefix(AGUI_PREFIX)
        return Asked("/agui", "POST", body={"threadId": run_id, "runId": run_id, "messages": []})

    def _said(self, data: bytes) -> Message | None:
        said = json.loads(data)
        message: Message | None = _other()
        match said["type"]:
            case "TEXT_MESSAGE_CONTENT":
                message = _text(said["delta"])
            case "REASONING_MESSAGE_CONTENT":
                message = _reasoning(said["delta"])
            case "TOOL_CALL_START":
                message = _call(said["toolCallId"], name=said["toolCallName"])
            case "TOOL_CALL_ARGS":
                message = _call(said["toolCallId"], arguments=said["delta"])
            case "RUN_ERROR" if said["code"] not in _REASONS:
                message = None  # the stream breaks off
            case "RUN_ERROR":
                self.is_over = True
                message = _stop(said["code"], {said["code"]})
            case "RUN_FINISHED":
                self.is_over = True
                is_cancelled = said.get("outcome", {}).get("type") == "cancelled"
                message = _stop("cancelled" if is_cancelled else "finished", _CANCELLED if is_cancelled else _GOOD)
        return message


_READERS: Mapping[SseFormat, type[FormatReader]] = {
    "native": _Native,
    "letta": _Letta,
    "chat": _Chat,
    "responses": _Responses,
    "ui": _Ui,
    "agui": _Agui,
    "langgraph": _LangGraph,
}


def reader_of(name: SseFormat, request_id: str) -> FormatReader:
    """Return a reader of a request in a format."""
    return _READERS[name](request_id)


def request_prefix(name: SseFormat) -> str:
    """Return what request IDs must begin with so that they can be joined in a format."""
    return AGUI_PREFIX if name == "agui" else ""
