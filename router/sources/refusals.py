"""What a provider's refusal says: why, whether asking again makes sense, and when. Pure, but for dates.

Providers say when in many ways; the first that is there counts: `retry-after-ms`, `Retry-After` in seconds or as a
date, Gemini's `RetryInfo` in the body. Whether: `x-should-retry`, and the codes that mean that the account has no more
to spend, for which a pause is of no use.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from actors.providers.error_shapes import find_error

_SPENT = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "insufficient_balance",
        "insufficient_credits",
        "quota_exhausted",
        "exceeded_current_quota_error",
    }
)
_SAYS = {"true": True, "false": False}
_DURATION = re.compile(r"\s*(-?[0-9]+(?:\.[0-9]*)?)\s*(ms|s)?\s*\Z")
_MS_PER_S = 1000.0


class Refusal(NamedTuple):
    """Why a provider refused. `should_retry` None: it does not say."""

    text: str
    retry_after_s: float | None = None
    should_retry: bool | None = None


def read_refusal(body: str, headers: Mapping[str, str]) -> Refusal:
    """Return what the body and the headers of an answer without success say."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, list) and value:
        value = value[0]  # Gemini puts its error into an array where a stream was asked for
    event = value if isinstance(value, dict) else {}
    error = find_error(event)
    should_retry = _SAYS.get(headers.get("x-should-retry", "").strip().lower())
    if not _SPENT.isdisjoint(_words_of(event)):
        should_retry = False
    after_s = _header_s(headers)
    return Refusal(
        (body or "(no body)") if error is None else error.text,
        _retry_info_s(event) if after_s is None else after_s,
        should_retry,
    )


def _words_of(event: Mapping[str, Any]) -> set[str]:
    """Return the words by which a body names its error."""
    inner = event.get("error")
    holders = [event, inner] if isinstance(inner, Mapping) else [event]
    values = [holder.get(key) for holder in holders for key in ("code", "type", "status", "reason")]
    return {value.lower() for value in values if isinstance(value, str)}


def _header_s(headers: Mapping[str, str]) -> float | None:
    after_s = _seconds(headers.get("retry-after-ms"), "ms")
    value = headers.get("retry-after")
    if after_s is None:
        after_s = _seconds(value, "s")
    if after_s is not None or not value:
        return after_s
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def _retry_info_s(event: Mapping[str, Any]) -> float | None:
    error = event.get("error")
    details = error.get("details") if isinstance(error, Mapping) else None
    for detail in details if isinstance(details, list) else []:
        if isinstance(detail, Mapping) and str(detail.get("@type", "")).endswith("RetryInfo"):
            return _seconds(detail.get("retryDelay"), "s")
    return None


def _seconds(value: object, unit: str) -> float | None:
    """Return a duration such as `20`, `1.5s` or `300ms` in seconds, a negative one as 0; None for all else."""
    found = _DURATION.match(str(value)) if isinstance(value, str | int | float) else None
    if found is None:
        return None
    number = max(0.0, float(found[1]))
    return number / _MS_PER_S if (found[2] or unit) == "ms" else number
