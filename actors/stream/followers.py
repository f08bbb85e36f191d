"""The readers that follow an actor through sockets: a shell that gives them what `following.py` lets go."""

from __future__ import annotations

from typing import Any, Protocol

from actors.protocol.deadlines import Schedule
from actors.protocol.reads import FORGOTTEN, NOTHING, FollowCall
from actors.shell import Alarm, Clock
from actors.stream.audience import Audience
from actors.stream.following import Following


class Reply(Protocol):
    """The answers to one call that may have many."""

    def more(self, answer: Any) -> bool:
        """Give one; False where its connection is gone."""
        ...

    def last(self, answer: Any) -> None:
        """Give the last one."""
        ...

    def is_beside(self, other: Any) -> bool:
        """Whether both go through one connection."""
        ...


class _Follower:
    __slots__ = ("following", "reply")

    def __init__(self, following: Following, reply: Reply) -> None:
        self.following = following
        self.reply = reply


class Followers:
    """Who follows one stream actor, by reader ID."""

    def __init__(self, audience: Audience, clock: Clock) -> None:
        self._audience = audience
        self._clock = clock
        self._followers: dict[str, _Follower] = {}
        self._alarm = Alarm(clock.now, self._ring)
        # Those for whom something is gathered, by when it leaves at the latest.
        self._gathering: Schedule[str] = Schedule()
        self._gathered = Alarm(clock.now, self._give_gathered)

    def enter(self, call: FollowCall, wait_s: float, reply: Reply, now: float) -> None:
        """Take a call: a first one, or one that renews the one before."""
        reader_id = call.reader_id
        before = self._followers.get(reader_id)
        if before is not None and not before.reply.is_beside(reply):
            if call.renews:  # on a connection that has broken, and come after the first call on the next one
                reply.last(NOTHING)
                return
            before.reply.last(NOTHING)
        renewed = before.following if before is not None and call.renews else None
        reader = self._audience.reader(reader_id, now)
        reader.forget_before(call.poll_no)
        if renewed is None:
            reader.space(call.gather_s)
        made = _Follower(Following(call, wait_s, now, renewed), reply)
        self._followers[reader_id] = made
        self._alarm.set(made.following.due_at)
        self.give(reader_id)

    def give(self, reader_id: str) -> bool:
        """Give a reader what it may have now; False where none of this ID follows."""
        follower = self._followers.get(reader_id)
        reader = self._audience.readers.get(reader_id)
        if follower is None or reader is None:
            return False
        if reader.is_forgotten:
            self._followers.pop(reader_id).reply.last(FORGOTTEN)
            return True
        now = self._clock.now()
        for number, answer in follower.following.take(reader, now):
            if not follower.reply.more([number, answer]):
                del self._followers[reader_id]  # what is lost is kept, and asked for again
                return False
        if reader.has_news and (wait_s := reader.wait_s(now)):
            self._gathering.set(reader_id, now + wait_s)
            self._gathered.set(now + wait_s)
        return True

    def leave(self, reader_id: str) -> None:
        """A reader polls otherwise: it follows no more."""
        follower = self._followers.pop(reader_id, None)
        if follower is not None:
            follower.reply.last(NOTHING)

    def _give_gathered(self) -> None:
        for reader_id in self._gathering.take_due(self._clock.now()):
            self.give(reader_id)
        self._gathered.set(self._gathering.due_at())

    def _ring(self) -> None:
        now = self._clock.now()
        for reader_id, follower in list(self._followers.items()):
            if follower.following.due_at <= now:
                self._followers.pop(reader_id).reply.last(NOTHING)
            else:
                self._alarm.set(follower.following.due_at)
