"""Bugs planted against the promises that the features add; see `plants.py` and `features.py`."""

from __future__ import annotations

import asyncio
import errno
from collections import defaultdict
from types import SimpleNamespace
from typing import Any
from unittest import mock

from ray.exceptions import ActorDiedError

from actors import shell, tenants
from actors.stream.readers import Reader
from actors.stream.session import Session
from actors.transport import line
from actors.transport.posting import Posting
from router.client import arguments
from router.client.links.caller import RouterCaller
from router.client.links.link import Link
from router.client.publishing import replay_store
from router.client.publishing.outgoing import PublishedStream
from router.client.reading import reader, subscription
from router.core.agent_queue import Agents
from router.core.backlog import Backlog
from router.core.claims import Claims
from router.core.copies import Copies
from router.core.forgetting import Forgetting
from router.core.intake import Intake
from router.core.lifecycle import Lifecycle
from router.core.registry import Registry
from router.on_ray import fleet

from .features import NONE, Feature
from .run import Harder

Patch = Any


def _agent_shared() -> list[Patch]:
    """Whoever asks for an agent has it."""
    return [mock.patch.object(Agents, "phase", lambda _self, _request_id: "held")]


def _giving_up_is_an_end() -> list[Patch]:
    """Whoever lets go of an agent is believed that its request is over."""
    release = Agents.release

    def broken(self: Agents, claimant: Any, request_id: str, *, has_ended: bool) -> Any:
        del has_ended
        return release(self, claimant, request_id, has_ended=True)

    return [mock.patch.object(Agents, "release", broken)]


def _messages_for_nothing() -> list[Patch]:
    """Records count as nothing, and so wait for nobody."""
    return [mock.patch.object(PublishedStream, "has_credit", property(lambda _self: True))]


def _replay_beyond_credit() -> list[Patch]:
    """What is sent again waits for no credit."""
    return [mock.patch.object(Session, "grant", _whole_log_granted)]


def _whole_log_granted(session: Session, window_bytes: int) -> bool:
    session.credit_bytes = session.received_bytes + 64 * window_bytes
    return session.credit_bytes > session._reported_credit


def _room_without_end() -> list[Patch]:
    """A router takes whatever comes."""
    init = Backlog.__init__
    return [
        mock.patch.object(Backlog, "__init__", lambda self, _bytes_max, actors_max: init(self, 1 << 40, actors_max))
    ]


def _nobody_is_called() -> list[Patch]:
    """Who waits for room in a router is not told when there is some."""
    return [mock.patch.object(Intake, "_let_go_on", lambda _self, _request_ids: None)]


def _pause_is_silence() -> list[Patch]:
    """A router that was stopped takes all others for silent meanwhile, and asks nobody again."""
    return [
        mock.patch.object(shell.Clock, "now", lambda self: self._monotonic()),
        mock.patch.object(fleet, "ACTOR_DEADLINE_S", 3.0),
        mock.patch.object(fleet, "CALL_DEADLINE_S", 3.0),
    ]


def _one_node_is_enough() -> list[Patch]:
    """The log of an ended request has no copy on another node."""
    return [mock.patch.object(Copies, "secure", lambda _self, _request, _now: True)]


def _memory_is_all_there_is() -> list[Patch]:
    """A restarted router believes that it knows everything."""
    return [mock.patch.object(Registry, "wait_for_publishers", lambda _self, _now: None)]


def _control_store_on_the_loop() -> list[Patch]:
    """A router waits for Ray's control store with all that it does."""

    async def here(function: Any, *arguments: Any) -> Any:
        return function(*arguments)

    names = {name: getattr(asyncio, name) for name in asyncio.__all__}
    return [mock.patch.object(fleet, "asyncio", SimpleNamespace(**{**names, "to_thread": here}))]


def _no_timers_without_a_place() -> list[Patch]:
    """A request that waits for an actor waits for ever."""
    return [
        mock.patch.object(Lifecycle, "_watch_limit", lambda _self, _request, _now: None),
        mock.patch.object(Lifecycle, "open_timed_out", lambda _self, _request, _now: None),
    ]


def _full_for_ever() -> list[Patch]:
    """Once the disk has refused, nothing is written any more."""
    refused: set[int] = set()
    spill = replay_store.ReplayStore.spill

    def broken(self: replay_store.ReplayStore) -> None:
        if id(self._budget) in refused:
            raise OSError(errno.ENOSPC, "it was full once")
        try:
            spill(self)
        except OSError:
            refused.add(id(self._budget))
            raise

    return [mock.patch.object(replay_store.ReplayStore, "spill", broken)]


def _anything_goes() -> list[Patch]:
    """Arguments are taken as they come."""
    anything = arguments.Parameter("anything", lambda value: value)
    return [mock.patch.object(arguments, "CALLS", defaultdict(lambda: defaultdict(lambda: anything)))]


def _cursor_kept() -> list[Patch]:
    """Whoever leaves a loop is waited for."""
    return [
        mock.patch.object(subscription.Subscription, "iterator_ends", lambda _self: None),
        mock.patch.object(subscription.Subscription, "__del__", lambda _self: None),
    ]


def _closes_in_silence() -> list[Patch]:
    """Those who wait behind a door that closes do not hear of it."""
    return [
        mock.patch.object(Link, "_tell_unreachable", lambda _self, _error: None),
        mock.patch.object(RouterCaller, "end", lambda _self, error: error),
        mock.patch.object(reader.Reader, "on_unreachable", lambda _self, _error: None),
    ]


def _rival_let_in() -> list[Patch]:
    """Two publishers of one process are taken for one."""

    def broken(self: Link, request_id: str, listener: Any) -> None:
        self.check_usable()
        self._listeners.add(("p", request_id), listener)

    return [mock.patch.object(Link, "enter", broken)]


def _one_space_of_names() -> list[Patch]:
    """The names of all tenants are in one space."""
    return [
        mock.patch.object(tenants._TeamNames, "__init__", lambda self, _subject: setattr(self, "_prefix", "all\x1f"))
    ]


def _a_break_is_a_death() -> list[Patch]:
    """Whoever is at the other end of a broken socket is taken for dead."""
    return [mock.patch.object(line, "_as_lost", lambda _why: ActorDiedError())]


def _numbers_from_before_are_nothing() -> list[Patch]:
    """A router that has lost its fences does not set them again by the numbers that it sees."""
    return [mock.patch.object(Claims, "learn", lambda _self, _request, _now, *, is_news: None)]  # noqa: ARG005


def _ahead_is_had() -> list[Patch]:
    """What was given ahead counts as had, also where its connection broke."""
    forget_before = Reader.forget_before

    def broken(self: Reader, _answer_no: int) -> None:
        forget_before(self, self._last_no + 1)

    return [mock.patch.object(Reader, "forget_before", broken)]


def _posted_is_had() -> list[Patch]:
    """What was posted counts as had, also where its connection broke."""

    def broken(self: Posting[Any]) -> None:
        self._out.clear()

    return [mock.patch.object(Posting, "_give_up", broken)]


def _an_order_is_a_deed() -> list[Patch]:
    """Whoever wants a request forgotten is told that it is when its holders have yet to hear so."""
    return [mock.patch.object(Forgetting, "is_under_way", lambda _self, _request_id: False)]


def only(feature: Feature) -> Harder:
    """Return what makes every seed show one feature, and no other."""
    return Harder(features=NONE, surely=frozenset({feature}))


PLANTED = {
    "agent-shared": (Feature.AGENTS, _agent_shared, range(60)),
    "giving-up-is-an-end": (Feature.SHARDS, _giving_up_is_an_end, range(124, 264)),
    "messages-for-nothing": (Feature.MESSAGES, _messages_for_nothing, range(60)),
    "replay-beyond-credit": (Feature.QUEUES, _replay_beyond_credit, range(60)),
    "room-without-end": (Feature.BACKLOG, _room_without_end, range(60)),
    "nobody-is-called": (Feature.BACKLOG, _nobody_is_called, range(60)),
    "pause-is-silence": (Feature.STOPS, _pause_is_silence, range(74, 114)),
    "one-node-is-enough": (Feature.DOUBLE_DEATHS, _one_node_is_enough, range(100)),
    "memory-is-all-there-is": (Feature.TAKE_OVERS, _memory_is_all_there_is, range(100)),
    "control-store-on-the-loop": (Feature.CONTROL, _control_store_on_the_loop, range(40)),
    "no-timers-without-a-place": (Feature.UNPLACED, _no_timers_without_a_place, range(40)),
    "full-for-ever": (Feature.DISK, _full_for_ever, range(60)),
    "anything-goes": (Feature.HOSTILE, _anything_goes, range(20)),
    "cursor-kept": (Feature.ABANDONED, _cursor_kept, range(23, 83)),
    "closes-in-silence": (Feature.CLOSES, _closes_in_silence, range(40)),
    "a-break-is-a-death": (Feature.SOCKETS, _a_break_is_a_death, range(40)),
    "ahead-is-had": (Feature.SOCKETS, _ahead_is_had, range(90, 200)),
    "posted-is-had": (Feature.SOCKETS, _posted_is_had, range(90, 150)),
    "rival-let-in": (Feature.RIVALS, _rival_let_in, range(60)),
    "numbers-from-before-are-nothing": (Feature.CLOCKS, _numbers_from_before_are_nothing, range(25, 55)),
    "an-order-is-a-deed": (Feature.FORGETS, _an_order_is_a_deed, range(60)),
    "one-space-of-names": (Feature.TENANTS, _one_space_of_names, range(20)),
}
