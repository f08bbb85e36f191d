"""Simulated Ray: actors that are processes, calls that may fail in every way in which calls fail.

A call leaves, is on its way, runs (once, twice, or not at all), and its answer comes back, or not.
What the caller sees is what Ray would show: the result, the callee's error, `ActorUnavailableError`
(the outcome is unknown), `ActorDiedError` (the actor is gone for good), or nothing until its own
deadline. Order is not kept: each call takes a time of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from ray.exceptions import ActorDiedError, ActorUnavailableError, RayError

from actors.errors import NotPermitted, Recovering

from .loop import PROCESS, Process, SimulatedLoop

_DUAL: dict[type, type] = {}


def as_ray_raises(cause: Exception) -> Exception:
    """Return what Ray makes of an exception in an actor's method: an error of both classes, with its cause."""
    made = _DUAL.get(type(cause))
    if made is None:
        made = _DUAL[type(cause)] = type(f"RayTaskError({type(cause).__name__})", (RayError, type(cause)), {})
    error: Exception = made(str(cause))
    error.cause = cause  # type: ignore[attr-defined]
    return error


class Exited(BaseException):
    """A process has ended itself; unwinds what called it."""


@dataclass
class Weather:
    """How the network is while faults last. Probabilities are per call."""

    latency_s: tuple[float, float] = (0.0005, 0.004)
    drop: float = 0.0  # fails before it ran
    lose_answer: float = 0.0  # fails after it ran
    duplicate: float = 0.0  # runs twice
    late: float = 0.0  # fails at once, runs much later
    late_s_max: float = 15.0

    def calm(self) -> None:
        self.drop = self.lose_answer = self.duplicate = self.late = 0.0


@dataclass(eq=False)
class SimulatedActor:
    """What a Ray actor handle points to; its process may change if it is restarted."""

    name: str
    make: Callable[[], Any]
    process: Process
    restarts: bool = False
    instance: Any = None
    restarted: int = 0
    gone: bool = False
    gone_known_at: float = 0.0
    up_at: float = 0.0
    pending: dict[asyncio.Future[Any], None] = field(default_factory=dict)


class _Method:
    __slots__ = ("_actor", "_name", "_network")

    def __init__(self, network: Network, actor: SimulatedActor, name: str) -> None:
        self._network = network
        self._actor = actor
        self._name = name

    def remote(self, *arguments: Any) -> asyncio.Future[Any]:
        return self._network.call(self._actor, self._name, arguments)


class _Id:
    def __init__(self, name: str) -> None:
        self._name = name

    def hex(self) -> str:
        return self._name


class Handle:
    """An actor handle: `handle.method.remote(...)` is awaitable."""

    def __init__(self, network: Network, actor: SimulatedActor) -> None:
        self._network = network
        self._actor = actor
        self._actor_id = _Id(actor.name)

    def __getattr__(self, name: str) -> _Method:
        if name.startswith("_"):
            raise AttributeError(name)
        return _Method(self._network, self._actor, name)


class Network:
    """All calls of a simulated world."""

    def __init__(self, loop: SimulatedLoop, random: Random, weather: Weather) -> None:
        self.loop = loop
        self.random = random
        self.weather = weather
        self.cuts: dict[frozenset[str], float] = {}
        self.death_known_from = 0.0
        self.calls = 0
        self.failed = 0
        self.log: Callable[[str], None] | None = None

    # --- calls ----------------------------------------------------------------------------------

    def call(self, actor: SimulatedActor, method: str, arguments: tuple[Any, ...]) -> asyncio.Future[Any]:
        loop, random, weather = self.loop, self.random, self.weather
        future = loop.create_future()
        caller = PROCESS.get()
        self.calls += 1
        latency = random.uniform(*weather.latency_s)
        pair = frozenset((caller.name if caller else "", actor.process.name))
        if self.cuts.get(pair, 0.0) > loop.now:
            self._fail_later(future, actor, random.uniform(0.1, 3.0))
            return future
        chance = random.random()
        runs = [latency]
        answers = True
        if chance < weather.drop:
            runs = []
        elif chance < weather.drop + weather.late:
            runs, answers = [random.uniform(0.5, weather.late_s_max)], False
        elif chance < weather.drop + weather.late + weather.lose_answer:
            answers = False
        elif chance < weather.drop + weather.late + weather.lose_answer + weather.duplicate:
            runs.append(latency + random.choice((0.0001, 0.002, 0.05, 3.0)))
        if not runs or not answers:
            if self.log:
                self.log(f"fault: {method} to {actor.name}: {'runs at ' + str(runs) if runs else 'dropped'}")
            if random.random() < 0.8:  # else: silence, until the caller's own deadline
                self._fail_later(future, actor, latency + random.uniform(0.0, 0.3))
        for number, delay in enumerate(runs):
            wanted = future if answers and number == 0 else None
            loop.call_later(delay, self._arrive, actor, method, arguments, wanted, context=loop.outside)
        return future

    def _arrive(
        self, actor: SimulatedActor, method: str, arguments: tuple[Any, ...], future: asyncio.Future[Any] | None
    ) -> None:
        process = actor.process
        if actor.gone or not process.alive:
            if future is not None:
                self._fail_later(future, actor, self.random.uniform(0.0005, 0.1))
            return
        if self.loop.now < actor.up_at:  # its process is still starting; calls wait for it
            if actor.up_at == float("inf"):
                if future is not None:
                    actor.pending[future] = None
                return
            self.loop.call_at(actor.up_at, self._arrive, actor, method, arguments, future, context=self.loop.outside)
            return
        if future is not None:
            actor.pending[future] = None
        self.loop.spawn(process, self._serve(actor, method, arguments, future))

    async def _serve(
        self, actor: SimulatedActor, method: str, arguments: tuple[Any, ...], future: asyncio.Future[Any] | None
    ) -> None:
        error: Exception | None = None
        result = None
        try:
            self.begin(actor)
            result = await getattr(actor.instance, method)(*arguments)
        except Exception as raised:  # whatever a method raises goes to its caller, as with Ray
            error = as_ray_raises(raised)
            if not isinstance(raised, (NotPermitted, Recovering)):  # that is no fault, but an answer
                self.loop.errors.append({"message": f"{method} of {actor.name} raised", "exception": raised})
        if future is not None:
            delay = self.random.uniform(*self.weather.latency_s)
            self.loop.call_later(delay, self._answer, actor, future, result, error, context=self.loop.outside)

    @staticmethod
    def begin(actor: SimulatedActor) -> None:
        """Run the actor's constructor, inside of its process."""
        if actor.instance is None:
            actor.instance = actor.make()

    def _answer(self, actor: SimulatedActor, future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
        actor.pending.pop(future, None)
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    def _fail_later(self, future: asyncio.Future[Any], actor: SimulatedActor, delay_s: float) -> None:
        self.loop.call_later(delay_s, self._fail, future, actor, context=self.loop.outside)

    def _fail(self, future: asyncio.Future[Any], actor: SimulatedActor) -> None:
        self.failed += 1
        if future.done():
            return
        if actor.gone and self.loop.now >= actor.gone_known_at:
            future.set_exception(ActorDiedError())
        else:
            future.set_exception(ActorUnavailableError("simulated", None))

    # --- deaths ---------------------------------------------------------------------------------

    def kill(self, actor: SimulatedActor, *, found_after_s: float | None = None, lingers_s: float = 0.0) -> None:
        """The actor is no more; what was called there fails once that is known.

        `lingers_s`: Ray counts it as dead, but its process (hanging, or on a node that is cut off) lives on for
        so long, and what it says still arrives.
        """
        if not actor.process.alive or actor.gone:
            return
        found_after_s = self.random.uniform(0.01, 0.6) if found_after_s is None else found_after_s
        if lingers_s:
            self.loop.call_later(lingers_s, self.loop.kill, actor.process, context=self.loop.outside)
        else:
            self.loop.kill(actor.process)
        if not actor.restarts:
            actor.gone = True
            actor.gone_known_at = max(self.loop.now, self.death_known_from) + found_after_s
        for future in actor.pending:
            self._fail_later(future, actor, found_after_s + self.random.uniform(0.0, 0.05))
        actor.pending.clear()

    def cut(self, one: str, other: str, seconds: float) -> None:
        """Nothing passes between two processes for so long."""
        self.cuts[frozenset((one, other))] = self.loop.now + seconds
