"""The simulated world: one router, its stream actors, publishing and reading processes, and their faults.

Everything but Ray, the network and the clock is the product's own code, shells and cores alike. What
the shells take from outside (`ray`, `time`, `random`, `uuid`, `os`) is replaced while a world runs.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time as real_time
from collections.abc import Iterator
from functools import partial
from random import Random
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import actors.stream.stream_actor
import actors.stream.windows
import actors.transport.line
import router.client.links.caller
import router.client.links.link
import router.client.publishing.agent_claim
import router.client.reading.poller
import router.client.startup
import router.on_ray.actors
import router.on_ray.beginning
import router.on_ray.fleet
import router.on_ray.keys
import router.on_ray.router_actor
from actors.stream.stream_actor import StreamActor
from router.client.stream_router import StreamRouter
from router.on_ray.router_actor import RouterActor

from .control import ControlStore
from .faults import NODES, Faults
from .features import Feature
from .judgement import Request
from .loop import PROCESS, Process, SimulatedLoop
from .network import Exited, Handle, Network, SimulatedActor
from .others import CloseProgram, HostileProgram
from .program import OBSERVER, Program
from .remains import Remains
from .scenario import NEVER_S, Scenario
from .sockets import Sockets
from .tenants import SECRET, STRANGER, StrangerProgram, client_id_in, has_tenants
from .watch import Watch

# An actor may be stopped as idle, or retired, within a run whose limits are below this.
MAY_RETIRE_S = 100
# The time of day when a world begins; see `Feature.CLOCKS`.
STARTED_AT = 1.8e9


class World:
    """One run. `failures` collects what went wrong; `lines` tells what happened."""

    def __init__(self, seed: int, scenario: Scenario, *, tells: bool = False) -> None:
        self.seed = seed
        self.scenario = scenario
        self.is_rough = scenario.weather.drop > 0  # so that calls fail by themselves
        self.random = Random(f"world {seed}")
        self.loop = SimulatedLoop()
        self.network = Network(self.loop, self.random, scenario.weather)
        self.failures: list[str] = []
        self.lines: list[str] | None = [] if tells else None
        if tells:
            self.network.log = self.tell
        self._actor_of: dict[Process, SimulatedActor] = {}
        self.stream_actors: dict[str, SimulatedActor] = {}
        self.programs: list[Program] = []
        self.hostile_made = 0
        self._made = 0
        self.router = self._new_actor("router", self._make_router, NODES[0], restarts=True)
        self.agents_router: SimulatedActor | None = None
        if scenario.has_agents_router:
            self.agents_router = self._new_actor("router-1", self._make_agents_router, NODES[1], restarts=True)
        self.processes: dict[int, Process] = {}
        self.clients: dict[int, StreamRouter] = {}
        self.faults = Faults(self)
        self.control = ControlStore(self)
        self.sockets = Sockets(self)
        self.watch = Watch(self)
        self.requests = [Request(self, plan) for plan in scenario.requests]

    def tell(self, text: str) -> None:
        if self.lines is not None:
            self.lines.append(f"{self.loop.now:10.4f}  {text}")

    def fail(self, text: str) -> None:
        self.failures.append(text)
        self.tell(f"FAILURE: {text}")

    # --- making processes -----------------------------------------------------------------------

    def _make_router(self) -> RouterActor:
        return RouterActor(self.scenario.config.model_dump_json(), 0)

    def _make_agents_router(self) -> RouterActor:
        """It holds claims and no request, so that it wants no stream actors."""
        config = self.scenario.config
        pool = config.stream_actors.model_copy(update={"warm_actors": 0})
        return RouterActor(config.model_copy(update={"stream_actors": pool}).model_dump_json(), 1)

    @property
    def routers(self) -> list[SimulatedActor]:
        """All router actors, the one that holds the requests first."""
        return [self.router] if self.agents_router is None else [self.router, self.agents_router]

    def actor_of(self, process: Process) -> SimulatedActor:
        """Return the actor that lives in a process."""
        return self._actor_of[process]

    def _new_process(self, name: str, node: str) -> Process:
        return Process(name, node, clock_offset_s=self.random.uniform(0, 1000))

    def _new_actor(self, name: str, make: Any, node: str, *, restarts: bool = False) -> SimulatedActor:
        actor = SimulatedActor(name, make, self._new_process(name, node), restarts=restarts)
        self._actor_of[actor.process] = actor
        return actor

    def make_stream_actor(self, _config: Any, _shard: int, actor_id: str, router: Any) -> Handle:
        self._made += 1
        node = NODES[self._made % 2]
        reach = self.scenario.config.reach
        make = partial(StreamActor, actor_id, router, reach=reach)
        actor = self._new_actor(f"{actor_id}#{self._made}", make, node)
        actor.up_at = max(self.loop.now + self.random.uniform(0.1, 0.8), self.scenario.actors_from_s)
        if actor.up_at < NEVER_S:
            self.loop.call_at(actor.up_at, self.network.begin, actor, context=actor.process.context.copy())
        self.stream_actors[actor_id] = actor
        self.tell(f"stream actor {actor.name} starts on {node}")
        return Handle(self.network, actor)

    def find_stream_actors(self, _config: Any, shard: int) -> dict[str, Handle]:
        if shard:
            return {}
        now = self.loop.now
        return {
            actor_id: Handle(self.network, actor)
            for actor_id, actor in self.stream_actors.items()
            if not actor.gone or now < actor.gone_known_at
        }

    def add_client(self, number: int) -> None:
        process = self._new_process(f"client-{number}", "driver")
        self.processes[number] = process
        handles = [Handle(self.network, router) for router in self.routers]
        client_id = client_id_in(self.scenario, number)
        self.clients[number] = process.context.copy().run(
            lambda: StreamRouter(self.scenario.config, handles, is_owner=False, stops_ray=False, client_id=client_id)
        )

    def start(self, program: Program, number: int) -> None:
        """Run a program in a client process."""
        self.programs.append(program)
        program.process = self.processes[number]
        program.number = number
        self.loop.spawn(self.processes[number], program.run(self.clients[number]))

    # --- the run --------------------------------------------------------------------------------

    def run(self) -> None:
        scenario = self.scenario
        with self._in_place_of_the_real():
            for number in [*range(scenario.processes), OBSERVER]:
                self.add_client(number)
            for request in self.requests:
                request.begin()
            self._begin_others()
            for incident in scenario.incidents:
                self.later(incident.at_s, self.faults.strike, incident)
            self.later(scenario.calm_at_s, self._calm)
            self.watch.look()
            limit_s = scenario.quiet_at_s + self.patience_s
            self.loop.run(limit_s, self._is_over)
            if not self._is_over():
                self._say_who_is_stuck(limit_s)
            elif scenario.watches_leaks and not self.failures:
                Remains(self).wait_until_none()
            for request in self.requests:
                request.check()
            Remains(self).check_errors()

    def _begin_others(self) -> None:
        for close in self.scenario.closes:
            self.start(CloseProgram(self, close.at_s), close.process)
        for at_s, number in self.scenario.hostile:
            self.start(HostileProgram(self, at_s), number)
        if has_tenants(self.scenario):
            self.add_client(STRANGER)
            self.start(StrangerProgram(self), STRANGER)

    def close(self) -> None:
        """Throw everything away."""
        with self._in_place_of_the_real():
            self.loop.close()
        for client in self.clients.values():
            # What is to be done when a door is collected reaches its sockets, which reach this world, and so the door.
            client._finalizer.detach()

    @property
    def patience_s(self) -> float:
        """How long after the last fault everybody must be done."""
        plans = [request.plan for request in self.requests]
        return 110.0 + max(plan.sleeps_s + plan.starts_s + plan.crawls_s(self.scenario.weather) for plan in plans)

    def later(self, delay_s: float, call: Any, *arguments: Any) -> None:
        """Do something outside of all processes, after a while."""
        self.loop.call_later(delay_s, call, *arguments, context=self.loop.outside)

    def _is_over(self) -> bool:
        return all(program.is_done for program in self.programs)

    @property
    def has_few_places(self) -> bool:
        """Whether a request may have to wait until another one has ended."""
        pool = self.scenario.config.stream_actors
        has_few = pool.max_actors * pool.max_streams_per_actor < len(self.requests) + len(self.scenario.hostile)
        retires = pool.recycle_after_requests < 10  # it takes nothing any more, and keeps its place
        return has_few or retires

    @property
    def may_try_again(self) -> bool:
        """Whether a request that found no place may find one yet, since actors do start sooner or later."""
        starts_s = self.scenario.actors_from_s
        return 0.0 < starts_s < NEVER_S and self.loop.now < starts_s + self.patience_s / 2

    def _say_who_is_stuck(self, limit_s: float) -> None:
        stuck = [program.describe() for program in self.programs if not program.is_done]
        self.fail(f"stuck {limit_s - self.scenario.quiet_at_s:.0f} s after the last fault: {'; '.join(stuck)}")

    def _calm(self) -> None:
        self.tell("calm")
        self.scenario.weather.calm()

    def restart_router(self, router: SimulatedActor) -> None:
        """Begin a new incarnation of a router, on either node."""
        self.tell(f"{router.name} restarts")
        router.process = self._new_process(router.name, self.random.choice(NODES))
        self._actor_of[router.process] = router
        router.instance = None
        router.restarted += 1

    @property
    def registry(self) -> Any:
        """The registry of the router as it is now; None while it is dead, or nobody has spoken to it yet."""
        router_actor = self.router.instance
        return router_actor._registry if router_actor is not None and self.router.process.alive else None

    # --- what the shells take from outside --------------------------------------------------------

    def _ray(self) -> SimpleNamespace:
        def context() -> SimpleNamespace:
            actor = self._actor_of.get(self._current())
            if actor is None:  # a client's: on the node that the routers begin on
                return SimpleNamespace(get_node_id=lambda: NODES[0])
            return SimpleNamespace(
                get_node_id=lambda: actor.process.node,
                current_actor=Handle(self.network, actor),
            )

        def kill(handle: Handle) -> None:
            self.tell(f"ray.kill({handle._actor.name})")
            self._check_kill(handle._actor)
            self.faults.note_kill(handle._actor)
            lingers_s = self.random.uniform(0.5, 10.0) if self.random.random() < 0.3 else 0.0
            lingers_s = 20.0 if self.scenario.lingers else lingers_s
            self.network.kill(handle._actor, lingers_s=lingers_s)

        util = SimpleNamespace(get_node_ip_address=lambda: "simulated")
        return SimpleNamespace(
            get_runtime_context=context, is_initialized=lambda: True, kill=self.control.asked(kill), util=util
        )

    def _restarts(self) -> int:
        return self._actor_of[self._current()].restarted

    @staticmethod
    def _current() -> Process:
        process = PROCESS.get()
        if process is None:
            raise RuntimeError("code of an actor runs outside of any process")
        return process

    def _check_kill(self, actor: SimulatedActor) -> None:
        """A router may stop an actor that holds nothing open, or that has been silent; never one that is well."""
        watched = self.scenario.features & {Feature.STOPS, Feature.DOUBLE_DEATHS}
        if watched and not self.is_rough and not self.faults.may_be_given_up(actor):
            host = actor.instance._host
            pool = self.scenario.config.stream_actors
            may_retire = pool.idle_ttl_s < MAY_RETIRE_S or pool.recycle_after_requests < MAY_RETIRE_S
            is_slow = actor.process.stopped and not may_retire
            if is_slow or any(not session.sealed for session in host.sessions.values()):
                self.fail(f"{actor.name} is well or merely slow, and is killed by its router")
        self.faults.killed_by_router(actor)

    def _exit(self, _status: int) -> None:
        self.network.kill(self._actor_of[self._current()])
        raise Exited

    def monotonic(self) -> float:
        """Return the time by the clock of the process that asks."""
        process = PROCESS.get()
        return self.loop.now + (process.clock_offset_s if process is not None else 0.0)

    def _uuid(self) -> SimpleNamespace:
        return SimpleNamespace(hex=f"{self.random.getrandbits(128):032x}")

    def _small_window(self) -> list[tuple[Any, str, Any]]:
        window = self.scenario.window_bytes_max
        return [] if window is None else [(actors.stream.windows, "WINDOW_BYTES_MAX", window)]

    def _validating(self) -> list[tuple[Any, str, Any]]:
        """After every event of a router its registry must be consistent with itself, and its queues within bounds."""
        after_event = RouterActor._after_event

        def checking(router_actor: RouterActor) -> None:
            after_event(router_actor)
            router_actor._registry.validate()
            self.watch.check_backlog(router_actor)

        return [(RouterActor, "_after_event", checking)]

    def _time_of_day(self) -> float:
        now = self.loop.now
        return STARTED_AT + now + sum(by_s for at_s, by_s in self.scenario.clock_jumps if at_s <= now)

    @contextlib.contextmanager
    def _in_place_of_the_real(self) -> Iterator[None]:
        time = SimpleNamespace(monotonic=self.monotonic, time=self._time_of_day)
        ray = self._ray()
        uuid = SimpleNamespace(uuid4=self._uuid)
        os = SimpleNamespace(getpid=lambda: 1, _exit=self._exit)
        socket = SimpleNamespace(gethostname=lambda: "host")
        replaced = [
            *((module, "time", time) for module in _tellers_of_time()),
            (actors.stream.stream_actor, "ray", ray),
            (actors.transport.line, "ray", ray),
            (actors.stream.stream_actor, "os", os),
            (actors.stream.stream_actor, "random", self.random),
            (router.on_ray.router_actor, "ray", ray),
            (router.on_ray.router_actor, "uuid", uuid),
            (router.on_ray.beginning, "ray", ray),
            (router.on_ray.fleet, "ray", ray),
            (router.on_ray.fleet, "random", self.random),
            (router.on_ray.actors, "make_stream_actor", self.control.asked(self.make_stream_actor)),
            (router.on_ray.actors, "restarts", self.control.asked(self._restarts)),
            (router.on_ray.actors, "find_stream_actors", self.control.asked(self.find_stream_actors)),
            (router.client.links.link, "random", self.random),
            (router.client.links.caller, "random", self.random),
            (router.client.reading.poller, "random", self.random),
            (router.client.stream_router, "ray", ray),
            (router.client.startup, "uuid", uuid),
            (router.client.publishing.agent_claim, "uuid", uuid),
            (router.client.startup, "os", os),
            (router.client.startup, "socket", socket),
            (router.on_ray.keys, "os", SimpleNamespace(environ={self.scenario.config.tenants.key_env: SECRET})),
            *self.faults.disk(),
            *self.sockets.in_place(),
            *self.watch.feeding(),
            *self.watch.opening(),
            *self.watch.forgotten.noting(),
            *self._small_window(),
            *self._validating(),
        ]
        logging.disable(logging.CRITICAL)
        try:
            with contextlib.ExitStack() as stack:
                for module, name, stand_in in replaced:
                    stack.enter_context(mock.patch.object(module, name, stand_in))
                yield
        finally:
            logging.disable(logging.NOTSET)


def _tellers_of_time() -> list[ModuleType]:
    """Return what looks at a clock in the actors' rooms, so that none goes by the real one whichever file it is in."""
    return [
        module
        for name, module in sys.modules.items()
        if name.startswith(("actors.", "router.on_ray.")) and getattr(module, "time", None) is real_time
    ]
