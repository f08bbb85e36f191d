"""Ended requests for tests of the archive: their logs as a stream actor seals them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from actors.protocol.items import cut_record, pack_body
from actors.settings import StreamSettings
from actors.stream.session import Session
from router.archive.plan import Ended

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC).timestamp()
DATE = "2026-11-28T12:00:00+00:00"


def sealed(*items: Any, request_id: str = "req") -> bytes:
    """Return the log of a request that was sent these chunks and records."""
    session = Session(request_id, 1, StreamSettings(dialect="chat"), 0.0, date=DATE)
    numbered = [*items, *cut_record("finish", pack_body("finish", {"usage": {"completion_tokens": 7}}))]
    session.feed(1, 1, numbered, 0.0)
    return session.log.pack()


def chunk(text: str) -> bytes:
    return b'{"choices": [{"index": 0, "delta": {"content": "%s"}}]}' % text.encode()


FINISH = b'{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}'
CALL = (
    b'{"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "call-1", "type": "function", '
    b'"function": {"name": "weather", "arguments": "{\\"city\\": \\"Rome\\"}"}}]}}]}'
)


def ended(request_id: str, *items: Any, epoch: int = 1, at: float = NOON, agent_id: str | None = "Ada") -> Ended:
    log = sealed(*(items or (chunk("Hello "), chunk(request_id), FINISH)), request_id=request_id)
    return Ended(request_id, epoch, agent_id, DATE, at - 2, at, log)
