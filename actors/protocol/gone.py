"""Which ended requests were forgotten lately, so that nobody who has not heard of it begins them anew. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple


class Held(NamedTuple):
    """The agent that a request had, and the number with which it was granted it."""

    agent_id: str
    number: int


class Forgotten(NamedTuple):
    """What is kept of a request: of two of one ID the one created later counts, of one the later epoch."""

    created: int = 0
    epoch: int = 0
    held: Held | None = None
    """So that whom its agent has left behind for it is not let in again."""


_UNKNOWN = Forgotten(epoch=-1)


class Gone:
    """The requests that were forgotten last, each with its epoch; of more than `count_max` the first are dropped.

    Also each with the number with which it was created, since its ID may be used again: a later one is another request.
    """

    __slots__ = ("_count_max", "_known")

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._known: OrderedDict[str, Forgotten] = OrderedDict()

    def add(self, request_id: str, epoch: int, created: int, held: Held | None = None) -> None:
        """Note that a request was forgotten; see `Forgotten`."""
        new = Forgotten(created, epoch, held)
        known = self._known.pop(request_id, new)
        self._known[request_id] = new if known[:2] <= new[:2] else known
        if len(self._known) > self._count_max:
            self._known.popitem(last=False)

    def has(self, request_id: str, epoch: int, created: int) -> bool:
        """Whether a request was forgotten in this epoch or a later one. `created`: 0 where that is not known."""
        known_created, known_epoch, _ = self._known.get(request_id, _UNKNOWN)
        return epoch <= known_epoch if created in (0, known_created) else created < known_created

    def epoch(self, request_id: str) -> int:
        """Return the last epoch of the request that was forgotten last under an ID; 0 where none is known."""
        return max(self._known.get(request_id, _UNKNOWN).epoch, 0)

    def __iter__(self) -> Iterator[tuple[str, Forgotten]]:
        """Give the ID of each, and what is kept of it."""
        return iter(self._known.items())
