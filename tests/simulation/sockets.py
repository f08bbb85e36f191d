"""Simulated sockets between processes: in order and fast, until they break.

A call through a socket arrives behind all that was sent before it. What goes wrong is that the connection breaks:
before a call has arrived, after it has run, because a process died, or because somebody pulled it. Then nobody knows
what became of the calls on it, and the product must find out through Ray.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from actors.errors import Recovering, StreamRouterError
from actors.transport import door, line
from actors.transport.meeting import LOCAL, NETWORK, Address

from .loop import PROCESS, Process
from .network import SimulatedActor

if TYPE_CHECKING:
    from .world import World

LATENCY_S = (0.00005, 0.0004)
BREAK_FOUND_S = 0.001
REFUSED_S = 5.0


class Sockets:
    """All sockets of a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._waiting: dict[str, tuple[SimulatedActor, Process]] = {}
        self.open: list[SimulatedConnection] = []

    def in_place(self) -> list[tuple[Any, str, Any]]:
        """Return what stands in for the product's own sockets."""
        return [(door.Door, "meet", self._meet_in_place()), (line, "Connection", self)]

    def _meet_in_place(self) -> Callable[..., list[Any] | str]:
        def meet(door: Any, node_id: str, *, is_apart: bool = False) -> list[Any] | str:
            process, reach = PROCESS.get(), door._reach
            if reach is None or process is None:
                return "simulated: it meets nobody"
            is_near = node_id == reach.node_id and not is_apart
            if not is_near and reach.ports is None:
                return "simulated: it stands on another node"
            name = f"{process.name}/{len(self._waiting)}"
            self._waiting[name] = self.world.actor_of(process), process
            return list(Address(LOCAL if is_near else NETWORK, "", name, b"", b""))

        return meet

    async def to(
        self,
        address: Address,
        on_lost: Callable[[], None],
        as_lost: Callable[[str], Exception],
        as_raised: Callable[[str, str], Exception],
    ) -> SimulatedConnection:
        """See `connection.Connection.to`."""
        actor, process = self._waiting[address.name]
        caller = PROCESS.get()
        await asyncio.sleep(self.world.random.uniform(*LATENCY_S))
        if self.are_cut(caller, process):
            await asyncio.sleep(REFUSED_S)
            raise TimeoutError
        if not process.alive:
            raise ConnectionRefusedError("simulated: nobody is there")
        made = SimulatedConnection(self, actor, process, caller, (on_lost, as_lost, as_raised), address.means)
        self.open.append(made)
        return made

    def are_cut(self, one: Process | None, other: Process) -> bool:
        """Whether nothing passes between two processes now."""
        network = self.world.network
        pair = frozenset((one.name if one else "", other.name))
        return network.cuts.get(pair, 0.0) > network.loop.now

    def pull(self) -> None:
        """Break all that are open."""
        for connection in list(self.open):
            connection.breaks()


class SimulatedConnection:
    """One socket, from one process to an actor's."""

    def __init__(
        self,
        sockets: Sockets,
        actor: SimulatedActor,
        process: Process,
        caller: Process | None,
        hooks: Any,
        means: str,
    ) -> None:
        self.means = means
        self._sockets = sockets
        self._actor = actor
        self._process = process
        self._caller = caller
        self._on_lost, self._as_lost, self._as_raised = hooks
        self._waiting: dict[asyncio.Future[Any], None] = {}
        self._arrives_at = self._answers_at = 0.0
        self._asker: Any = None
        self._asked = self._asked_from = 0
        self._is_open = True
        process.on_death.append(self.breaks)

    def call(self, method: str, arguments: tuple[Any, ...]) -> asyncio.Future[Any]:
        """See `connection.Connection.call`."""
        world = self._sockets.world
        loop, random, weather = world.loop, world.random, world.network.weather
        world.network.calls += 1
        future = loop.create_future()
        if not self._is_open:
            future.set_exception(self._as_lost("simulated: it is gone"))
            return future
        self._waiting[future] = None
        chance = random.random()
        if self._sockets.are_cut(self._caller, self._process) or chance < weather.drop / 4:
            self.breaks()
            return future
        answers = chance > (weather.drop + weather.lose_answer) / 4
        self._arrives_at = max(self._arrives_at, loop.now + random.uniform(*LATENCY_S))
        loop.call_at(self._arrives_at, self._arrive, method, arguments, future, answers, context=loop.outside)
        return future

    def _arrive(self, method: str, arguments: tuple[Any, ...], future: asyncio.Future[Any], answers: bool) -> None:  # noqa: FBT001  # a callback
        # What was sent before a break arrives all the same; a dead process takes nothing.
        if self._process.alive:
            self._sockets.world.loop.spawn(self._process, self._serve(method, arguments, future, answers))

    async def _serve(self, method: str, arguments: tuple[Any, ...], future: asyncio.Future[Any], answers: bool) -> None:  # noqa: FBT001  # as above
        world = self._sockets.world
        result, error = None, None
        try:
            result = await getattr(self._actor.instance, method)(*arguments)
        except StreamRouterError as raised:
            error = self._as_raised(*raised.to_wire())
            if not isinstance(raised, Recovering):  # that is no fault, but an answer
                world.loop.errors.append({"message": f"{method} of {self._actor.name} raised", "exception": raised})
        if not answers:
            self.breaks()
            return
        loop = world.loop
        self._answers_at = max(self._answers_at, loop.now + world.random.uniform(*LATENCY_S))
        loop.call_at(self._answers_at, self._answer, future, result, error, context=loop.outside)

    def _answer(self, future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
        if self._waiting.pop(future, self) is self or future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    def ask(self, method: str, arguments: tuple[Any, ...], asker: Any) -> int:
        """See `connection.Connection.ask`."""
        world = self._sockets.world
        loop, random, weather = world.loop, world.random, world.network.weather
        world.network.calls += 1
        if not self._is_open:
            raise self._as_lost("simulated: it is gone")
        if self._asker is not asker:
            self._asked_from = self._asked + 1
            self._asker = asker
        self._asked += 1
        if self._sockets.are_cut(self._caller, self._process) or random.random() < weather.drop / 4:
            self.breaks()
            return self._asked
        self._arrives_at = max(self._arrives_at, loop.now + random.uniform(*LATENCY_S))
        loop.call_at(self._arrives_at, self._arrive_asked, method, arguments, self._asked, context=loop.outside)
        return self._asked

    def _arrive_asked(self, method: str, arguments: tuple[Any, ...], number: int) -> None:
        if self._process.alive:
            self._sockets.world.loop.spawn(self._process, self._serve_asked(method, arguments, number))

    async def _serve_asked(self, method: str, arguments: tuple[Any, ...], number: int) -> None:
        try:
            getattr(self._actor.instance, method)(*arguments, SimulatedReply(self, number))
        except StreamRouterError as raised:
            loop = self._sockets.world.loop
            loop.errors.append({"message": f"{method} of {self._actor.name} raised", "exception": raised})
            loop.call_soon(self._raised, number, self._as_raised(*raised.to_wire()), context=self._at_caller())

    def _raised(self, number: int, error: Exception) -> None:
        if self._asker is not None and number >= self._asked_from:
            self._asker.failed(error)

    def reply(self, number: int, answer: Any, *, is_last: bool) -> bool:
        """Let an answer to a call that may have many be on its way; whether it may arrive."""
        world = self._sockets.world
        loop, weather = world.loop, world.network.weather
        if not self._is_open:
            return False
        if self._sockets.are_cut(self._caller, self._process) or world.random.random() < weather.lose_answer / 4:
            self.breaks()
            return False
        self._answers_at = max(self._answers_at, loop.now + world.random.uniform(*LATENCY_S))
        loop.call_at(self._answers_at, self._answer_asker, number, answer, is_last, context=self._at_caller())
        return True

    def _answer_asker(self, number: int, answer: Any, is_last: bool) -> None:  # noqa: FBT001  # a callback
        if self._asker is not None and number >= self._asked_from:
            (self._asker.last if is_last else self._asker.more)(number, answer)

    def _at_caller(self) -> Any:
        return self._sockets.world.loop.outside if self._caller is None else self._caller.context.copy()

    def breaks(self) -> None:
        """It is gone; both ends find that out at once."""
        if self._is_open:
            self._is_open = False
            self._sockets.open.remove(self)
            # Whoever calls finds out, and may do something about it.
            self._sockets.world.loop.call_later(BREAK_FOUND_S, self._lost, context=self._at_caller())

    def _lost(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for future in waiting:
            if not future.done():
                future.set_exception(self._as_lost("simulated: the connection broke"))
        if self._asker is not None:
            asker, self._asker = self._asker, None
            asker.failed(self._as_lost("simulated: the connection broke"))
        self._on_lost()

    def close(self) -> None:
        """See `connection.Connection.close`."""
        self.breaks()


class SimulatedReply:
    """See `door.Reply`."""

    def __init__(self, connection: SimulatedConnection, number: int) -> None:
        self._connection = connection
        self._number = number

    def more(self, answer: Any) -> bool:
        return self._connection.reply(self._number, answer, is_last=False)

    def last(self, answer: Any) -> None:
        self._connection.reply(self._number, answer, is_last=True)

    def is_beside(self, other: SimulatedReply) -> bool:
        return self._connection is other._connection
