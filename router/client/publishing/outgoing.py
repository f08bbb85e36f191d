"""The publishing end of one request: numbering, credit, replay. Pure.

Theory. Every item accepted gets the next number and is kept until the request has ended. Two
positions move along them: `sent_seq` (handed to the lane in this epoch) and `next_seq` (accepted).
What the router says moves the first one back: a new epoch, a gap, or a router that has lost its
memory each name the number that is wanted next, and sending goes on from there. How far it has ever
been (`high_seq`) a router that has lost its memory is told: readers may have seen so much, and no end
may come before it. Nothing else is needed to survive the death of a stream actor or of a router.

Credit is an absolute number of bytes, counted over all items since the first. An item is accepted while
`accepted_bytes` is below the highest credit that was ever given, so at most one item is ever beyond it.
A credit to send belongs to its epoch: a new session has received nothing and grants anew, so what is
replayed to it waits until its own credit allows it. Ends and steps wait for none, once it is their turn.
"""

from __future__ import annotations

from functools import lru_cache

from actors.errors import RequestCancelled, RequestEnded, StreamRouterError, from_wire
from actors.protocol.calls import Registration
from actors.protocol.envelopes import ItemsEnvelope
from actors.protocol.frames import pack
from actors.protocol.items import Item, item_bytes, waits_for_credit
from actors.protocol.states import PublisherState, RequestPhase
from router.client.publishing.replay_store import ReplayBudget, ReplayStore

# Before the first report says more; a session's smallest window.
INITIAL_CREDIT_BYTES = 4 * 1024
# What an item, and an envelope, adds to a frame beside its bytes.
ITEM_FRAME_BYTES = 6
ENVELOPE_FRAME_BYTES = 16
GIVE_COUNT_MAX = 512

OPENING, OPEN, SEALED, FAILED = "opening", "open", "sealed", "failed"


def without_id(wanted: Registration) -> Registration:
    """Return what a request is opened with but for its ID: the same object for all that are opened alike."""
    return _one_for_all(wanted._replace(request_id=""))


@lru_cache(maxsize=16)
def _one_for_all(wanted: Registration) -> Registration:
    return wanted


class PublishedStream:
    """What a publisher knows of one request it publishes."""

    __slots__ = (
        "_broken_at",
        "_had_before",
        "_sent_before",
        "accepted_bytes",
        "awaits_place",
        "cancel",
        "created",
        "credit_bytes",
        "epoch",
        "epoch_credit_bytes",
        "error",
        "is_accepted",
        "is_held",
        "is_placed",
        "phase",
        "replay",
        "request_id",
        "sent_bytes",
        "sent_seq",
        "stop_reason",
    )

    def __init__(self, request_id: str, budget: ReplayBudget) -> None:
        self.request_id: str = request_id
        self.replay: ReplayStore = ReplayStore(budget)
        self.phase: str = OPENING
        # The number with which the router has taken it in; 0: it has not said so.
        self.created: int = 0
        # The router has said yes; where the request is placed it says later.
        self.is_accepted: bool = False
        self.is_placed: bool = False
        # The router has said that it waits for one, and ends that wait itself.
        self.awaits_place: bool = False
        self.epoch: int = 0
        self.sent_seq: int = 0
        # The last item that was handed to the lane in an earlier epoch.
        self._had_before = 0
        # The last that was handed to it in this epoch, before it was sent back.
        self._sent_before = 0
        self.accepted_bytes: int = 0
        self.credit_bytes: int = INITIAL_CREDIT_BYTES
        self.epoch_credit_bytes: int = INITIAL_CREDIT_BYTES
        # Bytes up to `sent_seq`: fewer than there were, while a part of a block on disk is sent again.
        self.sent_bytes: int = 0
        # What is next waits for the credit of its epoch.
        self.is_held: bool = False
        self.cancel: str | None = None
        self.stop_reason: str | None = None
        self.error: StreamRouterError | None = None
        self._broken_at: int | None = None

    @property
    def next_seq(self) -> int:
        """The number of the next item."""
        return self.replay.next_seq

    @property
    def high_seq(self) -> int:
        """The last item that any session of the request may have had from here, in whatever epoch."""
        return max(self.sent_seq, self._had_before)

    @property
    def has_credit(self) -> bool:
        """Whether another item may be accepted now."""
        return self.accepted_bytes < self.credit_bytes

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be published."""
        return self.phase in (SEALED, FAILED)

    @property
    def waits_for_others(self) -> bool:
        """Whether its readers, or a place, are what it waits for; those who say so watch over the time of it."""
        return self.is_held or self.awaits_place

    def why_over(self) -> StreamRouterError | None:
        """Return why nothing can follow, as far as the router has said so."""
        if self.cancel == "now" or self.stop_reason == "cancelled":
            return RequestCancelled(f"request {self.request_id!r} was cancelled; stop its provider")
        if self.stop_reason is not None:
            return RequestEnded(f"request {self.request_id!r} has ended ({self.stop_reason}); open a new one")
        return None

    def accept(self, item: Item, *, is_end: bool = False) -> bool:
        """Take an item; return whether there is credit for another. The caller has looked at `has_credit`.

        Raises LimitExceeded; then it was not taken. The end of a request is taken whatever the disk says.
        """
        size = len(item) if item.__class__ is bytes else item_bytes(item)
        self.replay.append(item, size, is_end=is_end)
        self.accepted_bytes += size
        return self.accepted_bytes < self.credit_bytes

    def break_off(self, end: Item) -> bool:
        """What is to be sent next cannot be: drop it and all that follows; `end` comes in its place.

        False where that has been done here already, and not even the end can be sent.
        """
        at = max(self.sent_seq + 1, self.replay.first_seq)
        if self._broken_at is not None and at >= self._broken_at:
            return False
        self._broken_at = at
        others_bytes = self.accepted_bytes - self.replay.bytes_from(self.replay.first_seq)
        self.replay.cut(at, end, item_bytes(end))
        # What was sent under these numbers before may still be on its way, and be taken for them: so the end
        # stands at each of them, and once more behind them all. The first one that is taken is the end.
        for _ in range(at, self._sent_before + 1):
            self.replay.append(end, item_bytes(end), is_end=True)
        # What was dropped will never be sent, and so must not wait for the credit of a later epoch either.
        self.accepted_bytes = others_bytes + self.replay.bytes_from(self.replay.first_seq)
        self.sent_seq = at - 1
        return True

    # --- as a source of the lane --------------------------------------------------------------

    def has_items(self) -> bool:
        """Whether there are items to send (none while the request has no place)."""
        if not self.is_placed or self.is_held or self.is_over:
            return False
        return self.sent_seq + 1 < self.replay.next_seq

    def give(self, bytes_max: int, *, at_least_one: bool) -> tuple[list[ItemsEnvelope], int, bool]:
        """Return at most one envelope, its size, and whether there are more items to send."""
        # Mostly all that waits fits and may go: then its bytes are known, and nobody looks at each item.
        waiting_bytes = self.accepted_bytes - self.sent_bytes
        may_go = self.is_placed and not self.is_held and self.phase == OPEN
        if not may_go or waiting_bytes > bytes_max or self.epoch_credit_bytes < self.credit_bytes:
            return self._give_some(bytes_max, at_least_one=at_least_one)
        first = self.sent_seq + 1
        items = self.replay.all_from(first, GIVE_COUNT_MAX)
        size = waiting_bytes + ITEM_FRAME_BYTES * len(items)
        if not items or size > bytes_max:
            return self._give_some(bytes_max, at_least_one=at_least_one)
        parts = (self.request_id, self.epoch, first, len(items), pack(items))
        envelope = tuple.__new__(ItemsEnvelope, parts)  # (what `ItemsEnvelope(...)` does, without a call)
        self.sent_seq += len(items)
        self.sent_bytes = self.accepted_bytes
        return [envelope], size + len(self.request_id) + ENVELOPE_FRAME_BYTES, False

    def _give_some(self, bytes_max: int, *, at_least_one: bool) -> tuple[list[ItemsEnvelope], int, bool]:
        """Give of the items that wait as many as fit, and as their epoch's credit lets go."""
        if not self.has_items():
            return [], 0, False
        first = self.sent_seq + 1
        items: list[Item] = []
        size = 0
        # No more than what a frame of items of the usual size can take.
        usual = self.accepted_bytes // self.replay.next_seq + ITEM_FRAME_BYTES
        candidates = self.replay.tail(first, min(2 * bytes_max // usual + 1, GIVE_COUNT_MAX))
        if self.epoch_credit_bytes < self.credit_bytes:
            candidates = self._within_credit(candidates)
        for item in candidates:
            cost_bytes = (len(item) if item.__class__ is bytes else item_bytes(item)) + ITEM_FRAME_BYTES
            if size + cost_bytes > bytes_max and not (at_least_one and not items):
                break
            items.append(item)
            size += cost_bytes
        if not items:
            return [], 0, self.has_items()
        envelope = ItemsEnvelope(self.request_id, self.epoch, first, len(items), pack(items))
        self.sent_seq += len(items)
        is_all = self.sent_seq + 1 == self.replay.next_seq
        self.sent_bytes = self.accepted_bytes if is_all else self.sent_bytes + size - ITEM_FRAME_BYTES * len(items)
        return [envelope], size + len(self.request_id) + ENVELOPE_FRAME_BYTES, self.has_items()

    def _within_credit(self, items: list[Item]) -> list[Item]:
        """Return those items that the credit of this epoch lets go; of a replay, there may be more than that."""
        through = self.sent_bytes
        for count, item in enumerate(items):
            if through >= self.epoch_credit_bytes and waits_for_credit(item):
                self.is_held = count == 0
                return items[:count]
            through += item_bytes(item)
        return items

    # --- what the router is told, and what it says ----------------------------------------------

    def register(self, wanted: Registration, agent_number: int) -> Registration:
        """Return what to open the request with: as `wanted` (see `without_id`), and what has come to be known since.

        Nothing is sent before the router has said where the request stands: one that does not know it would drop it,
        and could not tell, since the registration says only what had been sent when it was made.
        """
        self.forget_place()
        wanted = wanted._replace(request_id=self.request_id, created=self.created)
        if self.epoch == 0 and self.cancel is None and agent_number == wanted.agent_number:
            return wanted
        return wanted._replace(
            epoch=self.epoch,
            sent_seq=self.high_seq,
            start_seq=self.replay.first_seq,
            cancel=self.cancel,
            agent_number=agent_number,
        )

    def forget_place(self) -> None:
        """Send nothing, and wait for nothing, of what a router has said of its place: that one may be gone."""
        self.is_placed = self.awaits_place = False

    def is_taken_in(self, created: int) -> None:
        """The router has taken it in under this number.

        One that begins again with its clock set back gives a lower one than before, by which readers know it then.
        """
        self.created = created

    def update(self, state: PublisherState) -> bool:
        """Take what the router says of the request; True if it must be told again who publishes it."""
        if self.is_over:
            return False
        if state.phase == RequestPhase.UNKNOWN:
            return self._take_unknown()
        if state.error is not None:
            # Whoever knows that it was cancelled is told so, also where all else is forgotten by now.
            self.fail(self.why_over() or from_wire(state.error[0], state.error[1]))
            return False
        self.cancel = state.cancel or self.cancel
        self.credit_bytes = max(self.credit_bytes, state.credit_bytes)
        if state.epoch == self.epoch and state.credit_bytes > self.epoch_credit_bytes:
            self.epoch_credit_bytes = state.credit_bytes
            self.is_held = False
        if state.phase == RequestPhase.SEALED:
            self.phase = SEALED
            self.stop_reason = state.stop_reason
            self.replay.clear()
            return False
        self.awaits_place = state.phase == RequestPhase.WAITING
        if self.awaits_place:
            self.is_placed = False
            return False
        if state.epoch > self.epoch:
            self.epoch = state.epoch
            self.epoch_credit_bytes = max(state.credit_bytes, state.received_bytes + INITIAL_CREDIT_BYTES)
            self._rewind(state.next_seq, received_bytes=state.received_bytes)
            self._sent_before = 0  # what is on its way of an epoch that is over is taken nowhere
        elif state.epoch == self.epoch and state.phase == RequestPhase.GAP and state.next_seq <= self.sent_seq:
            self._rewind(state.next_seq)
        self.is_placed = True
        if self.phase == OPENING:
            self.phase = OPEN
        return False

    def _take_unknown(self) -> bool:
        self.forget_place()
        if self.phase == OPENING and self.is_accepted:
            text = f"request {self.request_id!r} ended and was forgotten before this process heard that it was open"
            self.fail(RequestEnded(f"{text}; its router could not be reached for a while. Publish under a new ID"))
        return self.phase == OPEN

    def _rewind(self, next_seq: int, received_bytes: int = 0) -> None:
        if next_seq > self.replay.next_seq and len(self.replay.tail(self.replay.first_seq, 1)) == 0:
            # Taken over from another publisher: our first item is the one that is wanted next.
            self.replay.first_seq = next_seq
            # What the other one had sent counts in the credit too.
            self.accepted_bytes = received_bytes
        self._had_before = self.high_seq
        self._sent_before = max(self._sent_before, self.sent_seq)
        self.sent_seq = max(next_seq, self.replay.first_seq) - 1
        self.sent_bytes = self.accepted_bytes - self.replay.bytes_from(self.sent_seq + 1)
        self.is_held = False

    def fail(self, error: StreamRouterError) -> None:
        """The request cannot be published any further from here."""
        self.phase = FAILED
        self.error = error
        self.replay.clear()
