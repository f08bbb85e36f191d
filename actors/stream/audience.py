"""The readers of one stream actor: what they subscribe to, what they wait for, and whom to wake.

The host tells what happens to sessions (`adopt`, `news`, `forget`), readers say what they want
(`operate`, `peek`), and the shell asks whose poll has an answer now (`take_wakes`). What one reader
says wrongly is answered to the subscription that it concerns, or counted where it concerns none, and
touches nobody else.

Two kinds of readers: a reading process polls for all its subscriptions together (`Reader`); a bare
pull, of one request, is known by its cursor alone (`Puller`). Either is forgotten after a silence of
`READER_TIMEOUT_S`: its cursors no longer hold a producer back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from actors.errors import InvalidArgument, ProtocolViolation, StreamRouterError, UnknownRequest
from actors.protocol.deadlines import Schedule
from actors.protocol.frames import checked
from actors.protocol.reads import OPERATIONS, Consumed, Drop, Operation, Part, PartState, Subscribe
from actors.stream import subscribed
from actors.stream.log import Reading
from actors.stream.readers import Reader, Subscription
from actors.stream.refusals import Refusals
from actors.stream.session import Session
from actors.tenants import PLAIN, Names, Passes, Scope

# A reading process that has not polled for so long is gone; its cursors no longer hold anything back.
READER_TIMEOUT_S = 25.0

CONSUMED_AHEAD = "consumed_ahead"
"""Ignored: an acknowledgement of what was never sent."""

_CONSUMED = int(Operation.CONSUMED)
_ALL_INTS = [int] * len(Consumed._fields)


class Puller(NamedTuple):
    """Who reads one request by bare pulls."""

    request_id: str
    reader_id: str


class _Place(NamedTuple):
    """Where a subscription goes on in the session to come."""

    after: int
    is_moving: bool
    is_observer: bool


class Audience:
    """All readers of one stream actor.

    `sessions` are the host's, `on_consumed` is called when a reader of one has come further or has gone.
    """

    def __init__(
        self, sessions: Mapping[str, Session], refusals: Refusals, on_consumed: Callable[[Session], None]
    ) -> None:
        self.readers: dict[str, Reader] = {}
        self._sessions = sessions
        self._refusals = refusals
        self._on_consumed = on_consumed
        # Bare pulls by request: when each was last heard.
        self._pullers: dict[str, dict[Puller, float]] = {}
        # Subscriptions to sessions that the router has promised but whose OPEN is still on its way.
        self._parked: dict[str, dict[tuple[str, int], _Place]] = {}
        self._wakes: dict[str, None] = {}
        self._awaited: dict[str, int] = {}
        self._timeouts: Schedule[str | Puller] = Schedule()
        self.due_at: Callable[[], float] = self._timeouts.due_at
        """When `tick` is wanted next; NEVER if nobody can run out of time."""
        self._passes: Passes | None = None

    def __len__(self) -> int:
        return len(self.readers) + sum(map(len, self._pullers.values()))

    # --- what readers say -------------------------------------------------------------------

    def check_passes(self, pass_key: bytes | None) -> None:
        """Let those read what is theirs who have a pass of this key; None: everybody reads everything."""
        self._passes = None if pass_key is None else Passes(pass_key)

    def names(self, reader_id: str) -> Names:
        """Return the names by which a reader knows requests; those of nobody where it may read nothing."""
        return PLAIN if self._passes is None else self._passes.names(reader_id, Scope.READ)

    def reader(self, reader_id: str, now: float) -> Reader:
        """Return a reading process, made known at its first word."""
        found = self.readers.get(reader_id)
        if found is None:
            found = self.readers[reader_id] = Reader(reader_id, now, self.names(reader_id))
            self._timeouts.set(reader_id, now + READER_TIMEOUT_S)
        found.last_seen = now
        return found

    def operate(self, reader_id: str, settled: int, operations: Iterable[Any], now: float) -> None:
        """Apply a reader's operations; see `Reader.settle` for `settled`.

        One that cannot be applied is counted in `refused`, answered to its subscription, and left out.
        """
        reader = self.reader(reader_id, now)
        reader.settle(settled)
        if reader.is_forgotten:
            return
        for operation in operations:
            try:
                if operation.__class__ is list and [*map(type, operation)] == _ALL_INTS and operation[1] == _CONSUMED:
                    self._consumed(reader, operation[2], operation[3], now)  # most of what comes, as it mostly comes
                else:
                    self._operate(reader, operation, now)
            except StreamRouterError as error:
                self._refuse(reader, operation, error)

    def _refuse(self, reader: Reader, operation: Any, error: StreamRouterError) -> None:
        self._refusals.refuse("operation", f"an operation of reader {reader.reader_id!r}: {error}")
        if _has_kind(operation) and isinstance(operation[2], int):
            self._drop(reader, operation[2])
            self._note(reader, operation[2], PartState.REFUSED, list(error.to_wire()))

    def _note(self, reader: Reader, number: int, state: PartState, told: list[Any]) -> None:
        reader.notices[number] = Part(number, state, None, 0, told)
        self._wakes[reader.reader_id] = None

    def _operate(self, reader: Reader, operation: Any, now: float) -> None:
        shape = OPERATIONS.get(operation[1]) if _has_kind(operation) else None
        if shape is None:
            raise ProtocolViolation(f"no operation: {str(operation)[:80]!r}")
        wanted: Subscribe | Consumed | Drop = checked(shape, operation)
        if isinstance(wanted, Consumed):
            self._consumed(reader, wanted.number, wanted.cursor, now)
            return
        if isinstance(wanted, Subscribe) and wanted.after < 0:
            raise InvalidArgument(f"subscribe: `after` is the last message read, 0 or more, not {wanted.after}")
        if reader.begin(wanted.operation_no, wanted.number):
            self._drop(reader, wanted.number)
            if isinstance(wanted, Subscribe):
                self._subscribe(reader, wanted, now)

    def _subscribe(self, reader: Reader, wanted: Subscribe, now: float) -> None:
        request_id = reader.names.full(wanted.request_id)
        session = self._sessions.get(request_id)
        place = _Place(wanted.after, wanted.is_moving, wanted.kind == Operation.OBSERVE)
        if session is None or session.epoch < wanted.epoch:
            parked = self._parked.setdefault(request_id, {})
            parked[reader.reader_id, wanted.number] = place
            reader.parked[wanted.number] = request_id
            return
        self._attach(reader, wanted.number, session, place, now)

    def _unpark(self, reader: Reader, number: int) -> None:
        request_id = reader.parked.pop(number, None)
        if request_id is not None:
            parked = self._parked[request_id]
            del parked[reader.reader_id, number]
            if not parked:
                del self._parked[request_id]

    def _attach(self, reader: Reader, number: int, session: Session, place: _Place, now: float) -> None:
        after, is_moving, is_observer = place
        # A lost request ends where its survivors believed it stood; whoever had more still sees the end.
        sent = min(after, session.content_through) if session.stop_reason == "lost" else after
        subscription = Subscription(reader, number, session, max(sent, 0), is_moving=is_moving, is_observer=is_observer)
        subscription.cursor = after
        reader.subscriptions[number] = subscription
        subscribed.add(subscription)
        if not is_observer:
            self._note_consumed(session, subscription, after, now)
        self._mark_ready(subscription)

    def _consumed(self, reader: Reader, number: int, cursor: int, now: float) -> None:
        subscription = reader.subscriptions.get(number)
        if subscription is None:
            return
        # Nobody can have consumed what was not sent: such an acknowledgement is clipped, not believed.
        if cursor > subscription.sent:
            self._refusals.ignore(CONSUMED_AHEAD)
            cursor = subscription.sent
        had_no_room = subscription.consumed(cursor)
        if not subscription.is_observer:
            session = subscription.session
            session.consume(subscription, cursor, now)
            self._on_consumed(session)
        if had_no_room:
            self._mark_ready(subscription)

    def _note_consumed(self, session: Session, key: object, cursor: int, now: float) -> None:
        session.consume(key, cursor, now)
        self._on_consumed(session)

    def _drop(self, reader: Reader, number: int) -> None:
        self._unpark(reader, number)
        reader.notices.pop(number, None)
        subscription = reader.subscriptions.get(number)
        if subscription is None:
            return
        reader.forget(subscription)
        session = subscription.session
        subscribed.remove(subscription)
        session.detach(subscription)
        self._on_consumed(session)

    def peek(self, request_id: str, reader_id: str, after: int, pieces_max: int, now: float) -> Reading:
        """Read one request without a subscription: `after` is this reader's cumulative acknowledgement.

        Raises UnknownRequest.
        """
        session = self._sessions.get(request_id)
        if session is None:
            raise UnknownRequest(
                f"no request {request_id!r} on this stream actor: never opened, its time-to-live is over, or it has "
                "moved to another actor; ask the router again (locate)"
            )
        puller = Puller(request_id, reader_id)
        self._pullers.setdefault(request_id, {})[puller] = now
        self._timeouts.set_by(puller, now + READER_TIMEOUT_S)
        self._note_consumed(session, puller, min(after, session.log.last_seq), now)
        return session.read(after, pieces_max=pieces_max)

    def expect(self, request_id: str, waiting: int) -> None:
        """Note that `waiting` (1 or -1) bare pulls more wait for news of a request."""
        count = self._awaited.get(request_id, 0) + waiting
        if count > 0:
            self._awaited[request_id] = count
        else:
            self._awaited.pop(request_id, None)

    # --- what happens to sessions -----------------------------------------------------------

    def adopt(self, session: Session, old: Session | None, now: float) -> None:
        """Let subscriptions to an older session of the request, and those that wait for it, go on with this one."""
        request_id = session.request_id
        waiting = self._parked.pop(request_id, {})
        if old is not None:
            for subscription in subscribed.take(old):
                subscription.reader.forget(subscription)
                key = (subscription.reader.reader_id, subscription.number)
                waiting[key] = _Place(subscription.cursor, is_moving=True, is_observer=subscription.is_observer)
        for (reader_id, number), place in waiting.items():
            reader = self.readers.get(reader_id)
            if reader is not None:
                reader.parked.pop(number, None)
                self._attach(reader, number, session, place, now)

    def news(self, session: Session) -> None:
        """A session has something new to show."""
        known = session.subscribed
        for subscription in (known,) if known.__class__ is Subscription else subscribed.subscriptions_of(session):
            reader = subscription.reader
            if reader.mark_ready(subscription):
                self._wakes[reader.reader_id] = None
        if session.request_id in self._awaited:
            self._wakes[session.request_id] = None

    def _mark_ready(self, subscription: Subscription) -> None:
        if subscription.reader.mark_ready(subscription):
            self._wakes[subscription.reader.reader_id] = None

    def forget(self, session: Session) -> None:
        """A session is gone; its subscriptions are told that it is not here."""
        request_id = session.request_id
        for puller in self._pullers.pop(request_id, ()):
            self._timeouts.cancel(puller)
        if request_id in self._awaited:
            self._wakes[request_id] = None
        for subscription in subscribed.take(session):
            reader = subscription.reader
            reader.forget(subscription)
            if not subscription.ended:
                self._note(reader, subscription.number, PartState.UNKNOWN, [])

    # --- instructions to the shell, and time ------------------------------------------------

    @property
    def has_wakes(self) -> bool:
        """Whether somebody who waits has news."""
        return bool(self._wakes)

    def take_wakes(self) -> list[str]:
        """Return the reader IDs that have news, and the request IDs that `expect` named."""
        taken = list(self._wakes)
        self._wakes.clear()
        return taken

    def tick(self, now: float) -> None:
        """Forget whoever has been silent for too long."""
        for who in self._timeouts.take_due(now):
            last_seen = self._last_seen(who)
            if last_seen is None:
                continue
            if last_seen + READER_TIMEOUT_S > now:
                self._timeouts.set(who, last_seen + READER_TIMEOUT_S)
            elif isinstance(who, Puller):
                self._forget_puller(who)
            else:
                self._forget_reader(self.readers[who])

    def _last_seen(self, who: str | Puller) -> float | None:
        if isinstance(who, Puller):
            return self._pullers.get(who.request_id, {}).get(who)
        reader = self.readers.get(who)
        return None if reader is None else reader.last_seen

    def _forget_puller(self, puller: Puller) -> None:
        of_request = self._pullers[puller.request_id]
        del of_request[puller]
        if not of_request:
            del self._pullers[puller.request_id]
        session = self._sessions.get(puller.request_id)
        if session is not None:
            session.detach(puller)
            self._on_consumed(session)

    def _forget_reader(self, reader: Reader) -> None:
        for number in [*reader.subscriptions, *reader.parked]:
            self._drop(reader, number)
        del self.readers[reader.reader_id]


def _has_kind(operation: Any) -> bool:
    is_row = isinstance(operation, (list, tuple)) and len(operation) >= len(Drop._fields)
    return is_row and isinstance(operation[1], int)
