"""Messages out of batches, one request's: whole ones, or each piece as it is. Pure but for the date of a gap."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from actors.joining import Joiner, Part
from actors.messages import GapMessage, Message
from actors.result import model_of
from router.client.reading.batch import Batch, Shaper
from router.client.reading.parts import PartShaper

Coalesce = Literal["message", "tokens"]
"""`message`: whole messages, each when it is known to be whole. `tokens`: each piece as it comes."""


def shaper_for(coalesce: Coalesce) -> Shaper:
    """Return what makes the batches that an `Assembly` takes."""
    return PartShaper(joins=True) if coalesce == "message" else Shaper("model", coalesce=False)


class Assembly:
    """What is ready to be handed out of one request."""

    __slots__ = ("_joiner", "_request_id", "ready")

    def __init__(self, request_id: str, coalesce: Coalesce) -> None:
        self._request_id = request_id
        self._joiner = Joiner() if coalesce == "message" else None
        self.ready: deque[Message] = deque()

    def take(self, batch: Batch[Any]) -> None:
        """Take a batch; the messages that are over now are ready."""
        if batch.gap is not None:
            self.end()
            self.ready.append(_gap_message(self._request_id, *batch.gap))
        if self._joiner is None:
            self.ready.extend(batch.messages)
            return
        self._add(self._joiner.feed(batch.messages))
        self._add(self._joiner.take() if batch.end else self._joiner.take_if_whole())

    def end(self) -> None:
        """Nothing follows: what is under way is all there is of it."""
        if self._joiner is not None:
            self._add(self._joiner.take())

    def _add(self, parts: Sequence[Part]) -> None:
        self.ready.extend(map(model_of, parts))


def _gap_message(request_id: str, first: int, last: int) -> GapMessage:
    return GapMessage(
        id=f"gap-{request_id}",
        date=datetime.now(UTC),
        run_id=request_id,
        seq_id=last,
        first_seq_id=first,
        last_seq_id=last,
    )
