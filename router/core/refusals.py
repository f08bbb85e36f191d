"""What was refused: counted and told; a late refusal of an open is kept until its publisher has heard. Pure."""

from __future__ import annotations

import logging

from actors.errors import ProtocolViolation, StreamRouterError
from actors.logging_setup import is_telling
from router.core.effects import REFUSED, Note
from router.core.lifecycle import Lifecycle

logger: logging.Logger = logging.getLogger("router.registry")


class Refusals:
    """What a registry has refused. `by_code`: how often, by the code of the error."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self.by_code: dict[str, int] = {}
        # Opens that failed after they had been taken in, by client and request.
        self._kept: dict[tuple[str, str], StreamRouterError] = {}

    def count(self, request_id: str, error: StreamRouterError, now: float) -> None:
        """Count a refusal and note it in the request's story."""
        note = Note(REFUSED, request_id, 0, error.code, at=now)
        self._lifecycle.effects.notes.append(note)
        self._lifecycle.dispatch.stories.add(note)
        self._lifecycle.counts["refused"] += 1
        self.by_code[error.code] = self.by_code.get(error.code, 0) + 1

    def refuse(self, error: ProtocolViolation) -> None:
        """Count what another process sent and the protocol does not allow."""
        count = self.by_code[error.code] = self.by_code.get(error.code, 0) + 1
        if is_telling(count):
            logger.warning("refused (the %d. time): %s", count, str(error)[:300])

    def keep(self, client_id: str, request_id: str, error: StreamRouterError) -> None:
        """Keep the error of an open that failed late, for its publisher to hear."""
        self._kept[client_id, request_id] = error

    def get(self, client_id: str, request_id: str) -> StreamRouterError | None:
        """Return the error that a publisher has yet to hear."""
        return self._kept.get((client_id, request_id))

    def forget(self, client_id: str, request_id: str) -> None:
        """The publisher has heard, or opens it again."""
        self._kept.pop((client_id, request_id), None)
