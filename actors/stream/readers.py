"""The reading processes of one stream actor, their subscriptions, and which of them are ready.

Theory. A reader is a process, not a stream: all its subscriptions on this actor share one long
poll, so the cost of reading follows what is ready, not what is open. A subscription has two
cursors: `sent` (what has left in an answer) and the session's cursor for it (what the user has
consumed, which is the cumulative acknowledgement). Between them lies at most
`SUBSCRIPTION_BYTES_MAX`; a user who stops reading therefore stops being sent to, and through the
session's credit stops their own producer, and nobody else. An observer has no cursor in the session, so it
stops nobody: one that lags is given what the log still holds, behind a gap for what it does not.

Answers are numbered. One that was lost on the way is asked for again under its number and given again as
it was; so all that are not known to have come are kept. Through Ray that is one; through a socket there are
some ahead (`following.py`), of `KEPT_BYTES_MAX` at most. A poll from before them, come late, gets nothing.
Operations are numbered too, since a call given up may still arrive after later ones: what a reader has
settled, or a later operation on the same subscription has followed, is not done again.

A reader that is silent for too long is forgotten with all its subscriptions. Should it come back (its process
was stopped, or busy with other things), what it says gives it away, it is told so, and begins anew.

Pure: `answer` returns None where a real process would wait; the shell waits.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

from actors.errors import InternalError
from actors.messages import Head
from actors.protocol.frames import pack
from actors.protocol.lane import Spacing
from actors.protocol.reads import FORGOTTEN, GATHER_S_MAX, NOTHING, Part, PartState
from actors.stream.log import Reading
from actors.stream.session import Session
from actors.tenants import PLAIN, Names

logger: logging.Logger = logging.getLogger("actors.stream_host")

ANSWER_BYTES_MAX = 80 * 1024
# What one subscription may put into one answer before the next has its turn.
TURN_BYTES = 16 * 1024
SUBSCRIPTION_BYTES_MAX = 256 * 1024
# With so much on its way to a reader, it is given nothing more until it says that something has come.
KEPT_BYTES_MAX = 4 * ANSWER_BYTES_MAX
_OPEN, _ENDED, _HURRIED = int(PartState.OPEN), int(PartState.ENDED), int(PartState.HURRIED)
# See `messages.new_piece`.
_new_part: Callable[[tuple[Any, ...]], Part] = partial(tuple.__new__, Part)


class Subscription:
    """One reader's place in one request."""

    __slots__ = (
        "_sent_bytes",
        "_unconsumed",
        "cursor",
        "ended",
        "head_sent",
        "is_moving",
        "is_observer",
        "number",
        "reader",
        "sent",
        "session",
    )

    def __init__(
        self,
        reader: Reader,
        number: int,
        session: Session,
        after: int,
        *,
        is_moving: bool = False,
        is_observer: bool = False,
    ) -> None:
        self.reader: Reader = reader
        self.number: int = number
        self.session: Session = session
        self.sent: int = after
        # How far the user has come. Of an observer the session does not know it.
        self.cursor: int = after
        self.is_observer: bool = is_observer
        # Of the message that the last piece sent belongs to: the reader has its fields.
        self.head_sent: Head | None = None
        self.ended: bool = False
        # It read an earlier session of this request, of which this one may have less, and has not seen an end.
        self.is_moving: bool = is_moving
        # What was sent and is not consumed: (how far it went, its size). None: nothing; of ten thousand silent
        # subscriptions the empty lists would take a megabyte.
        self._unconsumed: list[tuple[int, int]] | None = None
        self._sent_bytes = 0

    @property
    def has_news(self) -> bool:
        """True when an answer would have something for this subscription."""
        session = self.session
        if self._sent_bytes >= SUBSCRIPTION_BYTES_MAX:
            return False
        if session.stop_reason is None:  # open: all that is there is visible, and not complete
            return session.log.last_seq > self.sent
        return session.visible_through > self.sent or (session.complete and not self.ended)

    @property
    def hurries(self) -> bool:
        """Whether its news wait for nobody else's: its first, its end, or what its publisher soon waits for."""
        session = self.session
        return self.head_sent is None or session.complete or (session.is_pressed and not self.is_observer)

    @property
    def has_more_than_survived(self) -> bool:
        """True when a reader of an ended request stands behind all that there is, or in the middle of its end."""
        session = self.session
        return self.sent > session.log.last_seq or (self.is_moving and self.sent > session.content_through)

    def read(self, bytes_max: int) -> Reading:
        """Return what comes next, at most about `bytes_max`, and regard it as sent."""
        session = self.session
        log = session.log
        through, is_open = log.last_seq, session.stop_reason is None
        if not is_open:
            if session.complete and self.has_more_than_survived:
                # What it has not had is the end, and that whole.
                self.sent = session.content_through
                self.is_moving = False
            through = session.visible_through
        reading = log.read(self.sent, through=through, bytes_max=bytes_max, known=self.head_sent)
        _, last_seq, cost_bytes, self.head_sent, _ = reading
        self.sent = last_seq
        if self._unconsumed is None:
            self._unconsumed = [(last_seq, cost_bytes)]
        else:
            self._unconsumed.append((last_seq, cost_bytes))
        self._sent_bytes += cost_bytes
        if not is_open and session.complete and last_seq >= log.last_seq:
            self.ended = True
        return reading

    def consumed(self, cursor: int) -> bool:
        """Note that the user has consumed all up to `cursor`, which is at most `sent`.

        True where so much was on its way that nothing more was sent. In any other case it has no news by this.
        """
        if cursor > self.cursor:
            self.cursor = cursor
        unconsumed = self._unconsumed
        if unconsumed is None:
            return False
        was_full = self._sent_bytes >= SUBSCRIPTION_BYTES_MAX
        if unconsumed[-1][0] <= cursor:
            self._unconsumed = None
            self._sent_bytes = 0
            return was_full
        while unconsumed[0][0] <= cursor:
            self._sent_bytes -= unconsumed.pop(0)[1]
        return was_full


class Reader:
    """One reading process: its subscriptions, those that are ready, its last answer."""

    __slots__ = (
        "_answers",
        "_done",
        "_kept_bytes",
        "_last_no",
        "_ready",
        "_settled",
        "_spacing",
        "is_forgotten",
        "last_seen",
        "names",
        "notices",
        "parked",
        "reader_id",
        "subscriptions",
    )

    def __init__(self, reader_id: str, now: float, names: Names = PLAIN) -> None:
        self.reader_id: str = reader_id
        self.names: Names = names
        self.last_seen: float = now
        # It speaks of operations that nobody here remembers.
        self.is_forgotten: bool = False
        self.subscriptions: dict[int, Subscription] = {}
        # Subscriptions to requests that are not here yet, by number.
        self.parked: dict[int, str] = {}
        # A dict whose front is taken off again and again would be searched from its first place each time.
        self._ready: OrderedDict[Subscription, None] = OrderedDict()
        # What is to be said of subscriptions that are none, by number: not here, or refused.
        self.notices: dict[int, Part] = {}
        # The number of the last answer, and those that are not known to have come, by number.
        self._last_no = 0
        self._answers: dict[int, bytes] = {}
        self._kept_bytes = 0
        self._settled = 0
        # None: nothing waits for what else comes.
        self._spacing: Spacing | None = None
        self._done: dict[int, int] = {}

    @property
    def has_news(self) -> bool:
        """Whether an answer would have something to tell."""
        return bool(self._ready or self.notices)

    def space(self, gather_s: float) -> None:
        """Begin to gather, so long after each answer, what comes then."""
        self._spacing = Spacing(min(gather_s, GATHER_S_MAX)) if gather_s else None

    def wait_s(self, now: float) -> float:
        """Return how long what there is has to wait for what else comes; 0 where it may leave."""
        return 0.0 if self._spacing is None or self.notices else self._spacing.wait_s(now)

    def gave(self, now: float) -> None:
        """Note that an answer leaves."""
        if self._spacing is not None:
            self._spacing.sent(now)

    def mark_ready(self, subscription: Subscription) -> bool:
        """Queue a subscription if it has news; True if the reader had none before, or has some that hurry now."""
        ready, spacing = self._ready, self._spacing
        wakes = False
        if subscription not in ready:
            if not subscription.has_news:
                return False
            wakes = not (ready or self.notices)
            ready[subscription] = None
        if spacing is not None and not spacing.hurries:
            spacing.came(at_once=subscription.hurries)
            wakes = wakes or spacing.hurries
        return wakes

    def settle(self, settled: int) -> None:
        """Note that no operation before this number will be sent again; what still comes of them is late."""
        if settled > 1 and not self._settled:
            self.is_forgotten = True
        if settled > self._settled:
            self._settled = settled
            self._done = {number: done for number, done in self._done.items() if done >= settled}

    def begin(self, operation_no: int, number: int) -> bool:
        """Whether an operation on a subscription is to be done: it is new, and no later one was done."""
        if operation_no < self._settled or operation_no <= self._done.get(number, 0):
            return False
        self._done[number] = operation_no
        return True

    def forget(self, subscription: Subscription) -> None:
        """Drop a subscription."""
        self._ready.pop(subscription, None)
        self.subscriptions.pop(subscription.number, None)

    def answer(self, poll_no: int) -> bytes | None:
        """Return the answer to poll `poll_no`, packed; None when there is no news yet.

        Whoever asks for it has had those before. An answer is a list of `Part`s, or `FORGOTTEN`.
        """
        self.forget_before(poll_no)
        return self.next_answer(poll_no)

    def forget_before(self, answer_no: int) -> None:
        """All answers before this number have come."""
        for number in [number for number in self._answers if number < answer_no]:
            self._kept_bytes -= len(self._answers.pop(number))

    def next_answer(self, answer_no: int) -> bytes | None:
        """Return an answer; None when there is no news yet, or too much is on its way.

        The same number again gives the same answer again.
        """
        if self.is_forgotten:
            return FORGOTTEN
        kept = self._answers.get(answer_no)
        if kept is not None:
            return kept
        if answer_no <= self._last_no:
            return NOTHING
        if not self.has_news or self._kept_bytes >= KEPT_BYTES_MAX:
            return None
        self._last_no = answer_no
        parts = self._take_news()
        try:
            made = pack(parts)
        except (TypeError, ValueError, OverflowError):
            made = pack([self._packable(part) for part in parts])
        self._answers[answer_no] = made
        self._kept_bytes += len(made)
        return made

    def _packable(self, part: Part) -> Part:
        """Return a part, or, where it cannot be packed, the end of its subscription: the others hear theirs."""
        try:
            pack(part)
        except (TypeError, ValueError, OverflowError) as error:
            logger.exception("reader %s: messages of subscription %d cannot be packed", self.reader_id, part.number)
            told = InternalError(f"messages of this request cannot be packed: {error}").to_wire()
            return Part(part.number, PartState.REFUSED, None, 0, list(told))
        return part

    def _take_news(self) -> list[Part]:
        parts = [*self.notices.values()]
        self.notices.clear()
        room = ANSWER_BYTES_MAX
        ready = self._ready
        while ready and room > 0:
            subscription, _ = ready.popitem(last=False)
            segments, _, cost_bytes, _, gap = subscription.read(TURN_BYTES if room > TURN_BYTES else room)
            room -= cost_bytes
            session = subscription.session
            state = _OPEN
            if subscription.ended:
                state = _ENDED
            elif session.is_pressed:
                state = _HURRIED
            parts.append(_new_part((subscription.number, state, gap, session.epoch, segments)))
            if subscription.has_news:
                ready[subscription] = None
        return parts
