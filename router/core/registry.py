"""The pure part of a router actor: who holds which request, and who must be told what.

Theory. An entry is one request: WAITING (no place yet), OPEN (a session of this epoch exists or is
on its way to a stream actor), SEALED (ended, its log kept here as well) and then gone. The registry
never looks into chunks: it moves blobs from a publisher's frame to the lane of the right actor.

Three kinds of process talk to it, and each failure has one answer:

* a stream actor dies: each of its open entries gets a new epoch on another actor, and its
  publisher, who still has all items, sends them again; ended entries are restored from the log
  kept here. An entry whose publisher cannot replay ends as `lost`.
* a publisher dies (it is silent longer than its watch may last): its entries wait
  `publisher_grace_s` for another publisher to take over, then end as `publisher_lost`.
* this router dies: its next incarnation learns from its actors' inventories and from publishers
  and readers, who notice the new incarnation in the first answer they get and say again what
  they know.

What each client must still be told `outboxes.py` keeps; here it gets the states that it is told.

Effects are named, not done: `take_effects` gives the shell actors to start and to stop, envelopes
to put on lanes, clients to wake. Time is an argument. Pure: no Ray, no asyncio.
"""

from __future__ import annotations

import hmac
import logging
from collections import deque
from collections.abc import Sequence
from typing import Any

from actors.errors import (
    AgentBusy,
    DuplicateRequest,
    PoolFull,
    ProtocolViolation,
    RequestEnded,
    StreamRouterError,
    UnknownRequest,
)
from actors.logging_setup import is_telling
from actors.protocol.deadlines import Deadlines
from actors.protocol.envelopes import (
    CancelAfterStepEnvelope,
    DataEnvelope,
    EndEnvelope,
    Envelope,
    ForgetEnvelope,
    ItemsEnvelope,
    OpenEnvelope,
    Order,
    RestoreEnvelope,
    StoredEnvelope,
)
from actors.protocol.frames import checked
from actors.protocol.states import (
    ClaimState,
    Inventory,
    Key,
    News,
    PublisherState,
    ReaderState,
    Report,
    RequestPhase,
    Role,
    SessionPhase,
    SessionRecord,
    State,
)
from actors.settings import StreamSettings, unpacked
from actors.terminal import terminal_log
from router.config import RouterConfig
from router.core.admission import Admission
from router.core.agent_queue import Agents, Claim
from router.core.effects import CANCELLED, ENDED, MOVED, OPENED, PLACED, REFUSED, Effects, Note
from router.core.outboxes import CLIENT_FORGET_S, CLIENT_TIMEOUT_S, Client, Clients
from router.core.pool import ActorState, Pool
from router.core.request import Entry

logger = logging.getLogger("router.registry")


NOT_ITS_PUBLISHER, OTHER_EPOCH, AHEAD = "not_its_publisher", "other_epoch", "ahead"
"""Why items were ignored: from another client than the request's own, for another epoch, or with a hole before them."""


class Registry:
    """All requests, actors and clients of one router actor."""

    def __init__(self, config: RouterConfig, incarnation: str, now: float) -> None:
        self.config = config
        self.incarnation = incarnation
        actors = config.stream_actors
        self.pool = Pool(
            max_actors=actors.max_actors,
            warm_actors=actors.warm_actors,
            max_streams_per_actor=actors.max_streams_per_actor,
            idle_ttl_s=actors.idle_ttl_s,
            recycle_after_requests=actors.recycle_after_requests,
        )
        self.entries: dict[str, Entry] = {}
        self.clients = Clients(incarnation, self._watch_over)
        self.admission = Admission(config.name, config.limits, now)
        self.counts = {"opened": 0, "refused": 0, "restarted": 0, "lost": 0, "sealed": 0, "chunks": 0, "chunk_bytes": 0}
        self.ended_by: dict[str, int] = {}
        self.refused_by: dict[str, int] = {}
        self.ignored_by: dict[str, int] = {}
        self._waiting: deque[str] = deque()
        self._agents = Agents()
        self._open_count = 0
        self._sealed_bytes = 0
        self._deadlines: Deadlines[tuple[str, str]] = Deadlines()
        self._recovering = False
        self._effects = Effects()

    def take_effects(self) -> Effects:
        """Return what is to be done, once."""
        taken, self._effects = self._effects, Effects()
        taken.wake = self.clients.take_wakes()
        return taken

    @property
    def has_effects(self) -> bool:
        """Whether there is something to be done."""
        effects = self._effects
        return bool(effects.send or self.clients.has_wakes or effects.start or effects.stop or effects.notes)

    def _note(self, kind: str, entry: Entry, detail: str | None = None) -> None:
        self._effects.notes.append(Note(kind, entry.request_id, entry.epoch, detail))

    # --- clients ----------------------------------------------------------------------------

    def _watch_over(self, client_id: str, now: float) -> None:
        self._timer(now + CLIENT_TIMEOUT_S, "client", client_id)

    def _tell_publisher(self, entry: Entry, *, urgent: bool = True) -> None:
        self.clients.tell(entry.client_id, (Role.PUBLISHER, entry.request_id), urgent=urgent)

    def news(self, client_id: str, seen: Sequence[Any], now: float) -> News:
        """Return all that is newer than what the client has `seen`."""
        client = self.clients.heard(client_id, now)
        if client.was_gone:
            self._publisher_is_back(client)
        keys = self.clients.unseen(client, seen)
        return News(client.incarnation, client.version, [self._state(client_id, key) for key in keys])

    def _state(self, client_id: str, key: Key) -> State:
        role, request_id = key
        if role == Role.AGENT:
            return ClaimState(Role.AGENT, request_id, self._agents.phase(request_id))
        entry = self.entries.get(request_id)
        if role == Role.READER:
            if entry is None:
                phase = RequestPhase.RECOVERING if self._recovering else RequestPhase.UNKNOWN
                return ReaderState(Role.READER, request_id, phase, None, 0)
            return ReaderState(Role.READER, request_id, entry.phase, entry.actor_id, entry.epoch)
        if entry is None or entry.client_id != client_id:
            return PublisherState(Role.PUBLISHER, request_id, 0, RequestPhase.UNKNOWN, 1, 0, None, None, None)
        phase = entry.phase
        if phase == RequestPhase.OPEN and (entry.gap or entry.is_being_taken):
            phase = RequestPhase.WAITING if entry.is_being_taken else RequestPhase.GAP
        return PublisherState(
            Role.PUBLISHER,
            request_id,
            entry.epoch,
            phase,
            entry.sent_seq + 1,
            entry.credit_bytes,
            entry.cancel,
            entry.stop_reason,
            entry.error,
            entry.received_bytes,
        )

    def _publisher_is_back(self, client: Client) -> None:
        client.was_gone = False
        for request_id in client.publishes:
            entry = self.entries.get(request_id)
            if entry is not None and entry.publisher_gone_at is not None:
                entry.publisher_gone_at = None

    # --- opening ----------------------------------------------------------------------------

    def open(
        self,
        client_id: str,
        request_id: str,
        settings_packed: bytes,
        now: float,
        *,
        date: str,
        agent_id: str | None = None,
        take_over: bool = False,
        epoch: int = 0,
        sent_seq: int = 0,
        start_seq: int = 1,
        cancel: str | None = None,
    ) -> StreamRouterError | None:
        """Open a request, or take it up again; the outcome stands in the client's news.

        `epoch`, `sent_seq`, `start_seq` and `cancel` are a publisher's own knowledge when it registers again
        with a router that has lost its memory. Returns the error where the open is refused.
        """
        self.clients.heard(client_id, now)
        try:
            numbers = (epoch, sent_seq, start_seq)
            self._open(client_id, request_id, settings_packed, now, date, agent_id, take_over, numbers)
            if epoch and cancel is not None:
                self.cancel(request_id, now, after_step=cancel == "after_step")
        except StreamRouterError as error:
            self._count_refusal(request_id, error)
            return error
        return None

    def refuse(self, error: ProtocolViolation) -> None:
        """Count what another process sent and the protocol does not allow."""
        count = self.refused_by[error.code] = self.refused_by.get(error.code, 0) + 1
        if is_telling(count):
            logger.warning("refused (the %d. time): %s", count, str(error)[:300])

    def _ignore(self, why: str) -> None:
        """Count what came too late or too early, as it may after a crash; its sender is told how things stand."""
        self.ignored_by[why] = self.ignored_by.get(why, 0) + 1

    def _count_refusal(self, request_id: str, error: StreamRouterError) -> None:
        self._effects.notes.append(Note(REFUSED, request_id, 0, error.code))
        self.counts["refused"] += 1
        self.refused_by[error.code] = self.refused_by.get(error.code, 0) + 1

    def _open(
        self,
        client_id: str,
        request_id: str,
        settings_packed: bytes,
        now: float,
        date: str,
        agent_id: str | None,
        take_over: bool,  # noqa: FBT001  # all arguments of `open`, in its order
        numbers: tuple[int, int, int],
    ) -> None:
        epoch, sent_seq, start_seq = numbers
        known = self.entries.get(request_id)
        if (
            known is not None
            and known.phase == RequestPhase.SEALED
            and (take_over or epoch)
            and known.client_id == client_id
        ):
            self._tell_publisher(known)  # it ended while its publisher was away
            return
        if known is not None:
            if self._open_again(known, client_id, settings_packed, now, take_over=take_over) and epoch:
                # It registers again: what a router that has lost its memory could not know.
                known.date, known.agent_id = date, agent_id
                self._learn(known, numbers, now)
            return
        if take_over and not epoch:
            raise UnknownRequest(f"request {request_id!r} cannot be taken over: it is not open here")
        if not epoch:
            self.admission.admit(request_id, self._open_count, now)
        settings, settings_packed = unpacked(settings_packed)
        entry = Entry(
            request_id,
            settings_packed,
            settings,
            client_id,
            date,
            now,
            agent_id,
            epoch=epoch,
            start_seq=start_seq,
            high_seq=sent_seq,
        )
        if not epoch and not self.pool.has_place():
            self._refuse_if_set()
        self.entries[request_id] = entry
        self.clients.heard(client_id, now).publishes.add(request_id)
        self._open_count += 1
        self.counts["opened"] += 1
        self._note(OPENED, entry)
        if start_seq > 1:
            # It was taken over, and its session is gone: what came before its publisher's first item nobody has.
            self._lose(entry, now)
            return
        if not self._place(entry, now):
            self._waiting.append(request_id)
            self._timer(now + self.config.stream_actors.open_timeout_s, "open", request_id)
        self._tell_publisher(entry)

    def _learn(self, entry: Entry, numbers: tuple[int, int, int], now: float) -> None:
        epoch, sent_seq, entry.start_seq = numbers
        entry.gap = entry.gap or sent_seq > entry.sent_seq
        if epoch > entry.epoch:
            # What is known here came from an older word of the same publisher, which was late.
            entry.epoch, entry.high_seq = epoch, max(entry.high_seq, sent_seq)
            if entry.phase == RequestPhase.OPEN:
                self._replace(entry, now)

    def _open_again(self, entry: Entry, client_id: str, settings_packed: bytes, now: float, *, take_over: bool) -> bool:
        """Let a publisher go on, or another take over; True if it is the same one."""
        if entry.phase == RequestPhase.SEALED:
            raise RequestEnded(
                f"request {entry.request_id!r} has ended ({entry.stop_reason}); a request ID is used once: "
                "choose a new one"
            )
        same_settings = hmac.compare_digest(entry.settings_packed, settings_packed)
        if entry.client_id == client_id:
            if not same_settings and not take_over:
                raise DuplicateRequest(f"request {entry.request_id!r} is open with other settings")
            entry.publisher_gone_at = None
            self._tell_publisher(entry)
            return True
        owner = self.clients.get(entry.client_id)
        owner_lives = owner is not None and entry.publisher_gone_at is None
        if owner_lives or not take_over:
            hint = (
                "wait until its publisher is gone"
                if take_over
                else "publish under a new ID, or publish(..., take_over=True) once its publisher is gone"
            )
            raise DuplicateRequest(f"request {entry.request_id!r} is open with another publisher; {hint}")
        if not entry.is_whole:
            self._lose(entry, now)
            raise RequestEnded(
                f"request {entry.request_id!r} has ended (lost): its stream actor and its publisher are both gone"
            )
        if owner is not None:
            owner.publishes.discard(entry.request_id)
        entry.client_id = client_id
        entry.publisher_gone_at = None
        entry.start_seq = entry.sent_seq + 1
        if entry.phase == RequestPhase.OPEN:
            # How far the session has come in bytes only it can say: behind all that is on its way, it is asked.
            entry.is_being_taken = True
            self._send_open(entry, now)
        self.clients.heard(client_id, now).publishes.add(entry.request_id)
        self._tell_publisher(entry)
        return False

    def _refuse_if_set(self) -> None:
        actors = self.config.stream_actors
        if actors.when_pool_full == "refuse":
            raise PoolFull(
                f"all {actors.max_actors} stream actors hold {actors.max_streams_per_actor} open requests each; "
                "wait until some have ended, or raise stream_actors.max_actors or max_streams_per_actor"
            )

    def _place(self, entry: Entry, now: float) -> bool:
        slot, starts = self.pool.place(entry.request_id, is_under_way=entry.epoch > 0)
        if slot is None:
            return False
        if starts:
            self._effects.start.append(slot.actor_id)
        self._effects.start.extend(spare.actor_id for spare in self.pool.wanted())
        entry.actor_id = slot.actor_id
        entry.epoch += 1
        entry.phase = RequestPhase.OPEN
        entry.gap = entry.is_being_taken = False
        entry.sent_seq = entry.start_seq - 1
        self._note(PLACED, entry, entry.actor_id)
        self._send_open(entry, now)
        if entry.cancel == "after_step":
            self._send(entry, CancelAfterStepEnvelope(Order.CANCEL_AFTER_STEP, entry.request_id, entry.epoch))
        if entry.ending is not None:
            self._send_end(entry)
        self._tell_publisher(entry)
        self.clients.tell_readers(entry.request_id)
        return True

    def _place_waiting(self, now: float) -> None:
        while self._waiting:
            entry = self.entries.get(self._waiting[0])
            if entry is not None and entry.phase == RequestPhase.WAITING and not self._place(entry, now):
                return
            self._waiting.popleft()

    def _send(self, entry: Entry, envelope: Envelope, size_bytes: int = 256) -> None:
        if entry.actor_id is not None:
            self._effects.send.append((entry.actor_id, entry.request_id, envelope, size_bytes))

    def _send_open(self, entry: Entry, now: float) -> None:
        envelope = OpenEnvelope(
            Order.OPEN,
            entry.request_id,
            entry.epoch,
            entry.settings_packed,
            entry.client_id,
            entry.date,
            now - entry.opened_at,
            entry.released,
            entry.start_seq,
            entry.high_seq,
        )
        self._send(entry, envelope)

    def _send_end(self, entry: Entry) -> None:
        if entry.ending is not None:
            reason, detail = entry.ending
            # Of a publisher that is gone for good nothing more will come than what is on its way.
            after_seq = 0 if entry.is_abandoned else entry.sent_seq
            envelope = EndEnvelope(Order.END, entry.request_id, entry.epoch, reason, detail, after_seq)
            self._send(entry, envelope)

    # --- agents -----------------------------------------------------------------------------

    def claim(
        self, client_id: str, request_id: str, agent_id: str, when_busy: str, now: float, *, is_held: bool
    ) -> tuple[StreamRouterError | None, State]:
        """Claim an agent for a request; see `router.core.agent_queue`. Returns (error or None, state of the claim)."""
        self.clients.heard(client_id, now)
        error = None
        try:
            self._tell_claims(self._agents.claim(Claim(request_id, agent_id, client_id), when_busy, is_held=is_held))
        except AgentBusy as busy:
            error = busy
            self._count_refusal(request_id, busy)
        return error, self._state(client_id, (Role.AGENT, request_id))

    def release(self, request_id: str) -> None:
        """Let go of the agent of a request."""
        self._tell_claims(self._agents.release(request_id))

    def _tell_claims(self, changed: Sequence[Claim]) -> None:
        for claim in changed:
            self.clients.tell(claim.client_id, (Role.AGENT, claim.request_id))

    # --- items ------------------------------------------------------------------------------

    def forward(self, client_id: str, envelopes: Sequence[Sequence[Any]], now: float) -> None:
        """Take a publisher's envelopes (the parts of `ItemsEnvelope`s) to their actors' lanes."""
        self.clients.heard(client_id, now)
        for envelope in envelopes:
            try:
                self._forward(client_id, ItemsEnvelope(*envelope))
            except (TypeError, ValueError) as error:
                # It must not take those of other requests with it.
                self.refuse(ProtocolViolation(f"an envelope of client {client_id!r}: {error}: {str(envelope)[:80]!r}"))

    def _forward(self, client_id: str, items: ItemsEnvelope) -> None:
        request_id, epoch, first_seq, count, blob = items
        entry = self.entries.get(request_id)
        if entry is None or entry.client_id != client_id:
            self._ignore(NOT_ITS_PUBLISHER)
            self.clients.tell(client_id, (Role.PUBLISHER, request_id))
            return
        if entry.phase != RequestPhase.OPEN or entry.epoch != epoch or entry.actor_id is None:
            self._ignore(OTHER_EPOCH)
            self._tell_publisher(entry)
            return
        last_seq = first_seq + count - 1
        if not 1 <= first_seq <= last_seq or blob.__class__ is not bytes:
            raise ValueError("items are numbered from 1, at least one of them in packed bytes")
        if first_seq > entry.sent_seq + 1:
            # A hole: what lies between was on its way through a router that has died, or never came.
            self._ignore(AHEAD)
            entry.gap = True
            self._tell_publisher(entry)
            return
        if last_seq > entry.sent_seq:
            entry.sent_seq = last_seq
            entry.high_seq = max(entry.high_seq, last_seq)
            entry.gap = False
        self.counts["chunks"] += count
        self.counts["chunk_bytes"] += len(blob)
        envelope = DataEnvelope(Order.DATA, request_id, epoch, first_seq, blob)
        self._effects.send.append((entry.actor_id, request_id, envelope, len(blob) + 64))

    # --- stream actors ----------------------------------------------------------------------

    def reports(self, actor_id: str, reports: Sequence[Sequence[Any]], now: float) -> None:
        """Take what a stream actor says of its sessions."""
        for parts in reports:
            try:
                report = checked(Report, parts)
            except ProtocolViolation as error:
                self.refuse(error)
            else:
                self._reported(actor_id, report, now)

    def _reported(self, actor_id: str, report: Report, now: float) -> None:
        entry = self.entries.get(report.request_id)
        if entry is None:
            if report.phase != SessionPhase.UNKNOWN:
                self._forget_session(actor_id, report)  # nobody knows it any more: its time is over
            return
        if report.epoch != entry.epoch or entry.actor_id != actor_id:
            if entry.actor_id != actor_id and report.phase != SessionPhase.UNKNOWN:
                # It lives on elsewhere; a session of an older epoch must not stay behind here.
                self._forget_session(actor_id, report)
            return
        if report.phase == SessionPhase.UNKNOWN:
            if entry.phase == RequestPhase.OPEN:
                self._replace(entry, now)
            elif entry.log is not None:
                self._restore(entry, now)
            return
        self._report(entry, report, now)

    def _forget_session(self, actor_id: str, report: Report) -> None:
        envelope = ForgetEnvelope(Order.FORGET, report.request_id, report.epoch)
        self._effects.send.append((actor_id, report.request_id, envelope, 128))

    def _report(self, entry: Entry, report: Report, now: float) -> None:
        entry.last_seq_id = max(entry.last_seq_id, report.last_seq_id)
        entry.released = max(entry.released, report.released)
        entry.received_bytes = max(entry.received_bytes, report.received_bytes)
        if report.phase == SessionPhase.SEALED:
            if entry.phase != RequestPhase.SEALED:
                self._seal(entry, report.stop_reason or "error", report.log, now)
            elif entry.log is None and report.log is not None:
                self._keep(entry, report.log)
            if entry.log is not None:
                self._send(entry, StoredEnvelope(Order.STORED, entry.request_id, entry.epoch), 64)
            return
        if entry.is_being_taken and report.next_seq > entry.sent_seq:
            entry.is_being_taken = False
            self._tell_publisher(entry)
        if report.phase == SessionPhase.GAP:
            entry.gap = True
            entry.sent_seq = min(entry.sent_seq, report.next_seq - 1)
        if report.credit_bytes > entry.credit_bytes or report.phase == SessionPhase.GAP:
            entry.credit_bytes = max(entry.credit_bytes, report.credit_bytes)
            self._tell_publisher(entry, urgent=report.phase == SessionPhase.GAP)

    def _seal(self, entry: Entry, stop_reason: str, log: bytes | None, now: float) -> None:
        if entry.actor_id is not None:
            self.pool.release(entry.actor_id, entry.request_id, now)
        entry.phase = RequestPhase.SEALED
        entry.stop_reason = stop_reason
        if log is not None:
            self._keep(entry, log)
        self._open_count -= 1
        self.counts["sealed"] += 1
        self.ended_by[stop_reason] = self.ended_by.get(stop_reason, 0) + 1
        self._note(ENDED, entry, stop_reason)
        entry.forget_at = now + entry.settings.sealed_ttl_s
        self._timer(entry.forget_at, "sealed", entry.request_id)
        self._tell_publisher(entry)
        client = self.clients.get(entry.client_id)
        if client is not None:
            client.publishes.discard(entry.request_id)
        self._place_waiting(now)

    def _keep(self, entry: Entry, log: bytes) -> None:
        entry.log = log
        self._sealed_bytes += len(log)
        allowed = self.config.limits.sealed_bytes_max
        if self._sealed_bytes > allowed:
            ended = (
                e
                for e in self.entries.values()
                if e.phase == RequestPhase.SEALED and e.log is not None and e is not entry
            )
            for old in sorted(ended, key=lambda e: e.forget_at):
                self._forget(old)
                if self._sealed_bytes <= allowed:
                    break

    def actor_started(self, actor_id: str, pid: int, node_id: str, now: float) -> None:
        """A stream actor answers."""
        self.pool.started(actor_id, pid, node_id, now)

    def actor_died(self, actor_id: str, now: float) -> None:
        """A stream actor is gone (or was given up): place anew what it held."""
        self.pool.remove(actor_id)
        for entry in [entry for entry in self.entries.values() if entry.actor_id == actor_id]:
            if entry.phase == RequestPhase.OPEN:
                self._replace(entry, now)
            elif entry.phase == RequestPhase.SEALED:
                self._restore(entry, now)
        self._effects.start.extend(slot.actor_id for slot in self.pool.wanted())
        self._place_waiting(now)

    def _replace(self, entry: Entry, now: float) -> None:
        """Give an open request whose session is gone a new epoch, unless nobody can send it all again.

        A publisher that is silent may yet come back; until its grace is over it is waited for.
        """
        if entry.actor_id is not None:
            self.pool.release(entry.actor_id, entry.request_id, now)
        self.counts["restarted"] += 1
        self._note(MOVED, entry, entry.actor_id)
        if entry.client_id not in self.clients or entry.is_abandoned or entry.start_seq > 1:
            self._lose(entry, now)
            return
        entry.actor_id = None
        entry.sent_seq = entry.start_seq - 1
        if not self._place(entry, now):
            entry.phase = RequestPhase.WAITING
            self._waiting.appendleft(entry.request_id)

    def _lose(self, entry: Entry, now: float) -> None:
        """End a request that no survivor can restore; readers get a gap and a terminal, never silence."""
        self.counts["lost"] += 1
        text = (
            f"the stream actor of the request died and its publisher could not replay; "
            f"it is whole up to seq_id {entry.released}, and at least {entry.last_seq_id} messages were written"
        )
        log = terminal_log(entry.request_id, entry.date, "lost", text, last_seq_id=entry.last_seq_id)
        # Should a session of it live, it must not be taken for the request.
        self._send(entry, ForgetEnvelope(Order.FORGET, entry.request_id, entry.epoch))
        entry.epoch += 1
        self._seal(entry, "lost", log, now)
        self._restore(entry, now)

    def _restore(self, entry: Entry, now: float) -> None:
        """Put an ended request's log on a living actor, so that two processes hold it again."""
        entry.actor_id = None
        if entry.log is None:
            self._forget(entry)
            return
        slots = self.pool.slots.values()
        if slots:
            slot = min(slots, key=lambda s: (s.state.value != "ready", s.load))
        else:
            slot = self.pool.add()
            self._effects.start.append(slot.actor_id)
        entry.actor_id = slot.actor_id
        entry.epoch += 1
        envelope = RestoreEnvelope(
            Order.RESTORE,
            entry.request_id,
            entry.epoch,
            entry.stop_reason,
            entry.log,
            max(0.0, entry.forget_at - now),
        )
        self._send(entry, envelope, len(entry.log) + 128)
        self.clients.tell_readers(entry.request_id)

    def adopt(self, actor_id: str, inventory: Sequence[Sequence[Any]], now: float) -> None:
        """Take in an actor of an earlier incarnation, with all that it says it holds."""
        self.pool.adopt(actor_id).idle_since = now
        for parts, record in map(Inventory._make, inventory):
            report = checked(Report, parts)
            more = SessionRecord(**record)
            known = self.entries.get(report.request_id)
            if known is not None and known.epoch >= report.epoch:
                self._forget_session(actor_id, report)
                continue
            if known is not None:
                self._open_count -= known.phase != RequestPhase.SEALED
                if known.actor_id is not None:
                    self.pool.release(known.actor_id, known.request_id, now)
                    self._send(known, ForgetEnvelope(Order.FORGET, known.request_id, known.epoch))
            settings = StreamSettings()
            packed = more.settings
            if packed:
                settings, packed = unpacked(packed)
            ending = more.ending
            entry = Entry(
                report.request_id,
                packed,
                settings,
                more.publisher_id,
                more.date or "",
                now - more.age_s,
                epoch=report.epoch,
                phase=RequestPhase.SEALED if report.phase == SessionPhase.SEALED else RequestPhase.OPEN,
                actor_id=actor_id,
                start_seq=more.start_seq,
                sent_seq=report.next_seq - 1,
                high_seq=max(report.next_seq - 1, more.replay_through),
                last_seq_id=report.last_seq_id,
                released=report.released,
                credit_bytes=report.credit_bytes,
                received_bytes=report.received_bytes,
                ending=tuple(ending) if ending else None,
                cancel="after_step" if more.cancels_after_step else None,
                stop_reason=report.stop_reason,
            )
            if entry.ending is not None and entry.ending[0] == "cancelled":
                entry.cancel = "now"
            self.entries[report.request_id] = entry
            if entry.phase == RequestPhase.SEALED:
                entry.forget_at = now + max(0.0, more.ttl_s)
                self._timer(entry.forget_at, "sealed", entry.request_id)
                continue
            slot = self.pool.slots[actor_id]
            slot.open_requests.add(report.request_id)
            self._open_count += 1
            # Its publisher has as long as any silent client to say that it lives.
            self.clients.known(entry.client_id, now).publishes.add(report.request_id)

    def wait_for_publishers(self, now: float) -> None:
        """After a restart: do not say of a request that it is unknown while its publisher may yet register it again."""
        self._recovering = True
        self._timer(now + CLIENT_TIMEOUT_S, "recovered", "")

    def _recovered(self) -> None:
        self._recovering = False
        for request_id in self.clients.interesting:
            if request_id not in self.entries:
                self.clients.tell_readers(request_id)

    def stop_idle(self, now: float) -> None:
        """Stop actors that have retired or idled; their ended requests move to others first."""
        actors = self.config.stream_actors
        for slot in self.pool.to_stop(now):
            held = [entry for entry in self.entries.values() if entry.actor_id == slot.actor_id]
            if any(entry.log is None for entry in held):
                continue  # adopted, and not yet reported: it alone has that log
            others = [other for other in self.pool.slots.values() if other.state is not ActorState.RETIRING]
            if held and not others and slot.served < actors.recycle_after_requests:
                # Merely idle; another would have to be started only to hold what this one holds.
                slot.state, slot.idle_since = ActorState.READY, now
                continue
            self.pool.remove(slot.actor_id)
            for entry in held:
                self._restore(entry, now)
            self._effects.stop.append(slot.actor_id)
        self._effects.start.extend(slot.actor_id for slot in self.pool.wanted())
        self._place_waiting(now)

    # --- readers ----------------------------------------------------------------------------

    def locate(
        self, client_id: str, call_no: int, request_ids: Sequence[str], losses: Sequence[str], now: float
    ) -> News:
        """Say where requests are, and keep the client told from now on; see `news` for the form.

        `losses`: requests that it is not interested in any more. `call_no`: the calls of a client are numbered.
        """
        client = self.clients.heard(client_id, now)
        self.clients.lose_interest(client_id, losses, call_no)
        self.clients.take_interest(client_id, request_ids, call_no)
        states = [self._state(client_id, (Role.READER, request_id)) for request_id in request_ids]
        return News(client.incarnation, client.version, states)

    # --- endings ----------------------------------------------------------------------------

    def cancel(self, request_id: str, now: float, *, after_step: bool = False, detail: str | None = None) -> bool:
        """Cancel a request, at once or after its step; False where it has ended already. Idempotent.

        Raises UnknownRequest.
        """
        entry = self.entries.get(request_id)
        if entry is None:
            raise UnknownRequest(f"no request {request_id!r}: never opened here, or its time-to-live is over")
        if entry.phase == RequestPhase.SEALED:
            return False
        if after_step:
            if entry.cancel is None:
                entry.cancel = "after_step"
                self._send(entry, CancelAfterStepEnvelope(Order.CANCEL_AFTER_STEP, request_id, entry.epoch))
                self._tell_publisher(entry)
            return True
        if entry.cancel != "now":
            entry.cancel = "now"
            self._note(CANCELLED, entry, detail)
            self._end(entry, "cancelled", detail, now)
            self._tell_publisher(entry)
        return True

    def disown(self, client_id: str, request_id: str, now: float) -> None:
        """End a request whose publisher's process does not know it."""
        entry = self.entries.get(request_id)
        if entry is None or not entry.is_live or entry.client_id != client_id:
            return
        entry.is_abandoned = True
        if entry.is_whole:
            self._end(entry, "publisher_lost", "the process of its publisher does not know it", now)
        else:
            self._lose(entry, now)

    def _end(self, entry: Entry, reason: str, detail: str | None, now: float) -> None:
        if entry.phase == RequestPhase.WAITING and entry.epoch == 0:
            # It never had a session: end it here, and let an actor hold its log of one terminal.
            self._end_unplaced(entry, reason, detail, now)
            return
        if entry.ending is None:
            entry.ending = (reason, detail)
        if entry.phase == RequestPhase.OPEN:
            self._send_end(entry)

    def _end_unplaced(self, entry: Entry, reason: str, detail: str | None, now: float) -> None:
        self._seal(entry, reason, terminal_log(entry.request_id, entry.date, reason, detail), now)
        self._restore(entry, now)

    def _forget(self, entry: Entry) -> None:
        if entry.log is not None:
            self._sealed_bytes -= len(entry.log)
            entry.log = None
        self.entries.pop(entry.request_id, None)
        self.clients.tell_readers(entry.request_id)
        if not self._recovering:  # otherwise they hear later that it is unknown
            self.clients.forget_request(entry.request_id)
        if entry.actor_id is not None:
            self._send(entry, ForgetEnvelope(Order.FORGET, entry.request_id, entry.epoch), 64)

    # --- time -------------------------------------------------------------------------------

    def _timer(self, at: float, kind: str, what: str) -> None:
        self._deadlines.set(at, (kind, what))

    def due_at(self) -> float:
        """When `tick` is wanted next."""
        return self._deadlines.due_at()

    def tick(self, now: float) -> None:
        """Let run out what has run out by `now`."""
        for _, (kind, what) in self._deadlines.take_due(now):
            if kind == "client":
                self._tick_client(what, now)
            elif kind == "recovered":
                self._recovered()
            elif kind == "open":
                self._tick_open(what, now)
            elif kind == "grace":
                self._tick_grace(what, now)
            elif kind == "sealed":
                entry = self.entries.get(what)
                if entry is not None and entry.phase == RequestPhase.SEALED and entry.forget_at <= now:
                    self._forget(entry)

    def _tick_client(self, client_id: str, now: float) -> None:
        client = self.clients.get(client_id)
        if client is None:
            return
        if client.watching:
            client.last_seen = now
        gone_at = client.last_seen + CLIENT_TIMEOUT_S
        if gone_at > now:  # this very sum: a difference, rounded, could set the same timer for ever
            self._timer(gone_at, "client", client_id)
            return
        self._tell_claims(self._agents.release_all(client_id))
        for request_id in sorted(client.publishes):
            entry = self.entries.get(request_id)
            if entry is not None and entry.is_live and entry.publisher_gone_at is None:
                entry.publisher_gone_at = now
                client.was_gone = True
                self._timer(now + entry.settings.publisher_grace_s, "grace", request_id)
        if client.last_seen + CLIENT_FORGET_S <= now or not client.publishes:
            self.clients.forget(client_id)
        else:
            # It may come back, and go again.
            self._timer(now + CLIENT_TIMEOUT_S, "client", client_id)

    def _tick_grace(self, request_id: str, now: float) -> None:
        entry = self.entries.get(request_id)
        if entry is None or not entry.is_live or entry.publisher_gone_at is None:
            return
        grace_s = entry.settings.publisher_grace_s
        if entry.publisher_gone_at + grace_s > now + 1e-6:
            return  # it was back, and went again: a later timer stands for that
        entry.is_abandoned = True
        if not entry.is_whole:
            self._lose(entry, now)
            return
        self._end(entry, "publisher_lost", f"its publisher was silent and nobody took over within {grace_s:g} s", now)

    def _tick_open(self, request_id: str, now: float) -> None:
        entry = self.entries.get(request_id)
        if entry is None or entry.phase != RequestPhase.WAITING or entry.epoch:
            return
        timeout_s = self.config.stream_actors.open_timeout_s
        error = PoolFull(
            f"every stream actor was full for stream_actors.open_timeout_s = {timeout_s:g} s; raise max_actors or "
            "max_streams_per_actor"
        )
        entry.error = error.to_wire()
        self._count_refusal(request_id, error)
        self._open_count -= 1
        self._tell_publisher(entry)
        # The entry stays just long enough for its publisher to hear of it.
        entry.phase = RequestPhase.SEALED
        entry.stop_reason = "refused"
        entry.forget_at = now + CLIENT_TIMEOUT_S
        self._timer(entry.forget_at, "sealed", request_id)
