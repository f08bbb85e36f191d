"""What an agent loop hands to an interface: chunks, stored messages, a publisher. Has no tests of its own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from actors.letta import Message
from actors.records import check_record

ID = "message-6f1c2f4e-8a35-4f0e-9d5b-2b7f0c1d9e80"
DATE = datetime(2025, 5, 1, 12, tzinfo=UTC)


def content(text: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}}]}


def stored(**more: Any) -> Message:
    call = {"id": "c1", "type": "function", "function": {"name": "send_message", "arguments": '{"message": "Hi"}'}}
    given = {
        "id": ID,
        "role": "assistant",
        "created_at": DATE,
        "content": [{"type": "text", "text": "Hm."}],
        "tool_calls": [call],
    }
    return Message.model_validate({**given, **more})


def returned(**more: Any) -> Message:
    return Message.model_validate(
        {"id": "message-" + "b" * 32, "role": "tool", "created_at": DATE, "tool_call_id": "c1", **more}
    )


class Recorder:
    """Stands in for an open publisher; checks records as one does."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Any]] = []

    def chunk(self, chunk: Any) -> None:
        self.sent.append(("chunk", chunk))

    def message(self, message: Any) -> None:
        checked = check_record("message", message)
        self.sent.append((checked["message_type"], checked))

    def step_start(self, **fields: Any) -> None:
        self.sent.append(("step_start", check_record("step_start", fields)))

    def step_end(self) -> None:
        self.sent.append(("step_end", None))

    def finish(self) -> None:
        self.sent.append(("finish", None))

    def fail(self, error_type: str, message: str) -> None:
        self.sent.append(("fail", (error_type, message)))
