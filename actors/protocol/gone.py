"""Which ended requests were forgotten lately, so that nobody who has not heard of it begins them anew. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator


class Gone:
    """The requests that were forgotten last, each with its epoch; of more than `count_max` the first are dropped.

    Also each with the number with which it was created, since its ID may be used again: a later one is another request.
    """

    __slots__ = ("_count_max", "_known")

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._known: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def add(self, request_id: str, epoch: int, created: int) -> None:
        """Note that a request was forgotten; of two of one ID the one created later counts, of one the later epoch."""
        known_created, known_epoch = self._known.pop(request_id, (created, epoch))
        self._known[request_id] = max((known_created, known_epoch), (created, epoch))
        if len(self._known) > self._count_max:
            self._known.popitem(last=False)

    def has(self, request_id: str, epoch: int, created: int) -> bool:
        """Whether a request was forgotten in this epoch or a later one. `created`: 0 where that is not known."""
        known_created, known_epoch = self._known.get(request_id, (0, -1))
        return epoch <= known_epoch if created in (0, known_created) else created < known_created

    def epoch(self, request_id: str) -> int:
        """Return the last epoch of the request that was forgotten last under an ID; 0 where none is known."""
        return self._known.get(request_id, (0, 0))[1]

    def __iter__(self) -> Iterator[tuple[str, int, int]]:
        """Give the ID of each, its epoch and its number."""
        return ((request_id, epoch, created) for request_id, (created, epoch) in self._known.items())
