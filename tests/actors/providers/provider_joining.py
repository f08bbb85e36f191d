"""What the provider tests share: the recordings, and deltas joined into what a reader would see."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from actors.deltas import (
    Delta,
    Done,
    Finish,
    Reasoning,
    ReasoningSignature,
    RedactedReasoning,
    Refusal,
    StreamError,
    Text,
    ToolCallEnd,
    ToolCallPiece,
    ToolReturn,
    Unknown,
    Usage,
)
from actors.providers import make_adapter
from actors.recording_format import read_recording
from actors.settings import Provider

TRACES = Path(__file__).parents[2] / "traces"
RECORDED = TRACES / "recorded"
INDEX: list[dict[str, Any]] = json.loads((RECORDED / "index.json").read_text())
EXPECTED: dict[str, dict[str, Any]] = json.loads((RECORDED / "expected.json").read_text())
FILES = [entry["file"].rpartition("/")[2] for entry in INDEX]
API_OF: dict[str, Provider] = {name: entry["api"] for name, entry in zip(FILES, INDEX, strict=True)}


@cache
def body_of(name: str) -> bytes:
    return (RECORDED / name).read_bytes()


@cache
def texts_of(name: str) -> list[str]:
    """Return a recording's JSON events as text; parse them anew for each use, since tests change them."""
    return [payload.decode() for payload in read_recording(body_of(name)) if payload != b"[DONE]"]


def events_of(name: str) -> list[Any]:
    return [json.loads(text) for text in texts_of(name)]


def deltas_of(provider: Provider, events: Iterable[Any]) -> list[Delta]:
    adapter = make_adapter(provider)
    deltas = [delta for event in events for delta in adapter.feed(event)]
    return deltas + adapter.close()


@dataclass
class Call:
    id: str | None
    index: int | None
    name: str = ""
    arguments: str = ""
    ended: int = 0
    provider_executed: bool = False


@dataclass
class Joined:
    """One choice of a response, its pieces joined. Calls are keyed by id first, then by index."""

    text: str = ""
    refused: bool = False
    reasoning: str = ""
    signatures: list[str] = field(default_factory=list)
    hidden_reasoning: list[str | None] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    returns: list[ToolReturn] = field(default_factory=list)
    finish: str | None = None
    usage: Usage | None = None
    errors: list[StreamError] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    done: int = 0

    def call_of(self, piece: ToolCallPiece | ToolCallEnd) -> Call:
        for call in reversed(self.calls):
            if (call.id == piece.id) if piece.id is not None else (call.index == piece.index):
                return call
        call = Call(piece.id, piece.index)
        self.calls.append(call)
        return call

    def as_expected(self) -> dict[str, Any]:
        """Return it in the shape of expected.json."""
        usage = None
        if self.usage is not None:
            usage = {"prompt_tokens": self.usage.prompt_tokens, "completion_tokens": self.usage.completion_tokens}
        return {
            "text": self.text,
            "refused": self.refused,
            "reasoning": self.reasoning,
            "hidden_reasoning": self.hidden_reasoning,
            "tool_calls": [
                {"name": call.name, "arguments": call.arguments} for call in self.calls if not call.provider_executed
            ],
            "finish": self.finish,
            "usage": usage,
            "error": bool(self.errors),
        }


def join(deltas: Iterable[Delta], choice: int = 0) -> Joined:  # a case for each delta
    joined = Joined()
    for delta in deltas:
        if getattr(delta, "choice", choice) != choice:
            continue
        match delta:
            case Text(text):
                joined.text += text
            case Refusal(text):
                joined.text += text
                joined.refused = True
            case Reasoning(text):
                joined.reasoning += text
            case ReasoningSignature(signature):
                joined.signatures.append(signature)
            case RedactedReasoning(data):
                joined.hidden_reasoning.append(data)
            case ToolCallPiece():
                call = joined.call_of(delta)
                call.name = call.name or delta.name or ""
                call.arguments += delta.arguments or ""
                call.provider_executed = delta.provider_executed
            case ToolCallEnd():
                joined.call_of(delta).ended += 1
            case ToolReturn():
                joined.returns.append(delta)
            case Finish(reason):
                joined.finish = reason
            case Usage():
                joined.usage = delta
            case StreamError():
                joined.errors.append(delta)
            case Unknown(what):
                joined.unknown.append(what)
            case Done():
                joined.done += 1
    return joined
