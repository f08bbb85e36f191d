"""What befalls a simulated world: deaths, stops, cuts, doors that close, and a disk that fails."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from router.client.publishing.spill_file import Block, SpillFile

from .loop import PROCESS, Process
from .network import SimulatedActor
from .scenario import Incident

if TYPE_CHECKING:
    from .world import World

NODES = ("node-1", "node-2")
FOREVER_S = 1e9
# A stream actor that has been silent for less is only slow: it is asked twice, `CALL_DEADLINE_S` each time, and the
# silence before counts as well towards `ACTOR_DEADLINE_S`.
HANGS_S = 8.0
# Who stops so soon after it was cut off may not have been heard between the two: a lost call is made again after 4 s.
UNHEARD_S = 4.5
# Two deaths so close together may take what only those two had: the router may wait 15 s for the control store to begin
# again, and some seconds for what its actors hold.
TOGETHER_S = 25.0


class Faults:
    """Strikes a world with its incidents, and knows what they excuse."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._blow = 0
        self.router_downs: list[tuple[float, int]] = []
        self.died_with_router: set[str] = set()  # requests, by their full names, of which it alone knew the end
        self.hit_agents_router = False
        self.deaths: list[tuple[float, str, int]] = []
        self.process_troubles: dict[int, list[tuple[float, str, float]]] = {}
        self.stopped_since: dict[str, float] = {}
        self.silent_s: dict[str, float] = {}
        self._last_cut: dict[str, tuple[float, float]] = {}
        self.given_up_as_hung: set[str] = set()
        self.closed_at: dict[int, float] = {}
        self.unreadable: dict[str, set[Block]] = {}
        self.write_failures = 0

    # --- incidents --------------------------------------------------------------------------------

    def strike(self, incident: Incident) -> None:
        """Let an incident happen."""
        self._blow += 1
        getattr(self, "_" + incident.kind)(incident)

    def _victim(self, incident: Incident) -> SimulatedActor | None:
        living = self._living()
        return living[incident.what % len(living)] if living else None

    def _living(self) -> list[SimulatedActor]:
        return [actor for actor in self._world.stream_actors.values() if actor.process.alive and not actor.gone]

    def _client(self, incident: Incident) -> int:
        return incident.what % self._world.scenario.processes

    def _kill_actor(self, incident: Incident) -> None:
        victim = self._victim(incident)
        if victim is not None:
            self.kill_stream_actor(victim)

    def _kill_router(self, _incident: Incident) -> None:
        self.kill_router()

    def _kill_agents_router(self, _incident: Incident) -> None:
        if self._world.agents_router is not None:
            self._kill_and_restart(self._world.agents_router)

    def _stop_agents_router(self, incident: Incident) -> None:
        if self._world.agents_router is not None:
            self.hit_agents_router = True
            self._pause(self._world.agents_router.process, incident.seconds)

    def _kill_process(self, incident: Incident) -> None:
        self._kill_client(self._client(incident))

    def _kill_node(self, incident: Incident) -> None:
        self.kill_node(NODES[incident.what % 2])

    def _kill_router_node(self, _incident: Incident) -> None:
        self.kill_node(self._world.router.process.node)

    def _kill_both(self, incident: Incident) -> None:
        self._kill_actor(incident)
        self._blow += 1
        self.kill_router()

    def _stop_and_kill(self, incident: Incident) -> None:
        victim = self._victim(incident)
        if victim is not None:
            self._pause(victim.process, 5.0)
        self._world.later(1.0, self._kill_router_then)

    def _kill_router_then(self) -> None:
        self._blow += 1  # whatever has struck meanwhile
        self.kill_router()

    def _stop_actor(self, incident: Incident) -> None:
        victim = self._victim(incident)
        if victim is not None:
            self._note_death(victim.name)  # it may be given up
            self._pause(victim.process, incident.seconds)

    def _stop_busy_actor(self, incident: Incident) -> None:
        for actor in self._living():
            sessions = actor.instance._host.sessions.values() if actor.instance is not None else ()
            if any(not session.sealed for session in sessions):
                self._note_death(actor.name)
                self._pause(actor.process, incident.seconds)
                return

    def _stop_router(self, incident: Incident) -> None:
        self.router_downs.append((self._world.loop.now, self._blow))
        self._pause(self._world.router.process, incident.seconds)

    def _stop_control(self, incident: Incident) -> None:
        self._world.control.stop(incident.seconds)

    def block(self, process: Process, seconds: float) -> None:
        """Let a process stand still because its event loop waits for something."""
        self._pause(process, seconds)

    def _stop_process(self, incident: Incident) -> None:
        number = self._client(incident)
        self._trouble(number, "stop_process", incident.seconds)
        self._pause(self._world.processes[number], incident.seconds)

    def _pull_sockets(self, _incident: Incident) -> None:
        self._world.tell("all sockets break")
        self._world.sockets.pull()

    def _cut_actor(self, incident: Incident) -> None:
        victim = self._victim(incident)
        if victim is not None:
            self._world.tell(f"cut between {victim.name} and the router for {incident.seconds:g} s")
            self._note_cut(victim.process.name, incident.seconds)
            self._world.network.cut("router", victim.process.name, incident.seconds)

    def _cut(self, incident: Incident) -> None:
        world, number = self._world, self._client(incident)
        names = ["router", f"client-{number}", *(actor.name for actor in self._living())]
        one = world.random.choice(names)
        other = world.random.choice([name for name in names if name != one])
        world.tell(f"cut between {one} and {other} for {incident.seconds:g} s")
        if "router" in (one, other) and f"client-{number}" in (one, other):
            self._trouble(number, "cut", incident.seconds)
        for name in (one, other):
            if name.startswith("s"):
                self._note_cut(name, incident.seconds)
        world.network.cut(one, other, incident.seconds)

    def _note_cut(self, name: str, seconds: float) -> None:
        now = self._world.loop.now
        self._note_death(name)
        self._may_be_silent(name, seconds + HANGS_S)
        self._last_cut[name] = now, now + seconds

    def note_kill(self, actor: SimulatedActor) -> None:
        """Note which requests, by their full names, were on an actor that was given up because it hangs."""
        if actor.process.stopped and actor.instance is not None:
            self.given_up_as_hung |= actor.instance._host.sessions.keys()

    def _may_be_silent(self, name: str, seconds: float) -> None:
        self.silent_s[name] = max(self.silent_s.get(name, 0.0), self._world.loop.now + seconds)

    # --- deaths -----------------------------------------------------------------------------------

    def _note_death(self, name: str) -> None:
        self.deaths.append((self._world.loop.now, name, self._blow))

    def kill_stream_actor(self, actor: SimulatedActor, *, found_after_s: float | None = None) -> None:
        """SIGKILL."""
        if actor.process.alive:
            self._world.tell(f"stream actor {actor.name} dies")
            self._note_death(actor.name)
            self._world.network.kill(actor, found_after_s=found_after_s)

    def killed_by_router(self, actor: SimulatedActor) -> None:
        """Note a `ray.kill`, which is an end of its own."""
        self._blow += 1
        self._note_death(actor.name)

    def kill_router(self, found_after_s: float | None = None) -> None:
        """SIGKILL; Ray starts it again after a while."""
        world = self._world
        if world.router.process.alive:
            self.router_downs.append((world.loop.now, self._blow))
            self._note_heirless()
            self._kill_and_restart(world.router, found_after_s)

    def _note_heirless(self) -> None:
        """Before a first stream actor has answered, a router has nobody to give a copy to of what it shows."""
        router, actors, registry = self._world.router.instance, self._world.stream_actors, self._world.registry
        if router is None or registry is None:
            return
        heirs = [name for name, actor in router._fleet.actors.items() if actor.is_started and name in actors]
        if not any(actors[name].process.alive for name in heirs):
            self.died_with_router |= {
                request.request_id for request in registry.requests.values() if not request.is_live
            }

    def _kill_and_restart(self, router: SimulatedActor, found_after_s: float | None = None) -> None:
        world = self._world
        if router.process.alive:
            world.tell(f"{router.name} dies")
            self.hit_agents_router = self.hit_agents_router or router is world.agents_router
            world.network.kill(router, found_after_s=found_after_s)
            starts_s = world.control.left_s + world.random.uniform(0.2, 1.5) + (found_after_s or 0.0)
            world.later(starts_s, world.restart_router, router)

    def _kill_client(self, number: int) -> None:
        world = self._world
        process = world.processes[number]
        if not process.alive:
            return
        world.tell(f"process client-{number} dies")
        self._trouble(number, "kill_process", FOREVER_S)
        world.loop.kill(process)
        for program in list(world.programs):
            program.process_died(process)

    def kill_node(self, node: str) -> None:
        """All of a node's processes die at once, which Ray learns later."""
        world = self._world
        world.tell(f"{node} dies")
        found_after_s = world.random.uniform(0.5, 3.0)
        for actor in world.stream_actors.values():
            if actor.process.node == node:
                self.kill_stream_actor(actor, found_after_s=found_after_s)
        if world.router.process.node == node:
            self.kill_router(found_after_s)
        if world.agents_router is not None and world.agents_router.process.node == node:
            self._kill_and_restart(world.agents_router, found_after_s)

    # --- stops ------------------------------------------------------------------------------------

    def _trouble(self, number: int, kind: str, seconds: float) -> None:
        self.process_troubles.setdefault(number, []).append((self._world.loop.now, kind, seconds))

    def closes(self, number: int) -> None:
        """Note that a client process closes its door."""
        self.closed_at[number] = self._world.loop.now
        self._trouble(number, "close", FOREVER_S)

    def _pause(self, process: Process, seconds: float) -> None:
        world = self._world
        world.tell(f"{process.name} stops for {seconds:g} s")
        cut_from, cut_until = self._last_cut.get(process.name, (world.loop.now, world.loop.now))
        since = cut_from if world.loop.now - cut_until < UNHEARD_S else world.loop.now
        self.stopped_since.setdefault(process.name, since)
        world.loop.stop(process)
        world.later(seconds, self._go_on, process)

    def _go_on(self, process: Process) -> None:
        since = self.stopped_since.pop(process.name, None)
        if since is not None and self._world.loop.now - since > HANGS_S:
            self._may_be_silent(process.name, HANGS_S)  # a question asked before may yet run out
        if process.alive:
            self._world.tell(f"{process.name} goes on")
            self._world.loop.go_on(process)

    def may_be_given_up(self, actor: SimulatedActor) -> bool:
        """Whether a stream actor has been silent for so long that its router may take it for dead."""
        process, now = actor.process, self._world.loop.now
        since = self.stopped_since.get(process.name)
        return (
            not process.alive
            or actor.instance is None
            or (since is not None and now - since >= HANGS_S)
            or self.silent_s.get(process.name, 0.0) >= now
        )

    # --- what is excused --------------------------------------------------------------------------

    def have_died_together(self, *, apart: bool = False) -> bool:
        """Whether the router and a stream actor were gone at the same time: then what only both knew is lost.

        `apart`: of two blows, so that it was no one node that took both.
        """
        return any(
            abs(down - died) < TOGETHER_S and not (apart and down_blow == blow)
            for down, down_blow in self.router_downs
            for died, _, blow in self.deaths
        )

    def was_router_down(self, since_s: float) -> bool:
        """Whether the router has died or was stopped since then, or so shortly before that it was still recovering."""
        return any(down > since_s - TOGETHER_S for down, _ in self.router_downs)

    # --- the disk ---------------------------------------------------------------------------------

    def disk(self) -> list[tuple[Any, str, Callable[..., Any]]]:
        """Return what stands in for the spill file's own methods while a world with a failing disk runs."""
        write, read, world = SpillFile.write, SpillFile.read, self._world
        trouble = world.scenario.disk
        if trouble is None:
            return []

        def lasts() -> bool:
            return trouble.from_s <= world.loop.now < trouble.until_s

        def failing_write(file: SpillFile, data: bytes) -> Block:
            if trouble.fault == "full" and lasts():
                self.write_failures += 1
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(file, data)

        def failing_read(file: SpillFile, block: Block) -> bytes:
            if trouble.fault == "unreadable" and lasts():
                process = PROCESS.get()
                self.unreadable.setdefault(process.name if process else "", set()).add(block)
                raise OSError(errno.EIO, "Input/output error")
            return read(file, block)

        return [(SpillFile, "write", failing_write), (SpillFile, "read", failing_read)]
