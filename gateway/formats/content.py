"""The content of a message that a client sends: text, or parts of which each kind of client has its own. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors.errors import InvalidArgument


def content_of(content: Any, place: str, part_of: Callable[[Any, str], dict[str, Any]]) -> Any:
    """Return content as a chat has it; `part_of` makes a part of one of the client's. Raises InvalidArgument."""
    if content is None or isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise InvalidArgument(f"{place}.content: expected text or a list of parts, got {type(content).__name__}")
    return [part_of(part, place) for part in content]
