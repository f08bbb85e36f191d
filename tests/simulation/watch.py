"""What must hold at every moment of a simulated world."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.protocol.calls import Registration
from actors.protocol.envelopes import Order
from actors.protocol.lane import QUANTUM_BYTES
from actors.protocol.states import Role
from actors.stream.session import REPLAY_ROOM_BYTES, Session
from router.client.publishing.outgoing import OPENING
from router.core.catalogue import Wanted
from router.core.openings import Openings
from router.core.outboxes import CLIENT_TIMEOUT_S
from router.on_ray.fleet import CALL_DEADLINE_S
from router.on_ray.router_actor import HOUSEKEEPING_S

from .features import Feature
from .forgotten import Forgotten
from .network import Weather
from .scenario import tags_of
from .tenants import names_in

if TYPE_CHECKING:
    from .world import World

LOOK_S = 0.2
# A copy on another node is made as fast as calls go; a new actor is given what it needs step by step.
ON_ONE_NODE_S = 3.0
# A router looks every `HOUSEKEEPING_S` whether it has heard of an actor for twice as long; then it asks.
UNHEARD_HOLDER_S = 3 * HOUSEKEEPING_S + CALL_DEADLINE_S
# What is sent while nothing but the control store stands still arrives within this.
FLOW_S = 3.0
# A claim may come late by so much, and whoever says nothing more counts as gone in its own time.
NOBODYS_S = Weather.late_s_max + CLIENT_TIMEOUT_S + 3.0
# What a window bounds is beside it: what a publisher may send on first credit, and records, which need none.
BESIDE_WINDOW_BYTES = 4096 + 1024
# What the end of a stream that cannot be read back from disk takes: it says why.
END_BYTES = 768
# What an item adds to the list that it is packed in.
BESIDE_ITEM_BYTES = 16
# A program waits of its own accord for so long at most; then it must have heard that its door is closed.
HEARS_OF_CLOSE_S = 8.0


class Watch:
    """Looks at a world while it runs."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.sealed_seen_at: dict[str, float] = {}
        self.forgotten = Forgotten(world)
        self._holder: dict[str, tuple[str, int]] = {}
        self._former: dict[str, int] = {}
        self._accepted: dict[str, int] = {}
        self._names = names_in(world.scenario)
        self._on_one_node_since: dict[str, float] = {}
        self._dead_since: dict[str, float] = {}
        self._nobodys_since: dict[tuple[str, str], float] = {}
        self._told_of: set[tuple[str, str]] = set()
        self._stands_since: dict[tuple[str, int], float] = {}

    def look(self) -> None:
        """Check what can be seen from outside, every now and then."""
        world = self._world
        registry = world.registry
        if registry is not None:
            for request in registry.requests.values():
                if not request.is_live:
                    self.sealed_seen_at.setdefault(self._names.own(request.request_id), world.loop.now)
            self._check_catalogue(registry)
            self.forgotten.check(registry)
        self._check_memory()
        self._check_claims()
        if Feature.DOUBLE_DEATHS in world.scenario.features and not world.is_rough:
            self._check_nodes()
        if world.scenario.window_bytes_max is not None:
            self._check_queues(world.scenario.window_bytes_max)
        if world.faults.closed_at:
            self._check_closed()
        if world.control.is_stopped:
            self._check_flow()
        world.later(LOOK_S, self.look)

    def _check_catalogue(self, registry: Any) -> None:
        """Each request of the world that a router knows is found by its tags, also after the router has restarted."""
        for request in self._world.requests:
            request_id = request.plan.request_id
            known = registry.requests.get(self._names.full(request_id))
            if known is None:
                continue
            wanted = Wanted(self._names.subject, tags=tuple(tags_of(request_id).items()))
            if registry.requests.catalogue.find(wanted).requests != [known]:
                self._world.fail(f"{request_id}: it is known and not found by its tags, which are {known.labels!r}")

    # --- nodes ------------------------------------------------------------------------------------

    def _check_nodes(self) -> None:
        """Where there are two nodes, no log of which the end is known may stay on one of them."""
        world = self._world
        registry = world.registry
        # A router that is stopped repairs nothing.
        elsewhere = [] if registry is None or world.router.process.stopped else self._elsewhere()
        alone = []
        if registry is not None and elsewhere:
            kept = {request_id for actor in elsewhere for request_id in (*actor._host.sessions, *actor._host.copies)}
            unheard = self._dead_unheard()
            alone = [
                request.request_id
                for request in registry.requests.values()
                if request.is_shown
                and request.request_id not in kept
                and unheard.isdisjoint((request.actor_id, request.copy_id))
            ]
        else:
            self._dead_since.clear()
        self._on_one_node_since = {
            request_id: self._on_one_node_since.get(request_id, world.loop.now) for request_id in alone
        }
        for request_id, since in self._on_one_node_since.items():
            if world.loop.now - since > ON_ONE_NODE_S:
                world.fail(f"{request_id}: for {ON_ONE_NODE_S:g} s its log has been on one node, though there are two")

    def _dead_unheard(self) -> set[str]:
        """Return the actors that are stopped, or dead for so short a time that the router may not have found out."""
        world = self._world
        held = world.stream_actors.items()
        dead = [name for name, actor in held if not actor.process.alive]
        self._dead_since = {name: self._dead_since.get(name, world.loop.now) for name in dead}
        stopped = {name for name, actor in held if actor.process.stopped}
        return stopped | {name for name in dead if world.loop.now - self._dead_since[name] < UNHEARD_HOLDER_S}

    def _elsewhere(self) -> list[Any]:
        """Return the stream actors on another node than the router's that are well."""
        world = self._world
        adopted = world.router.instance._fleet.actors
        return [
            actor.instance
            for name, actor in world.stream_actors.items()
            if name in adopted
            and adopted[name].is_started
            and actor.process.alive
            and not actor.process.stopped
            and actor.process.node != world.router.process.node
            and not world.network.cuts
        ]

    # --- flow -------------------------------------------------------------------------------------

    def _check_flow(self) -> None:
        """While only the control store stands still, what publishers have sent goes on to the sessions that there are."""
        world = self._world
        if world.is_rough or any(incident.kind != "stop_control" for incident in world.scenario.incidents):
            return
        sessions = {
            request_id: session
            for actor in world.stream_actors.values()
            if actor.instance is not None and actor.process.alive
            for request_id, session in actor.instance._host.sessions.items()
        }
        now, before = world.loop.now, self._stands_since
        self._stands_since = {}
        for client in world.clients.values():
            for (role, name), listener in client._links[0]._listeners.all():
                session = sessions.get(self._names.full(name)) if role == Role.PUBLISHER else None
                if session is None or session.sealed:
                    continue
                stream = listener._stream
                if stream.next_seq > session.next_seq and not stream.is_held:
                    key = name, session.next_seq
                    self._stands_since[key] = before.get(key, now)
                    if now - self._stands_since[key] > FLOW_S:
                        world.fail(f"{name}: item {session.next_seq} has been under way for {FLOW_S:g} s")

    # --- bytes ------------------------------------------------------------------------------------

    def _check_memory(self) -> None:
        world = self._world
        by_id = {request.plan.request_id: request.plan for request in world.requests}
        counts_messages = Feature.MESSAGES in world.scenario.features
        for actor in world.stream_actors.values():
            if actor.instance is None or not actor.process.alive:
                continue
            host = actor.instance._host
            for request_id, session in host.sessions.items():
                plan = by_id.get(self._names.own(request_id))
                if plan is None:
                    continue
                # The credit is in bytes of items, the log in bytes of messages: one item of n bytes gives
                # no more than n plus a piece's overhead and a head. Beyond the buffer lies at most what had
                # been accepted on first credit, and the one item that was begun with a little left. A session that
                # takes what an earlier one had takes as much again behind it, whatever is unread.
                rooms = max(2, session.epoch)
                allowed = plan.settings.buffer_bytes_max + rooms * REPLAY_ROOM_BYTES + 2 * 1600 + 1024
                if counts_messages:
                    allowed += 2 * plan.item_bytes_max
                if session.epoch > 1 and world.faults.have_died_together():
                    # Its publisher sends again what it had credit for in all, and what of that was read nobody knows.
                    allowed += 2 * plan.items_bytes
                if session.log.unread_bytes > allowed and session.settings.when_full != "drop_oldest":
                    world.fail(
                        f"{request_id}: {session.log.unread_bytes} bytes unread, buffer_bytes_max is "
                        f"{plan.settings.buffer_bytes_max}"
                    )
                if session.log.unread_bytes < 0 or session.log.bytes_held < 0:
                    world.fail(f"{request_id}: a log counts {session.log.unread_bytes}, {session.log.bytes_held} bytes")
            for reader in host.audience.readers.values():
                for subscription in reader.subscriptions.values():
                    if subscription._sent_bytes < 0:
                        world.fail(f"a subscription has {subscription._sent_bytes} bytes on the way")
        item_bytes_max = max((plan.item_bytes_max for plan in by_id.values()), default=0)
        # What the disk does not give back has its stream's end in its place, which is kept in any case.
        ends_bytes = 0 if world.scenario.disk is None else END_BYTES * len(by_id)
        for number, client in world.clients.items():
            if client._budget.bytes_held > client._budget.bytes_max + 4096 + item_bytes_max + ends_bytes:
                world.fail(f"client-{number} keeps {client._budget.bytes_held} bytes for replay")

    def _check_queues(self, window_bytes_max: int) -> None:
        world = self._world
        router_actor = world.router.instance
        if router_actor is None or not world.router.process.alive:
            return
        plans = {request.plan.request_id: request.plan for request in world.requests}
        # Publishers hear from a router that has restarted where it stands, and again once its actors have said so:
        # each time they send again from there.
        sent_bytes_max = (2 if world.faults.router_downs else 1) * window_bytes_max
        for request_id, size in queued_bytes(router_actor).items():
            plan = plans.get(self._names.own(request_id))
            if plan is not None and size > sent_bytes_max + BESIDE_WINDOW_BYTES + 2 * plan.item_bytes_max:
                world.fail(f"{request_id}: {size} bytes wait in the router, its window is {window_bytes_max}")

    def check_backlog(self, router_actor: Any) -> None:
        """Check what waits in a router in all, after each of its events."""
        world = self._world
        if Feature.BACKLOG not in world.scenario.features:
            return
        waiting = sum(queued_bytes(router_actor).values())
        item_bytes_max = max((request.plan.item_bytes_max for request in world.requests), default=0)
        actors = len(router_actor._fleet.actors)
        bytes_max = world.scenario.config.limits.queued_bytes_max
        if waiting > bytes_max + actors * max(QUANTUM_BYTES, item_bytes_max + BESIDE_ITEM_BYTES):
            world.fail(f"{waiting} bytes wait in the router, allowed are {bytes_max}")
        counted = router_actor._registry.lifecycle.backlog.size_bytes
        if counted < waiting:
            world.fail(f"{waiting} bytes wait in the router, which counts {counted}")

    # --- agents -----------------------------------------------------------------------------------

    def feeding(self) -> list[tuple[Any, str, Any]]:
        """Return what stands in for `Session.feed` where requests share an agent: it notes whose items are taken."""
        agents = {r.plan.request_id: r.plan.agent_id for r in self._world.requests if r.plan.agent_id is not None}
        if not self._world.scenario.features & {Feature.AGENTS, Feature.SHARDS, Feature.CLOCKS} or len(agents) < 2:
            return []
        feed = Session.feed

        def noting(session: Session, epoch: int, first_seq: int, items: Any, now: float) -> int:
            gained = feed(session, epoch, first_seq, items, now)
            request_id = self._names.own(session.request_id)
            # Who forgets a request may publish another one under its ID, which has no agent.
            is_anew = request_id in self.forgotten.may_be and session.owner[0] is None
            agent_id = None if is_anew else agents.get(request_id)
            if agent_id is not None and session.next_seq - 1 > self._accepted.get(request_id, 0):
                self._accepted[request_id] = session.next_seq - 1
                self._note_taken(agent_id, request_id, session.owner[1])
            return gained

        return [(Session, "feed", noting)]

    def _note_taken(self, agent_id: str, request_id: str, number: int) -> None:
        holder, its_number = self._holder.get(agent_id, (request_id, 0))
        if holder != request_id:
            self._former[holder] = its_number
            # An ID that was forgotten may be opened again; then it has been granted the agent anew.
            if number <= self._former.get(request_id, number - 1):
                self._world.fail(f"agent {agent_id}: an item of {request_id} was taken while {holder} is under way")
        self._holder[agent_id] = request_id, number

    def _check_claims(self) -> None:
        """An agent must not be held for a publisher that has let go of it, however late its calls come."""
        world = self._world
        held = {
            claimant
            for router in world.routers
            if router.instance is not None and router.process.alive and not router.process.stopped
            for claim in router.instance._registry.agents._claims.values()
            for claimant in claim.claimants
        }
        nobodys = held - {
            (client.client_id, listener._token)
            for client in world.clients.values()
            for link in client._links
            for (role, _), listener in link._listeners.all()
            if role == Role.AGENT
        }
        # One that is dead, closed or cut off counts as gone in its own time.
        hears = {
            client.client_id
            for number, client in world.clients.items()
            if world.processes[number].alive
            and not world.processes[number].stopped
            and number not in world.faults.closed_at
            and not world.network.cuts
        }
        before = self._nobodys_since
        self._nobodys_since = {who: before.get(who, world.loop.now) for who in nobodys if who[0] in hears}
        for who, since in self._nobodys_since.items():
            if world.loop.now - since > NOBODYS_S and who not in self._told_of:
                self._told_of.add(who)
                world.fail(f"for {NOBODYS_S:g} s an agent has been held for a publisher of {who[0]} that let it go")

    # --- opens ------------------------------------------------------------------------------------

    def opening(self) -> list[tuple[Any, str, Any]]:
        """Return what stands in for the way in of a request that a router does not know: nobody's must not begin anew."""
        open_unknown = Openings._open_unknown

        def noting(openings: Openings, client_id: str, wanted: Registration, now: float, **more: Any) -> Any:
            request = open_unknown(openings, client_id, wanted, now, **more)
            name = self._names.own(wanted.request_id)
            self.forgotten.discard(name)
            if wanted.epoch == 0 and name in self.sealed_seen_at and not self._is_being_opened(name):
                self._world.fail(f"{name}: it has ended and was forgotten, and begins anew though nobody opens it")
            return request

        return [(Openings, "_open_unknown", noting)]

    def _is_being_opened(self, name: str) -> bool:
        """Whether a publisher opens a request, or its call is under way, though it may have heard of its end since."""
        world = self._world
        links = [client._links[0] for number, client in world.clients.items() if world.processes[number].alive]
        return any(name in _under_way(link) or _is_opening(link, name) for link in links)

    # --- closed doors -----------------------------------------------------------------------------

    def _check_closed(self) -> None:
        world = self._world
        for number, closed_at in list(world.faults.closed_at.items()):
            process = world.processes[number]
            if world.loop.now < closed_at + HEARS_OF_CLOSE_S or not process.alive or process.stopped:
                continue
            if any(kind == "stop_process" for _, kind, _ in world.faults.process_troubles.get(number, ())):
                continue
            waiting = [
                p.describe()
                for p in world.programs
                if p.number == number and p.process is process and not p.is_done and p.waits_on_door
            ]
            if waiting:
                world.fail(f"{HEARS_OF_CLOSE_S:g} s after client-{number} was closed there wait: {'; '.join(waiting)}")
                del world.faults.closed_at[number]


def _is_opening(link: Any, name: str) -> bool:
    listeners = link._listeners.of((Role.PUBLISHER, name))
    return any(listener._stream.phase == OPENING for listener in listeners)


def _under_way(link: Any) -> set[str]:
    """Return the requests that a link's call is to open just now: they stand in the frame of the coroutine that calls."""
    pumps = [task.get_coro() for task in link._tasks if task.get_coro().__qualname__ == "Opens._pump"]
    calls = [call.cr_frame.f_locals for pump in pumps if (call := pump.cr_await) and call.__qualname__ == "Opens._open"]
    return {opening.request_id for call in calls for opening in call["batch"]}


def queued_bytes(router_actor: Any) -> dict[str, int]:
    """Return how many bytes of items wait in a router for its stream actors, by request."""
    found: dict[str, int] = {}
    for actor in router_actor._fleet.actors.values():
        waiting = [*actor._next, *(envelope for fifo in actor.queues.values() for _, envelope in fifo._items)]
        for envelope in waiting:
            if envelope[0] == Order.DATA:
                found[envelope[1]] = found.get(envelope[1], 0) + len(envelope[4])
    return found
