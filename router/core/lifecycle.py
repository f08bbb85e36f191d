"""The way of a request through the actors: placed, moved, ended, kept, forgotten. Pure.

Theory. A new request takes a place in the pool. If that actor answers, the request opens there at once; if
it is still starting, the request WAITS for it, with a timer, so that a cluster without room for the actor
is an answer and not silence. A request whose actor dies gets a new epoch on another one, and its publisher,
who still has all items, sends them again; where nobody can, it ends as `lost`.

An ended request's log is kept here and by one stream actor, and on two nodes where there are two (`copies.py`);
then its end is shown. Where no stream actor answers, this router's own process serves it to readers
(`ROUTER_ITSELF`), until one does.

Here it is decided; `Effects` names what the shell then does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from actors.errors import PoolFull
from actors.protocol.envelopes import Order, RestoreEnvelope
from actors.protocol.states import RequestPhase
from actors.tenants import own_name
from actors.terminal import terminal_log
from router.config import RouterConfig
from router.core.backlog import Backlog
from router.core.copies import Copies
from router.core.dispatch import Dispatch
from router.core.effects import CANCELLED, ENDED, MOVED, PLACED, Effects
from router.core.outboxes import Clients
from router.core.pool import ActorState, Pool, Slot
from router.core.request import Request
from router.core.requests import Requests
from router.core.timers import SetTimer, Timer
from router.core.untold import Untold, patience_s

ROUTER_ITSELF = "router"
"""Holds logs as a stream actor does, where no stream actor answers."""

COPY_PATIENCE_S = 1.0
"""An end is not held back longer than this for a copy on another node: an actor there may hang."""

REPLACE_DEADLINE_S = 60.0
"""A request that has lost its actor is lost itself when no other one could be had for so long."""


class Lifecycle:
    """Moves requests through their phases, and names what must be done for it."""

    def __init__(
        self, config: RouterConfig, requests: Requests, clients: Clients, set_timer: SetTimer, node_id: str
    ) -> None:
        actors = config.stream_actors
        self.config = config
        self.requests = requests
        self.clients = clients
        self.pool: Pool = Pool(
            max_actors=actors.max_actors,
            warm_actors=actors.warm_actors,
            packed_streams_per_actor=actors.packed_streams_per_actor,
            max_streams_per_actor=actors.max_streams_per_actor,
            idle_ttl_s=actors.idle_ttl_s,
            recycle_after_requests=actors.recycle_after_requests,
        )
        self.backlog: Backlog = Backlog(config.limits.queued_bytes_max, actors.max_actors)
        self.dispatch: Dispatch = Dispatch(clients)
        self.effects: Effects = self.dispatch.effects
        self.copies: Copies = Copies(node_id, requests, self.dispatch, set_timer)
        self.spread_copies: Callable[[float], None] = self.copies.spread
        counted = ("opened", "refused", "restarted", "lost", "sealed", "chunks", "chunk_bytes")
        self.counts: dict[str, int] = dict.fromkeys(counted, 0)
        self.untold: Untold = Untold()
        self.ended_by: dict[str, int] = {}
        self.is_recovering = False
        self.has_restarted: bool = False
        self.waiting: deque[str] = deque()
        """Requests for which the pool has no place, in their order."""
        self._set_timer = set_timer

    # --- places -----------------------------------------------------------------------------

    def refuse_if_full(self) -> None:
        """Raise PoolFull where there is no place and an open must not wait for one."""
        actors = self.config.stream_actors
        if actors.when_pool_full == "refuse" and not self.pool.has_place():
            raise PoolFull(
                f"all {actors.max_actors} stream actors hold {actors.max_streams_per_actor} open requests each; "
                "wait until some have ended, or raise stream_actors.max_actors or max_streams_per_actor"
            )

    def begin(self, request: Request, now: float) -> None:
        """Find a place for a new request, or let it wait for one."""
        if not self._place(request, now):
            self.waiting.append(request.request_id)
        if request.phase == RequestPhase.WAITING and request.epoch == 0:
            self._set_timer(now + self._patience_s(request), Timer.OPEN, request.request_id)

    def _place(self, request: Request, now: float) -> bool:
        """Give a request a place; False where there is none. Its actor may still have to start."""
        slot, starts = self.pool.place(request.request_id, is_under_way=request.epoch > 0)
        if slot is None:
            self._watch_limit(request, now)
            return False
        if starts:
            self.effects.start.append(slot.actor_id)
        self.start_wanted()
        if slot.state is ActorState.STARTING:
            self.requests.reserve(request, slot.actor_id)
            self._watch_limit(request, now)
            self.dispatch.tell_publisher(request)
            self.clients.tell_readers(request.request_id)
            return True
        self._open_on(request, slot.actor_id, now)
        return True

    def _open_on(self, request: Request, actor_id: str, now: float) -> None:
        """Begin a new epoch of a request on an actor that answers."""
        self.requests.place(request, actor_id)
        self.dispatch.note(PLACED, request, now, actor_id)
        self.dispatch.send_open(request, now)
        if request.cancel == "after_step":
            self.dispatch.send_cancel_after_step(request)
        self.dispatch.send_end(request)
        self.dispatch.tell_publisher(request)
        self.clients.tell_readers(request.request_id)

    def _watch_limit(self, request: Request, now: float) -> None:
        """Watch over a request's own timers while no session does."""
        limit = request.limit()
        if limit is not None:
            self._set_timer(limit[0], Timer.LIMIT, request.request_id)
        if request.epoch > 0:
            self._set_timer(now + REPLACE_DEADLINE_S, Timer.OPEN, request.request_id)

    def _patience_s(self, request: Request) -> float:
        return REPLACE_DEADLINE_S if request.epoch > 0 else self.config.stream_actors.open_timeout_s

    def place_waiting(self, now: float) -> None:
        """Give those that wait for a place theirs, in their order, as far as there are places."""
        while self.waiting:
            request = self.requests.get(self.waiting[0])
            waits = request is not None and request.phase == RequestPhase.WAITING and request.awaits is None
            if request is not None and waits and not self._place(request, now):
                return
            self.waiting.popleft()

    def start_wanted(self) -> None:
        """Start the actors that should stand ready."""
        self.effects.start.extend(slot.actor_id for slot in self.pool.wanted())

    def actor_started(self, actor_id: str, pid: int, node_id: str, now: float) -> None:
        """A stream actor answers: open there what waited for it."""
        self.pool.started(actor_id, pid, node_id, now)
        if actor_id not in self.pool.slots:
            return
        self.copies.actor_started(actor_id, node_id, now)
        for request in self.requests.held_by(actor_id):
            if request.awaits == actor_id:
                self._open_on(request, actor_id, now)
        # What no stream actor could hold is now in two processes.
        for request in [*self.requests.held_by(ROUTER_ITSELF), *self.untold.without_holder()]:
            self.dispatch.send_forget(request)
            self.restore(request, now)

    def actor_died(self, actor_id: str, now: float) -> None:
        """A stream actor is gone (or was given up): place anew what it held."""
        self.pool.remove(actor_id)
        self.backlog.actor_gone(actor_id)
        copied = self.copies.actor_gone(actor_id)
        for request in self.requests.held_by(actor_id):
            if request.phase == RequestPhase.OPEN:
                self.replace(request, now)
            elif request.phase == RequestPhase.SEALED:
                self.restore(request, now)
            else:
                self.requests.unplace(request, now)
                self._place_first(request, now)
        for request in copied:
            self.secure(request, now)
        self.start_wanted()
        self.place_waiting(now)

    def replace(self, request: Request, now: float) -> None:
        """Give an open request whose session is gone a new epoch, unless nobody can send it all again.

        A publisher that is silent may yet come back; until its grace is over it is waited for.
        """
        self._release(request, now)
        self.counts["restarted"] += 1
        self.dispatch.note(MOVED, request, now, request.actor_id)
        if request.client_id not in self.clients or request.is_abandoned or request.start_seq > 1:
            self.lose(request, now)
            return
        self.requests.unplace(request, now)
        self._place_first(request, now)

    def _place_first(self, request: Request, now: float) -> None:
        if not self._place(request, now):
            self.waiting.appendleft(request.request_id)
            self.dispatch.tell_publisher(request)

    def share_those_that_answer(self, now: float, patience_s: float) -> None:
        """Let requests that have waited long for an actor of their own to start share one that answers."""
        for slot in list(self.pool.slots.values()):
            if slot.state is not ActorState.STARTING:
                continue
            for request in self.requests.held_by(slot.actor_id):
                if now - request.opened_at < patience_s:
                    continue
                other = self.pool.move_to_ready(slot.actor_id, request.request_id)
                if other is None:
                    return
                self.requests.unplace(request, now)
                self._open_on(request, other.actor_id, now)

    def stop_idle(self, now: float) -> None:
        """Stop actors that have retired or idled; their ended requests move to others first."""
        actors = self.config.stream_actors
        for slot in self.pool.to_stop(now):
            held = self.requests.held_by(slot.actor_id)
            if any(request.log is None for request in held):
                continue  # adopted, and not yet reported: it alone has that log
            if self._is_needed(slot):
                # Another would have to be started only to hold what this one holds.
                if slot.served < actors.recycle_after_requests:
                    slot.state, slot.idle_since = ActorState.READY, now
                    continue
                if len(self.pool.slots) < actors.max_actors and self.copies.is_elsewhere(slot.actor_id):
                    continue  # it takes nobody's place, and goes as soon as another one stands elsewhere
            self.pool.remove(slot.actor_id)
            self.backlog.actor_gone(slot.actor_id)
            copied = self.copies.actor_gone(slot.actor_id)
            for request in held:
                self.restore(request, now)
            for request in copied:
                self.secure(request, now)
            self.effects.stop.append(slot.actor_id)
        self.start_wanted()
        self.place_waiting(now)

    def _is_needed(self, slot: Slot) -> bool:
        """Whether no other actor could hold what this one does, on as many nodes."""
        if not self.requests.held_by(slot.actor_id) and not self.requests.copy_count(slot.actor_id):
            return False
        if self.copies.is_elsewhere(slot.actor_id):
            return not self.copies.has_room_elsewhere(but=slot.actor_id)
        return not any(other.state is ActorState.READY for other in self.pool.slots.values())

    # --- ends -------------------------------------------------------------------------------

    def end(self, request: Request, reason: str, detail: str | None, now: float) -> None:
        """End a request from outside, for this reason, behind what its publisher has sent."""
        if request.phase == RequestPhase.WAITING and request.epoch == 0:
            # It never had a session: end it here, and let an actor hold its log of one terminal.
            self._end_unplaced(request, reason, detail, now)
            return
        request.ask_end(reason, detail)
        if request.phase == RequestPhase.OPEN:
            self.dispatch.send_end(request)

    def abandon(self, request: Request, detail: str, now: float) -> None:
        """End a request whose publisher is gone for good."""
        request.abandon()
        if request.is_whole:
            self.end(request, "publisher_lost", detail, now)
        else:
            self.lose(request, now)

    def fence_out(self, request: Request, follower: str, now: float) -> None:
        """End a request whose agent has gone on to another one, and accept nothing more of it."""
        request.fence_out()
        request.ask_cancel("now")
        detail = f"fenced out: agent {own_name(request.agent_id or '')!r} has gone on to request {own_name(follower)!r}"
        self.dispatch.note(CANCELLED, request, now, detail)
        if request.is_whole:
            self.end(request, "cancelled", detail, now)
        else:
            self.lose(request, now, detail)
        self.dispatch.tell_publisher(request)

    def _end_unplaced(self, request: Request, reason: str, detail: str | None, now: float) -> None:
        self.seal(request, reason, terminal_log(request.request_id, request.date, reason, detail), now)
        if not request.is_abandoned:  # else nobody is left to be told first
            self.untold.add(request)
            self._set_timer(now + patience_s(request), Timer.UNTOLD, request.request_id)
        self._known(request, now)
        if request not in self.untold or self.pool.ready:
            self.restore(request, now)

    def told(self, request: Request, now: float) -> None:
        """Another process may know that a request has ended that never had a session."""
        if request in self.untold:
            self.untold.discard(request)
            self.dispatch.note(ENDED, request, now, request.stop_reason)
            if request.actor_id is None:
                self.restore(request, now)

    def limit_reached(self, request: Request, now: float) -> None:
        """A timer of a request may have run out while no session watches over it."""
        limit = request.limit()
        if request.phase != RequestPhase.WAITING or limit is None:
            return
        at, reason = limit
        if at > now:
            self._set_timer(at, Timer.LIMIT, request.request_id)
            return
        # The same words whatever it waits for: should this router die with the end, the next one says it again.
        self.end(request, reason, "it ran out while the request had no stream actor", now)

    def open_timed_out(self, request: Request, now: float) -> PoolFull | None:
        """A request may have waited for an actor for too long; return the error where its open fails of that."""
        patience_s = self._patience_s(request)
        if request.phase != RequestPhase.WAITING or request.waits_since + patience_s > now + 1e-6:
            return None  # a later timer stands for that
        if request.epoch > 0:
            self.lose(request, now, f"no other one could be had for {patience_s:g} s")
            return None
        if request.awaits is None:
            text = (
                f"every stream actor was full for stream_actors.open_timeout_s = {patience_s:g} s; raise max_actors or "
                "max_streams_per_actor"
            )
        else:
            text = (
                f"no stream actor could be started within stream_actors.open_timeout_s = {patience_s:g} s; see that "
                "the cluster has the num_cpus, memory_bytes and resources that stream_actors asks for (`ray status`)"
            )
        self._release(request, now)
        self.requests.remove(request)
        self.clients.tell_readers(request.request_id)
        return PoolFull(text)

    def lose(self, request: Request, now: float, why: str = "its publisher could not replay") -> None:
        """End a request that no survivor can restore; readers get a gap and a terminal, never silence."""
        self.counts["lost"] += 1
        text = (
            f"the stream actor of the request died and {why}; "
            f"it is whole up to seq_id {request.released}, and at least {request.last_seq_id} messages were written"
        )
        log = terminal_log(request.request_id, request.date, "lost", text, last_seq_id=request.last_seq_id)
        # Should a session of it live, it must not be taken for the request.
        self.dispatch.send_forget(request)
        request.supersede()
        self.seal(request, "lost", log, now)
        self._known(request, now)
        self.restore(request, now)

    def seal(self, request: Request, stop_reason: str, log: bytes | None, now: float) -> None:
        """Note that a request has ended, with its packed log where that is known already."""
        self._release(request, now)
        forget_at = now + request.settings.sealed_ttl_s
        self.requests.seal(request, stop_reason, forget_at)
        if log is not None:
            self.keep(request, log)
        self.counts["sealed"] += 1
        self.ended_by[stop_reason] = self.ended_by.get(stop_reason, 0) + 1
        self._set_timer(forget_at, Timer.SEALED, request.request_id)
        client = self.clients.get(request.client_id)
        if client is not None:
            client.publishes.discard(request.request_id)
        self.place_waiting(now)

    def secure(self, request: Request, now: float) -> None:
        """Show the end of a request whose log is kept here, once it is on two nodes where there are two."""
        if request.log is None:
            return
        if self.copies.secure(request, now) or request.is_shown:
            self.show(request, now)
        else:
            patience_s = min(COPY_PATIENCE_S, request.settings.sealed_ttl_s / 2)
            self._set_timer(now + patience_s, Timer.SHOW, request.request_id)

    def copied(self, request: Request, now: float) -> None:
        """The copy of a request's log is on another node."""
        request.copied()
        self.secure(request, now)

    def show(self, request: Request, now: float) -> None:
        """Let readers see the end of a request whose log is kept here, and everybody else hear of it."""
        self.dispatch.send_stored(request, now)
        self._known(request, now)
        self.told(request, now)

    def _known(self, request: Request, now: float) -> None:
        """Let its publisher, and whoever waits for its end, hear that a request has ended."""
        if not request.is_shown:
            request.show()
            if request not in self.untold:
                self.dispatch.note(ENDED, request, now, request.stop_reason)
            self.dispatch.tell_publisher(request)

    def _release(self, request: Request, now: float) -> None:
        place = request.actor_id or request.awaits
        if place is not None:
            self.pool.release(place, request.request_id, now)

    def keep(self, request: Request, log: bytes) -> None:
        """Keep the log of an ended request; the oldest go where logs and labels become too many bytes."""
        self.requests.keep(request, log)
        self.effects.kept.append(request.request_id)
        while self.requests.kept_bytes > self.config.limits.sealed_bytes_max:
            oldest = self.requests.kept_longest(but=request)
            if oldest is None:
                return
            self.forget(oldest)

    def restore(self, request: Request, now: float) -> None:
        """Put an ended request's log on a process that answers, so that two hold it, on another node if it can be."""
        if request.log is None:
            self.requests.hold(request, None)
            self.forget(request)
            return
        ready = self.pool.ready
        if not self.pool.slots:
            self.effects.start.append(self.pool.add().actor_id)
        holder = min(ready, key=partial(self._fitness, request)).actor_id if ready else ROUTER_ITSELF
        if not self.copies.is_elsewhere(holder):
            self.copies.drop(request)  # it is of an epoch that is over
        self.requests.hold(request, holder)
        envelope = RestoreEnvelope(
            Order.RESTORE,
            request.request_id,
            request.epoch,
            request.stop_reason,
            request.log,
            max(0.0, request.forget_at - now),
            request.client_id,
            request.owner,
        )
        self.dispatch.send(request, envelope, len(request.log) + len(request.labels) + 128)
        if not self.copies.is_elsewhere(holder):
            # An actor on another node gets a copy, now or when it comes up, also where this holder never answers.
            self.copies.secure(request, now)
        self.clients.tell_readers(request.request_id)

    def _fitness(self, request: Request, slot: Slot) -> tuple[bool, bool, int]:
        """Return what is small for an actor that should show the log of an ended request."""
        return not self.copies.is_elsewhere(slot.actor_id), slot.actor_id != request.copy_id, slot.load

    def forget(self, request: Request) -> None:
        """Forget a request whose time is over, here and on its actors."""
        self.untold.discard(request)
        self.copies.drop(request)
        self.requests.remove(request)
        self.clients.tell_readers(request.request_id)
        if not self.is_recovering:  # otherwise they hear later that it is unknown
            self.clients.forget_request(request.request_id)
        self.dispatch.send_forget(request)
