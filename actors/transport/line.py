"""A line to an actor: to be used as its handle is, with Ray or a socket behind it.

`line.method.remote(...)` goes through a socket once the two have met, within a node or, where the configuration says
so, between nodes; otherwise through Ray, as does what only Ray can bring (`CARRIED` names the rest). Ray tells
deaths, restarts and where an actor is; so when a connection breaks, the next call goes through Ray and another
meeting is asked for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, RayError

from actors.errors import StreamRouterError, from_wire
from actors.transport.connection import MEET_DEADLINE_S, Connection
from actors.transport.meeting import LOCAL, NETWORK, Address, Reach

log: logging.Logger = logging.getLogger("actors.transport")

CARRIED = frozenset({
    "open", "feed", "watch", "locate", "claim", "release", "fence", "cancel", "forget", "disown", "suspect", "report",
    "list", "request",
    "poll", "tell",
})  # fmt: skip
"""The methods of both actors whose arguments and answers are plain data, and that may be called twice."""

FOLLOWED = frozenset({"follow", "post"})
"""Those that are answered more than once, or late and together, which only a socket can carry."""

MEET_AGAIN_S = 5.0
"""Where a meeting failed, another one is asked for after so long."""

FAR_AGAIN_S = 60.0
"""The same where they could not meet; an actor may begin again on this node."""


def stands_here(reach: Reach | None) -> Reach | None:
    """Return the reach of this process, wherever Ray has put it. Where there is no Ray, asking starts one."""
    if reach is None:
        return None
    host = "" if reach.ports is None else str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
    return reach._replace(node_id=ray.get_runtime_context().get_node_id(), host=host)


class Raised(RayError):
    """What a method raised, told as Ray tells it: `cause` is the error."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _as_raised(code: str, text: str) -> Exception:
    return Raised(from_wire(code, text))


def _as_lost(why: str) -> Exception:
    return ActorUnavailableError(why, None)


class _Method:
    """One method of an actor."""

    __slots__ = ("_line", "_name", "_through_ray")

    def __init__(self, line: Line, name: str, through_ray: Any) -> None:
        self._line = line
        self._name = name
        self._through_ray = through_ray

    def remote(self, *arguments: Any) -> Any:
        """Call it; what is returned can be awaited."""
        connection = self._line.connection
        if connection is not None:
            return connection.call(self._name, arguments)
        self._line.meet_soon()
        return self._through_ray(*arguments)


class Line:
    """A line from this process to an actor. `reach`: how far this process goes without Ray; None: nowhere.

    `on_lost`: called when a connection has broken, which is the first news of most deaths.
    """

    def __init__(self, handle: Any, reach: Reach | None, on_lost: Callable[[], None] | None = None) -> None:
        self.handle = handle
        self._on_lost = on_lost
        self.connection: Connection | None = None
        self.why = "the configuration says so" if reach is None else "not met yet"
        """Why it goes through Ray, where it does."""
        self._reach = reach
        # Both stand on one node, but do not find each other's files.
        self._is_apart = False
        self._meeting: asyncio.Task[None] | None = None
        self._meet_at = 0.0

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        method = getattr(self.handle, name)
        if self._reach is None or name not in CARRIED:
            return method
        made = _Method(self, name, method.remote)
        setattr(self, name, made)  # found at once from now on
        return made

    @property
    def means(self) -> str:
        """What carries its calls: local, network or ray."""
        return "ray" if self.connection is None else self.connection.means

    def meet_soon(self) -> None:
        """Ask the actor for a meeting, unless that is under way or was in vain a moment ago."""
        if self._meeting is not None or self._reach is None:
            return
        loop = asyncio.get_running_loop()
        if loop.time() >= self._meet_at:
            self._meeting = loop.create_task(self._meet())

    async def _meet(self) -> None:
        reach, means = self._reach, ""
        if reach is None:
            return
        self._meet_at = asyncio.get_running_loop().time() + MEET_AGAIN_S
        try:
            told = await asyncio.wait_for(self.handle.meet.remote(reach.node_id, self._is_apart), MEET_DEADLINE_S)
            if isinstance(told, str):
                self.why = told
                self._meet_at += FAR_AGAIN_S
                return
            address = Address(*told)
            means = address.means
            connection = await Connection.to(address, self._lost, _as_lost, _as_raised)
            if self._reach is None:  # it was closed as they met
                connection.close()
                return
            self.connection, self.why = connection, ""
        except (RayError, OSError, TimeoutError, StreamRouterError) as error:
            self.why = f"they could not meet: {type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
            if means == LOCAL and isinstance(error, OSError) and reach.ports is not None:
                self._is_apart = True
            elif means == NETWORK:
                self._meet_at += FAR_AGAIN_S
            log.info("a line stays with Ray: %s", self.why)
        finally:
            self._meeting = None

    def _lost(self) -> None:
        self.connection = None
        self.why = "the connection broke"
        if self._on_lost is not None:
            self._on_lost()

    def close(self) -> None:
        """Call nothing more through a socket."""
        self._reach = None
        if self._meeting is not None:
            self._meeting.cancel()
        if self.connection is not None:
            connection, self.connection, self._on_lost = self.connection, None, None
            connection.close()
