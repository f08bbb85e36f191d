"""The log of an ended request as a row of the archive. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from actors.errors import ProtocolViolation
from actors.joining import Part
from actors.protocol.frames import unpack
from actors.protocol.labels import read_labels
from actors.protocol.segments import read_segment
from actors.result import ResultBuilder, Timings
from actors.tenants import SEPARATOR, own_name
from router.archive.plan import Ended

LOG_PARTS = 4


class Log(NamedTuple):
    """A sealed log, taken apart. `segments`: see `actors.protocol.segments`."""

    dropped_through: int
    last_seq: int
    segments: list[Any]


def read_log(packed: bytes) -> Log:
    """Take a packed log apart. Raises ProtocolViolation."""
    parts = unpack(packed)
    if not isinstance(parts, list) or len(parts) != LOG_PARTS:
        raise ProtocolViolation(f"a log has {LOG_PARTS} parts: its positions and its segments")
    dropped_through, last_seq, _, segments = parts
    return Log(dropped_through, last_seq, segments)


def row_of(ended: Ended, router: str) -> dict[str, Any]:
    """Return an ended request as a row; `table.SCHEMA` says what its columns are. Raises ProtocolViolation."""
    log = read_log(ended.log)
    builder = ResultBuilder(own_name(ended.request_id))
    builder.feed(_parts(log))
    result = builder.result(Timings(None, 0.0))
    usage = result.usage
    labels = read_labels(ended.labels)
    return {
        **_named(ended.request_id),
        "epoch": ended.epoch,
        "agent_id": None if ended.agent_id is None else own_name(ended.agent_id),
        "tags": [*labels.tags.items()],
        "metadata": json.dumps(labels.metadata, ensure_ascii=False) if labels.metadata else None,
        "date": ended.date,
        "opened_at": _moment(ended.opened_at),
        "ended_at": _moment(ended.ended_at),
        "stop_reason": result.stop_reason,
        "provider_reason": result.provider_reason,
        "detail": result.detail,
        "error": None if result.error is None else result.error.message,
        "text": result.text,
        "reasoning": result.reasoning,
        "prompt_tokens": None if usage is None or not usage.reported else usage.prompt_tokens,
        "completion_tokens": None if usage is None or not usage.reported else usage.completion_tokens,
        "tool_calls": len(result.tool_calls),
        "last_seq_id": log.last_seq,
        "dropped_through": log.dropped_through,
        "router": router,
        "messages": [message_row(message.model_dump(mode="json")) for message in result.messages],
        "log": ended.log,
    }


def _named(full: str) -> dict[str, str | None]:
    subject, separator, _ = full.partition(SEPARATOR)
    return {"request_id": own_name(full), "subject": subject if separator else None}


def name_of(full: str) -> tuple[str | None, str]:
    """Return (subject, request ID) of a full name, as the columns have them."""
    named = _named(full)
    return named["subject"], str(named["request_id"])


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _parts(log: Log) -> Iterator[Part]:
    for segment in log.segments:
        first, fields, pieces = read_segment(segment)
        if fields is None:
            raise ProtocolViolation("a segment of a log has its fields")
        for seq_id, piece in enumerate(pieces, first):
            text, extra = piece if isinstance(piece, (tuple, list)) else (piece, None)
            yield Part(seq_id, fields, text, extra)


def message_row(data: dict[str, Any]) -> dict[str, Any]:
    """Return a message, as JSON has it, as a row; `table.MESSAGE_FIELDS` says what its fields are."""
    call = data.get("tool_call") or {}
    return {
        "seq_id": data.get("seq_id"),
        "message_type": data["message_type"],
        "id": data.get("id"),
        "date": data.get("date"),
        "name": data.get("name"),
        "step_id": data.get("step_id"),
        "text": _text_of(data),
        "tool_name": call.get("name"),
        "tool_call_id": call.get("tool_call_id") or data.get("tool_call_id"),
        "status": data.get("status"),
        "json": json.dumps(data, ensure_ascii=False),
    }


def _text_of(data: dict[str, Any]) -> str | None:
    for field in ("content", "reasoning", "tool_return", "message", "stop_reason", "hidden_reasoning"):
        value = data.get(field)
        if isinstance(value, str):
            return value
    arguments = (data.get("tool_call") or {}).get("arguments")
    return arguments if isinstance(arguments, str) else None
