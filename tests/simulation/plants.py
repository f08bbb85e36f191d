"""Bugs planted by name, to show that the simulation finds them.

Each plant breaks one promise of the protocol in the running code; `planted(name)` puts it in and takes it out
again.
Some bugs show only where several things go wrong together; those bring the weather that they need.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from actors.protocol import frames as wire
from actors.protocol.envelopes import Order
from actors.stream.host import StreamHost
from actors.stream.readers import Reader
from actors.stream.session import Session
from actors.terminal import bare_terminal
from router.client.links.link import Link
from router.client.links.listeners import Heard
from router.client.publishing.outgoing import PublishedStream
from router.client.reading.inbox import Cursor
from router.core.intake import Intake
from router.core.lifecycle import Lifecycle
from router.core.openings import Openings
from router.core.registry import Registry
from router.core.request import Request
from router.core.timeouts import Timeouts

from . import feature_plants
from .features import HELD, NONE, Feature
from .run import Harder

Patch = Any


def _no_dedupe() -> list[Patch]:
    """A session takes items again that it has had."""
    feed = Session.feed

    def broken(self: Session, epoch: int, first_seq: int, items: Any, now: float) -> int:
        if epoch == self.epoch and first_seq < self.next_seq:
            self.next_seq = first_seq
        return feed(self, epoch, first_seq, items, now)

    return [mock.patch.object(Session, "feed", broken)]


def _gap_taken() -> list[Patch]:
    """A session takes what is ahead as if nothing were missing, and so does the router."""
    feed, forward = Session.feed, Intake.forward

    def broken(self: Session, epoch: int, first_seq: int, items: Any, now: float) -> int:
        if epoch == self.epoch and first_seq > self.next_seq:
            self.next_seq = first_seq
        return feed(self, epoch, first_seq, items, now)

    def open_handed(self: Intake, client_id: str, envelopes: Any, now: float) -> None:
        for request_id, _, first_seq, *_ in envelopes:
            entry = self._requests.get(request_id)
            if entry is not None:
                entry.high_seq = max(entry.high_seq, first_seq - 1)
                entry.sent_seq = max(entry.sent_seq, first_seq - 1)
        forward(self, client_id, envelopes, now)

    return [mock.patch.object(Session, "feed", broken), mock.patch.object(Intake, "forward", open_handed)]


def _end_before_stored() -> list[Patch]:
    """Readers see a terminal that only one process knows."""
    return [
        mock.patch.object(Session, "visible_through", property(lambda self: self.log.last_seq)),
        mock.patch.object(Session, "complete", property(lambda self: self.sealed)),
    ]


def _stored_without_log() -> list[Patch]:
    """The router says that it keeps a log which it has thrown away."""
    keep = Lifecycle.keep

    def broken(self: Lifecycle, request: Request, log: bytes) -> None:
        keep(self, request, wire.pack([0, 0, 0, []]))

    return [mock.patch.object(Lifecycle, "keep", broken)]


def _epoch_ignored() -> list[Patch]:
    """Whatever the epoch of an envelope or a report, it is taken for the present one."""
    handle, reports = StreamHost.handle, Registry.reports

    def any_epoch(self: StreamHost, envelopes: Any, now: float) -> None:
        def current(envelope: Any) -> Any:
            session = self.sessions.get(envelope[1])
            if session is None or envelope[0] in (Order.OPEN, Order.RESTORE):
                return envelope
            return [*envelope[:2], session.epoch, *envelope[3:]]

        handle(self, [current(envelope) for envelope in envelopes], now)

    def any_report(self: Registry, actor_id: str, parts: Any, now: float) -> None:
        def current(report: Any) -> Any:
            request = self.requests.get(report[0])
            return report if request is None else [report[0], request.epoch, *report[2:]]

        for request in self.requests.values():
            if any(report[0] == request.request_id for report in parts):
                request.actor_id = actor_id
        reports(self, actor_id, [current(report) for report in parts], now)

    return [mock.patch.object(StreamHost, "handle", any_epoch), mock.patch.object(Registry, "reports", any_report)]


def _terminal_twice() -> list[Patch]:
    """A session ends again when it is told so again."""
    end = Session.end

    def broken(self: Session, reason: str, detail: str | None, after_seq: int, now: float) -> None:
        if self.sealed and not self.stored and self.stop_reason != "lost":
            self.log.append(bare_terminal(self.request_id, self.date or "", reason, detail))
            return
        end(self, reason, detail, after_seq, now)

    return [mock.patch.object(Session, "end", broken)]


def _credit_leak() -> list[Patch]:
    """What readers have consumed never becomes credit again."""
    return [mock.patch.object(Session, "_release", lambda _self: None)]


def _no_credit_limit() -> list[Patch]:
    """A session grants its whole window, whatever is unread."""

    def broken(self: Session, window_bytes: int) -> bool:
        self.credit_bytes = self.received_bytes + window_bytes
        return self.credit_bytes > self._reported_credit

    return [mock.patch.object(Session, "grant", broken)]


def _answer_lost_is_lost() -> list[Patch]:
    """A poll sent again gets what is new instead of the answer that was lost."""
    next_answer = Reader.next_answer

    def broken(self: Reader, answer_no: int) -> bytes | None:
        if self._answers.pop(answer_no, None) is not None:
            self._last_no = answer_no - 1
        return next_answer(self, answer_no)

    return [mock.patch.object(Reader, "next_answer", broken)]


def _late_operation_done() -> list[Patch]:
    """An operation of a reader is done whenever it comes."""
    return [mock.patch.object(Reader, "begin", lambda _self, _operation_no, _number: True)]


def _late_open_begins() -> list[Patch]:
    """A call to open that comes late is taken for a new one."""
    return [mock.patch.object(Openings, "is_new", lambda _self, _call, _now: True)]


def _late_claim_kept() -> list[Patch]:
    """A claim that comes after its release holds the agent for nobody."""
    return [mock.patch.object(Link, "_give_back", lambda _self, _state: None)]


def _no_replay() -> list[Patch]:
    """A publisher goes on where it was, whatever the router wants next."""

    def broken(self: PublishedStream, next_seq: int, received_bytes: int = 0) -> None:  # as the real one
        self.replay.first_seq = max(self.replay.first_seq, 1)

    return [mock.patch.object(PublishedStream, "_rewind", broken)]


def _replay_dropped_early() -> list[Patch]:
    """A publisher forgets items when they have been sent, not when they are safe."""
    give = PublishedStream.give

    def broken(self: PublishedStream, bytes_max: int, *, at_least_one: bool) -> Any:
        given = give(self, bytes_max, at_least_one=at_least_one)
        items = self.replay._items
        for index in range(max(0, len(items) - 2)):
            if self.replay.first_seq + self.replay.in_memory_from + index <= self.sent_seq:
                items[index] = b"{}"
        return given

    return [mock.patch.object(PublishedStream, "give", broken)]


def _ends_while_replaying() -> list[Patch]:
    """A session that follows a dead one may end before it has what that one had."""
    return [mock.patch.object(Session, "is_replaying", property(lambda _self: False))]


def _duplicates_handed_out() -> list[Patch]:
    """A reader is given again what it has had."""
    take = Cursor.take

    def broken(self: Cursor, segments: Any, gap: Any) -> Any:
        had = self.last_seq_id
        found = take(self, segments, gap)
        return [*found, found[-1]] if found and had else found

    return [mock.patch.object(Cursor, "take", broken)]


def _router_restart_unnoticed() -> list[Patch]:
    """A process does not say again what a restarted router should know."""
    return [mock.patch.object(Link, "_register_again", lambda _self: None)]


def _overtaken_state_believed() -> list[Patch]:
    """An old answer that comes late is taken for the newest."""
    return [mock.patch.object(Heard, "is_newest", lambda _self, _version: True)]


def _actor_forgets_reports() -> list[Patch]:
    """A report that could not be delivered is not made again."""
    return [mock.patch.object(StreamHost, "untold", lambda _self, _reports: None)]


def _silence_is_an_end() -> list[Patch]:
    """A lost publisher's request is left open."""
    return [mock.patch.object(Timeouts, "_tick_grace", lambda _self, _request_id, _now: None)]


@dataclass(frozen=True)
class Plant:
    """How a bug is planted, in which seeds it must be found, and in which harder scenarios if need be.

    The rarer ones begin shortly before a seed that is known to find them; the suite has not the time to look for it.
    """

    plant: Callable[[], list[Patch]]
    seeds: range
    harder: Harder = field(default_factory=lambda: Harder(features=NONE))


ROUGH = Harder(roughness=0.15, features=NONE)
ROUGH_BACKLOG = Harder(roughness=0.15, features=NONE, surely=frozenset({Feature.BACKLOG}))
ROUGH_AGENTS = Harder(roughness=0.15, features=NONE, surely=frozenset({Feature.AGENTS}))
ROUGH_HOSTILE = Harder(roughness=0.15, features=NONE, surely=frozenset({Feature.HOSTILE}))
ROUGH_REOPENS = Harder(roughness=0.15, features=NONE, surely=frozenset({Feature.REOPENS}))
MUCH_REPLAYED = Harder(incident="kill_actor", features=NONE, surely=frozenset({Feature.QUEUES}))
CUT_OFF = Harder(incident="cut_actor", lingers=True, features=NONE)

PLANTS = {
    "no-dedupe": Plant(_no_dedupe, range(58, 208)),
    "gap-taken": Plant(_gap_taken, range(400)),
    "end-before-stored": Plant(_end_before_stored, range(350, 500), CUT_OFF),
    "stored-without-log": Plant(_stored_without_log, range(100)),
    "epoch-ignored": Plant(_epoch_ignored, range(1_870, 2_200), CUT_OFF),
    "terminal-twice": Plant(_terminal_twice, range(304, 416)),
    "credit-leak": Plant(_credit_leak, range(50)),
    "no-credit-limit": Plant(_no_credit_limit, range(36, 136)),
    "answer-lost-is-lost": Plant(_answer_lost_is_lost, range(17, 67)),
    "late-operation-done": Plant(_late_operation_done, range(92, 152), ROUGH_REOPENS),
    "late-open-begins": Plant(_late_open_begins, range(40), ROUGH_HOSTILE),
    "late-claim-kept": Plant(_late_claim_kept, range(24, 74), ROUGH_AGENTS),
    "no-replay": Plant(_no_replay, range(50)),
    "replay-dropped-early": Plant(_replay_dropped_early, range(50)),
    "ends-while-replaying": Plant(_ends_while_replaying, range(20, 70), MUCH_REPLAYED),
    "duplicates-handed-out": Plant(_duplicates_handed_out, range(300)),
    "router-restart-unnoticed": Plant(_router_restart_unnoticed, range(100)),
    "overtaken-state-believed": Plant(_overtaken_state_believed, range(100, 140), ROUGH_BACKLOG),
    "actor-forgets-reports": Plant(_actor_forgets_reports, range(1_760, 2_280), ROUGH),
    "silence-is-an-end": Plant(_silence_is_an_end, range(27, 60)),
}

PLANTS |= {
    name: Plant(plant, seeds, feature_plants.only(feature))
    for name, (feature, plant, seeds) in feature_plants.PLANTED.items()
    if feature in HELD
}


@contextlib.contextmanager
def planted(name: str | None) -> Iterator[Harder]:
    """Plant a bug for as long as this lasts, and say how to make it show; None: no bug."""
    with contextlib.ExitStack() as stack:
        if name is None:
            yield Harder()
            return
        for patch in PLANTS[name].plant():
            stack.enter_context(patch)
        yield PLANTS[name].harder
