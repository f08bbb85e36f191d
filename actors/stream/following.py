"""How far a reader through a socket may be given answers that it has not asked for one by one. Pure.

Theory. A poll that is answered once costs two messages an answer. A `FollowCall` grants a number of answers, counted
from the first that the reader has not had. It renews the call when half of them are used, or shortly after anything
has come, and says with it what it has had and consumed: so acknowledgements of many answers ride in one message.
The grant is absolute, so that a renewal that crosses answers on their way grants nothing twice.

A reader may let what comes soon after an answer wait for what else comes (`FollowCall.gather_s`, `Reader.wait_s`).
"""

from __future__ import annotations

from collections.abc import Iterator

from actors.protocol.reads import ANSWERS_AHEAD_MAX, FollowCall
from actors.stream.readers import Reader


class Following:
    """What one reader is owed under its last call."""

    __slots__ = ("_through_no", "due_at", "has_given", "next_no")

    def __init__(self, call: FollowCall, wait_s: float, now: float, renewed: Following | None) -> None:
        """`renewed`: the one that this call takes the place of, whose answers are on their way."""
        self.next_no: int = call.poll_no if renewed is None else max(call.poll_no, renewed.next_no)
        self._through_no = call.poll_no + min(call.answers_max, ANSWERS_AHEAD_MAX) - 1
        self.has_given: bool = False
        # A reader that renews its calls must still hear something as often as the first of them said.
        self.due_at: float = renewed.due_at if renewed is not None and not renewed.has_given else now + wait_s

    def take(self, reader: Reader, now: float) -> Iterator[tuple[int, bytes]]:
        """Give the answers that may leave now, with their numbers; none while what there is waits for more."""
        if reader.wait_s(now):
            return
        while self.next_no <= self._through_no:
            answer = reader.next_answer(self.next_no)
            if answer is None:
                return
            number, self.next_no = self.next_no, self.next_no + 1
            self.has_given = True
            reader.gave(now)
            yield number, answer
