"""Which ended requests were forgotten lately, so that nobody who has not heard of it begins them anew. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator


class Gone:
    """The requests that were forgotten last, each with its epoch; of more than `count_max` the first are dropped."""

    __slots__ = ("_count_max", "_epochs")

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._epochs: OrderedDict[str, int] = OrderedDict()

    def add(self, request_id: str, epoch: int) -> None:
        """Note that a request was forgotten; of two epochs the later one counts."""
        known = self._epochs.pop(request_id, epoch)
        self._epochs[request_id] = max(known, epoch)
        if len(self._epochs) > self._count_max:
            self._epochs.popitem(last=False)

    def __contains__(self, one: tuple[str, int]) -> bool:
        """Whether a request was forgotten in this epoch or a later one."""
        request_id, epoch = one
        return epoch <= self._epochs.get(request_id, -1)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self._epochs.items())
