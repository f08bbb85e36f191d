"""The end of a request that no session can write: its stop reason and usage, and nothing before them."""

from __future__ import annotations

from typing import Any

from actors.messages import Head, MessagePiece
from actors.protocol.segments import pack_log, whole_segment
from actors.tenants import own_name

TERMINAL_PIECES = 2
"""Stop reason and usage: no log ends with less."""


def terminal_fields(request_id: str, date: str, stop_reason: str, detail: str | None) -> list[dict[str, Any]]:
    """Return the fields of the two messages that end a request: `stop_reason`, `usage_statistics`."""
    request_id = own_name(request_id)
    shared = {
        "id": f"end-{request_id}",
        "date": date,
        "name": None,
        "otid": None,
        "sender_id": None,
        "run_id": request_id,
    }
    stop = {"stop_reason": stop_reason, "provider_reason": None, "detail": detail}
    return [
        {"message_type": "stop_reason", **shared, **stop},
        {"message_type": "usage_statistics", **shared, "reported": False},
    ]


def bare_terminal(request_id: str, date: str, stop_reason: str, detail: str | None) -> list[MessagePiece]:
    """Return the end of a request that no translator can write."""
    return [
        MessagePiece(Head(fields.pop("message_type"), fields))
        for fields in terminal_fields(request_id, date, stop_reason, detail)
    ]


def terminal_log(request_id: str, date: str, stop_reason: str, detail: str | None, *, last_seq_id: int = 0) -> bytes:
    """Return the packed log of a request of which only the end is left.

    `last_seq_id`: messages up to this one were written and are gone; a reader gets a gap for them.
    """
    fields = terminal_fields(request_id, date, stop_reason, detail)
    segments = [whole_segment(last_seq_id + number, one) for number, one in enumerate(fields, 1)]
    return pack_log(last_seq_id, last_seq_id + len(fields), last_seq_id, segments)
