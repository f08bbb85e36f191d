"""Runs deltas through an interface. Has no tests of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from actors.deltas import Delta, ToolCallPiece
from actors.interface import Interface
from actors.messages import MessagePiece
from actors.settings import StreamSettings
from tests.assemble import assembled, messages_of

MESSAGE_ID = "message-6f1c2f4e-8a35-4f0e-9d5b-2b7f0c1d9e80"
DATE = "2025-05-01T12:00:00+00:00"
THOUGHTS = {"inner_thoughts_in_kwargs": True}
ASSISTANT = {"inner_thoughts_in_kwargs": True, "use_assistant_message": True}
Piece = ToolCallPiece
OUR_ID = re.compile("call_[0-9a-f]{24}")


def started(**settings: Any) -> Interface:
    """Return an interface in its first step."""
    interface = Interface(StreamSettings.load({"dialect": "chat", **settings}), run_id=None)
    interface.start_step(MESSAGE_ID, DATE, None)
    return interface


def run(deltas: Iterable[Delta], **settings: Any) -> tuple[list[dict[str, Any]], Interface]:
    """Return the messages of one response, and its interface."""
    interface = started(**settings)
    pieces: list[MessagePiece] = []
    for delta in deltas:
        pieces += interface.feed([delta])
    pieces += interface.end_step()
    return messages_of(pieces), interface


def calls(deltas: Iterable[Delta], **settings: Any) -> list[tuple[str | None, str | None, str]]:
    """Return name, id and arguments of each call of one response; an id of ours as None: the provider gave none."""
    messages, _ = run(deltas, **settings)
    return [
        (call["name"], None if OUR_ID.fullmatch(call["id"] or "") else call["id"], call["arguments"])
        for call in assembled(messages)["calls"]
    ]
