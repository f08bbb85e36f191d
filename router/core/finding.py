"""What a caller asks of the catalogue, and what it is told of each request: in its own names. Pure."""

from __future__ import annotations

from typing import Any

from actors.errors import ProtocolViolation
from actors.protocol.finding import LIST_LIMIT_MAX, STATES, ListCall, Row
from actors.protocol.labels import TAGS_MAX
from actors.tenants import Names, process_of
from router.core.catalogue import Wanted
from router.core.request import Request


def wanted_of(call: ListCall, names: Names) -> Wanted:
    """Return what a call asks for. Raises ProtocolViolation."""
    if call.state is not None and call.state not in STATES:
        raise ProtocolViolation(f"a state is one of {', '.join(STATES)}, not {call.state[:40]!r}")
    if len(call.tags) > TAGS_MAX:
        raise ProtocolViolation(f"at most {TAGS_MAX} tags can be asked for, not {len(call.tags)}")
    return Wanted(
        names.subject,
        None if call.agent_id is None else names.full(call.agent_id),
        tuple(map(_tag, call.tags)),
        call.state,
        call.since,
        call.after,
        max(1, min(call.limit, LIST_LIMIT_MAX)),
        call.newest_first,
    )


def _tag(parts: Any) -> tuple[str, str | None]:
    if isinstance(parts, (list, tuple)) and len(parts) == 2:  # noqa: PLR2004  # name and value
        name, value = parts
        if isinstance(name, str) and (value is None or isinstance(value, str)):
            return name, value
    raise ProtocolViolation(f"a tag is asked for by its name and a value or None, not {str(parts)[:80]!r}")


def row_of(request: Request, names: Names) -> Row:
    """Return what is told of a request."""
    return Row(
        names.own(request.request_id),
        request.created,
        request.phase.value,
        process_of(request.client_id),
        None if request.agent_id is None else names.own(request.agent_id),
        request.labels,
        request.last_seq_id,
        request.stop_reason,
        request.usage,
    )
