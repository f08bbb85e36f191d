"""What an ended request used, as its provider counted it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

UNKNOWN_MODEL = "unknown"


class Used(NamedTuple):
    """Tokens of one request; `prompt_tokens` include the cached ones."""

    model: str
    agent_id: str | None
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


def used_by(model: str | None, agent_id: str | None, usage: Mapping[str, Any]) -> Used:
    """Return what a request's `usage_statistics` say."""
    prompt_tokens = usage.get("prompt_tokens") or 0
    cached_tokens = min(usage.get("cached_tokens") or 0, prompt_tokens)
    return Used(model or UNKNOWN_MODEL, agent_id, prompt_tokens, cached_tokens, usage.get("completion_tokens") or 0)
