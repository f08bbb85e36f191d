"""The publisher that an interface may send to, as a protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Publish(Protocol):
    """An open publisher whose methods are called without `await`, such as `StreamRouter.publish` of the sync client."""

    def chunk(self, chunk: Any) -> Any:
        """Send one provider event."""

    def message(self, message: Mapping[str, Any]) -> Any:
        """Send a whole message."""

    def step_start(self, **fields: Any) -> Any:
        """Begin the next response."""

    def step_end(self) -> Any:
        """End the step."""

    def finish(self) -> Any:
        """End the request."""

    def fail(self, error_type: str, message: str) -> Any:
        """End the request with an error."""
