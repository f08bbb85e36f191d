"""How a request ends: what its publisher says of its end, and what a fault makes of it. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from actors.errors import StreamRouterError

ERROR_CHARACTERS_MAX = 500


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
    text = f"after item {seq}: {type(error).__name__}: {str(error)[:ERROR_CHARACTERS_MAX]}"
    return Ending("error", error=(code, text))
