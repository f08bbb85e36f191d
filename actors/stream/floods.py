"""When readers are given what a call has brought so far, before more of that call is taken. Pure.

Theory. A call to a stream actor brings items of many requests, and its readers are woken once, behind it: each answer
wakes up a process. But what a flood has in it takes a millisecond, in which the few items of others would lie. Lanes
put those in front; so before the first large envelope behind a small one, readers are given what there is.
"""

from __future__ import annotations

FLOOD_BYTES = 8 * 1024
"""An envelope with so many bytes of items is a flood's."""


class Floods:
    """The envelopes of the call that is being taken."""

    __slots__ = ("_may_give", "few_wait")

    def __init__(self) -> None:
        self._may_give = False
        self.few_wait: bool = False
        """Whether a small envelope has come."""

    def begin(self) -> None:
        """Another call is taken from now on."""
        self._may_give = True
        self.few_wait = False

    def is_behind_others(self) -> bool:
        """Whether a large envelope, which comes next, is a flood's behind those of others: True once in a call."""
        is_behind = self._may_give and self.few_wait
        self._may_give = self._may_give and not self.few_wait
        return is_behind
