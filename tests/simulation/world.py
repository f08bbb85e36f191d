"""The simulated world: one router, its stream actors, publishing and reading processes, and their faults.

Everything but Ray, the network and the clock is the product's own code, shells and cores alike. What
the shells take from outside (`ray`, `time`, `random`, `uuid`, `os`) is replaced while a world runs.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest import mock

import actors.stream.stream_actor
import router.client.link
import router.client.stream_router
import router.client.subscription
import router.on_ray.actors
import router.on_ray.router_actor
from actors.stream.stream_actor import StreamActor
from router.client.stream_router import StreamRouter
from router.on_ray.router_actor import RouterActor

from .loop import PROCESS, Process, SimulatedLoop
from .network import Exited, Handle, Network, SimulatedActor
from .programs import Program, Request
from .scenario import Incident, Scenario

NODES = ("node-1", "node-2")
OBSERVER = -1


class World:
    """One run. `failures` collects what went wrong; `lines` tells what happened."""

    def __init__(self, seed: int, scenario: Scenario, *, tells: bool = False) -> None:
        self.seed = seed
        self.scenario = scenario
        self.random = Random(f"world {seed}")
        self.loop = SimulatedLoop()
        self.network = Network(self.loop, self.random, scenario.weather)
        self.failures: list[str] = []
        self.lines: list[str] | None = [] if tells else None
        if tells:
            self.network.log = self.tell
        self._actor_of: dict[Process, SimulatedActor] = {}
        self.stream_actors: dict[str, SimulatedActor] = {}
        self.deaths: list[tuple[float, str]] = []
        self.router_downs: list[float] = []
        self.process_troubles: dict[int, list[tuple[float, str, float]]] = {}
        self.programs: list[Program] = []
        self.sealed_seen_at: dict[str, float] = {}
        self._made = 0
        self.router = self._new_actor("router", self._make_router, NODES[0], restarts=True)
        self.processes: dict[int, Process] = {}
        self.clients: dict[int, StreamRouter] = {}
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

    def _new_process(self, name: str, node: str) -> Process:
        return Process(name, node, clock_offset_s=self.random.uniform(0, 1000))

    def _new_actor(self, name: str, make: Any, node: str, *, restarts: bool = False) -> SimulatedActor:
        actor = SimulatedActor(name, make, self._new_process(name, node), restarts=restarts)
        self._actor_of[actor.process] = actor
        return actor

    def make_stream_actor(self, _config: Any, _shard: int, actor_id: str, router: Any) -> Handle:
        self._made += 1
        node = NODES[self._made % 2]
        actor = self._new_actor(f"{actor_id}#{self._made}", lambda: StreamActor(actor_id, router), node)
        actor.up_at = self.loop.now + self.random.uniform(0.1, 0.8)
        self.loop.call_at(actor.up_at, self.network.begin, actor, context=actor.process.context.copy())
        self.stream_actors[actor_id] = actor
        self.tell(f"stream actor {actor.name} starts on {node}")
        return Handle(self.network, actor)

    def find_stream_actors(self, _config: Any, _shard: int) -> dict[str, Handle]:
        now = self.loop.now
        return {
            actor_id: Handle(self.network, actor)
            for actor_id, actor in self.stream_actors.items()
            if not actor.gone or now < actor.gone_known_at
        }

    def add_client(self, number: int) -> None:
        process = self._new_process(f"client-{number}", "driver")
        self.processes[number] = process
        handle = Handle(self.network, self.router)
        self.clients[number] = process.context.copy().run(
            lambda: StreamRouter(self.scenario.config, [handle], is_owner=False, stops_ray=False)
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
            for incident in scenario.incidents:
                self._later(incident.at_s, self._strike, incident)
            self._later(scenario.calm_at_s, self._calm)
            self._monitor()
            limit_s = scenario.quiet_at_s + self.patience_s
            self.loop.run(limit_s, self._is_over)
            if not self._is_over():
                self._say_who_is_stuck(limit_s)
            elif scenario.watches_leaks and not self.failures:
                self._watch_leaks()
            for request in self.requests:
                request.check()
            self._check_errors()

    def close(self) -> None:
        """Throw everything away."""
        with self._in_place_of_the_real():
            self.loop.close()

    @property
    def patience_s(self) -> float:
        """How long after the last fault everybody must be done."""
        longest = max(request.plan.sleeps_s + request.plan.starts_s for request in self.requests)
        return 110.0 + longest

    def _later(self, delay_s: float, call: Any, *arguments: Any) -> None:
        self.loop.call_later(delay_s, call, *arguments, context=self.loop.outside)

    def _is_over(self) -> bool:
        return all(program.is_done for program in self.programs)

    def _say_who_is_stuck(self, limit_s: float) -> None:
        stuck = [program.describe() for program in self.programs if not program.is_done]
        self.fail(f"stuck {limit_s - self.scenario.quiet_at_s:.0f} s after the last fault: {'; '.join(stuck)}")

    def _calm(self) -> None:
        self.tell("calm")
        self.scenario.weather.calm()

    # --- faults ---------------------------------------------------------------------------------

    def _strike(self, incident: Incident) -> None:
        living = [actor for actor in self.stream_actors.values() if actor.process.alive and not actor.gone]
        kind = incident.kind
        if kind.endswith("_actor") and not living:
            return
        number = incident.what % self.scenario.processes
        seconds = incident.seconds
        if kind == "kill_actor":
            self.kill_stream_actor(living[incident.what % len(living)])
        elif kind == "kill_router":
            self._kill_router()
        elif kind == "kill_process":
            self._kill_client(number)
        elif kind == "kill_node":
            self._kill_node(NODES[incident.what % 2])
        elif kind == "stop_actor":
            victim = living[incident.what % len(living)]
            self.deaths.append((self.loop.now, victim.name))  # it may be given up
            self._pause(victim.process, seconds)
        elif kind == "stop_router":
            self.router_downs.append(self.loop.now)
            self._pause(self.router.process, seconds)
        elif kind == "stop_process":
            self._trouble(number, kind, seconds)
            self._pause(self.processes[number], seconds)
        elif kind == "cut_actor":
            victim = living[incident.what % len(living)]
            self.tell(f"cut between {victim.name} and the router for {seconds:g} s")
            self.deaths.append((self.loop.now, victim.name))
            self.network.cut("router", victim.process.name, seconds)
        elif kind == "cut":
            names = ["router", f"client-{number}", *(actor.name for actor in living)]
            one = self.random.choice(names)
            other = self.random.choice([name for name in names if name != one])
            self.tell(f"cut between {one} and {other} for {seconds:g} s")
            if "router" in (one, other) and f"client-{number}" in (one, other):
                self._trouble(number, kind, seconds)
            self.deaths.extend((self.loop.now, name) for name in (one, other) if name.startswith("s"))
            self.network.cut(one, other, seconds)

    def _trouble(self, number: int, kind: str, seconds: float) -> None:
        self.process_troubles.setdefault(number, []).append((self.loop.now, kind, seconds))

    def kill_stream_actor(self, actor: SimulatedActor, *, found_after_s: float | None = None) -> None:
        if actor.process.alive:
            self.tell(f"stream actor {actor.name} dies")
            self.deaths.append((self.loop.now, actor.name))
            self.network.kill(actor, found_after_s=found_after_s)

    def _kill_router(self, found_after_s: float | None = None) -> None:
        if not self.router.process.alive:
            return
        self.tell("router dies")
        self.router_downs.append(self.loop.now)
        self.network.kill(self.router, found_after_s=found_after_s)
        self._later(self.random.uniform(0.2, 1.5) + (found_after_s or 0.0), self._restart_router)

    def _restart_router(self) -> None:
        self.tell("router restarts")
        self.router.process = self._new_process("router", self.random.choice(NODES))
        self._actor_of[self.router.process] = self.router
        self.router.instance = None
        self.router.has_restarted = True

    def _kill_client(self, number: int) -> None:
        process = self.processes[number]
        if not process.alive:
            return
        self.tell(f"process client-{number} dies")
        self._trouble(number, "kill_process", 1e9)
        self.loop.kill(process)
        for program in list(self.programs):
            program.process_died(process)

    def _kill_node(self, node: str) -> None:
        self.tell(f"{node} dies")
        found_after_s = self.random.uniform(0.5, 3.0)
        for actor in self.stream_actors.values():
            if actor.process.node == node:
                self.kill_stream_actor(actor, found_after_s=found_after_s)
        if self.router.process.node == node:
            self._kill_router(found_after_s)

    def _pause(self, process: Process, seconds: float) -> None:
        self.tell(f"{process.name} stops for {seconds:g} s")
        self.loop.stop(process)
        self._later(seconds, self._go_on, process)

    def _go_on(self, process: Process) -> None:
        if process.alive:
            self.tell(f"{process.name} goes on")
            self.loop.go_on(process)

    # --- watching -------------------------------------------------------------------------------

    def _monitor(self) -> None:
        registry = self.registry
        if registry is not None:
            for request_id, entry in registry.entries.items():
                if entry.phase == "sealed":
                    self.sealed_seen_at.setdefault(request_id, self.loop.now)
        self._check_memory()
        self._later(0.2, self._monitor)

    @property
    def registry(self) -> Any:
        router_actor = self.router.instance
        return router_actor._registry if router_actor is not None and self.router.process.alive else None

    def have_died_together(self) -> bool:
        """Whether the router and a stream actor were gone at the same time: then what only both knew is lost."""
        return any(abs(down - died) < 25.0 for down in self.router_downs for died, _ in self.deaths)

    def _check_memory(self) -> None:
        by_id = {request.plan.request_id: request.plan for request in self.requests}
        for actor in self.stream_actors.values():
            if actor.instance is None or not actor.process.alive:
                continue
            host = actor.instance._host
            for request_id, session in host.sessions.items():
                plan = by_id[request_id]
                # The credit is in bytes of chunks, the log in bytes of messages: one chunk of n bytes gives
                # no more than n plus a piece's overhead and a head. Beyond the buffer lies at most what had
                # been accepted on first credit.
                allowed = plan.settings.buffer_bytes_max + 2 * 4096 + 2 * 1600 + 1024
                if session.epoch > 1 and self.have_died_together():
                    # Its publisher sends again what it had credit for in all, and what of that was read nobody knows.
                    allowed = 1 << 30
                if session.log.unread_bytes > allowed and session.settings.when_full != "drop_oldest":
                    self.fail(
                        f"{request_id}: {session.log.unread_bytes} bytes unread, buffer_bytes_max is "
                        f"{plan.settings.buffer_bytes_max}"
                    )
                if session.log.unread_bytes < 0 or session.log.bytes_held < 0:
                    self.fail(f"{request_id}: a log counts {session.log.unread_bytes}, {session.log.bytes_held} bytes")
            for reader in host.readers.values():
                for subscription in reader.subscriptions.values():
                    if subscription._sent_bytes < 0:
                        self.fail(f"a subscription has {subscription._sent_bytes} bytes on the way")
        for number, client in self.clients.items():
            if client._budget.bytes_held > client._budget.bytes_max + 4096:
                self.fail(f"client-{number} keeps {client._budget.bytes_held} bytes for replay")

    def _watch_leaks(self) -> None:
        """Let all that is kept for a time run out, and see that nothing is left."""
        patience_s = 60.0 + max(request.plan.settings.sealed_ttl_s for request in self.requests)
        self.loop.run(self.loop.now + patience_s, lambda: not self._leaks())
        leaks = self._leaks()
        if leaks:
            self.fail(f"left behind {patience_s:.0f} s after the last program ended: {', '.join(leaks)}")

    def _leaks(self) -> list[str]:
        found = []
        if self.router.process.alive and self.router.instance is None:
            return []  # it has restarted, and nobody is left who would have spoken to it since
        registry = self.registry
        if registry is None:
            return ["no router"]
        for name in ("entries", "_waiting"):
            left = getattr(registry, name)
            if left:
                found.append(f"registry.{name}: {list(left)[:3]}")
        # A process that died while it published is remembered for a while.
        living = {client.client_id for number, client in self.clients.items() if self.processes[number].alive}
        for request_id, interested in registry.clients._interests.items():
            if living & set(interested):
                found.append(f"interest in {request_id}")
        if registry._agents._claims:
            found.append(f"claims {list(registry._agents._claims)}")
        if registry._open_count or registry._sealed_bytes:
            found.append(f"registry counts {registry._open_count} open, {registry._sealed_bytes} bytes sealed")
        for actor_id, actor in self.router.instance._actors.items():
            if actor.waits or actor.queues:
                found.append(f"queues of {actor_id}")
        for slot in registry.pool.slots.values():
            if slot.open_requests:
                found.append(f"place {slot.actor_id} holds {sorted(slot.open_requests)}")
        for actor in self.stream_actors.values():
            if actor.process.alive and actor.instance is not None:
                host = actor.instance._host
                for name in ("sessions", "_parked", "_subscriptions", "_reports", "_scheduled", "readers"):
                    if getattr(host, name):
                        found.append(f"{actor.name} {name}: {list(getattr(host, name))[:3]}")
                if host.sessions or actor.process.name.split("#")[0] not in self.router.instance._actors:
                    found.append(f"{actor.name} is nobody's")
        for number, client in self.clients.items():
            if self.processes[number].alive:
                link = client._links[0]
                if link._listeners:
                    found.append(f"client-{number} listens: {list(link._listeners)[:3]}")
                if client._budget.bytes_held:
                    found.append(f"client-{number} keeps {client._budget.bytes_held} bytes for replay")
                if link._feed.waits:
                    found.append(f"client-{number} has something to send")
                for poller in client._pollers._pollers.values():
                    if poller._subscriptions:
                        found.append(f"client-{number} polls on")
        return found

    def _check_errors(self) -> None:
        """No part of the product may have raised what nobody caught."""
        for context in self.loop.errors:
            error = context.get("exception")
            if isinstance(error, Exited):
                continue
            self.fail(f"{context.get('message')}: {type(error).__name__}: {error}")
        for task in self.loop.tasks:
            if task.done() and not task.cancelled() and task._log_traceback:  # nobody has asked for it
                error = task.exception()
                if error is not None and not isinstance(error, Exited):
                    self.fail(f"a task ended with {type(error).__name__}: {error}")

    # --- what the shells take from outside --------------------------------------------------------

    def _ray(self) -> SimpleNamespace:
        def context() -> SimpleNamespace:
            actor = self._actor_of[self._current()]
            return SimpleNamespace(
                get_node_id=lambda: actor.process.node,
                was_current_actor_reconstructed=actor.has_restarted,
                current_actor=Handle(self.network, actor),
            )

        def kill(handle: Handle) -> None:
            self.tell(f"ray.kill({handle._actor.name})")
            self.deaths.append((self.loop.now, handle._actor.name))
            lingers_s = self.random.uniform(0.5, 10.0) if self.random.random() < 0.3 else 0.0
            lingers_s = 20.0 if self.scenario.lingers else lingers_s
            self.network.kill(handle._actor, lingers_s=lingers_s)

        return SimpleNamespace(get_runtime_context=context, kill=kill)

    @staticmethod
    def _current() -> Process:
        process = PROCESS.get()
        if process is None:
            raise RuntimeError("code of an actor runs outside of any process")
        return process

    def _exit(self, _status: int) -> None:
        self.network.kill(self._actor_of[self._current()])
        raise Exited

    def _monotonic(self) -> float:
        process = PROCESS.get()
        return self.loop.now + (process.clock_offset_s if process is not None else 0.0)

    def _uuid(self) -> SimpleNamespace:
        return SimpleNamespace(hex=f"{self.random.getrandbits(128):032x}")

    @contextlib.contextmanager
    def _in_place_of_the_real(self) -> Iterator[None]:
        time = SimpleNamespace(monotonic=self._monotonic)
        ray = self._ray()
        uuid = SimpleNamespace(uuid4=self._uuid)
        os = SimpleNamespace(getpid=lambda: 1, _exit=self._exit)
        socket = SimpleNamespace(gethostname=lambda: "host")
        replaced = [
            (actors.stream.stream_actor, "ray", ray),
            (actors.stream.stream_actor, "time", time),
            (actors.stream.stream_actor, "os", os),
            (router.on_ray.router_actor, "ray", ray),
            (router.on_ray.router_actor, "time", time),
            (router.on_ray.router_actor, "uuid", uuid),
            (router.on_ray.router_actor, "random", self.random),
            (router.on_ray.actors, "make_stream_actor", self.make_stream_actor),
            (router.on_ray.actors, "find_stream_actors", self.find_stream_actors),
            (router.client.link, "random", self.random),
            (router.client.subscription, "random", self.random),
            (router.client.stream_router, "uuid", uuid),
            (router.client.stream_router, "os", os),
            (router.client.stream_router, "socket", socket),
        ]
        logging.disable(logging.CRITICAL)
        try:
            with contextlib.ExitStack() as stack:
                for module, name, stand_in in replaced:
                    stack.enter_context(mock.patch.object(module, name, stand_in))
                yield
        finally:
            logging.disable(logging.NOTSET)
