"""Joins the pieces of messages, as a client does, and reads traces. Shared by tests; has no tests of its own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from actors.messages import MessagePiece, as_dict, coalesce
from actors.settings import StreamSettings
from actors.translator import Translator

TRACES = Path(__file__).parent / "traces"
Message = dict[str, Any]
TERMINAL = ("error_message", "stop_reason", "usage_statistics")
_SETTINGS = (
    "multi_step",
    "use_assistant_message",
    "assistant_message_tool_name",
    "assistant_message_tool_kwarg",
    "inner_thoughts_in_kwargs",
    "inner_thoughts_kwarg",
    "expect_reasoning_content",
)


def load(path: Path) -> dict[str, Any]:
    """Return a trace."""
    trace: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return trace


def traces(folder: str, key: str) -> list[Path]:
    """Return the traces of a folder that have a key (`chunks` or `calls`)."""
    return [
        path for path in sorted((TRACES / folder).glob("*.json")) if path.name != "titles.json" and key in load(path)
    ]


def settings_of(trace: Mapping[str, Any]) -> StreamSettings:
    """Return the settings of a trace of chunks."""
    given = trace["settings"]
    return StreamSettings.load({key: given[key] for key in _SETTINGS if key in given})


def translator_of(trace: Mapping[str, Any]) -> Translator:
    """Return a translator as a trace of chunks wants it."""
    given = trace["settings"]
    return Translator(
        settings_of(trace),
        run_id="run",
        message_id=given.get("message_id"),
        message_date=given.get("message_date"),
        name=given.get("name"),
        emit_run_id=False,
    )


def payload(chunk: object) -> bytes:
    """Return a chunk as its provider sends it."""
    return json.dumps(chunk).encode()


def messages_of(pieces: Iterable[MessagePiece]) -> list[Message]:
    """Return adjacent pieces of one message joined, as plain dicts."""
    return [as_dict(head.fields, text, extra, None) for head, text, extra in coalesce(pieces)]


def translate(translator: Translator, chunks: Iterable[object]) -> list[Message]:
    """Return all messages of some chunks, the terminal included."""
    pieces: list[MessagePiece] = []
    for chunk in chunks:
        pieces += translator.chunk(chunk if isinstance(chunk, bytes) else payload(chunk))
    pieces += translator.end()
    return messages_of(pieces)


def without_terminal(messages: Iterable[Message]) -> list[Message]:
    """Return what the model said."""
    return [message for message in messages if message["message_type"] not in TERMINAL]


def joined(messages: Iterable[Message]) -> list[Message]:
    """Join adjacent pieces of the same message, where `otid` counts for nothing.

    So the reference's pieces can be compared: a piece continues the one before it when its type, id and
    source are the same and it does not name another call.
    """
    out: list[Message] = []
    for message in messages:
        last = out[-1] if out else None
        if last is not None and _continues(last, message):
            for field in ("reasoning", "content"):
                if field in message:
                    last[field] += message[field]
            if message.get("signature"):
                last["signature"] = message["signature"]
            if "tool_call" in message:
                call = last["tool_call"]
                call["arguments"] = call.get("arguments", "") + message["tool_call"].get("arguments", "")
        else:
            out.append({**message, **({"tool_call": dict(message["tool_call"])} if "tool_call" in message else {})})
    return out


def _continues(last: Message, message: Message) -> bool:
    if message["message_type"] in ("hidden_reasoning_message", "tool_return_message"):
        return False
    if any(last.get(key) != message.get(key) for key in ("message_type", "id", "source")):
        return False
    return "name" not in message.get("tool_call", {})


def assembled(messages: Sequence[Message]) -> dict[str, Any]:
    """Return what a client has in the end: the form of `assembled` and `right` in the traces."""
    calls: dict[Any, dict[str, Any]] = {}
    result: dict[str, Any] = {"reasoning": "", "assistant": None, "calls": [], "hidden": [], "signature": ""}
    for message in messages:
        kind = message["message_type"]
        if kind == "reasoning_message":
            result["reasoning"] += message["reasoning"]
            result["signature"] += message.get("signature") or ""
        elif kind == "assistant_message":
            result["assistant"] = (result["assistant"] or "") + message["content"]
        elif kind == "hidden_reasoning_message":
            result["hidden"].append(message["hidden_reasoning"])
        elif kind == "tool_call_message":
            piece = message["tool_call"]
            call = calls.setdefault((message["id"], message["otid"]), {"name": None, "id": None, "arguments": ""})
            call["name"] = piece.get("name", call["name"])
            call["id"] = piece.get("tool_call_id", call["id"])
            call["arguments"] += piece.get("arguments", "")
    result["calls"] = list(calls.values())
    return result


def matches(got: dict[str, Any], right: dict[str, Any]) -> bool:
    """Compare with a trace's `right`: arguments given as a value mean that JSON, as a string that text."""
    if len(got["calls"]) != len(right["calls"]):
        return False
    got = {**got, "calls": [dict(call) for call in got["calls"]]}
    for call, wanted in zip(got["calls"], right["calls"], strict=True):
        if not isinstance(wanted["arguments"], str):
            call["arguments"] = json.loads(call["arguments"])
    return got == right
