"""How a request ends: what its publisher says of its end, and what a fault makes of it. Pure.

The last resort of a fault is a log of nothing but an end: where a session's own log can be neither packed nor read,
nobody could be told of it, and what cannot be told must not hold up what others are told in the same step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from actors.errors import StreamRouterError
from actors.interface.surrogates import replace_surrogates
from actors.messages import LettaMessage, UsageStatisticsMessage
from actors.stream.log import Log
from actors.terminal import TERMINAL_PIECES, terminal_log

ERROR_CHARACTERS_MAX = 500
_COUNTS = sorted(UsageStatisticsMessage.model_fields.keys() - LettaMessage.model_fields.keys())


class Ending(NamedTuple):
    """What the translator is told of an end; all parts None: the provider's own finish reason holds."""

    stop_reason: str | None = None
    usage: dict[str, Any] | None = None
    detail: str | None = None
    error: tuple[str, str] | None = None
    """(code, text) of what went wrong."""


def ending_of(kind: str, body: dict[str, Any]) -> Ending | None:
    """Return the end that a record of its publisher says; None for one that ends nothing."""
    if kind == "finish":
        return Ending(body.get("stop_reason"), body.get("usage"), body.get("detail"))
    if kind == "fail":
        error = (body.get("error_type") or "error", body.get("message") or "the publisher failed")
        return Ending(body.get("stop_reason") or "error", None, body.get("detail"), error)
    return None


def fault(error: Exception, seq: int) -> Ending:
    """Return the end that an error sets off, after the item with this number."""
    code = error.code if isinstance(error, StreamRouterError) else "internal_error"
    return Ending("error", error=(code, f"after item {seq}: {_words(error)}"))


def _words(error: Exception) -> str:
    """Return what an error says; it may quote what no message can hold."""
    return replace_surrogates(f"{type(error).__name__}: {str(error)[:ERROR_CHARACTERS_MAX]}")


def without_its_log(request_id: str, date: str, error: Exception, through: int) -> Log:
    """Return the log of a request whose own is of no use: a gap up to `through`, then its end as `error`."""
    text = f"its log is lost: {_words(error)}"
    return Log.unpack(terminal_log(request_id, date, "error", text, last_seq_id=through))


def usage_of(log: Log) -> dict[str, Any] | None:
    """Return the token counts that the end of a log says; None where it says none."""
    fields = log.newest("usage_statistics", TERMINAL_PIECES)
    if fields is None:
        return None
    return {name: fields[name] for name in _COUNTS if fields.get(name) is not None}
