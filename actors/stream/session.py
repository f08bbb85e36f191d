"""One request on its stream actor: translator, log, cursors, credit, timers and one terminal.

Theory. A session is OPEN, then SEALED, then gone.

OPEN. Items arrive numbered; the session takes exactly the one it wants next (`next_seq`), skips
what it has had, and refuses what is ahead of it by reporting a gap. Each item becomes messages,
which go to the log; the log's unread bytes bound the credit, the total of bytes that the publisher
may have sent so far. Credit is an absolute number and never falls, so a report lost, repeated or
overtaken does no harm.

SEALED. The terminal is in the log, whether the publisher finished, failed, was cancelled, or a
timer ran out. But readers do not see it yet: a terminal that only this process knows could be
contradicted after a crash. So the report carries the whole log until the router says STORED; only
then is the terminal visible, and from then on two processes hold the request.

An end that comes from outside (cancel, a lost publisher) carries `after_seq`: it waits until the
items before it are in, but no longer than `END_WAIT_S`.

A session that follows a dead one is first fed again what that one had, up to `replay_through`.
Until then it must not end, however (a timer, a cancel, a step's end): readers may have seen more
than it holds, and an end before that would contradict them.

Everything that depends on time takes `now` (seconds of any monotonic clock). Pure: no Ray.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from actors.empty import EMPTY_DICT
from actors.errors import StreamRouterError
from actors.messages import MessagePiece
from actors.protocol.deadlines import NEVER
from actors.protocol.frames import pack, unpack_list
from actors.protocol.items import Item, RecordParts, item_bytes
from actors.protocol.states import Report, SessionPhase
from actors.settings import StreamSettings
from actors.stream.cursors import Cursors
from actors.stream.endings import Ending, ending_of, fault, usage_of, without_its_log
from actors.stream.log import READ_BYTES_MAX, Log, Reading
from actors.stream.timers import END_WAIT_S, Since, Timeout, running
from actors.stream.used import Used, used_by
from actors.tenants import own_name
from actors.terminal import TERMINAL_PIECES, bare_terminal
from actors.translator import Translator

logger: logging.Logger = logging.getLogger("actors.session")

# A session under replay always has room for so much more.
REPLAY_ROOM_BYTES = 4 * 1024


class Session:
    """The state of one request.

    `start_seq` is the number of the first item it will ever get, `replay_through` the last one that an
    earlier session of the request may have had, `released` the last message that readers had consumed then.
    """

    __slots__ = (
        "_consumed_before", "_content_at", "_end", "_end_by", "_opened_at", "_parts", "_read_at", "_reported_credit",
        "_terminal_pieces", "_tools_running", "_unknown_events", "cancels_after_step", "credit_bytes", "cursors",
        "date", "epoch", "forget_at", "gap", "log", "log_is_safe", "next_seq", "owner_packed", "publisher_id",
        "received_bytes", "replay_through", "request_id", "settings", "settings_packed", "start_seq", "stop_reason",
        "stored", "subscribed", "translator", "used",
    )  # fmt: skip

    def __init__(
        self,
        request_id: str,
        epoch: int,
        settings: StreamSettings,
        now: float,
        *,
        settings_packed: bytes = b"",
        publisher_id: str = "",
        owner: Sequence[Any] = (),
        date: str | None = None,
        age_s: float = 0.0,
        released: int = 0,
        start_seq: int = 1,
        replay_through: int = 0,
    ) -> None:
        self.request_id: str = request_id
        self.epoch: int = epoch
        self.settings: StreamSettings = settings
        self.settings_packed: bytes = settings_packed
        self.publisher_id: str = publisher_id
        self.owner_packed: bytes = pack(owner)  # it is seldom read
        self.translator: Translator | None = Translator(settings, run_id=own_name(request_id), message_date=date)
        self.date: str | None = date
        self.log: Log = Log()
        self._parts: RecordParts | None = None
        self.start_seq: int = start_seq
        self.replay_through: int = replay_through
        self.next_seq: int = start_seq
        self.received_bytes: int = 0
        self.gap: bool = False
        self.cursors: Cursors = Cursors()
        self.subscribed: Any = None  # see `subscribed.py`
        self._consumed_before = released
        self.credit_bytes: int = 0
        self._reported_credit = -1
        self._end: tuple[str, str | None, int] | None = None
        self._end_by = NEVER
        self.cancels_after_step: bool = False
        self._opened_at = now - age_s if age_s else now  # one number where they are the same
        self._content_at = self._read_at = now
        self._tools_running = 0
        self._terminal_pieces = 0
        self._unknown_events: dict[str, int] = EMPTY_DICT
        self.stop_reason: str | None = None
        self.used: Used | None = None
        self.stored: bool = False
        self.log_is_safe: bool = False
        self.forget_at: float = NEVER

    @classmethod
    def restored(cls, request_id: str, epoch: int, stop_reason: str, log: Log, forget_at: float) -> Session:
        """Return a sealed session made from the log that the router kept."""
        session = cls(request_id, epoch, StreamSettings(), 0.0)
        session.translator = None
        session.log = log
        session.stop_reason, session._terminal_pieces = stop_reason, TERMINAL_PIECES
        session.forget_at = forget_at
        session.stored = session.log_is_safe = True
        return session

    # --- items in ---------------------------------------------------------------------------

    def feed(self, epoch: int, first_seq: int, items: Sequence[Item], now: float) -> int:  # noqa: C901  # hot
        """Take items numbered from `first_seq`; return how many messages they gave.

        What was had before is skipped; what is ahead sets `gap`, and nothing is taken. Items of
        another epoch are ignored (they belong to another incarnation of this session).
        """
        translator = self.translator
        if epoch != self.epoch or translator is None:
            return 0
        skip = self.next_seq - first_seq
        self.gap = skip < 0
        if skip < 0:
            return 0
        log = self.log
        before = log.last_seq
        # The hot path of the whole product: no call here that a chunk can do without. What chunks give goes to the log
        # in rows, before anything else does.
        row: list[MessagePiece] = []
        if self._end is not None:  # it stands behind what it waits for, and before all else
            items = items[: max(0, max(self._end[2], self.replay_through) + 1 - first_seq)]
        try:
            try:
                for item in items[skip:] if skip else items:
                    self.next_seq += 1
                    if item.__class__ is bytes:
                        self.received_bytes += len(item)
                        row += translator.chunk(item)
                        if translator.last_had_content:
                            self._content_at = now
                        continue
                    log.append(row)
                    row = []
                    self._record(translator, item, now)
                    if self.stop_reason is not None:
                        break
            finally:
                log.append(row)
        except Exception as error:  # noqa: BLE001  # whatever one request's item sets off, others share this process
            self.fail(error, now)
        if self._end is not None:
            self._end_if_due(now)
        released, settings = log.released, self.settings
        if self.cursors.least > released or self._consumed_before > released:
            self._release()
        unread = log.unread_bytes
        if unread > settings.buffer_bytes_max or log.bytes_held - unread > settings.retain_bytes_max:
            self._bound()
        return log.last_seq - before

    def _record(self, translator: Translator, item: Item, now: float) -> None:
        self._content_at = now
        if self._parts is None:
            self._parts = RecordParts(self.settings.message_bytes_max)
        record = self._parts.take(item)
        self.received_bytes += item_bytes(item)
        if record is None:
            return
        kind, body = record
        ending = ending_of(kind, body)
        if ending is not None:
            self._seal(now, ending)
        elif kind == "tool_running":
            self._tools_running = max(0, self._tools_running + (1 if body.get("running") else -1))
        else:
            self.log.append(translator.record(kind, body))
            if kind == "step_end":
                self._step_ended(now)

    def _step_ended(self, now: float) -> None:
        if self.cancels_after_step and not self.is_replaying:
            self._seal(now, Ending("cancelled", detail="cancelled after the step"))
        elif not self.settings.multi_step:
            self._seal(now, Ending())

    def fail(self, error: Exception, now: float) -> None:
        """End the request because of what its publisher sent, or of what that set off."""
        ending = fault(error, self.next_seq - 1)
        text = ending.error[1] if ending.error is not None else ""
        exc_info = None if isinstance(error, StreamRouterError) else error
        logger.error("request %s: %s", self.request_id, text, exc_info=exc_info)
        try:
            self._seal(now, ending)
        except Exception:
            logger.exception("request %s: its translator cannot end it; it ends without it", self.request_id)
            self._sealed_with(bare_terminal(self.request_id, self.date or "", "error", text), now)

    def _bound(self) -> None:
        log, settings = self.log, self.settings
        if settings.when_full == "drop_oldest" and log.unread_bytes > settings.buffer_bytes_max:
            surplus = log.unread_bytes - settings.buffer_bytes_max
            log.drop(log.bytes_held - surplus, through=min(self.visible_through - 1, self.content_through))
        if log.bytes_held - log.unread_bytes > settings.retain_bytes_max:
            log.drop(settings.retain_bytes_max + log.unread_bytes, through=min(log.released, self.content_through))

    @property
    def content_through(self) -> int:
        """The last message before the end; what follows is never dropped, whatever retention says."""
        return self.log.last_seq - self._terminal_pieces

    # --- the end ----------------------------------------------------------------------------

    @property
    def sealed(self) -> bool:
        """Whether the terminal is in the log."""
        return self.stop_reason is not None

    @property
    def is_replaying(self) -> bool:
        """Whether an earlier session of this request may have had more than this one has so far."""
        return self.next_seq <= self.replay_through

    @property
    def ending(self) -> tuple[str, str | None] | None:
        """The end from outside that waits for items: (stop reason, detail)."""
        return None if self._end is None or self.sealed else self._end[:2]

    def end(self, reason: str, detail: str | None, after_seq: int, now: float) -> None:
        """End the request from outside, once all items up to `after_seq` are in.

        A second end does not change the reason; it may take back what the first one waits for.
        """
        if self.sealed:
            return
        if self._end is None:
            self._end = (reason, detail, after_seq)
            self._end_by = now + END_WAIT_S
        elif after_seq < self._end[2]:
            self._end = (*self._end[:2], after_seq)
        self._end_if_due(now)

    def cancel_after_step(self) -> None:
        """End the request as cancelled when the step under way ends."""
        self.cancels_after_step = True

    def _end_if_due(self, now: float) -> None:
        if self._end is None or self.sealed or self.is_replaying:
            return
        reason, detail, after_seq = self._end
        if self.next_seq <= after_seq and self._end_by > now:
            return
        try:
            self._seal(now, Ending(reason, detail=detail))
        except Exception as error:  # noqa: BLE001  # a timer or a cancel of one request is a step that all share
            self.fail(error, now)

    def _seal(self, now: float, ending: Ending) -> None:
        translator = self.translator
        if translator is not None and not self.sealed:
            self._sealed_with(translator.end(**ending._asdict()), now)

    def _sealed_with(self, pieces: list[MessagePiece], now: float) -> None:
        self.log.append(pieces)
        terminal = next(piece for piece in reversed(pieces) if piece.head.kind == "stop_reason")
        self.stop_reason = terminal.head.fields["stop_reason"]
        # All that the end wrote (what was held back, stop reason, usage) becomes visible at once.
        self._terminal_pieces = len(pieces)
        self.forget_at = now + self.settings.sealed_ttl_s
        # What was held to be put together, and the parser's buffers, are of no more use.
        self._parts = None
        if self.translator is not None:
            self._unknown_events = self.translator.interface.unknown
            usage = pieces[-1].head.fields
            if usage["reported"]:
                self.used = used_by(self.translator.interface.model, next(iter(self.owner), None), usage)
        self.translator = None

    def confirm_stored(self, forget_at: float) -> None:
        """The router holds the sealed log, until `forget_at`: the terminal may be seen."""
        if self.sealed:
            self.stored = True
            self.log_is_safe = True
            self.forget_at = forget_at

    # --- messages out -----------------------------------------------------------------------

    @property
    def visible_through(self) -> int:
        """The newest message that readers may see."""
        if self.stop_reason is not None and not self.stored:  # (sealed, without a call)
            return self.log.last_seq - self._terminal_pieces
        return self.log.last_seq

    @property
    def complete(self) -> bool:
        """True when readers may see all there will ever be."""
        return self.stored

    def read(self, after: int, bytes_max: int = READ_BYTES_MAX, pieces_max: int = 1 << 30) -> Reading:
        """Return visible messages after a cursor; see `Log.read`."""
        return self.log.read(after, through=self.visible_through, bytes_max=bytes_max, pieces_max=pieces_max)

    def consume(self, reader: object, cursor: int, now: float) -> None:
        """Note a reader's cursor: all up to it may be compacted once every reader has come so far."""
        self._read_at = now
        self.cursors.move(reader, cursor)
        self._release()
        log, settings = self.log, self.settings
        unread = log.unread_bytes
        if unread > settings.buffer_bytes_max or log.bytes_held - unread > settings.retain_bytes_max:
            self._bound()

    def _release(self) -> None:
        # A reader may be ahead of the log while that is replayed: what it has had is not unread again.
        consumed = self.cursors.least
        if consumed < self._consumed_before:
            consumed = self._consumed_before
        self.log.release(consumed if self.stop_reason is None else min(consumed, self.visible_through))

    def detach(self, reader: object) -> None:
        """Forget a reader; what it had not consumed no longer holds the producer back."""
        self.cursors.remove(reader)
        self._release()

    # --- what it says of itself -------------------------------------------------------------

    def grant(self, window_bytes: int) -> bool:
        """Raise the credit to what may now be sent; True when that is worth a report.

        `window_bytes` bounds what may be on the way between publisher and log. Worth a report:
        a quarter of the window more, or anything more for a publisher that has run out.
        """
        room, received, settings = window_bytes, self.received_bytes, self.settings
        unread_room = settings.buffer_bytes_max - self.log.unread_bytes
        if unread_room < room and settings.when_full != "drop_oldest":
            # What an earlier session had is taken whatever is unread, if slowly: without it there can be no end.
            room = min(room, max(unread_room, REPLAY_ROOM_BYTES)) if self.is_replaying else unread_room
        if room > 0 and received + room > self.credit_bytes:
            self.credit_bytes = received + room
        reported = self._reported_credit
        gained = self.credit_bytes - reported
        return gained > 0 and (reported <= received or gained >= window_bytes // 4)

    @property
    def is_pressed(self) -> bool:
        """Whether more is unread than its publisher may still send: it soon waits for its readers."""
        return self.log.unread_bytes > self.credit_bytes - self.received_bytes and self.stop_reason is None

    def report(self) -> Report:
        """Say where the session stands, with the whole log while no one else has stored it, and count it as said."""
        self._reported_credit = self.credit_bytes
        return self.state(with_log=True)

    def state(self, *, with_log: bool) -> Report:
        """Say where the session stands to somebody who may never hear it: what was reported stays as it was."""
        phase = SessionPhase.SEALED if self.sealed else SessionPhase.GAP if self.gap else SessionPhase.OPEN
        log = self._packed_log() if with_log and self.sealed and not self.log_is_safe else None
        return Report(
            self.request_id,
            self.epoch,
            phase,
            self.next_seq,
            self.log.last_seq,
            self.log.released,
            self.credit_bytes,
            self.stop_reason,
            log,
            self.received_bytes,
            usage_of(self.log) if self.sealed else None,
        )

    def _packed_log(self) -> bytes:
        try:
            return self.log.pack()
        except Exception as error:
            logger.exception("request %s: its log cannot be packed; it ends without it", self.request_id)
            self.log = without_its_log(self.request_id, self.date or "", error, self.content_through)
            self.stop_reason, self._terminal_pieces = "error", TERMINAL_PIECES
            return self.log.pack()

    @property
    def owner(self) -> list[Any]:
        """The parts of an `Owner`; none where they are not known."""
        return unpack_list(self.owner_packed)

    @property
    def unknown_events(self) -> dict[str, int]:
        """What the provider sent that no adapter knows, by name, counted."""
        return self._unknown_events if self.translator is None else self.translator.interface.unknown

    def age_s(self, now: float) -> float:
        """Return the seconds since the request was opened, in whatever epoch."""
        return now - self._opened_at

    # --- time -------------------------------------------------------------------------------

    def _running(self) -> list[Timeout]:
        has_messages = self.log.last_seq > 0
        return running(
            self.settings,
            Since(self._opened_at, self._content_at, self._read_at),
            awaits_first=not has_messages and not self.is_replaying,
            may_speak=has_messages and self.credit_bytes > self.received_bytes and not self._tools_running,
        )

    def due_at(self) -> float:
        """When the session next wants `expire` to be called; NEVER if not at all."""
        if self.sealed:
            return self.forget_at
        if self._end is not None:
            return NEVER if self.is_replaying else self._end_by
        return min((timeout.at for timeout in self._running()), default=NEVER)

    def expire(self, now: float) -> bool:
        """End the request if a timer has run out; True when that happened."""
        if self.sealed:
            return False
        if self._end is not None:
            self._end_if_due(now)
            return self.sealed
        over = [timeout for timeout in self._running() if timeout.at <= now]
        if not over:
            return False
        _, stop_reason, detail = min(over)
        self._end = (stop_reason, detail, 0)
        self._end_if_due(now)
        return self.sealed
