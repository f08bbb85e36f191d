"""Messages as LangGraph's server streams the runs of a graph (its SDKs' `stream_mode`; docs: "Streaming API").

    our message                what it is there
    (the beginning)            `metadata`, with the run's ID
    assistant, reasoning,      one message of the type `ai` for all of a step, in the node `agent`; its ID is the
    tool_call_message          step's, and reasoning stands in `additional_kwargs.reasoning_content`
    tool_return_message        a message of the type `tool`, in the node `tools`
    user_, system_message      messages of the types `human` and `system`, in the node `agent`
    stop_reason, usage         `end`; `error` where the run failed
    all others, gap            nothing, but see `custom`

    mode                       events
    messages-tuple             `messages`: each piece as it comes, [message, metadata]
    messages                   `messages/metadata`, and `messages/complete` when a message is whole
    updates                    `updates`: a message that is whole, by its node
    values                     `values`: all messages until now, whenever one is whole
    custom                     `custom`: our own messages, as the native format has them

What a provider runs itself, and all choices but the first, are in `custom` alone. Events are numbered by the message
that they come of, the last two digits counting them; all modes count, so a cursor holds whatever modes are read. Of a
stream that breaks off nothing is said, it is cut: its clients take a cut for one, and come again by themselves.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

from actors.joining import parsed
from actors.openai_format import text_of
from actors.stop_reasons import StopReason, is_failure
from gateway.formats.form import Fields, Frame, comment, encode, encoded
from gateway.formats.parts import CALL, REASONING, Begun, Ended, Grown, Happening, Part, Parts, Returned

MODES = ("values", "updates", "messages", "messages-tuple", "custom")
EVENTS_MAX = 100
"""Events of one message; there are never so many."""

_PING = comment("ping")
_OPEN = comment("open")
_ALWAYS = ""  # the mode of what is sent in all modes
_SPOKEN = {"user_message": "human", "system_message": "system"}
_AGENT, _TOOLS = "agent", "tools"
_TIMEOUTS = frozenset(reason for reason in StopReason if reason.value.startswith("timeout"))

Told = list[tuple[str, str, Any]]
"""Events: the mode, the event's name, its data."""


def status_of(stop_reason: str | None, *, is_waiting: bool = False) -> str:
    """Return LangGraph's word for how a run stands."""
    if stop_reason is None:
        return "pending" if is_waiting else "running"
    if stop_reason == StopReason.CANCELLED:
        return "interrupted"
    if stop_reason in _TIMEOUTS:
        return "timeout"
    return "error" if is_failure(stop_reason) else "success"


class _Said:
    """What an agent says in one step: LangGraph's AI message."""

    __slots__ = ("calls", "more", "step", "texts", "thoughts")

    def __init__(self, step: str) -> None:
        self.step = step
        self.texts: list[str] = []
        self.thoughts: list[str] = []
        self.calls: list[Part] = []
        self.more: dict[str, Any] = {}

    def whole(self) -> dict[str, Any]:
        """Return all of it."""
        calls: list[dict[str, Any]] = []
        invalid: list[dict[str, Any]] = []
        for call in self.calls:
            is_json, arguments = parsed(call.text) if call.text.strip() else (True, {})
            if is_json and isinstance(arguments, dict):
                calls.append({"type": "tool_call", "id": call.call_id, "name": call.name, "args": arguments})
            else:
                wrong = {"args": call.text, "error": "the arguments are no JSON object"}
                invalid.append({"type": "invalid_tool_call", "id": call.call_id, "name": call.name, **wrong})
        message = _ai("ai", self.step, "".join(self.texts), "".join(self.thoughts))
        return {**message, "tool_calls": calls, "invalid_tool_calls": invalid, **self.more}


def _ai(kind: str, step: str, text: str, thoughts: str) -> dict[str, Any]:
    more = {"reasoning_content": thoughts} if thoughts else {}
    return {"content": text, "additional_kwargs": more, "response_metadata": {}, "type": kind, "id": step}


class LangGraphForm:
    """Makes the frames of one request. `modes`: what is sent of it. `is_resumed`: whether its reader had some of it."""

    __slots__ = (
        "_failure",
        "_metadata",
        "_modes",
        "_names",
        "_parts",
        "_places",
        "_run_id",
        "_said",
        "_thread_id",
        "_told",
        "_whole",
        "opening",
    )

    content_type: str = "text/event-stream; charset=utf-8"

    def __init__(self, run_id: str, thread_id: str, modes: AbstractSet[str], *, is_resumed: bool = False) -> None:
        self._run_id = run_id
        self._thread_id = thread_id
        self._modes = modes
        self._parts = Parts()
        self._said: _Said | None = None  # the message that is not whole yet
        self._told: dict[str, _Said] = {}  # all of them, by their IDs
        self._whole: dict[str, dict[str, Any]] = {}  # messages that are whole, in the order in which they began to be
        self._names: dict[str, str] = {}  # of the tools that were called, by the calls' IDs
        self._places: dict[str, Any] = {}  # where each message comes from, encoded
        self._failure: dict[str, Any] | None = None
        metadata = b"id: 1\nevent: metadata\ndata: " + encode({"run_id": run_id, "attempt": 1}) + b"\n\n"
        self.opening: bytes = _OPEN if is_resumed else metadata

    # --- messages ---------------------------------------------------------------------------

    def feed(self, message: Fields) -> list[Frame]:
        """See `Form`."""
        told: Told = [("custom", "custom", message)]
        kind = message["message_type"]
        if kind in _SPOKEN and not message.get("choice_index"):
            said = {"type": _SPOKEN[kind], "id": _id_of(message), "content": text_of(message["content"])}
            told += self._close() + self._at_once(said, _AGENT)
        for happening in self._parts.feed(message):
            told += self._events(happening)
        return self._frames(message["seq_id"], told)

    def _events(self, happening: Happening) -> Told:
        match happening:
            case Begun(part) | Grown(part) if part.provider_executed:
                return []
            case Begun(part) if part.kind == CALL:
                return self._called(part)
            case Grown(part, text):
                return self._grown(part, text)
            case Returned(message) if not message.get("provider_executed"):
                call_id = message["tool_call_id"]
                said = {"type": "tool", "id": _id_of(message), "content": message["tool_return"]}
                said |= {"tool_call_id": call_id, "name": self._names.get(call_id), "status": message["status"]}
                return self._close() + self._at_once(said, _TOOLS)
            case Ended():
                return self._ended(happening)
        return []

    def _grown(self, part: Part, text: str) -> Told:
        if part.kind == CALL:
            return self._call_piece(part, {"name": None, "id": None, "args": text})
        told = self._begin(part.step)
        said = self._told[part.step]
        (said.thoughts if part.kind == REASONING else said.texts).append(text)
        piece = _ai("AIMessageChunk", part.step, *(("", text) if part.kind == REASONING else (text, "")))
        return [*told, self._piece(piece, _AGENT)]

    def _called(self, part: Part) -> Told:
        told = self._begin(part.step)
        said = self._told[part.step]
        said.calls.append(part)
        part.call_id = part.call_id or f"call-{part.step}-{len(said.calls)}"
        self._names[part.call_id] = part.name
        return told + self._call_piece(part, {"name": part.name, "id": part.call_id, "args": ""})

    def _call_piece(self, part: Part, of_it: dict[str, Any]) -> Told:
        index = self._told[part.step].calls.index(part)
        piece = _ai("AIMessageChunk", part.step, "", "")
        piece["tool_call_chunks"] = [{"type": "tool_call_chunk", "index": index, **of_it}]
        return [self._piece(piece, _AGENT)]

    def _begin(self, step: str) -> Told:
        """Make a step's message the one that is under way; what was so until now is whole."""
        if self._said is not None and self._said.step == step:
            return []
        told = self._close()
        is_new = step not in self._told
        self._said = self._told.setdefault(step, _Said(step))
        return [*told, *([self._described(step, _AGENT)] if is_new else [])]

    def _close(self) -> Told:
        said, self._said = self._said, None
        return [] if said is None else self._is_whole(said.whole(), _AGENT)

    def _at_once(self, message: dict[str, Any], node: str) -> Told:
        """Return the events of a message that comes whole."""
        message = {**message, "additional_kwargs": {}, "response_metadata": {}}
        return [self._described(message["id"], node), self._piece(message, node), *self._is_whole(message, node)]

    # --- events -----------------------------------------------------------------------------

    def _where(self, message_id: str, node: str) -> Any:
        place = self._places.get(message_id)
        if place is None:
            step = {"langgraph_node": node, "langgraph_step": len(self._places) + 1}
            place = encoded({**step, "run_id": self._run_id, "thread_id": self._thread_id})
            self._places[message_id] = place
        return place

    def _described(self, message_id: str, node: str) -> tuple[str, str, Any]:
        return "messages", "messages/metadata", {message_id: {"metadata": self._where(message_id, node)}}

    def _piece(self, piece: dict[str, Any], node: str) -> tuple[str, str, Any]:
        return "messages-tuple", "messages", [piece, self._where(piece["id"], node)]

    def _is_whole(self, message: dict[str, Any], node: str) -> Told:
        self._whole[message["id"]] = message
        return [
            ("messages", "messages/complete", [message]),
            ("updates", "updates", {node: {"messages": [message]}}),
            ("values", "values", {"messages": list(self._whole.values())}),
        ]

    def _frames(self, seq_id: int, told: Told) -> list[Frame]:
        number = seq_id * EVENTS_MAX
        frames = [
            Frame(number + count, b"id: %d\nevent: %b\ndata: %b\n\n" % (number + count, name.encode(), encode(data)))
            for count, (mode, name, data) in enumerate(told)
            if mode in self._modes or mode == _ALWAYS
        ]
        return frames or [Frame(number, b"")]

    # --- the end ----------------------------------------------------------------------------

    def _ended(self, end: Ended) -> Told:
        told: Told = []
        if self._said is not None:
            more: dict[str, Any] = {"response_metadata": {"stop_reason": end.reason}}
            if end.usage.get("reported"):
                more["usage_metadata"] = _usage(end.usage)
            self._said.more = more
            last = {**_ai("AIMessageChunk", self._said.step, "", ""), **more, "chunk_position": "last"}
            told = [self._piece(last, _AGENT), *self._close()]
        if is_failure(end.reason) and end.reason != StopReason.CANCELLED:
            self._failure = {"error": end.reason, "message": end.why}
            return [*told, (_ALWAYS, "error", self._failure)]
        return [*told, (_ALWAYS, "end", {"run_id": self._run_id, "status": status_of(end.reason)})]

    def values(self) -> dict[str, Any]:
        """Return the state that the run has come to; of one that failed, why, as its clients expect that."""
        if self._failure is not None:
            return {"__error__": self._failure}
        return {"messages": list(self._whole.values())}

    def gap(self, first: int, last: int) -> list[Frame]:
        """See `Form`."""
        said = {"message_type": "gap", "run_id": self._run_id, "first_seq_id": first, "last_seq_id": last}
        return self._frames(last, [("custom", "custom", {**said, "seq_id": last})])

    def end(self) -> list[Frame]:
        """See `Form`."""
        return []

    def ping(self) -> bytes:
        """See `Form`."""
        return _PING

    def broken(self, code: str, text: str) -> bytes:  # noqa: ARG002  # an event would be the end to its clients
        """See `Form`."""
        return b""


def _id_of(message: Fields) -> str:
    """Return an ID of a message's own; that of its step is the AI message's."""
    return message.get("otid") or f"{message['id']}-{message['seq_id']}"


def _usage(message: Fields) -> dict[str, Any]:
    """Return the tokens of all steps together."""
    counts = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens", "total_tokens": "total_tokens"}
    usage: dict[str, Any] = {name: message.get(ours) or 0 for name, ours in counts.items()}
    if message.get("cached_tokens") is not None:
        usage["input_token_details"] = {"cache_read": message["cached_tokens"]}
    if message.get("reasoning_tokens") is not None:
        usage["output_token_details"] = {"reasoning": message["reasoning_tokens"]}
    return usage
