"""What a reading process has to say to one stream actor: its operations, numbered, and its cursors. Pure.

Operations that begin or end a subscription are numbered, since a late one must not undo what followed
it. One is settled when the actor has answered the call that carried it; until then it is sent again.
Cursors only rise, so of them the newest is enough and their order does not matter.
"""

from __future__ import annotations

from typing import Any

from actors.protocol.reads import Consumed, Drop, Operation, Subscribe

Said = list[tuple[Any, ...]]
_CONSUMED = int(Operation.CONSUMED)  # to ask the enum for a member takes as long as a call


class Operations:
    """The operations of one reader (a process) on one actor that are still to be sent."""

    __slots__ = ("_last_no", "_unsettled", "_waiting", "cursors")

    def __init__(self) -> None:
        self._waiting: Said = []
        self._last_no = 0
        # Numbers that the actor may not have had yet, in order.
        self._unsettled: dict[int, None] = {}
        self.cursors: dict[int, int] = {}
        """What subscriptions have consumed, to be acknowledged; written to for nearly every message."""

    def __bool__(self) -> bool:
        return bool(self._waiting or self.cursors)

    @property
    def has_waiting(self) -> bool:
        """Whether a subscription is to begin or to end; cursors alone can wait for the next call."""
        return bool(self._waiting)

    @property
    def settled(self) -> int:
        """The first number that the actor may not have had: nothing before it will be sent again."""
        return next(iter(self._unsettled), self._last_no + 1)

    def subscribe(
        self, number: int, request_id: str, after: int, epoch: int, *, is_moving: bool, is_observer: bool = False
    ) -> None:
        """Begin to read a request."""
        kind = Operation.OBSERVE if is_observer else Operation.SUBSCRIBE
        self._waiting.append(Subscribe(self._next_no(), kind, number, request_id, after, epoch, is_moving))

    def drop(self, number: int) -> None:
        """Stop reading."""
        self.cursors.pop(number, None)
        self._waiting.append(Drop(self._next_no(), Operation.DROP, number))

    def _next_no(self) -> int:
        self._last_no += 1
        self._unsettled[self._last_no] = None
        return self._last_no

    def take(self) -> Said:
        """Return all that is to be sent; its outcome is said with `settle` or `put_back`."""
        said = self._waiting
        # One for nearly every message that is read; so without a call for each.
        said += [tuple.__new__(Consumed, (0, _CONSUMED, number, cursor)) for number, cursor in self.cursors.items()]
        self._waiting = []
        self.cursors = {}
        return said

    def settle(self, said: Said) -> None:
        """The actor has had these."""
        for operation in said:
            self._unsettled.pop(operation[0], None)

    def put_back(self, said: Said) -> None:
        """Whether the actor has had these is not known: they are sent again, before all others."""
        self._waiting = said + self._waiting
